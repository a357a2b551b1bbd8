// Runs in the audio thread: plays a recording through an effect. A change takes effect in the next
// block, into which the old and the new settings are crossfaded.
import { BLOCK, Core, Effect } from "./engine.js";
import { Pieces } from "./pieces.js";

// Half a cosine: without kinks, which click on low tones.
const FADE = Float64Array.from({ length: BLOCK }, (_, i) => (1 - Math.cos((Math.PI * (i + 1)) / BLOCK)) / 2);

class Live extends AudioWorkletProcessor {
  constructor({ processorOptions }) {
    super();
    const { module, shape, pieces, rate } = processorOptions;
    Object.assign(this, { module, channels: shape.channels, sound: new Pieces(shape) });
    for (const [k, data] of pieces) this.sound.put(k, data);
    this.ratio = rate / sampleRate;
    this.block = Array.from({ length: this.channels }, () => new Float64Array(BLOCK));
    this.before = this.block.map(() => 0); // last sample of the previous block
    this.from = 0; // position of the block's first sample
    this.now = this.twin = this.change = this.start = this.spare = null;
    this.sounding = this.ended = false;
    this.port.onmessage = ({ data }) => this.take(data);
  }

  take({ plan, values, spectra, state, number, start, stop, end, piece, samples }) {
    if (samples) this.sound.put(piece, samples); else if (piece !== undefined) this.sound.drop(piece);
    if (plan) {
      const core = (this.change?.effect?.core ?? this.spare ?? new Core(this.module)).clear();
      const [effect, twin] = [0, 1].map(() => new Effect(core, plan, this.channels, false));
      this.change = { effect, twin, state };
    }
    if (values) {
      const kept = { ...this.change?.spectra, ...spectra };
      this.change = { ...this.change, values, spectra: kept, number };
    }
    if (start) this.start = start;
    if (stop) this.sounding = false;
    if (end) this.ended = true;
  }

  // The settings that wait, in the effect that plays from now on. Two with the same plan take turns,
  // and another plan has another core. Returns the one before.
  turn(smoothly) {
    const { effect, twin, state, values, spectra, number } = this.change, old = this.now;
    this.change = null;
    this.now = effect ?? this.twin;
    this.twin = twin ?? old;
    if (twin) this.spare = old?.core ?? null;
    if (twin) this.twin.set(values, spectra);
    if (effect) effect.restore(state); else this.now.copy(old);
    this.now.set(values, spectra);
    this.port.postMessage({ heard: number });
    return smoothly ? old : null;
  }

  run(effect, to) {
    const first = this.from + effect.plan.latency;
    const io = effect.run((c, x) => this.sound.read(c, first, x));
    to.forEach((t, c) => t.set(io.subarray(c * BLOCK, (c + 1) * BLOCK)));
  }

  advance() {
    this.before = this.block.map((b) => b[BLOCK - 1]);
    this.from += BLOCK;
    const old = this.change ? this.turn(true) : null;
    this.run(this.now, this.block);
    if (!old) return;
    const was = this.block.map((b) => new Float64Array(b.length));
    this.run(old, was);
    this.block.forEach((b, c) => {
      for (let i = 0; i < BLOCK; i++) b[i] = was[c][i] + FADE[i] * (b[i] - was[c][i]);
    });
  }

  begin() {
    const { frame, at, from, state } = this.start;
    this.start = null;
    if (this.change) this.turn(false);
    this.now.restore(state);
    this.from = from - BLOCK;
    this.zero = at - frame * this.ratio;
    this.sounding = true;
  }

  process(inputs, [out]) {
    const size = out[0].length, begins = this.start && currentFrame >= this.start.frame;
    const jumps = begins && this.sounding;
    if (begins) this.begin();
    if (!this.sounding) return !this.ended;
    for (let i = 0; i < size; i++) {
      const at = this.zero + (currentFrame + i) * this.ratio, k = Math.floor(at), part = at - k;
      while (k + (part > 0) >= this.from + BLOCK) this.advance();
      for (let c = 0; c < out.length; c++) {
        const b = this.block[c], j = k - this.from, here = j < 0 ? this.before[c] : b[j];
        out[c][i] = part > 0 ? here + part * (b[j + 1] - here) : here;
      }
    }
    // the jump to another place lies between two quick fades
    const leaves = this.start && currentFrame + size >= this.start.frame;
    for (let i = 0; (jumps || leaves) && i < size; i++) {
      for (const o of out) o[i] *= leaves ? 1 - (i + 1) / size : i / size;
    }
    return !this.ended;
  }
}

registerProcessor("live", Live);
