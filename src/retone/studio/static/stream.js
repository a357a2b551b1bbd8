// Long recordings: the page holds the pieces around the playhead and asks the server for the next.
import { Pieces } from "./pieces.js";

const PIECE_S = 8;
const KEPT = 6; // pieces
const FADE_S = 0.005; // pieces overlap by this, so that joins between them cannot click
const AHEAD_S = 6;
const RETRY_MS = 1000;
const wait = (ms) => new Promise((done) => { setTimeout(done, ms); });

export class Stream extends Pieces {
  // fetch(first, frames): the samples of each channel. `ready` is how many of them the server has.
  constructor({ rate, channels, length, ready = length }, fetch) {
    super({ channels, length, size: Math.round(PIECE_S * rate) });
    Object.assign(this, { rate, ready, fetch });
    this.overlap = Math.round(FADE_S * rate);
    this.coming = new Map();
    this.waiting = new Set();
    this.changed = () => {}; // (number, samples or null)
  }

  numberAt(seconds) {
    const last = Math.max(0, Math.min(this.length, this.ready) - 1);
    return Math.floor(Math.min(last, Math.max(0, seconds * this.rate)) / this.size);
  }

  // More of it is there; `length` is that of the whole, which a file's header need not tell.
  grow(ready, length = this.length) {
    Object.assign(this, { ready, length });
    for (const go of this.waiting) go();
    this.waiting.clear();
  }

  need(k) {
    const known = this.pieces.get(k);
    if (known) {
      this.pieces.delete(k); // the pieces used last are kept
      this.pieces.set(k, known);
      return Promise.resolve(known);
    }
    if (!this.coming.has(k)) this.coming.set(k, this.load(k).finally(() => this.coming.delete(k)));
    return this.coming.get(k);
  }

  async load(k) {
    const first = k * this.size;
    const last = () => Math.min(this.length, first + this.size + this.overlap);
    while (this.ready < last()) await new Promise((go) => { this.waiting.add(go); });
    const data = await this.fetch(first, last() - first);
    this.put(k, data);
    this.changed(k, data);
    for (const old of [...this.pieces.keys()].slice(0, -KEPT)) {
      this.drop(old);
      this.changed(old, null);
    }
    return data;
  }

  // What playing from `seconds` on begins with; null if it is here.
  missing(seconds) {
    const wanted = [seconds - 1.5, seconds, seconds + 0.5].map((s) => this.numberAt(s));
    if (wanted.every((k) => this.pieces.has(k))) return null;
    return Promise.all(wanted.map((k) => this.need(k)));
  }
}

// Plays a stream in a loop; used like a source node.
export class Pump {
  constructor(context, stream, when, at) {
    Object.assign(this, { context, stream, when });
    this.at = Math.round(at * stream.rate);
    this.out = context.createGain();
    this.nodes = new Set();
    this.first = true;
    this.run();
  }

  connect(to) { return this.out.connect(to); }

  stop(when) {
    this.stopped = true;
    for (const n of this.nodes) n.stop(when);
  }

  async run() {
    while (!this.stopped) {
      const { stream } = this, k = Math.floor(this.at / stream.size);
      const data = await stream.need(k).catch(() => null);
      if (this.stopped) return;
      if (data) this.play(data, k); else await wait(RETRY_MS);
      while (!this.stopped && this.when > this.context.currentTime + AHEAD_S) await wait(RETRY_MS / 4);
    }
  }

  play(data, k) {
    const { context, stream } = this, { rate } = stream, begin = k * stream.size;
    const end = Math.min(stream.length, begin + stream.size);
    const late = Math.max(0, context.currentTime + FADE_S - this.when);
    const from = (this.at - begin) / rate + late, seconds = (end - this.at) / rate - late;
    const when = this.when + late;
    this.when += (end - this.at) / rate;
    this.at = end >= stream.length ? 0 : end;
    if (seconds <= 0) return;
    const buffer = context.createBuffer(data.length, data[0].length, rate);
    data.forEach((d, c) => buffer.copyToChannel(d, c));
    const node = Object.assign(context.createBufferSource(), { buffer }), gain = context.createGain();
    if (!this.first) {
      gain.gain.setValueAtTime(0, when);
      gain.gain.linearRampToValueAtTime(1, when + FADE_S);
    }
    this.first = false;
    gain.gain.setValueAtTime(1, when + Math.max(FADE_S, seconds));
    gain.gain.linearRampToValueAtTime(0, when + Math.max(FADE_S, seconds) + FADE_S);
    node.connect(gain).connect(this.out);
    node.start(when, from);
    node.stop(when + seconds + 2 * FADE_S);
    this.nodes.add(node);
    node.onended = () => this.nodes.delete(node);
  }
}
