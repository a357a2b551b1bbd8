// A blind test: X is before or after, equally loud; which one? Score and chance of guessing it.
const $ = (id) => document.getElementById(id);

// The chance of at least ``right`` of ``count`` by guessing.
export function chance(right, count) {
  let total = 0, ways = 1; // ways: count over k
  for (let k = 0; k <= count; k++) {
    if (k >= right) total += ways;
    ways = (ways * (count - k)) / (k + 1);
  }
  return total / 2 ** count;
}

export class Blind {
  // callbacks: fair(on) makes all tracks equally loud
  constructor(player, fair) {
    this.player = player;
    this.fair = fair;
    $("blind").addEventListener("click", () => this.open());
    $("blind-dialog").addEventListener("close", () => this.leave());
    $("blind-close").addEventListener("click", () => $("blind-dialog").close());
    for (const name of ["A", "B", "X"]) $(`blind-${name}`).addEventListener("click", () => this.hear(name));
    for (const name of ["A", "B"]) $(`blind-is-${name}`).addEventListener("click", () => this.answer(name));
  }

  async open() {
    this.right = this.count = 0;
    this.was = this.player.heard;
    this.player.blind = true;
    this.fair(true);
    this.next();
    $("blind-dialog").showModal();
    if (!this.player.playing) await this.player.play();
  }

  leave() {
    this.player.blind = false;
    this.fair(false);
    this.player.hear(this.was);
  }

  next() {
    const swap = crypto.getRandomValues(new Uint8Array(2));
    this.tracks = swap[0] % 2 ? { A: "before", B: "after" } : { A: "after", B: "before" };
    this.x = swap[1] % 2 ? "A" : "B";
    this.tracks.X = this.tracks[this.x];
    this.known = new Set();
    this.hear("A");
  }

  hear(name) {
    this.known.add(name);
    this.player.hear(this.tracks[name]);
    for (const n of ["A", "B", "X"]) $(`blind-${n}`).setAttribute("aria-pressed", String(n === name));
    const ready = this.known.size === 3;
    for (const n of ["A", "B"]) $(`blind-is-${n}`).disabled = !ready;
    $("blind-hint").textContent = ready ? "Which one is X?" : "Listen to A, B and X; then say which one X is.";
  }

  answer(name) {
    this.count += 1;
    this.right += Number(name === this.x);
    const p = chance(this.right, this.count);
    const judged = this.count < 5 ? "Five answers are the least that can tell."
      : p < 0.05 ? "You hear the difference." : "This could be guessing.";
    $("blind-score").textContent = `${this.right} of ${this.count} right; guessing would do as well with a probability of ${p.toPrecision(2)} (p). ${judged}`;
    this.next();
  }
}
