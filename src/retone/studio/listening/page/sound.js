// Sounds that play in step, so that one can switch between them without a gap.
"use strict";

class Deck {
  constructor(study) {
    this.study = study;
    this.cache = new Map();
    this.sounds = new Map();
    this.heard = new Map();
    this.now = null;
    this.at = 0;
  }

  open() {
    this.context ??= new AudioContext({ sampleRate: this.study.sample_rate });
    return this.context.resume();
  }

  async bytes(file) {
    const packed = this.study.sounds?.[file];
    if (packed) return Uint8Array.from(atob(packed), (c) => c.charCodeAt(0)).buffer;
    const answer = await fetch(file);
    if (!answer.ok) throw new Error(`${file} cannot be loaded (${answer.status}).`);
    return answer.arrayBuffer();
  }

  buffer(file) {
    if (!this.cache.has(file)) {
      this.cache.set(file, this.bytes(file).then((b) => this.context.decodeAudioData(b)));
    }
    return this.cache.get(file);
  }

  // files: key -> file; sounds of one group share a time line.
  async load(files, groups = {}) {
    this.stop();
    await this.open();
    const keys = Object.keys(files);
    const buffers = await Promise.all(keys.map((k) => this.buffer(files[k])));
    this.sounds = new Map(keys.map((k, i) => [k, { buffer: buffers[i], group: groups[k] ?? 0 }]));
    this.heard = new Map(keys.map((k) => [k, 0]));
  }

  forget() { this.cache.clear(); }

  duration(key) { return this.sounds.get(key).buffer.duration; }

  position() { return this.context.currentTime - this.started; }

  count() { // adds what was played since the last call
    if (this.now === null) return;
    const time = this.context.currentTime;
    this.heard.set(this.now, this.heard.get(this.now) + Math.max(0, time - this.since));
    this.since = time;
  }

  play(key) {
    this.count();
    const old = this.now === null ? null : this.sounds.get(this.now);
    const sound = this.sounds.get(key);
    const time = this.context.currentTime + 0.02;
    const together = old && old.group === sound.group;
    if (!together) this.started = time;
    const length = sound.buffer.duration;
    const from = together ? (((time - this.started) % length) + length) % length : 0;
    if (this.node) this.end(time);
    this.gain = this.context.createGain();
    this.gain.gain.setValueAtTime(0, time);
    this.gain.gain.linearRampToValueAtTime(1, time + 0.01);
    this.node = this.context.createBufferSource();
    Object.assign(this.node, { buffer: sound.buffer, loop: true });
    this.node.connect(this.gain).connect(this.context.destination);
    this.node.start(time, from);
    this.now = key;
    this.since = this.context.currentTime;
  }

  end(time) {
    this.gain.gain.cancelScheduledValues(time);
    this.gain.gain.setValueAtTime(1, time);
    this.gain.gain.linearRampToValueAtTime(0, time + 0.01);
    this.node.stop(time + 0.02);
    this.node = null;
  }

  stop() {
    this.count();
    if (this.node) this.end(this.context.currentTime);
    this.now = null;
  }
}
