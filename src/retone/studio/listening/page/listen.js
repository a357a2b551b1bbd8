// A listening session: introduction, trials in the listener's own order, results.
"use strict";
(() => {
  const $ = (id) => document.getElementById(id);
  const make = (tag, more = {}) => Object.assign(document.createElement(tag), more);
  const deck = new Deck(STUDY);
  const state = { listener: "", order: [], position: 0, rows: [], begun: "" };
  const STORE = `retone-listening-${STUDY.id}`;
  let trial = null; // what is asked now: { spec, keys, answer(), ready(), shown }

  const HOW = {
    mushra: ["Play the reference and each sound; you may switch at any time.",
      "Rate each sound. A slider works once you have played its sound.",
      "The reference itself is among the sounds: it deserves 100."],
    abx: ["Play A, B and X; you may switch at any time.", "X is one of the two. Say which one."],
    ab: ["Play both; you may switch at any time.", "Say which one you prefer."],
    acr: ["Play the recording to its end.", "Rate its quality from 1 (bad) to 5 (excellent)."],
  };
  const LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZ";

  function trouble(error) { $("trouble").textContent = error.message || String(error); }
  const guarded = (work) => (...args) => Promise.resolve(work(...args)).catch(trouble);

  // Each session has a place of its own, so that the next listener does not overwrite it.
  const place = () => `${STORE}/${state.begun}`;
  function save() {
    try { localStorage.setItem(place(), JSON.stringify(state)); } catch { /* a private window */ }
  }
  function forget() {
    try { localStorage.removeItem(place()); } catch { /* a private window */ }
  }

  function begin(from = null) {
    Object.assign(state, from ?? {
      listener: $("listener").value.trim(), position: 0, rows: [], begun: new Date().toISOString(),
    });
    state.order = orderOf(STUDY, state.listener);
    $("intro").hidden = true;
    $("trial").hidden = false;
    document.body.dataset.listener = state.listener;
    return ask();
  }

  // What the trial's buttons play: key -> file, and which of them share a time line.
  function sounds(spec, order) {
    const files = {}, groups = {};
    if (spec.reference) {
      files.Reference = spec.reference;
      groups.Reference = STUDY.aligned ? 0 : 1;
    }
    const label = (i) => (STUDY.design === "mushra" ? `Sound ${i + 1}` : LETTERS[i]);
    const keys = order.sounds.map((_, i) => (STUDY.design === "acr" ? "Recording" : label(i)));
    order.sounds.forEach((s, i) => {
      files[keys[i]] = spec.stimuli[s].file;
      if (!STUDY.aligned && spec.stimuli[s].role === "reference") groups[keys[i]] = 1;
    });
    if (STUDY.design === "abx") files.X = files[keys[order.x]];
    return { files, groups, keys };
  }

  async function ask() {
    if (state.position >= state.order.length) return finish();
    const order = state.order[state.position], spec = STUDY.trials[order.trial];
    const { files, groups, keys } = sounds(spec, order);
    $("next").disabled = true;
    $("progress").value = state.position / state.order.length;
    $("count").textContent = `${state.position + 1} of ${state.order.length}`;
    $("question").textContent = STUDY.question;
    const trap = spec.kind === "check" && (spec.told || STUDY.design === "acr");
    const wanted = () => (STUDY.design === "acr" ? STUDY.categories[spec.expected - 1]
      : `I prefer ${keys[order.sounds.findIndex((s) => spec.stimuli[s].system === spec.expected)]}`);
    $("notice").hidden = !trap;
    $("notice").textContent = trap ? `Attention check: please choose "${wanted()}" here, whatever you hear.` : "";
    await deck.load(files, groups);
    $("transport").replaceChildren(...Object.keys(files).map((key) => {
      const button = make("button", { type: "button", textContent: key });
      button.dataset.play = key;
      button.setAttribute("aria-pressed", "false");
      button.addEventListener("click", () => { deck.play(key); show(); });
      return button;
    }), stopButton());
    trial = { spec, order, keys, files, shown: performance.now(), ...ANSWERS[STUDY.design](keys) };
    $("answers").replaceChildren(trial.element);
    document.body.dataset.trial = String(state.position);
    show();
  }

  function stopButton() {
    const button = make("button", { type: "button", textContent: "Stop", id: "stop" });
    button.addEventListener("click", () => { deck.stop(); show(); });
    return button;
  }

  // How long a sound must be played before it can be judged.
  function needed(key) {
    const length = deck.duration(key);
    return STUDY.design === "acr" ? 0.98 * length : Math.min(STUDY.least_heard_s, 0.9 * length);
  }
  const known = (key) => deck.heard.get(key) >= needed(key);

  const ANSWERS = {
    mushra(keys) {
      const box = make("div", { className: "rates" });
      const scale = make("div", { className: "scale" });
      const words = make("div");
      words.append(...STUDY.categories.map((w) => make("span", { textContent: w })));
      scale.append(make("span"), words, make("span"));
      scale.setAttribute("aria-hidden", "true");
      box.append(scale);
      const given = new Map();
      const sliders = keys.map((key) => {
        const row = make("div", { className: "rate" });
        const slider = make("input", { type: "range", min: 0, max: 100, step: 1, value: 0, id: `rate-${key}`, disabled: true });
        const label = make("label", { textContent: key, htmlFor: slider.id });
        const out = make("output", { textContent: "–" });
        const rate = () => {
          given.set(key, Number(slider.value));
          out.textContent = slider.value;
          show();
        };
        for (const kind of ["input", "click"]) slider.addEventListener(kind, rate); // 0 may be meant
        row.append(label, slider, out);
        box.append(row);
        return slider;
      });
      return {
        element: box,
        enable() { keys.forEach((k, i) => { sliders[i].disabled = !known(k); }); },
        left: () => keys.filter((k) => !given.has(k)).map((k) => (known(k) ? `rate ${k}` : `play ${k}`)),
        rows: (t) => keys.map((k, i) => {
          const s = t.spec.stimuli[t.order.sounds[i]];
          return { system: s.system, role: s.role, score: given.get(k), heard_s: deck.heard.get(k) };
        }),
      };
    },
    abx: (keys) => choices(keys.map((k) => [k, `X is ${k}`]), [...keys, "X"], (t, picked) => {
      const of = (i) => t.spec.stimuli[t.order.sounds[i]].system;
      return { choice: of(keys.indexOf(picked)), correct: Number(keys.indexOf(picked) === t.order.x) };
    }),
    ab: (keys) => choices([...keys.map((k) => [k, `I prefer ${k}`]), ...(STUDY.tie ? [["tie", "No preference"]] : [])],
      keys, (t, picked) => ({
        choice: picked === "tie" ? "tie" : t.spec.stimuli[t.order.sounds[keys.indexOf(picked)]].system,
      })),
    acr: (keys) => choices(STUDY.categories.map((w, i) => [String(i + 1), `${i + 1} ${w}`]).reverse(), keys,
      (t, picked) => ({ score: Number(picked) })),
  };

  // One answer of several; possible once all of ``listened`` were played.
  function choices(options, listened, result) {
    const field = make("fieldset");
    field.append(make("legend", { textContent: "Your answer" }));
    const box = make("div", { className: "choices" });
    const inputs = options.map(([value, text]) => {
      const input = make("input", { type: "radio", name: "answer", value, disabled: true });
      input.addEventListener("change", show);
      const label = make("label");
      label.append(input, text);
      box.append(label);
      return input;
    });
    field.append(box);
    const picked = () => inputs.find((i) => i.checked)?.value;
    return {
      element: field,
      enable() { for (const i of inputs) i.disabled = !listened.every(known); },
      left() {
        const rest = listened.filter((k) => !known(k)).map((k) => `play ${k}`);
        return rest.length || picked() ? rest : ["choose an answer"];
      },
      rows(t) {
        const { stimuli, expected } = t.spec;
        const row = { system: stimuli[0].system, role: stimuli[0].role, other: stimuli[1]?.system ?? "",
          ...result(t, picked()), heard_s: Math.min(...listened.map((k) => deck.heard.get(k))) };
        if (t.spec.kind === "check" && STUDY.design !== "abx") {
          row.correct = Number((row.choice ?? row.score) === expected);
        }
        return [row];
      },
    };
  }

  function show() {
    if (!trial) return;
    deck.count();
    for (const b of $("transport").querySelectorAll("[data-play]")) {
      b.setAttribute("aria-pressed", String(b.dataset.play === deck.now));
    }
    trial.enable();
    const left = trial.left();
    $("next").disabled = left.length > 0;
    $("needed").textContent = left.length ? `Still to do: ${left.slice(0, 3).join(", ")}${left.length > 3 ? ", …" : "."}` : "";
  }

  async function next() {
    deck.stop();
    const t = trial;
    const base = { listener: state.listener, study: STUDY.id, design: STUDY.design, position: state.position,
      trial: t.spec.id, kind: t.spec.kind, item: t.spec.item, seconds: (performance.now() - t.shown) / 1000 };
    for (const row of t.rows(t)) {
      state.rows.push({ ...base, ...row, heard_s: Number(row.heard_s.toFixed(2)), seconds: Number(base.seconds.toFixed(2)) });
    }
    trial = null;
    state.position += 1;
    save();
    await ask();
    window.scrollTo(0, 0);
  }

  const COLUMNS = ["listener", "study", "design", "position", "trial", "kind", "item", "system", "role", "other",
    "score", "choice", "correct", "heard_s", "seconds"];
  const plain = (v) => (/^[=+@-]/.test(v) && Number.isNaN(Number(v)) ? `'${v}` : v); // no formula
  const quoted = (v) => (/[",\r\n]/.test(v) ? `"${v.replaceAll('"', '""')}"` : v);
  const cell = (v) => quoted(plain(String(v)));
  const csv = () => [COLUMNS, ...state.rows.map((r) => COLUMNS.map((c) => cell(r[c] ?? "")))]
    .map((r) => r.join(",")).join("\r\n") + "\r\n";
  const results = () => ({ study: STUDY.id, design: STUDY.design, listener: state.listener,
    begun: state.begun, ended: new Date().toISOString(), rows: state.rows });

  async function finish() {
    $("trial").hidden = true;
    $("end").hidden = false;
    let said = "Download your results and send them to whoever runs the test.";
    if (STUDY.collect) {
      try {
        const answer = await fetch("results", { method: "POST", headers: { "content-type": "application/json" },
          body: JSON.stringify(results()) });
        if (!answer.ok) throw new Error(String(answer.status));
        said = "Your results are stored.";
        forget();
      } catch { said = `Your results could not be stored. ${said}`; }
    }
    $("stored").textContent = said;
    document.body.dataset.finished = "true";
  }

  function download(text, kind, name) {
    const address = URL.createObjectURL(new Blob([text], { type: kind }));
    const a = make("a", { href: address, download: name });
    document.body.append(a);
    a.click();
    a.remove();
    forget();
    setTimeout(() => URL.revokeObjectURL(address), 10000);
  }

  function keys(event) {
    if (!trial || event.ctrlKey || event.metaKey || event.altKey || event.target.matches("input[type=text]")) return;
    const buttons = [...$("transport").querySelectorAll("[data-play]")];
    const pick = /^[1-9]$/.test(event.key) ? buttons[Number(event.key) - 1]
      : buttons.find((b) => b.dataset.play.length === 1 && b.dataset.play.toLowerCase() === event.key.toLowerCase());
    if (pick) pick.click();
    if (event.key === " " && !event.target.matches("button, input")) { event.preventDefault(); $("stop").click(); }
  }

  document.title = STUDY.title;
  $("title").textContent = STUDY.title;
  $("about").textContent = `${STUDY.trials.length} questions: ${STUDY.question}`;
  $("steps").replaceChildren(...HOW[STUDY.design].map((t) => make("li", { textContent: t })));
  $("listener").addEventListener("input", () => { $("begin").disabled = !$("listener").value.trim(); });
  $("volume").addEventListener("click", guarded(async () => {
    if (deck.now) { deck.stop(); $("volume").textContent = "Play a sound"; return; }
    await deck.load({ sample: STUDY.trials[0].reference ?? STUDY.trials[0].stimuli[0].file });
    deck.play("sample");
    $("volume").textContent = "Stop";
  }));
  $("begin").addEventListener("click", guarded(() => begin()));
  $("next").addEventListener("click", guarded(next));
  $("csv").addEventListener("click", () => download(csv(), "text/csv", `${STUDY.id}-${state.listener}.csv`));
  $("json").addEventListener("click", () => download(JSON.stringify(results(), null, 1), "application/json", `${STUDY.id}-${state.listener}.json`));
  addEventListener("keydown", keys);
  setInterval(() => { if (deck.now && trial) show(); }, 100);
  try {
    const places = Object.keys(localStorage).filter((name) => name.startsWith(`${STORE}/`)).sort().reverse();
    for (const name of places) {
      const kept = JSON.parse(localStorage.getItem(name));
      const whole = kept.position >= orderOf(STUDY, kept.listener).length;
      const again = make("button", { type: "button", id: $("go-on") ? "" : "go-on", textContent: whole
        ? `Results of ${kept.listener}: store or download them`
        : `Go on as ${kept.listener} at question ${kept.position + 1}` });
      again.addEventListener("click", guarded(() => begin(kept)));
      $("resume").append(again);
      $("resume").hidden = false;
    }
  } catch { /* a private window */ }
  document.body.dataset.ready = "true";
})();
