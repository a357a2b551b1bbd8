// Undo and redo over snapshots.

export class History {
  constructor() { this.clear(); }

  clear() { this.past = []; this.at = -1; }

  put(text) {
    if (this.past[this.at] === text) return;
    this.past = [...this.past.slice(0, this.at + 1), text].slice(-200);
    this.at = this.past.length - 1;
  }

  keep() { return JSON.stringify({ past: this.past.slice(-60), at: this.at - Math.max(0, this.past.length - 60) }); }

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
