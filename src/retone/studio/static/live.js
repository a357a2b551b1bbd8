// The effect in the browser's own audio thread: moved sliders take effect in its next block, without
// the server. The page's own instance designs filters and prepares the states to start with.
import { Core, Effect } from "./engine.js";
import { Pieces } from "./pieces.js";

const QUANTUM = 128;
const GONE_MS = 150; // longer than the player's fades

export class Live {
  static async load() {
    if (!self.isSecureContext || !self.AudioWorkletNode) {
      throw new Error("The browser runs effects only over HTTPS or from this machine itself.");
    }
    const answer = await fetch("/static/core.wasm");
    if (!answer.ok) throw new Error((await answer.json()).error);
    try {
      return new Live(await WebAssembly.compile(await answer.arrayBuffer()));
    } catch {
      throw new Error("The browser does not allow WebAssembly here.");
    }
  }

  constructor(module) {
    this.module = module;
    this.core = new Core(module);
    this.effect = this.values = this.node = null;
    this.number = this.turns = this.took = 0;
    this.heard = () => {};
    this.where = () => 0; // the position in seconds
  }

  // Whether the effect at hand can be played; once a context is open.
  get ready() { return this.node !== null && this.effect !== null; }

  // Another recording: [channels][samples] at a rate in Hz, or a Stream.
  load(sound, rate) {
    this.close();
    if (this.sound) this.sound.changed = () => {};
    Object.assign(this, { sound: sound instanceof Pieces ? sound : Pieces.whole(sound), rate, effect: null });
    this.sound.changed = (piece, samples) => this.node?.port.postMessage({ piece, samples });
  }

  // Another effect; without a plan the page leaves it to the server.
  follow(plan, values) {
    const known = plan && this.sound && this.sound.channels <= 2;
    this.effect = known ? new Effect(this.core.clear(), plan, this.sound.channels, true) : null;
    if (known) this.set(values, true);
  }

  set(values, fresh = false) {
    this.values = values;
    if (!this.effect) return 0;
    this.effect.set(values);
    if (!this.node) return 0;
    return fresh ? this.tell() : this.send({ values, spectra: this.effect.designed(), number: ++this.number });
  }

  send(message) { this.node.port.postMessage(message); return this.number; }

  tell() { // all that a node must know of an effect
    for (const f of this.effect.filters) f.changed = true;
    this.prepare(Math.round(this.where() * this.rate));
    return this.send({ plan: this.effect.plan, values: this.values, spectra: this.effect.designed(),
      state: this.effect.save(), number: ++this.number });
  }

  prepare(at) { // and remember how many seconds that takes, for the next start to be in time
    const begun = performance.now();
    const from = this.effect.prepare(this.sound, at);
    this.took = Math.min(0.2, (performance.now() - begun) / 1000);
    return from;
  }

  // A node for the recording in this audio context, which may not have its rate.
  async open(context) {
    if (this.node?.context === context || !this.sound) return;
    const { sound, rate, module } = this;
    await context.audioWorklet.addModule("/static/worklet.js");
    if (sound !== this.sound) return; // another recording came meanwhile
    this.node = new AudioWorkletNode(context, "live", { numberOfInputs: 0,
      outputChannelCount: [sound.channels],
      processorOptions: { module, shape: sound.shape, pieces: [...sound.pieces], rate } });
    this.node.port.onmessage = ({ data }) => this.heard(data.heard);
    if (this.effect) this.tell();
  }

  close() {
    this.node?.port.postMessage({ end: true });
    this.node?.disconnect();
    this.node = null;
  }

  // Play from `position` seconds on at the context's time `when`; the result is used like a source node.
  begin(when, position) {
    const { node, effect } = this, { context } = node, turn = ++this.turns;
    const frame = Math.ceil((when * context.sampleRate) / QUANTUM - 1e-6) * QUANTUM;
    const late = frame / context.sampleRate - when;
    const at = Math.round((position + late) * this.rate);
    const from = this.prepare(at);
    this.send({ start: { frame, at, from, state: effect.save() } });
    let gain = null;
    return {
      connect: (to) => { gain = to; return node.connect(to); },
      stop: () => setTimeout(() => {
        try { node.disconnect(gain); } catch { /* the node was closed */ }
        if (turn === this.turns) node.port.postMessage({ stop: true });
      }, GONE_MS),
    };
  }
}
