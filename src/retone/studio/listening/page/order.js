// The order of trials and sounds, random for each listener; order.py has the same functions.
"use strict";

function seedOf(text) {
  let value = 0x811c9dc5;
  for (const byte of new TextEncoder().encode(text)) value = Math.imul(value ^ byte, 0x01000193);
  return value >>> 0;
}

class Random {
  constructor(seed) { this.state = seed >>> 0; }

  next() {
    this.state = (this.state + 0x6d2b79f5) >>> 0;
    let t = this.state;
    t = Math.imul(t ^ (t >>> 15), t | 1);
    t ^= t + Math.imul(t ^ (t >>> 7), t | 61);
    return ((t ^ (t >>> 14)) >>> 0) / 4294967296;
  }

  shuffled(items) {
    const found = [...items];
    for (let i = found.length - 1; i > 0; i--) {
      const j = Math.floor(this.next() * (i + 1));
      [found[i], found[j]] = [found[j], found[i]];
    }
    return found;
  }
}

function orderOf(study, listener) {
  const random = new Random(seedOf(`${study.id}:${listener}`));
  return random.shuffled(study.trials.map((_, i) => i)).map((trial) => ({
    trial,
    sounds: random.shuffled(study.trials[trial].stimuli.map((_, i) => i)),
    x: Math.floor(random.next() * 2),
  }));
}
