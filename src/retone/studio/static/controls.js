// Sliders for every parameter of the current effect, from its table; the page names no parameter.
import { shown, tidy, toUnit, toValue } from "./scale.js";

const STEPS = 1000;
const NS = "http://www.w3.org/2000/svg";
const PATHS = {
  reset: "M3 8a5 5 0 1 0 1.6-3.7M4.5 1.5v3h3",
  lock: "M5 7V5a3 3 0 0 1 6 0v2M3.5 7h9v6.5h-9z",
};

function icon(name) {
  const svg = document.createElementNS(NS, "svg");
  svg.setAttribute("viewBox", "0 0 16 16");
  svg.setAttribute("aria-hidden", "true");
  const path = document.createElementNS(NS, "path");
  path.setAttribute("d", PATHS[name]);
  svg.append(path);
  return svg;
}

function element(tag, properties = {}, ...children) {
  const e = Object.assign(document.createElement(tag), properties);
  e.append(...children);
  return e;
}

// callbacks: change(values, done), reset(names), lock(name, on), solo(stem or null)
export class Controls {
  constructor(box, callbacks) {
    this.box = box;
    this.callbacks = callbacks;
    this.rows = new Map();
    this.groups = new Map();
  }

  build(stages) {
    this.box.replaceChildren();
    this.rows.clear();
    this.groups.clear();
    for (const stage of stages) {
      if (!stage.params.length) continue;
      const body = element("details", { className: "stage", open: true }, element("summary", { textContent: stage.title }));
      const names = [...new Set(stage.params.map((p) => p.group))];
      for (const name of names) {
        const own = stage.params.filter((p) => p.group === name);
        body.append(name ? this.group(name, own) : element("div", {}, ...own.map((p) => this.row(p))));
      }
      this.box.append(body);
    }
  }

  group(name, params) {
    const about = element("small");
    const gains = params.filter((p) => p.role === "gain");
    const stem = gains.length === 1 && gains[0].name;
    const details = element("details", { className: "group" }, element("summary", {}, name, about), ...params.map((p) => this.row(p)));
    params.forEach((p) => this.groups.set(p.name, { details, about, params }));
    const whole = element("div", { className: "grouped" }, details);
    if (stem) {
      const solo = element("button", { className: "solo", textContent: "Solo", title: "Solo this band", type: "button" });
      solo.dataset.solo = stem;
      solo.setAttribute("aria-pressed", "false");
      solo.setAttribute("aria-label", `Solo ${name}`);
      solo.addEventListener("click", () => {
        this.callbacks.solo(solo.getAttribute("aria-pressed") === "true" ? null : stem);
      });
      whole.append(solo); // not in the summary: a control has no controls inside
      whole.classList.add("has-solo");
    }
    return whole;
  }

  row(p) {
    const id = `p-${p.name}`;
    const slider = element("input", { type: "range", min: 0, max: STEPS, step: 1, id, title: p.help });
    const field = element("input", { type: "text", inputMode: "decimal" });
    field.setAttribute("aria-label", `${p.group} ${p.label}, ${p.low} to ${p.high} ${p.unit}`.trim());
    const range = `${p.help} ${p.low} to ${p.high} ${p.unit}`;
    const reset = element("button", { className: "icon reset", title: "Reset to the matched value", type: "button" }, icon("reset"));
    reset.setAttribute("aria-label", `Reset ${p.group} ${p.label}`);
    const lock = element("button", { className: "icon lock", title: "Lock this value: Match and Amount do not change it", type: "button" }, icon("lock"));
    lock.setAttribute("aria-label", `Lock ${p.group} ${p.label}`);
    const row = element("div", { className: "param", title: range },
      element("label", { htmlFor: id, textContent: p.label }), slider,
      element("span", { className: "value" }, field, element("span", { textContent: p.unit })), reset, lock);
    row.dataset.name = p.name;
    const put = (value, done) => this.callbacks.change({ [p.name]: value }, done);
    slider.addEventListener("input", () => put(toValue(p, slider.value / STEPS), false));
    slider.addEventListener("change", () => put(toValue(p, slider.value / STEPS), true));
    slider.addEventListener("dblclick", () => this.callbacks.reset([p.name]));
    field.addEventListener("change", () => {
      const value = Number(field.value.replace(",", "."));
      if (field.value.trim() && Number.isFinite(value)) put(tidy(p, value), true);
      else this.update();
    });
    field.addEventListener("focus", () => field.select());
    reset.addEventListener("click", () => this.callbacks.reset([p.name]));
    lock.addEventListener("click", () => this.callbacks.lock(p.name, lock.getAttribute("aria-pressed") !== "true"));
    this.rows.set(p.name, { p, row, slider, field, reset, lock });
    return row;
  }

  update(setting = this.setting, base = this.base, locks = this.locks) {
    if (!setting) return;
    Object.assign(this, { setting, base, locks });
    for (const [name, r] of this.rows) {
      const value = setting[name];
      if (document.activeElement !== r.slider || !r.slider.matches(":active")) {
        r.slider.value = Math.round(STEPS * toUnit(r.p, value));
      }
      const words = `${shown(r.p, value)} ${r.p.unit}`;
      r.slider.setAttribute("aria-valuetext", words);
      if (document.activeElement !== r.field) r.field.value = shown(r.p, value);
      r.reset.classList.toggle("quiet", Math.abs(value - base[name]) < 1e-9);
      r.lock.setAttribute("aria-pressed", String(locks.has(name)));
      const gates = r.p.audible_when.map((n) => this.rows.get(n)).filter(Boolean);
      r.row.classList.toggle("idle", gates.length > 0 && gates.every((g) => setting[g.p.name] === g.p.neutral));
    }
    for (const { about, params } of new Set(this.groups.values())) {
      const gains = params.filter((p) => p.role === "gain");
      const ends = [Math.min, Math.max].map((end) => end(...gains.map((p) => setting[p.name])));
      const words = [...new Set(ends.map((v) => shown(gains[0], v)))];
      if (gains.length) about.textContent = `${words.join(" to ")} dB`;
    }
  }

  // Open the group of a parameter and bring it into view.
  pick(name) {
    const found = this.groups.get(name);
    if (!found) return;
    for (const { details } of this.groups.values()) if (details !== found.details) details.open = false;
    found.details.open = true;
    const { row } = this.rows.get(name);
    (found.params.length > 8 ? row : found.details).scrollIntoView({ block: "nearest" });
  }

  markSolo(stem) {
    this.box.querySelectorAll(".solo").forEach((b) =>
      b.setAttribute("aria-pressed", String(b.dataset.solo === stem)));
  }
}
