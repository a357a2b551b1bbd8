// Undo and redo over snapshots.

export class History {
  constructor() { this.clear(); }

  clear() { this.past = []; this.at = -1; }

  put(text) {
    if (this.past[this.at] === text) return;
    this.past = [...this.past.slice(0, this.at + 1), text].slice(-200);
    this.at = this.past.length - 1;
  }

  // The last ``most`` steps; the current one is among them.
  keep(most) {
    const first = Math.max(0, Math.min(this.past.length - most, this.at));
    return JSON.stringify({ past: this.past.slice(first, first + most), at: this.at - first });
  }

  // With the numbers that a server has for the effects; steps of others are left out.
  renumber(numbers) {
    const steps = this.past.map((text) => JSON.parse(text)), stays = (s) => numbers.has(s.effect);
    this.at = Math.max(steps.slice(0, this.at + 1).filter(stays).length - 1, 0);
    this.past = steps.filter(stays).map((s) => JSON.stringify({ ...s, effect: numbers.get(s.effect) }));
    if (!this.past.length) this.clear();
  }

  // Without the steps whose effect is not among ``known``.
  keepOnly(known) { this.renumber(new Map([...known].map((number) => [number, number]))); }

  restore(text) {
    const { past, at } = JSON.parse(text);
    this.past = past;
    this.at = Math.min(Math.max(at, 0), past.length - 1);
    return this.past[this.at];
  }

  get canUndo() { return this.at > 0; }

  get canRedo() { return this.at < this.past.length - 1; }

  undo() { return this.canUndo ? this.past[--this.at] : null; }

  redo() { return this.canRedo ? this.past[++this.at] : null; }
}
