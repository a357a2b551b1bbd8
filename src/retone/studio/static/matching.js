// How to match: the strength, equaliser, dynamics and stereo, and the method behind them.
const $ = (id) => document.getElementById(id);
const percent = (value) => `${Math.round(100 * value)} %`;

export class Matching {
  constructor() {
    this.goal = "match";
    this.strengths = {}; // by goal; unknown until the server has said what it offers
    this.made = null;
    $("strength").addEventListener("input", () => {
      this.strengths[this.goal] = Number($("strength").value);
      this.show();
    });
    for (const choice of this.choices) choice.addEventListener("change", () => this.show());
    for (const id of ["estimator", "dynamics-kind", "stereo-kind"]) $(id).addEventListener("change", () => this.show());
  }

  get choices() { return [...document.querySelectorAll("#how input[name=eq]")]; }

  get eq() { return this.choices.find((c) => c.checked).value; }

  get kinds() {
    return { eq: this.eq, dynamics: $("dynamics-kind").value, stereo: $("stereo-kind").value };
  }

  get isDefault() { return !this.method || $("estimator").value === this.method; }

  offer({ estimators, matching }) {
    this.method = matching.estimator;
    this.strengths = { ...matching.strength, ...this.strengths };
    $("estimator").replaceChildren(...estimators.map((n) =>
      new Option(n === this.method ? `${n} (default)` : n, n, n === this.method, n === this.method)));
    this.show();
  }

  toGoal(goal) {
    this.goal = goal;
    this.show();
  }

  // Show what settings were found with; settings without a strength leave the slider alone.
  follow(about) {
    const known = Number.isFinite(about.strength);
    this.made = known ? about : null;
    if (known) this.strengths[this.goal in this.strengths ? this.goal : "match"] = about.strength;
    if (known && about.eq) for (const choice of this.choices) choice.checked = choice.value === about.eq;
    if (known && about.dynamics) $("dynamics-kind").value = about.dynamics;
    if (known && about.stereo) $("stereo-kind").value = about.stereo;
    this.show();
  }

  get request() {
    const asked = { part: $("part").value, estimator: $("estimator").value };
    return this.isDefault ? { ...asked, strength: this.strengths[this.goal], ...this.kinds } : asked;
  }

  show() {
    const value = this.strengths[this.goal];
    $("how").hidden = this.goal === "enhance";
    $("how").disabled = !this.isDefault || value === undefined;
    $("other-method").hidden = this.isDefault;
    for (const id of ["dynamics-kind", "stereo-kind"]) $(id).disabled = !this.isDefault;
    if (value !== undefined) {
      $("strength").value = value;
      $("strength-value").textContent = percent(value);
      const end = { 0: ", only the processing", 1: ", the whole sound" }[value] ?? "";
      $("strength").setAttribute("aria-valuetext", percent(value) + end);
    }
    const { made, kinds } = this;
    $("again").hidden = !made || !this.isDefault || $("how").hidden ||
      (Math.abs(made.strength - value) < 1e-9 && Object.keys(kinds).every((k) => made[k] === kinds[k]));
  }
}
