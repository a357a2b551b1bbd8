// A recording in pieces of `size` samples that repeats without end; a missing piece reads as silence.
export class Pieces {
  constructor({ channels, length, size = length }) {
    Object.assign(this, { channels, length, size });
    this.pieces = new Map(); // number -> samples of each channel
  }

  static whole(data) {
    const made = new Pieces({ channels: data.length, length: data[0].length });
    made.put(0, data);
    return made;
  }

  get shape() { return { channels: this.channels, length: this.length, size: this.size }; }

  put(k, data) { this.pieces.set(k, data); }

  drop(k) { this.pieces.delete(k); }

  read(channel, first, to) {
    const { length, size, pieces } = this;
    for (let done = 0; done < to.length;) {
      const i = (((first + done) % length) + length) % length, k = Math.floor(i / size), from = i - k * size;
      const n = Math.min(to.length - done, size - from, length - i), piece = pieces.get(k)?.[channel];
      if (piece) to.set(piece.subarray(from, from + n), done); else to.fill(0, done, done + n);
      done += n;
    }
    return to;
  }
}
