// The page: its state, and how a change reaches sliders, curves, sound and back.
import * as api from "./api.js";
import { Blind } from "./blind.js";
import { Controls } from "./controls.js";
import { Eq } from "./eq.js";
import { Live } from "./live.js";
import { Matching } from "./matching.js";
import { effective, history, page, param, parts, player, sent, snapshot, state } from "./model.js";
import { NAMES } from "./player.js";
import { clock, tidy } from "./scale.js";
import { Sources } from "./sources.js";
import { load, rendition } from "./tracks.js";
import {
  buttons, quiet, say, showControls, showCurves, showHeard, showLevels, showTimes, tick,
} from "./view.js";

const $ = (id) => document.getElementById(id);
const WINDOW = { back: 0.3, on: 4 };

// ---- the state and the server -------------------------------------------------------------

function adopt(found, more = {}) {
  const params = learn(found);
  state.effect = found.effect;
  state.setting = { ...found.setting };
  state.locks = new Set([...(more.locks ?? state.locks)].filter((n) => params.has(n)));
  Object.assign(state, more, { locks: state.locks });
  page.tab = 0;
  if (found.known) history.keepOnly(found.known); // the server has forgotten the others
  parts.matching.follow(found);
  rebuild();
  follow();
}

function rebuild() {
  parts.controls.build(page.effects.get(state.effect).stages);
  page.built = state.effect;
  solo(null);
}

function commit() {
  history.put(snapshot());
  keep();
  buttons();
}

// What a reload needs: the history, and the effects that it names; fewer steps where room is short.
function keep() {
  for (const most of [60, 15, 4, 1]) {
    const text = history.keep(most);
    const used = new Set(JSON.parse(text).past.map((step) => JSON.parse(step).effect));
    const effects = [...page.effects].filter(([number]) => used.has(number)).map(([, e]) => e.about);
    if (api.kept.write("history", text) && api.kept.write("effects", JSON.stringify(effects))) break;
  }
  api.kept.write("style", JSON.stringify(page.style));
}

function learn(found) {
  const params = new Map(found.stages.flatMap((s) => s.params.map((p) => [p.name, p])));
  page.effects.set(found.effect, { stages: found.stages, params, base: { ...found.setting }, about: found });
  return params;
}

// Go on after a reload: the recordings are those of the server, the settings those of this tab.
async function resume(info) {
  if (!info.references) { former(); return; } // a new session
  page.spectra = info.spectra;
  page.references = info.references;
  parts.sources.list("reference", page.references);
  await loadReference();
  if (info.input) {
    const texts = ["history", "effects", "style"].map(api.kept.read);
    if (texts[0] && texts[1]) {
      for (const about of JSON.parse(texts[1])) if (info.effects.includes(about.effect)) learn(about);
      history.restore(texts[0]);
      history.keepOnly(page.effects.keys());
      page.style = JSON.parse(texts[2]);
    }
    page.input = info.input;
    parts.sources.list("input", [info.input]);
    await load("before", "input", info.input);
    if (history.past.length) restore(history.past[history.at]);
    else {
      adopt(await api.post(["manual"]));
      commit();
      refresh();
    }
  }
  offerFormer();
  buttons();
  balance();
  showLevels();
  showHeard();
}

// Steps of a session that the server no longer has; they are kept until they are used or refused.
function former() {
  const texts = ["history", "effects"].map(api.kept.read);
  for (const name of ["history", "effects", "style"]) api.kept.drop(name);
  if (texts.every(Boolean)) {
    const { past, at } = JSON.parse(texts[0]), effects = JSON.parse(texts[1]);
    const { effect } = JSON.parse(past[at] ?? "{}"), about = effects.find((a) => a.effect === effect);
    if (about?.file && past.length > 1 && !api.kept.write("former", JSON.stringify({ past, at, effects }))) {
      api.kept.write("former", JSON.stringify({ past: [past[at]], at: 0, effects: [about] }));
    }
  }
  offerFormer();
}

const offerFormer = () => { $("former").hidden = !api.kept.read("former"); };

async function useFormer() {
  const { past, at, effects } = JSON.parse(api.kept.read("former")), numbers = new Map();
  await read();
  quiet();
  for (const { effect, file } of effects.filter((a) => a.file)) {
    const found = await api.text("settings", file);
    learn(found);
    numbers.set(effect, found.effect);
  }
  history.restore(JSON.stringify({ past, at }));
  history.renumber(numbers);
  restore(history.past[history.at]);
  keep();
  buttons();
  dropFormer();
}

function dropFormer() {
  api.kept.drop("former");
  offerFormer();
}

function restore(text) {
  if (!text) return;
  const old = JSON.parse(text);
  Object.assign(state, old, { locks: new Set(old.locks) });
  if (page.built !== state.effect) {
    parts.matching.follow(page.effects.get(state.effect).about);
    rebuild();
    follow();
  }
  refresh();
}

function change(values, done) {
  for (const [name, value] of Object.entries(values)) {
    const p = param(name);
    if (p) state.setting[name] = tidy(p, value);
  }
  if (done) commit();
  refresh();
}

function reset(names) {
  const { base } = page.effects.get(state.effect);
  change(Object.fromEntries(names.map((n) => [n, base[n]])), true);
}

// Everything that shows or plays the state; requests overtake each other, the last one wins.
function refresh() {
  showControls();
  buttons();
  if (page.input?.arriving) return; // there is nothing to set yet
  page.changed = performance.now();
  player.live?.set(effective());
  describe();
  listenAgain();
}

const latest = (work) => { // one request at a time, then the newest if there was one meanwhile
  let running = false, again = false;
  return async () => {
    if (running) { again = true; return; }
    running = true;
    do { again = false; await work().catch(complain); } while (again);
    running = false;
  };
};

const describe = latest(async () => {
  const asked = sent();
  page.curves = { ...await api.post(["describe"], asked), effect: asked.effect };
  showCurves();
});

const listenAgain = latest(async () => {
  const begun = performance.now();
  clearTimeout(page.later);
  if (player.tracks.after && player.playing && !player.isLive("after")) await renderWindow(begun);
  page.later = setTimeout(renderWhole, 60);
});

// A few seconds from the playhead on; at the end of the recording also its beginning.
async function renderWindow(begun) {
  if (page.input.long) {
    const stream = rendition(sent());
    await stream.missing(player.position);
    player.setTrack("after", stream, page.input.rate);
    return;
  }
  const at = Math.max(0, player.position - WINDOW.back);
  const found = await api.rendered("window", { ...sent(), start_s: at, stop_s: at + WINDOW.on });
  player.patch("after", found.data, found.head.start);
  document.body.dataset.heardAfterMs = (performance.now() - begun).toFixed(1);
}

const renderWhole = latest(async () => {
  const asked = sent(), { input } = page;
  if (!input || input.arriving) return;
  try {
    const { head, data } = await api.rendered("render", asked);
    if (page.input !== input) return;
    page.whole = head;
    page.shown = JSON.stringify(asked);
    player.setTrack("after", input.long ? rendition(asked) : data, head.rate);
    page.spectra.after = { db: head.spectrum_db, lufs: head.levels.integrated_lufs - head.gain_db };
    balance();
    showCurves();
    showTimes();
    showLevels();
    quieter();
    document.body.dataset.rendered = String(Number(document.body.dataset.rendered || 0) + 1);
    buttons();
  } catch (error) {
    if (!/newer change/.test(error.message)) throw error;
  }
});

// The effect runs in the page itself if the browser can; else the server renders what is played.
async function runHere() {
  const live = await Live.load();
  live.heard = () => { document.body.dataset.heardAfterMs = (performance.now() - page.changed).toFixed(1); };
  live.where = () => (player.playing ? player.position : 0);
  const t = player.tracks.before;
  if (t) live.load(t.data ?? t.stream, t.rate);
  player.live = live;
  if (t && !page.input.arriving) follow();
}

// Play the current effect here. A node is opened when playing starts.
function follow() {
  const { live } = player;
  if (!live?.sound) return;
  const was = player.isLive("after");
  live.follow(page.effects.get(state.effect).about.plan, effective());
  const done = () => { if (player.isLive("after") !== was) player.renew("after"); };
  if (player.playing) live.open(player.context).then(done).catch(notHere); else done();
}

function notHere(error) {
  player.live = null;
  page.notHere = `Changes take effect a moment later, when the server has rendered them. ${error.message}`;
  if (page.input) sayNotHere();
}

function sayNotHere() {
  if (page.notHere) say(page.notHere);
  page.notHere = null;
}

// Gains of the three tracks: equally loud (the quietest leads), or as they are.
function balance() {
  const own = {
    before: page.input?.levels.integrated_lufs,
    after: page.whole ? page.whole.levels.integrated_lufs - page.whole.gain_db : null,
    reference: page.references[0]?.levels.integrated_lufs,
  };
  const gains = { before: 0, after: page.whole?.gain_db ?? 0, reference: 0 };
  if ($("fair").checked || player.blind) {
    const known = Object.values({ ...own, after: page.whole?.levels.integrated_lufs }).filter(Number.isFinite);
    const goal = Math.min(...known);
    for (const name of NAMES) if (Number.isFinite(own[name])) gains[name] = goal - own[name];
  }
  page.gains = gains;
  player.setGains(gains);
}

function complain(error) {
  if (error.name === "AbortError") return;
  if (!(error instanceof api.Refusal)) console.error(error);
  say(error.message, true);
}

// Simple: without the terms and sliders that only engineers need. Narrow screens begin with it.
function view(simple) {
  document.body.dataset.view = simple ? "simple" : "all";
  $("simple").setAttribute("aria-pressed", String(simple));
  showCurves();
  showTimes();
}

function firstView() {
  let known = null;
  try { known = localStorage.getItem("retone-view"); } catch { /* forbidden */ }
  return known ? known === "simple" : innerWidth < 600;
}

const guarded = (work) => (...args) => Promise.resolve(work(...args)).catch(complain);

// ---- what the user does --------------------------------------------------------------------

function busy(text, share, cancel) {
  $("work").hidden = false;
  $("work-text").textContent = text;
  if (share === null) $("progress").removeAttribute("value"); else $("progress").value = share;
  $("cancel").onclick = cancel;
}

const idle = () => { if (page.job === null) $("work").hidden = true; };

function replace(found) {
  quiet();
  player.pause();
  if (!page.input?.arriving) page.former = page.input;
  page.input = found;
  page.whole = null;
  page.spectra.after = null;
  parts.sources.list("input", found ? [found] : []);
  player.dropTrack("after");
  player.at = 0;
}

// A long recording is shown and played while the server reads it.
function reading(found) {
  const { going } = parts.sources;
  if (!going || found.turn !== going.turn) return;
  going.reading = true; // its progress is shown from here on, no longer that of the upload
  if (page.input?.turn !== found.turn) {
    replace(Object.assign(found, { arriving: true }));
    load("before", "arriving", page.input);
    player.hear("before");
    showCurves();
  }
  Object.assign(page.input, { wave: found.wave, ready_s: found.ready_s });
  player.tracks.before.stream.grow(Math.floor(found.ready_s * found.rate));
  busy(`Reading ${found.name}: ${clock(found.ready_s)} of ${clock(found.seconds)}`,
    found.ready_s / found.seconds, going.cancel);
  buttons();
  showTimes();
}

// It was not read to its end: the one before is back.
async function abandoned() {
  if (!page.input?.arriving) return;
  const { former } = page;
  replace(former);
  player.dropTrack("before");
  if (former) {
    await load("before", "input", former);
    player.live?.load(player.tracks.before.data ?? player.tracks.before.stream, former.rate);
    follow();
    refresh();
  }
  player.hear("before");
  buttons();
  showLevels();
}

async function added(role, found, turn) {
  page.spectra = { ...found.spectra, after: page.spectra.after };
  if (role === "input") {
    const { stream } = page.input?.turn === turn ? player.tracks.before : {};
    if (stream) { // it may be playing
      page.input.arriving = false;
      page.input = found;
      stream.grow(found.frames, found.frames);
    } else {
      replace(found);
      await load("before", "input", found);
      player.hear("before");
    }
    player.live?.load(stream ?? player.tracks.before.data ?? player.tracks.before.stream, found.rate);
    adopt(found.manual);
    sayNotHere();
    if (page.job && page.job.kind !== "save" && page.job.number !== null) {
      api.post(["cancel", page.job.number]).catch(complain); // it is for the former recording
    }
    history.clear();
    commit();
    refresh();
  } else {
    page.references.push(found);
    parts.sources.list("reference", page.references);
    await loadReference();
  }
  balance();
  buttons();
  showLevels();
  showCurves();
}

async function loadReference() {
  if (!page.references.length) { player.dropTrack("reference"); if (player.heard === "reference") player.hear("before"); return; }
  await load("reference", "0", page.references[0]);
}

async function removed(index) {
  const { spectra } = await api.post(["forget", index]);
  page.references.splice(index, 1);
  page.spectra = { ...spectra, after: page.spectra.after };
  parts.sources.list("reference", page.references);
  await loadReference();
  balance();
  buttons();
  showLevels();
  showCurves();
}

async function go() {
  const locks = Object.fromEntries([...state.locks].map((n) => [n, state.setting[n]]));
  await work(parts.sources.goal, { ...parts.matching.request, locks, preset: parts.sources.preset });
}

async function work(kind, data, what) {
  page.job = { number: null, kind, what, input: page.input };
  quiet();
  busy("Waiting", null, () => {});
  buttons();
  try {
    page.job.number = (await api.post(["job", kind], data)).job;
    $("cancel").onclick = guarded(() => api.post(["cancel", page.job?.number]));
    for (const e of page.early ?? []) happened(e);
    page.early = [];
  } catch (error) {
    page.job = null;
    idle();
    buttons();
    throw error;
  }
}

const WORDS = { match: "Matching", preset: "Matching", enhance: "Enhancing", save: "Writing" };

function happened(event) {
  if (event.type === "reading") reading(event);
  if (event.type !== "job" || page.job === null) return;
  if (page.job.number === null) { (page.early ??= []).push(event); return; }
  if (event.job !== page.job.number) return;
  const share = event.total ? event.done / event.total : null;
  if (event.state === "queued") busy(event.before ? `Waiting, ${event.before} ahead` : "Waiting", null, $("cancel").onclick);
  if (event.state === "running") busy(event.phase ? `${WORDS[event.kind]}: ${event.phase}` : WORDS[event.kind], share || null, $("cancel").onclick);
  if (!["done", "failed", "cancelled"].includes(event.state)) return;
  const { what, input } = page.job;
  const replaced = event.kind !== "save" && page.input !== input;
  page.job = null;
  idle();
  if (replaced) say(`The settings for ${input.name} are not used, because another recording was chosen.`);
  else if (event.state === "failed") say(event.message, true);
  if (event.state === "cancelled" && !replaced) say("Cancelled.");
  if (event.state === "done" && !replaced) { if (event.kind === "save") saved(event.result, what); else matched(event.result); }
  buttons();
}

// A quieter result sounds worse to most; say why, once for each match.
function quieter() {
  const change = (page.whole?.levels.integrated_lufs ?? NaN) - page.input.levels.integrated_lufs;
  if (!page.asking || page.shown !== JSON.stringify(sent())) return;
  page.asking = false;
  if (change < -2 && state.loudness === "match") {
    say(`The result is ${Math.round(-change)} dB quieter, because what it follows is. "Loudness" sets another target.`);
  }
}

function matched(found) {
  page.asking = true;
  page.style = found.style;
  const locked = [...state.locks].map(param).filter(Boolean);
  adopt(found, { loudness: "match" });
  commit();
  const lost = locked.filter((p) => !state.locks.has(p.name)).map((p) => `${p.group} ${p.label}`.trim());
  if (lost.length) say(`No longer locked, because the new settings do not have it: ${lost.join(", ")}.`);
  for (const text of [...found.notes, ...found.warnings]) say(text);
  player.heard = player.tracks.after ? "after" : player.heard;
  player.hear(player.heard);
  refresh();
  document.body.dataset.matched = String(Number(document.body.dataset.matched || 0) + 1);
}

const save = (what) => work("save", sent(), what);

function saved(found, wanted) {
  api.fetchFile(api.downloadAddress(found.downloads[wanted]), found.names[wanted]);
  for (const text of found.warnings) say(text);
  if (found.limiter_most_db > 0.05) say(`The true-peak limiter reduced peaks by up to ${found.limiter_most_db.toFixed(1)} dB.`);
  say(`${found.names[wanted]} is ready.`);
}

async function take(target) {
  quiet();
  const found = await api.post(["export", target], { ...sent(), gain_db: page.whole?.gain_db ?? 0 });
  api.hand(found.text, found.name);
  if (found.usage) say(`${found.name}: ${found.usage}`);
  for (const note of found.notes) say(note);
}

// A recording that is being read would set its own neutral settings afterwards.
async function read() {
  while (parts.sources.going) await new Promise((ok) => { setTimeout(ok, 50); });
}

async function loadSettings(file) {
  await read();
  quiet();
  const found = await api.text("settings", await file.text());
  adopt(found, { locks: new Set(found.locks), amount: found.amount, loudness: found.loudness, ceiling_dbtp: found.ceiling_dbtp });
  commit();
  refresh();
  say(`${file.name} was loaded (by ${found.estimator}).`);
}

function solo(stem) {
  page.solo = stem;
  parts.controls.markSolo(stem);
  const band = page.curves?.responses.flatMap((r) => r.bands).find((b) => b.y === stem);
  player.setSolo(stem && band ? { low: Math.max(20, band.low_hz), high: band.high_hz } : null);
  $("solo-note").hidden = !stem;
  if (stem && band) $("solo-note").textContent = `solo: ${band.label}`;
}

function keys(event) {
  const typing = event.target.matches("input[type=text], select, textarea") || document.querySelector("dialog[open]");
  if (event.ctrlKey || event.metaKey) {
    if (event.key.toLowerCase() !== "z" || typing) return;
    event.preventDefault();
    restore(event.shiftKey ? history.redo() : history.undo());
    keep();
    buttons();
    return;
  }
  if (typing || event.altKey) return;
  const button = event.target.matches("button, summary, [role=button], input[type=checkbox], input[type=radio]");
  if (event.key === " " && !button) { event.preventDefault(); toggle(); }
  const track = NAMES[Number(event.key) - 1];
  if (track && !$(`hear-${track}`).disabled) player.hear(track);
  if (event.key === "?") $("keys").showModal();
}

const toggle = guarded(async () => {
  if (player.playing) { player.pause(); return; }
  try { await player.play(); } catch (error) {
    if (!player.live) throw error;
    notHere(error);
    await player.play();
  }
});

function wire() {
  $("former-use").addEventListener("click", guarded(useFormer));
  $("former-drop").addEventListener("click", dropFormer);
  addEventListener("beforeunload", (e) => { if (parts.sources.unsaved) e.preventDefault(); });
  $("play").addEventListener("click", toggle);
  NAMES.forEach((name, i) => {
    const b = $(`hear-${name}`);
    b.addEventListener("click", () => player.hear(name));
    b.addEventListener("keydown", (e) => {
      const to = { ArrowRight: 1, ArrowLeft: -1 }[e.key];
      if (!to) return;
      e.preventDefault();
      const next = NAMES[(i + to + 3) % 3];
      if (!$(`hear-${next}`).disabled) { player.hear(next); $(`hear-${next}`).focus(); }
    });
  });
  player.addEventListener("change", showHeard);
  $("fair").addEventListener("change", () => { balance(); showTimes(); });
  const wave = $("wave");
  const seek = (e) => player.seek(((e.clientX - wave.getBoundingClientRect().left) / wave.clientWidth) * player.duration);
  wave.addEventListener("pointerdown", (e) => { wave.setPointerCapture(e.pointerId); seek(e); });
  wave.addEventListener("pointermove", (e) => { if (e.buttons) seek(e); });
  wave.addEventListener("keydown", (e) => {
    const by = { ArrowLeft: -1, ArrowRight: 1, PageDown: -5, PageUp: 5, Home: -1e9, End: 1e9 }[e.key];
    if (by) { e.preventDefault(); player.seek(player.position + by); }
  });
  $("go").addEventListener("click", guarded(go));
  $("save").addEventListener("click", guarded(() => save("audio")));
  $("save-report").addEventListener("click", guarded(() => save("report")));
  $("save-settings").addEventListener("click", guarded(() => take("settings")));
  $("export").addEventListener("click", guarded(() => take($("target").value)));
  $("preset-make").addEventListener("click", guarded(async () => {
    quiet();
    const made = await api.post(["preset"], { name: $("preset-name").value.trim(), kind: $("preset-kind").value });
    parts.sources.own(made.preset);
    api.hand(made.text, made.file);
    say(`${made.file} holds the preset. 'retone preset import' adds it for good.`);
  }));
  $("load").addEventListener("click", () => $("load-file").click());
  $("load-file").addEventListener("change", guarded(async () => {
    const [file] = $("load-file").files;
    $("load-file").value = "";
    if (file) await loadSettings(file);
  }));
  $("undo").addEventListener("click", () => { restore(history.undo()); keep(); buttons(); });
  $("redo").addEventListener("click", () => { restore(history.redo()); keep(); buttons(); });
  $("amount").addEventListener("input", () => { state.amount = Number($("amount").value); refresh(); });
  $("amount").addEventListener("change", commit);
  $("loudness").addEventListener("change", () => { state.loudness = $("loudness").value; commit(); refresh(); });
  $("ceiling").addEventListener("change", () => {
    state.ceiling_dbtp = $("ceiling").value === "" ? null : Number($("ceiling").value);
    commit(); refresh();
  });
  $("theme").addEventListener("click", () => {
    const dark = matchMedia("(prefers-color-scheme: dark)").matches;
    const now = document.documentElement.dataset.theme ?? (dark ? "dark" : "light");
    document.documentElement.dataset.theme = now === "dark" ? "light" : "dark";
    showCurves(); showTimes();
  });
  $("simple").addEventListener("click", () => {
    view(document.body.dataset.view !== "simple");
    try { localStorage.setItem("retone-view", document.body.dataset.view); } catch { /* forbidden */ }
  });
  new Blind(player, () => { balance(); showTimes(); });
  $("help").addEventListener("click", () => $("keys").showModal());
  $("keys-close").addEventListener("click", () => $("keys").close());
  addEventListener("keydown", keys);
  addEventListener("resize", () => { showCurves(); showTimes(); });
  for (const name of ["dragover", "drop"]) addEventListener(name, (e) => e.preventDefault());
}

async function begin() {
  const info = await api.start();
  parts.controls = new Controls($("params"), {
    change, reset, solo,
    lock: (name, on) => { if (on) state.locks.add(name); else state.locks.delete(name); commit(); refresh(); },
  });
  parts.eq = new Eq($("eq"), { change, reset, pick: (names) => parts.controls.pick(names[0]) });
  parts.matching = new Matching();
  const goal = (kind) => { parts.matching.toGoal(kind); buttons(); };
  parts.sources = new Sources(info, { added, abandoned: guarded(abandoned), removed: guarded(removed), goal, busy, idle, say });
  api.events(happened, () => say("The connection to the studio was lost. Reload the page when it runs again.", true));
  wire();
  buttons();
  tick();
  view(firstView());
  await resume(info).catch(complain);
  document.body.dataset.ready = "true";
  runHere().catch(notHere).finally(() => { document.body.dataset.live = String(player.live !== null); });
  page.offers = await api.offers();
  parts.sources.offer(page.offers);
  parts.matching.offer(page.offers);
  $("target").replaceChildren(...page.offers.targets.map((t) => new Option(t.title, t.name)));
  buttons();
}

begin().catch(complain);
