// How the page shows its state: curves, waveforms, levels, buttons, messages.
import * as draw from "./draw.js";
import { NAMES } from "./player.js";
import { history, page, parts, player, sent, state } from "./model.js";
import { clock } from "./scale.js";

const $ = (id) => document.getElementById(id);

export function showControls() {
  parts.controls.update(state.setting, page.effects.get(state.effect).base, state.locks);
  $("amount").value = state.amount;
  $("amount-value").textContent = `${Math.round(100 * state.amount)} %`;
  choose($("loudness"), String(state.loudness), "LUFS");
  choose($("ceiling"), state.ceiling_dbtp === null ? "" : String(state.ceiling_dbtp), "dBTP");
}

// A value from a settings file that is not in the list is added to it.
function choose(select, value, unit) {
  if (![...select.options].some((o) => o.value === value)) select.add(new Option(`${value} ${unit}`, value));
  select.value = value;
}

export function showCurves() {
  const c = page.curves;
  if (!c || c.effect !== state.effect) return; // those of new settings are on their way
  const tabs = $("curve-tabs");
  if (tabs.children.length !== c.responses.length || tabs.dataset.effect !== String(state.effect)) {
    tabs.dataset.effect = state.effect;
    tabs.replaceChildren(...c.responses.map((r, i) => {
      const b = Object.assign(document.createElement("button"), { textContent: r.title });
      b.setAttribute("role", "tab");
      b.addEventListener("click", () => { page.tab = i; showCurves(); });
      return b;
    }));
  }
  [...tabs.children].forEach((b, i) => b.setAttribute("aria-selected", String(i === page.tab)));
  parts.eq.show({
    frequency: c.frequency_hz, response: c.responses[page.tab] ?? c.responses[0], spectra: aligned(),
    value: (n) => state.setting[n] ?? NaN,
  });
  draw.staticCurves($("curve"), c.curves);
  const one = c.curves.length === 1;
  $("curve-panel").querySelector("h3").textContent = one ? `${c.curves[0].title} curve` : "Level in, level out";
}

// Spectra at equal loudness, as in the report; a preset's spectrum has no level and is centred on the others.
export function aligned() {
  const s = { ...page.spectra };
  const goal = s.after?.lufs ?? s.before?.lufs ?? 0;
  const found = {};
  for (const [name, v] of Object.entries(s)) {
    if (!v) continue;
    const by = Number.isFinite(v.lufs) ? goal - v.lufs : 0;
    found[name] = { db: v.db.map((x) => (x === null ? null : x + by)) };
  }
  if (page.style && !found.reference && found.before) {
    const middle = (a) => { const k = a.slice(60, 150).filter((v) => v !== null); return k.reduce((x, y) => x + y, 0) / k.length; };
    const by = middle((found.after ?? found.before).db) - middle(page.style.spectrum_db);
    found.reference = { db: page.style.spectrum_db.map((x) => (x === null ? null : x + by)) };
  }
  return found;
}

export function showTimes() {
  const share = player.duration ? player.position / player.duration : 0;
  $("clock").textContent = clock(player.position);
  const wave = $("wave");
  wave.setAttribute("aria-valuemax", player.duration.toFixed(1));
  wave.setAttribute("aria-valuenow", player.position.toFixed(1));
  wave.setAttribute("aria-valuetext", clock(player.position));
  if (!page.input) return;
  const gain = (n) => 10 ** ((page.gains[n] ?? 0) / 20);
  const tracks = [{ wave: page.input.wave, css: "before", gain: gain("before"), alpha: 0.55,
    ready: page.input.arriving ? page.input.ready_s / page.input.seconds : 1 }];
  if (player.blind) { /* the picture must not tell what is playing */
  } else if (player.heard === "reference" && page.references[0]) {
    tracks.push({ wave: page.references[0].wave, css: "reference", gain: gain("reference"), alpha: 0.75 });
  } else if (page.whole && !page.input.long) {
    tracks.push({ wave: page.whole.wave, css: "after", gain: gain("after"), alpha: player.heard === "after" ? 0.8 : 0.35 });
  }
  draw.wave(wave, tracks, share);
  draw.reductions($("gr"), page.whole?.reductions, share);
}

const LEVELS = [
  ["integrated_lufs", "Loudness", "LUFS: how loud the whole recording sounds; nearer to 0 is louder"],
  ["short_term_max_lufs", "Loudest 3 s", "LUFS of the loudest three seconds"],
  ["true_peak_dbtp", "True peak", "dBTP: the highest point of the wave; above 0 it distorts"],
  ["rms_dbfs", "RMS", "dBFS: the average level, not weighted as the ear does"],
  ["crest_db", "Crest", "dB: how far peaks stand above the average"],
  ["loudness_range_lu", "Range", "LU: how far soft and loud passages are apart"]];
const ALWAYS = ["integrated_lufs", "true_peak_dbtp"];

export function showLevels() {
  const after = page.whole && { ...page.whole.levels };
  let limited = "";
  if (after && state.ceiling_dbtp !== null && after.true_peak_dbtp > state.ceiling_dbtp) {
    limited = `the limiter will take ${(after.true_peak_dbtp - state.ceiling_dbtp).toFixed(1)} dB`;
    after.true_peak_dbtp = state.ceiling_dbtp;
  }
  const columns = [page.input?.levels, after, page.references[0]?.levels];
  $("levels").tBodies[0].replaceChildren(...LEVELS.map(([name, title, about]) => {
    const row = Object.assign(document.createElement("tr"), { title: about });
    if (!ALWAYS.includes(name)) row.className = "expert";
    const head = Object.assign(document.createElement("th"), { textContent: title, scope: "row" });
    row.append(head);
    for (const c of columns) {
      const v = c?.[name];
      row.append(Object.assign(document.createElement("td"), { textContent: Number.isFinite(v) ? v.toFixed(1) : "–" }));
    }
    return row;
  }));
  $("levels").title = limited;
  const some = page.whole?.measured_s;
  $("levels-note").hidden = !some;
  if (some) $("levels-note").textContent = `after: estimated from ${Math.round(some)} s`;
}

export function tick() {
  if (player.playing) {
    showTimes();
    const a = player.analyser;
    const samples = new Float32Array(a.fftSize);
    a.getFloatTimeDomainData(samples);
    let peak = 1e-6, sum = 0;
    for (const v of samples) { peak = Math.max(peak, Math.abs(v)); sum += v * v; }
    const rows = player.heard === "after" && !player.blind && !page.input.long ? page.whole?.reductions ?? [] : [];
    const at = (r) => r.low[Math.min(r.low.length - 1, Math.floor((player.position / player.duration) * r.low.length))] ?? 0;
    const reduction = rows.length ? Math.min(0, ...rows.map(at)) : 0;
    draw.meter($("meter"), 20 * Math.log10(peak), 10 * Math.log10(sum / samples.length + 1e-12), reduction);
  }
  requestAnimationFrame(tick);
}

export function buttons() {
  const has = page.input !== null, read = has && !page.input.arriving;
  // Only what is playing and shown can be downloaded, and only once it differs from the recording.
  const current = page.whole !== null && page.shown === JSON.stringify(sent());
  const made = has && current && page.job === null && !parts.sources.going && history.canUndo;
  for (const id of ["play", "hear-before"]) $(id).disabled = !has;
  $("load").disabled = $("former-use").disabled = !read;
  $("hear-after").disabled = $("blind").disabled = !has || page.whole === null;
  $("save").title = made || !has ? "" : page.job || parts.sources.going ? "Wait until it is done" : history.canUndo ? "" : "Match, or change a setting, first";
  for (const id of ["save", "save-settings", "save-report", "export", "target"]) $(id).disabled = !made;
  $("hear-reference").disabled = !page.references.length;
  $("undo").disabled = !history.canUndo;
  $("redo").disabled = !history.canRedo;
  const goal = parts.sources.goal;
  $("go").textContent = { match: "Match", preset: "Match preset", enhance: "Enhance" }[goal];
  $("go").disabled = !read || page.job !== null || (goal === "match" && !page.references.length) ||
    (goal === "preset" && !parts.sources.preset) || (goal === "enhance" && Boolean(page.offers.enhance));
  $("welcome").hidden = has;
}

export function showHeard() {
  if (player.blind) return;
  for (const name of NAMES) {
    const on = player.heard === name;
    $(`hear-${name}`).setAttribute("aria-checked", String(on));
    $(`hear-${name}`).tabIndex = on ? 0 : -1;
  }
  $("play").textContent = player.playing ? "❚❚" : "▶";
  $("play").setAttribute("aria-label", player.playing ? "Pause" : "Play");
  document.body.dataset.heard = player.heard;
  document.body.dataset.playing = String(player.playing);
  showTimes();
}

// Messages belong to what was last done; the next action takes them away.
export function quiet() {
  $("messages").replaceChildren();
}

export function say(text, error = false) {
  for (const old of [...$("messages").children]) if (old.firstChild.textContent === text) old.remove();
  const p = document.createElement("p");
  if (error) p.className = "error";
  const gone = Object.assign(document.createElement("button"), { textContent: "✕" });
  gone.setAttribute("aria-label", "Dismiss");
  gone.addEventListener("click", () => p.remove());
  p.append(text, gone);
  $("messages").prepend(p);
  while ($("messages").children.length > 5) $("messages").lastChild.remove();
  p.scrollIntoView({ block: "nearest" });
}
