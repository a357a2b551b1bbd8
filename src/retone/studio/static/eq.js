// Spectra and response curves; every band has a handle that mouse, touch and keys move.
import { hertz } from "./scale.js";

const NS = "http://www.w3.org/2000/svg";
const PAD = { left: 34, right: 10, top: 8, bottom: 18 };
const MOST_DB = 24;

function make(tag, attributes = {}, parent = null) {
  const e = document.createElementNS(NS, tag);
  for (const [k, v] of Object.entries(attributes)) e.setAttribute(k, v);
  if (parent) parent.append(e);
  return e;
}

// callbacks: change(values, done), reset(names), pick(names)
export class Eq {
  constructor(box, callbacks) {
    this.box = box;
    this.callbacks = callbacks;
    this.svg = make("svg", { role: "group", "aria-label": "Equaliser curve" });
    this.tip = Object.assign(document.createElement("div"), { id: "tip" });
    box.append(this.svg, this.tip);
    this.held = null;
    this.limit = 12;
    new ResizeObserver(() => this.draw()).observe(box);
    this.svg.addEventListener("pointermove", (e) => this.move(e));
    this.svg.addEventListener("pointerup", (e) => this.release(e));
    this.svg.addEventListener("pointercancel", (e) => this.release(e));
  }

  show(data) {
    this.data = data; // {frequency, response, spectra, params}
    this.draw();
  }

  x(f) {
    const [a, b] = this.range;
    return PAD.left + (Math.log(f / a) / Math.log(b / a)) * (this.w - PAD.left - PAD.right);
  }

  y(db) {
    return PAD.top + ((this.limit - db) / (2 * this.limit)) * (this.h - PAD.top - PAD.bottom);
  }

  frequencyAt(x) {
    const [a, b] = this.range;
    return a * (b / a) ** ((x - PAD.left) / (this.w - PAD.left - PAD.right));
  }

  gainAt(y) {
    return this.limit - ((y - PAD.top) / (this.h - PAD.top - PAD.bottom)) * 2 * this.limit;
  }

  draw() {
    const d = this.data;
    const box = this.box.getBoundingClientRect();
    if (!d || box.width < 40) return;
    this.w = box.width;
    this.h = box.height;
    this.range = [20, d.frequency[d.frequency.length - 1]];
    if (!this.held) this.limit = this.reach();
    const focused = document.activeElement?.dataset?.band;
    this.svg.replaceChildren();
    this.svg.setAttribute("viewBox", `0 0 ${this.w} ${this.h}`);
    this.grid();
    this.spectra();
    if (d.response) { this.curves(d.response); this.edges(d.response); this.handles(d.response); }
    if (focused !== undefined && focused !== null) {
      this.svg.querySelector(`[data-band="${focused}"]`)?.focus({ preventScroll: true });
    }
  }

  reach() {
    const r = this.data.response;
    if (!r) return 12;
    const most = Math.max(...r.total_db.map((v) => Math.abs(v ?? 0)),
      ...r.bands.map((b) => Math.abs(b.full_gain_db)));
    return most > 17 ? MOST_DB : most > 11 ? 18 : 12;
  }

  grid() {
    for (const f of [20, 50, 100, 200, 500, 1000, 2000, 5000, 10000, 20000]) {
      if (f > this.range[1]) continue;
      make("line", { class: "grid", x1: this.x(f), x2: this.x(f), y1: PAD.top, y2: this.h - PAD.bottom }, this.svg);
      const end = f === 20 ? "start" : f >= 0.9 * this.range[1] ? "end" : "middle";
      make("text", { x: this.x(f), y: this.h - 4, "text-anchor": end }, this.svg)
        .textContent = f < 1000 ? f : `${f / 1000}k`;
    }
    const step = this.limit > 12 ? 6 : 3;
    for (let g = -this.limit; g <= this.limit; g += step) {
      make("line", { class: g ? "grid" : "grid zero", x1: PAD.left, x2: this.w - PAD.right, y1: this.y(g), y2: this.y(g) }, this.svg);
      if (g % (2 * step) === 0 || this.h > 240) {
        make("text", { x: PAD.left - 6, y: this.y(g) + 4, "text-anchor": "end" }, this.svg).textContent = (g > 0 ? "+" : "") + g;
      }
    }
  }

  // Spectra share the frequency axis; their own axis spans 78 dB.
  spectra() {
    const { spectra, frequency } = this.data;
    const known = Object.values(spectra).flatMap((s) => s.db.filter((v) => v !== null));
    if (!known.length) return;
    const top = Math.max(...known) + 4;
    const y = (v) => PAD.top + ((top - v) / 78) * (this.h - PAD.top - PAD.bottom);
    const floor = this.h - PAD.bottom;
    for (const name of ["before", "reference", "after"]) {
      const s = spectra[name];
      if (!s) continue;
      const points = [];
      s.db.forEach((v, i) => { if (v !== null) points.push([this.x(frequency[i]), Math.min(floor, y(v))]); });
      if (points.length < 2) continue;
      const path = points.map((p) => p.map((v) => v.toFixed(1)).join(",")).join("L");
      if (name === "before") {
        make("path", { class: "specfill", d: `M${points[0][0]},${floor}L${path}L${points[points.length - 1][0]},${floor}Z` }, this.svg);
      }
      make("path", { class: `spec ${name}`, d: `M${path}` }, this.svg);
    }
  }

  path(values) {
    const f = this.data.frequency;
    const floor = this.h - PAD.bottom;
    return values.map((v, i) =>
      `${i ? "L" : "M"}${this.x(f[i]).toFixed(1)},${Math.max(PAD.top, Math.min(floor, this.y(v ?? -200))).toFixed(1)}`).join("");
  }

  curves(r) {
    const zero = this.y(0);
    const right = this.w - PAD.right;
    if (!r.edges.length) {
      r.bands.forEach((b, i) => {
        if (Math.abs(b.gain_db) < 0.05 || !b.response_db.length) return;
        make("path", { class: "band", fill: `var(--b${(i % 6) + 1})`, d: `${this.path(b.response_db)}L${right},${zero}L${PAD.left},${zero}Z` }, this.svg);
      });
    }
    make("path", { class: "total", d: this.path(r.total_db) }, this.svg);
  }

  edges(r) {
    r.edges.forEach((e, i) => {
      const x = this.x(e.hz);
      make("line", { class: "edge-line", x1: x, x2: x, y1: PAD.top, y2: this.h - PAD.bottom }, this.svg);
      const grip = make("line", { class: "edge-grip", x1: x, x2: x, y1: PAD.top, y2: this.h - PAD.bottom }, this.svg);
      grip.addEventListener("pointerdown", (event) => this.hold(event, { x: e.x, label: `Crossover ${i + 1}` }));
    });
  }

  handles(r) {
    const many = r.bands.length > 12; // the gains of a curve: small handles without numbers
    r.bands.forEach((b, i) => {
      if (!b.y) return;
      const f = Math.min(b.frequency_hz, 0.98 * this.range[1]);
      const at = `translate(${this.x(f).toFixed(1)},${this.y(b.full_gain_db).toFixed(1)})`;
      const colour = many ? "var(--after)" : `var(--b${(i % 6) + 1})`;
      const node = make("g", {
        class: "node", transform: at, tabindex: 0, role: "slider", "data-band": i, "data-param": b.y,
        "aria-label": b.label, "aria-orientation": "vertical", "aria-valuenow": b.full_gain_db.toFixed(1),
        "aria-valuetext": this.words(b),
      }, this.svg);
      make("circle", { class: "halo", r: many ? 11 : 17, fill: colour }, node);
      make("circle", { class: "handle", r: many ? 5 : 10, fill: colour }, node);
      if (!many) make("text", { class: "handle-text", y: 4 }, node).textContent = i + 1;
      node.addEventListener("pointerdown", (e) => this.hold(e, b, node));
      node.addEventListener("pointerenter", () => this.say(b));
      node.addEventListener("pointerleave", () => { if (!this.held) this.tip.style.display = "none"; });
      node.addEventListener("focus", () => this.callbacks.pick([b.y, b.x, b.q]));
      node.addEventListener("keydown", (e) => this.keys(e, b));
      node.addEventListener("wheel", (e) => this.wheel(e, b), { passive: false });
      node.addEventListener("dblclick", () => this.callbacks.reset([b.x, b.y, b.q].filter(Boolean)));
    });
  }

  words(b) {
    const q = b.q ? `, Q ${this.data.value(b.q).toFixed(2)}` : "";
    if (!b.response_db.length) return `${b.label}: ${b.full_gain_db.toFixed(1)} dB`;
    return `${b.label}: ${hertz(b.frequency_hz)}, ${b.full_gain_db.toFixed(1)} dB${q}`;
  }

  say(b) {
    this.tip.textContent = this.words(b);
    this.tip.style.display = "block";
    const left = Math.min(this.w - this.tip.offsetWidth - 4, Math.max(4, this.x(b.frequency_hz) + 14));
    this.tip.style.left = `${left}px`;
    this.tip.style.top = `${Math.max(2, this.y(b.full_gain_db) - 46)}px`;
  }

  hold(event, band, node = null) {
    if (event.button) return;
    event.preventDefault();
    node?.focus({ preventScroll: true });
    this.held = { band, moved: false };
    this.svg.setPointerCapture(event.pointerId);
  }

  move(event) {
    if (!this.held) return;
    const box = this.box.getBoundingClientRect();
    const { band } = this.held;
    const values = {};
    if (band.x) values[band.x] = this.frequencyAt(event.clientX - box.left);
    if (band.y) values[band.y] = this.gainAt(event.clientY - box.top);
    this.held.moved = true;
    this.callbacks.change(values, false);
    this.follow(band);
  }

  // The handle goes with the pointer at once; its curve comes from the server a moment later.
  follow(band) {
    const node = band.y && this.svg.querySelector(`[data-param="${band.y}"]`);
    if (!node) return;
    const f = band.x ? this.data.value(band.x) : band.frequency_hz;
    const at = [this.x(Math.min(f, 0.98 * this.range[1])), this.y(this.data.value(band.y))];
    node.setAttribute("transform", `translate(${at[0].toFixed(1)},${at[1].toFixed(1)})`);
    this.say({ ...band, frequency_hz: f, full_gain_db: this.data.value(band.y) });
  }

  release(event) {
    if (!this.held) return;
    const { moved } = this.held;
    this.held = null;
    this.svg.releasePointerCapture(event.pointerId);
    this.tip.style.display = "none";
    if (moved) this.callbacks.change({}, true);
  }

  keys(event, b) {
    const step = event.shiftKey ? 0.1 : 0.5;
    const turn = event.shiftKey ? 1.01 : 1.06;
    const now = (n) => this.data.value(n);
    const moves = {
      ArrowUp: b.y && { [b.y]: now(b.y) + step },
      ArrowDown: b.y && { [b.y]: now(b.y) - step },
      ArrowRight: b.x && { [b.x]: now(b.x) * turn },
      ArrowLeft: b.x && { [b.x]: now(b.x) / turn },
      PageUp: b.q && { [b.q]: now(b.q) * turn },
      PageDown: b.q && { [b.q]: now(b.q) / turn },
    };
    const move = moves[event.key];
    if (!move) return;
    event.preventDefault();
    event.stopPropagation();
    this.callbacks.change(move, true);
  }

  wheel(event, b) {
    if (!b.q) return;
    event.preventDefault();
    this.callbacks.change({ [b.q]: this.data.value(b.q) * (event.deltaY < 0 ? 1.08 : 1 / 1.08) }, true);
  }
}
