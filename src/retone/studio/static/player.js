// Three recordings that play in sync; switching fades their gains at the same moment.
import { Pump } from "./stream.js";

const FADE = 0.006;
const AHEAD = 0.02;
export const NAMES = ["before", "after", "reference"];

const length = (t) => t.stream?.length ?? t.data[0].length;

export class Player extends EventTarget {
  constructor() {
    super();
    this.context = null;
    this.tracks = {}; // name -> {data or stream, rate, buffer, node, gain, gainDb}
    this.pending = null; // where playing begins as soon as its samples have come
    this.heard = "before";
    this.playing = false;
    this.at = 0; // position in seconds while paused
    this.started = 0;
    this.solo = null;
    this.live = null; // plays "after" where it can
  }

  get duration() {
    const t = this.tracks.before;
    return t ? length(t) / t.rate : 0;
  }

  get position() {
    if (this.pending !== null) return this.pending;
    if (!this.playing) return this.at;
    const p = this.context.currentTime - this.started;
    return this.duration ? ((p % this.duration) + this.duration) % this.duration : 0;
  }

  open() {
    if (this.context) return;
    this.context = new AudioContext({ latencyHint: "interactive" });
    this.mix = this.context.createGain();
    this.filters = [0, 1, 2, 3].map(() => this.context.createBiquadFilter());
    this.analyser = this.context.createAnalyser();
    this.analyser.fftSize = 2048;
    this.route();
  }

  // Solo: a band is played through two high-passes and two low-passes.
  route() {
    if (!this.context) return;
    this.mix.disconnect();
    this.filters.forEach((f) => f.disconnect());
    let end = this.mix;
    if (this.solo) {
      this.filters.forEach((f, i) => {
        f.type = i < 2 ? "highpass" : "lowpass";
        f.frequency.value = i < 2 ? this.solo.low : this.solo.high;
        f.Q.value = -3; // dB for these types: Butterworth twice
        end.connect(f);
        end = f;
      });
    }
    end.connect(this.analyser);
    this.analyser.connect(this.context.destination);
  }

  setSolo(range) {
    this.solo = range;
    this.route();
  }

  // `data`: samples of each channel, or a Stream.
  setTrack(name, data, rate) {
    const old = this.tracks[name], sound = Array.isArray(data) ? { data } : { stream: data };
    this.tracks[name] = { ...sound, rate, gainDb: old ? old.gainDb : 0, buffer: null };
    if (!this.playing || this.pending !== null) return;
    if (old?.live && this.isLive(name)) Object.assign(this.tracks[name], { node: old.node, gain: old.gain, live: true });
    else this.renew(name, old);
  }

  isLive(name) { return name === "after" && Boolean(this.live?.ready); }

  // Play a track from another source or with other data.
  renew(name, old = { ...this.tracks[name] }) {
    if (!this.playing || this.pending !== null || !this.tracks[name]) return;
    this.begin(name);
    this.end(old);
  }

  dropTrack(name) {
    const old = this.tracks[name];
    delete this.tracks[name];
    if (old && this.playing) this.end(old);
  }

  // Puts a freshly rendered stretch into a track.
  patch(name, data, first) {
    const t = this.tracks[name];
    if (!t?.data) return;
    data.forEach((d, c) => t.data[c] && t.data[c].set(d, first));
    this.setTrack(name, t.data, t.rate);
  }

  level(t) { return 10 ** (t.gainDb / 20); }

  setGains(gains) {
    for (const name of NAMES) {
      const t = this.tracks[name];
      if (!t) continue;
      t.gainDb = gains[name] ?? 0;
      if (t.gain && this.heard === name) {
        t.gain.gain.setTargetAtTime(this.level(t), this.context.currentTime, FADE);
      }
    }
  }

  begin(name) {
    const t = this.tracks[name];
    t.live = this.isLive(name);
    if (!t.live && !t.stream && !t.buffer) {
      t.buffer = this.context.createBuffer(t.data.length, t.data[0].length, t.rate);
      t.data.forEach((d, c) => t.buffer.copyToChannel(d, c));
    }
    const now = this.context.currentTime + AHEAD + (t.live ? this.live.took : 0);
    const duration = length(t) / t.rate;
    const at = (((now - this.started) % duration) + duration) % duration;
    t.gain = this.context.createGain();
    t.gain.gain.value = 0;
    if (this.heard === name) t.gain.gain.setTargetAtTime(this.level(t), now, FADE);
    if (t.live) {
      t.node = this.live.begin(now, at);
    } else if (t.stream) {
      t.node = new Pump(this.context, t.stream, now, at);
    } else {
      t.node = Object.assign(this.context.createBufferSource(), { buffer: t.buffer, loop: true });
      t.node.start(now, at);
    }
    t.node.connect(t.gain).connect(this.mix);
  }

  end(t) {
    if (!t?.node) return;
    const now = this.context.currentTime + AHEAD;
    t.gain.gain.setTargetAtTime(0, now, FADE);
    t.node.stop(now + 10 * FADE);
    t.node = t.gain = null;
  }

  // Begin all tracks at a position, once a long recording's samples are there.
  async start(at) {
    const missing = this.tracks.before.stream?.missing(at);
    this.pending = missing ? at : null;
    if (missing) {
      const turn = this.turn = {};
      await missing.catch(() => {}); // playing goes on when the server answers again
      if (this.turn !== turn || !this.playing) return;
      this.pending = null;
    }
    this.started = this.context.currentTime + AHEAD - at;
    Object.keys(this.tracks).forEach((n) => this.begin(n));
  }

  halt() {
    this.turn = this.pending = null;
    Object.values(this.tracks).forEach((t) => this.end(t));
  }

  async play() {
    if (this.playing || !this.duration) return;
    this.open();
    await this.context.resume();
    await this.live?.open(this.context);
    if (this.playing) return;
    this.playing = true;
    const begun = this.start(this.at);
    this.dispatchEvent(new Event("change"));
    await begun;
  }

  pause() {
    if (!this.playing) return;
    this.at = this.position;
    this.playing = false;
    this.halt();
    this.dispatchEvent(new Event("change"));
  }

  seek(seconds) {
    const { stream, rate } = this.tracks.before ?? {};
    const end = stream ? Math.min(this.duration, stream.ready / rate) : this.duration;
    const to = Math.min(Math.max(0, seconds), Math.max(0, end - 0.01));
    if (!this.playing) { this.at = to; } else {
      this.halt();
      this.start(to);
    }
    this.dispatchEvent(new Event("change"));
  }

  hear(name) {
    if (!this.tracks[name]) return;
    this.heard = name;
    if (this.playing) {
      const now = this.context.currentTime;
      for (const [n, t] of Object.entries(this.tracks)) {
        t.gain?.gain.setTargetAtTime(n === name ? this.level(t) : 0, now, FADE);
      }
    }
    this.dispatchEvent(new Event("change"));
  }
}
