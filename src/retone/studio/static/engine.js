// Effects on the functions of the C core, as a plan says (retone/studio/live.py): the same code
// prepares them in the page and runs them in the audio thread.

export const BLOCK = 128;
const PEAK = 0;
const LEVELS = 64; // samples between the states that the compressor writes, as in dynamics.h
const SPECTRUM = 512; // numbers of a part's spectrum, as in fir.c
const WARM_S = 0.5, SETTLE_S = 1;

// One instance of the module and its memory; addresses are in bytes, `f64` sees all of it. Browsers
// reserve gigabytes of addresses for each, so instances are used again.
export class Core {
  constructor(module) {
    this.c = new WebAssembly.Instance(module, {}).exports;
    this.c._initialize?.();
    this.top = this.c.__heap_base.value;
    this.see();
  }

  clear() { // all memory is free again
    const start = this.c.__heap_base.value;
    this.f64.fill(0, Math.ceil(start / 8), Math.ceil(this.top / 8));
    this.top = start;
    return this;
  }

  see() { this.f64 = new Float64Array(this.c.memory.buffer, 0, this.c.memory.buffer.byteLength >> 3); }

  take(numbers) { // zeros, from a cache line on
    const at = (this.top + 63) & ~63;
    this.top = at + 8 * numbers;
    const missing = this.top - this.c.memory.buffer.byteLength;
    if (missing > 0) { this.c.memory.grow(Math.ceil(missing / 65536)); this.see(); }
    return at;
  }

  part(at, numbers) { return this.f64.subarray(at >> 3, (at >> 3) + numbers); }

  put(at, values) { this.f64.set(values, at >> 3); }
}

const value = (ref, values) => (typeof ref === "number" ? ref : values[ref]);
const middle = (refs, values) => Math.sqrt(value(refs[0], values) * value(refs[refs.length - 1], values));

// A stage changes `x`, its rows of n <= BLOCK samples, in place. `states` are what it remembers.
class Stage {
  constructor(core) { this.core = core; this.states = []; this.parts = []; }

  remember(numbers) { // of a few numbers that must not be denormal, or many of which that is unlikely
    const at = this.core.take(numbers);
    this.states.push([at, numbers]);
    return at;
  }

  set(values, given) { for (const p of this.parts) p.set(values, given); }

  all() { return [this, ...this.parts.flatMap((p) => p.all())]; }

  get warms() { return false; }
}

// Second-order sections in series: one set for each group of `channels` rows.
class Sections extends Stage {
  constructor(core, { sets }, channels) {
    super(core);
    this.count = Math.max(...sets.map((s) => s.length));
    const none = { kind: PEAK, hz: [1000], gain_db: 0, q: 1 };
    this.sets = sets.map((s) => [...s, ...Array(this.count - s.length).fill(none)]);
    this.rows = sets.length * channels;
    this.channels = BigInt(channels);
    this.kinds = core.take(sets.length * this.count);
    this.values = core.take(3 * this.count);
    this.sos = core.take(5 * sets.length * this.count);
    this.size = 2 * this.rows * this.count;
    this.state = this.remember(this.size);
    this.scratch = core.take(Number(core.c.rt_sections_scratch(BigInt(this.count), 0)));
    const kinds = this.sets.flat().map((s) => BigInt(s.kind));
    new BigInt64Array(core.c.memory.buffer, this.kinds, kinds.length).set(kinds);
  }

  set(values) {
    const { core, count } = this, at = this.values;
    this.sets.forEach((sections, k) => {
      core.put(at, [...sections.map((s) => middle(s.hz, values)),
        ...sections.map((s) => value(s.gain_db, values)), ...sections.map((s) => value(s.q, values))]);
      core.c.rt_design_forward(this.kinds + 8 * k * count, at, at + 8 * count, at + 16 * count,
        this.sos + 40 * k * count, 1n, BigInt(count), core.rate, core.topOfBand);
    });
  }

  run(x, n) {
    this.core.c.rt_sections_forward(x, this.sos, this.state, x, this.state, 0, this.scratch, BigInt(n),
      BigInt(this.count), this.channels, 0, 0n, BigInt(this.rows));
    const s = this.core.part(this.state, this.size); // WebAssembly cannot flush denormals
    for (let i = 0; i < s.length; i++) if (Math.abs(s[i]) < 1e-100) s[i] = 0;
  }
}

// Compressors: one for each group of `channels` rows.
class Dynamics extends Stage {
  constructor(core, { rows, expander, smooth }, channels) {
    super(core);
    Object.assign(this, { rows, expander: Number(expander), smooth, channels: BigInt(channels) });
    this.values = core.take(9 * rows.length);
    this.params = core.take(9 * rows.length);
    this.state = this.remember(3 * rows.length);
    this.blocks = core.take(3 * rows.length * (BLOCK / LEVELS + 1));
    this.scratch = core.take(Number(core.c.rt_compress_scratch(this.channels)));
  }

  get warms() { return true; }

  set(values) {
    const { core, rows } = this;
    core.put(this.values, rows.flatMap((row) => row.map((ref) => value(ref, values))));
    core.c.rt_design_dynamics(this.values, this.params, BigInt(rows.length), core.rate);
  }

  run(x, n, y = x) {
    const { core, channels, expander } = this, rows = BigInt(this.rows.length);
    if (this.smooth === "gain") {
      core.c.rt_compress_linear(x, y, this.params, this.state, this.scratch, channels, BigInt(n), expander, 0,
        0n, rows);
      return;
    }
    core.c.rt_compress_forward(x, y, 0, this.blocks, this.params, this.state, this.scratch, channels,
      BigInt(n), expander, 0, 0n, rows);
    const last = Math.ceil(n / LEVELS), f = core.f64;
    for (let r = 0; r < this.rows.length; r++) {
      for (let i = 0; i < 3; i++) {
        f[(this.state >> 3) + 3 * r + i] = f[(this.blocks >> 3) + 3 * (r * (last + 1) + last) + i];
      }
    }
  }
}

// A compressor in each band. Bands are the split's outputs, or where they are `subtracted` the
// differences of its low-passes; then what the compressors change is added to the input.
class Bands extends Stage {
  constructor(core, { sets, subtracted, dynamics }, channels) {
    super(core);
    this.subtracted = subtracted;
    this.channels = channels;
    this.splits = sets.length;
    this.count = dynamics.rows.length;
    this.parts = [new Sections(core, { sets }, channels), new Dynamics(core, dynamics, channels)];
    this.low = core.take(this.splits * channels * BLOCK);
    this.bands = core.take(this.count * channels * BLOCK);
    this.shaped = core.take(this.count * channels * BLOCK);
  }

  get warms() { return true; }

  run(x, n) {
    const { core, splits, count, subtracted } = this, size = this.channels * n, f = core.f64;
    const [split, dynamics] = this.parts, at = x >> 3, low = this.low >> 3;
    for (let k = 0; k < splits; k++) f.copyWithin(low + k * size, at, at + size);
    split.run(this.low, n);
    const bands = subtracted ? this.bands : this.low, b = bands >> 3, s = this.shaped >> 3;
    for (let k = 0; subtracted && k < count; k++) {
      for (let i = 0; i < size; i++) {
        const here = k < splits ? f[low + k * size + i] : f[at + i];
        f[b + k * size + i] = k ? here - f[low + (k - 1) * size + i] : here;
      }
    }
    dynamics.run(bands, n, this.shaped);
    for (let i = 0; i < size; i++) {
      let sum = subtracted ? f[at + i] : 0;
      for (let k = 0; k < count; k++) sum += f[s + k * size + i] - (subtracted ? f[b + k * size + i] : 0);
      f[at + i] = sum;
    }
  }
}

// A FIR filter. Designing the curve's takes longer than a block, so only the page does it (`designs`);
// the audio thread gets the spectra in `given`, by the filter's number.
class Fir extends Stage {
  constructor(core, node, channels) {
    super(core);
    Object.assign(this, node, { channels: BigInt(channels), designs: core.designs });
    this.number = core.filters++;
    this.spectraSize = SPECTRUM * Math.ceil(node.count / BLOCK);
    this.spectra = core.take(this.spectraSize);
    this.state = this.remember(2 * BLOCK + 1 + this.spectraSize);
    this.block = core.take(2 * BLOCK);
    this.scratch = core.take(2 * SPECTRUM);
    this.table = this.tableOf(2 * BLOCK);
    if (!this.designs) return;
    this.response = core.take(node.count);
    if (node.taps) core.put(this.response, node.taps);
    else this.room();
    this.changed = true;
    if (node.taps) core.c.rt_fir_spectra(this.response, this.spectra, this.table, this.scratch, BigInt(node.count));
  }

  tableOf(size) {
    const at = this.core.take(size);
    this.core.c.rt_fft_table(at, BigInt(size));
    return at;
  }

  room() {
    const size = Number(this.core.c.rt_curve_size(BigInt(this.reach)));
    this.points = this.core.take(this.gains.length);
    this.long = this.tableOf(size);
    this.work = this.core.take(4 * size);
  }

  set(values, given) {
    const { core } = this;
    if (given?.[this.number]) core.put(this.spectra, given[this.number]);
    if (!this.designs || !this.gains) return;
    const gains = this.gains.map((n) => values[n]);
    if (this.made && gains.every((g, i) => g === this.made[i])) return;
    this.made = gains;
    this.changed = true;
    core.put(this.points, gains);
    core.c.rt_curve_taps(this.points, this.response, this.long, this.work, BigInt(gains.length),
      BigInt(this.reach), this.lowest_hz, core.rate, Number(this.linear));
    core.c.rt_fir_spectra(this.response, this.spectra, this.table, this.scratch, BigInt(this.count));
  }

  run(x, n) { // after a shorter block this state is not used again
    const f = this.core.f64, at = x >> 3, b = this.block >> 3, channels = Number(this.channels);
    for (let c = 0; c < channels; c++) {
      f.fill(0, b + c * BLOCK + n, b + (c + 1) * BLOCK);
      f.copyWithin(b + c * BLOCK, at + c * n, at + (c + 1) * n);
    }
    this.core.c.rt_fir_block(this.block, this.spectra, this.state, this.table, this.scratch, this.channels,
      BigInt(this.spectraSize / SPECTRUM));
    for (let c = 0; c < channels; c++) f.copyWithin(at + c * n, b + c * BLOCK, b + c * BLOCK + n);
  }
}

class NoiseReduction extends Stage {
  constructor(core, { size, constants, amount, sensitivity }, channels) {
    super(core);
    Object.assign(this, { size, amount, sensitivity, channels: BigInt(channels), learns: constants.length });
    const bins = size / 2 + 1;
    // past, removed, noise, speech, before, and where a frame is
    this.carried = [channels * size, channels * size, bins, bins, bins, 2].map((n) => this.remember(n));
    this.constants = core.take(constants.length + 2);
    core.put(this.constants, constants);
    this.window = core.take(size);
    core.put(this.window, Array.from({ length: size }, (_, i) => Math.sin((Math.PI * i) / size)));
    this.table = core.take(size);
    core.c.rt_fft_table(this.table, BigInt(size));
    this.scratch = core.take(Number(core.c.rt_noise_scratch(this.channels, BigInt(size))));
  }

  set(values) {
    const louder = 10 ** (values[this.sensitivity] / 10), nepers = (values[this.amount] * Math.LN10) / 20;
    this.core.put(this.constants + 8 * this.learns, [louder, nepers]);
  }

  run(x, n) {
    this.core.c.rt_noise_forward(x, ...this.carried, this.constants, this.window, this.table, this.scratch,
      this.channels, BigInt(n), BigInt(this.size));
  }
}

class Gain extends Stage {
  constructor(core, node, channels) { super(core); this.ref = node.value; this.channels = channels; }

  set(values) { this.factor = 10 ** (value(this.ref, values) / 20); }

  run(x, n) {
    const f = this.core.part(x, this.channels * n);
    for (let i = 0; i < f.length; i++) f[i] *= this.factor;
  }
}

class Chain extends Stage {
  constructor(core, { members }, channels) {
    super(core);
    this.parts = members.map((m) => stage(core, m, channels));
  }

  run(x, n) { for (const p of this.parts) p.run(x, n); }
}

class MidSide extends Stage {
  constructor(core, { mid, side, width }, channels) {
    super(core);
    this.stereo = channels === 2;
    this.parts = (this.stereo ? [mid, side] : [mid]).map((m) => stage(core, m, 1));
    this.ref = width;
    this.rows = [core.take(BLOCK), core.take(BLOCK)];
  }

  set(values, given) { super.set(values, given); this.width = 10 ** (values[this.ref] / 20); }

  encode(l, r) { return [l.map((v, i) => (v + r[i]) / 2), l.map((v, i) => (v - r[i]) / 2)]; }

  decode(m, s) { return [m.map((v, i) => v + this.width * s[i]), m.map((v, i) => v - this.width * s[i])]; }

  run(x, n) {
    if (!this.stereo) { this.parts[0].run(x, n); return; }
    const f = this.core.f64, at = x >> 3, [m, s] = this.rows.map((r) => r >> 3);
    for (let i = 0; i < n; i++) {
      const l = f[at + i], r = f[at + n + i];
      f[m + i] = (l + r) / 2; f[s + i] = (l - r) / 2;
    }
    this.parts.forEach((p, i) => p.run(this.rows[i], n));
    for (let i = 0; i < n; i++) {
      const side = this.width * f[s + i];
      f[at + i] = f[m + i] + side; f[at + n + i] = f[m + i] - side;
    }
  }
}

const STAGES = { sections: Sections, dynamics: Dynamics, bands: Bands, fir: Fir, gain: Gain, chain: Chain, mid_side: MidSide,
  noise_reduction: NoiseReduction };
const stage = (core, node, channels) => new STAGES[node.do](core, node, channels);

// A whole effect. Where it `designs`, it makes its own filters.
export class Effect {
  constructor(core, plan, channels, designs) {
    const { rate } = plan;
    this.core = Object.assign(core, { rate, topOfBand: plan.top_of_band * rate, designs, filters: 0 });
    this.plan = plan;
    this.channels = channels;
    this.io = this.core.take(Math.max(2, channels) * BLOCK);
    this.root = stage(this.core, plan.effect, channels);
    this.stages = this.root.all();
    this.states = this.stages.flatMap((s) => s.states);
    this.filters = this.stages.filter((s) => s instanceof Fir);
  }

  set(values, given) { this.root.set(values, given); }

  // Spectra of the filters designed since the last call, by number.
  designed() {
    const found = {};
    for (const f of this.filters) if (f.changed) found[f.number] = this.core.part(f.spectra, f.spectraSize).slice();
    for (const f of this.filters) f.changed = false;
    return found;
  }

  // Run `n` samples of `at` on, which `read` writes to an array for each channel; the result is a view.
  run(read, n = BLOCK, root = this.root, channels = this.channels) {
    const io = this.core.part(this.io, channels * n);
    for (let c = 0; c < channels; c++) read(c, io.subarray(c * n, (c + 1) * n));
    root.run(this.io, n);
    return io;
  }

  save() {
    const found = new Float64Array(this.states.reduce((n, [, size]) => n + size, 0));
    let at = 0;
    for (const [from, size] of this.states) { found.set(this.core.part(from, size), at); at += size; }
    return found;
  }

  restore(saved) {
    let at = 0;
    for (const [to, size] of this.states) {
      if (saved) this.core.put(to, saved.subarray(at, at + size)); else this.core.part(to, size).fill(0);
      at += size;
    }
  }

  // The states and filters of another instance with the same plan.
  copy(other) {
    this.states.forEach(([to, size], i) => this.core.put(to, other.core.part(other.states[i][0], size)));
    this.filters.forEach((f, i) => this.core.put(f.spectra, other.core.part(other.filters[i].spectra, f.spectraSize)));
  }

  // Rows through one stage, from the states that it has.
  through(root, rows) {
    const out = rows.map((r) => new Float64Array(r.length));
    for (let at = 0; at < rows[0].length; at += BLOCK) {
      const n = Math.min(BLOCK, rows[0].length - at);
      const io = this.run((c, to) => to.set(rows[c].subarray(at, at + n)), n, root, rows.length);
      out.forEach((r, c) => r.set(io.subarray(c * n, (c + 1) * n), at));
    }
    return out;
  }

  // As Effect.warm_state: dynamics begin as after the beginning played backwards.
  warm(rows, root = this.root) {
    if (root instanceof Chain) return root.parts.reduce((r, p) => this.warm(r, p), rows);
    if (root instanceof MidSide) {
      if (!root.stereo) return this.warm(rows, root.parts[0]);
      const parts = root.encode(...rows).map((r, i) => this.warm([r], root.parts[i])[0]);
      return root.decode(...parts);
    }
    const states = root.all().flatMap((s) => s.states);
    for (const [at, size] of states) this.core.part(at, size).fill(0);
    if (root.warms) this.through(root, rows.map((r) => r.slice().reverse()));
    const kept = states.map(([at, size]) => this.core.part(at, size).slice());
    const out = this.through(root, rows);
    states.forEach(([at], i) => this.core.put(at, kept[i]));
    return out;
  }

  beginning(sound, n) {
    return Array.from({ length: sound.channels }, (_, c) => sound.read(c, 0, new Float64Array(n)));
  }

  // Come into the state in which position `at` of a recording is played. Returns the position of the
  // block to go on with: at most a block before it. `sound` are Pieces.
  prepare(sound, at) {
    const { rate, latency } = this.plan;
    const begin = Math.max(0, at + latency - Math.round(SETTLE_S * rate));
    if (begin) this.restore(null);
    else this.warm(this.beginning(sound, Math.min(sound.length, Math.round(WARM_S * rate))));
    const end = begin + Math.floor((at + latency - begin) / BLOCK) * BLOCK;
    for (let i = begin; i < end; i += BLOCK) this.run((c, to) => sound.read(c, i, to));
    return end - latency;
  }
}
