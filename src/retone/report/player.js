(() => {
  const box = document.getElementById("player");
  if (!box) return;
  const sound = JSON.parse(document.getElementById("sound").textContent);
  const $ = (id) => document.getElementById(id);
  const FADE = 0.006, AHEAD = 0.03;
  const tracks = new Map(sound.tracks.map((t) => [t.role, { ...t }]));
  const total = sound.passages.reduce((sum, p) => sum + p.stop_s - p.start_s, 0);
  let context = null, ready = null, playing = false, at = 0, started = 0;
  let heard = "after";

  const bytes = (text) => Uint8Array.from(atob(text), (c) => c.charCodeAt(0)).buffer;
  const gain = (t) => 10 ** (($("fair").checked ? t.gain_db : 0) / 20);
  const position = () => {
    if (!playing) return at;
    if (files) return first.audio.currentTime % total;
    return Math.max(context.currentTime - started, at) % total;
  };

  // Files beside the page: elements play them, which need not be read as a whole.
  const files = sound.tracks.some((t) => t.file);
  const first = tracks.get("before");

  function opened(t) {
    return new Promise((done, failed) => {
      t.audio ??= Object.assign(new Audio(t.file), { loop: true, preload: "auto" });
      if (t.audio.readyState >= 3) done();
      t.audio.addEventListener("canplay", done, { once: true });
      t.audio.addEventListener("error", () => failed(t.audio.error), { once: true });
    });
  }

  function together(t) { // to where the first one is, or its own loop
    const at = position() % t.seconds;
    if (Math.abs(t.audio.currentTime - at) > 0.02) t.audio.currentTime = at;
  }

  function load() {
    if (files) {
      return Promise.all([...tracks.values()].map(opened));
    }
    context ??= new AudioContext();
    ready ??= Promise.all([...tracks.values()].map(async (t) => {
      t.buffer = await context.decodeAudioData(bytes(t.data));
    }));
    return ready;
  }

  function begin() {
    if (files) {
      first.audio.currentTime = at;
      for (const [role, t] of tracks) {
        t.audio.volume = role === heard ? gain(t) : 0;
        t.audio.currentTime = at % t.seconds;
        t.audio.play();
      }
      return;
    }
    const now = context.currentTime + AHEAD;
    started = now - at;
    for (const [role, t] of tracks) {
      const length = Math.min(t.seconds, t.buffer.duration);
      t.gain = context.createGain();
      t.gain.gain.value = role === heard ? gain(t) : 0;
      t.node = context.createBufferSource();
      Object.assign(t.node, { buffer: t.buffer, loop: true, loopEnd: length });
      t.node.connect(t.gain).connect(context.destination);
      t.node.start(now, at % length);
    }
  }

  function end() {
    for (const t of tracks.values()) {
      t.audio?.pause();
      if (!t.node) continue;
      t.gain.gain.setTargetAtTime(0, context.currentTime, FADE);
      t.node.stop(context.currentTime + 10 * FADE);
      t.node = null;
    }
  }

  async function play() {
    $("player-note").textContent = "Preparing the sound.";
    try {
      await load();
      await context?.resume();
    } catch {
      $("player-note").textContent = files
        ? "The files beside this page cannot be played. Keep them in its folder, under their names."
        : "This browser cannot play Opus. Current versions of Chrome, Edge, Firefox and Safari can.";
      return;
    }
    $("player-note").textContent = "";
    playing = true;
    begin();
    show();
    requestAnimationFrame(tick);
  }

  function pause() {
    at = position();
    playing = false;
    end();
    show();
  }

  function seek(to) {
    if (playing) end();
    at = Math.min(Math.max(0, to), Math.max(0, total - 0.02));
    if (playing) begin();
    show();
  }

  function hear(role) {
    if (!tracks.has(role)) return;
    heard = role;
    balance();
    show();
  }

  function balance() {
    if (!playing) return;
    for (const [role, t] of tracks) {
      if (files) {
        if (role === heard) together(t);
        t.audio.volume = role === heard ? gain(t) : 0;
        continue;
      }
      t.gain.gain.setTargetAtTime(role === heard ? gain(t) : 0, context.currentTime, FADE);
    }
  }

  const clock = (s) => `${Math.floor(s / 60)}:${(s % 60).toFixed(1).padStart(4, "0")}`;

  // The moment in the recording, and the passage that it lies in.
  function moment(p) {
    let left = p;
    for (const [index, one] of sound.passages.entries()) {
      const length = one.stop_s - one.start_s;
      if (left < length || index === sound.passages.length - 1) {
        return { index, time: one.start_s + Math.min(left, length) };
      }
      left -= length;
    }
    return { index: 0, time: 0 };
  }

  function show() {
    const p = position(), now = moment(p);
    $("play").textContent = playing ? "Pause" : "Play";
    $("seek").value = p;
    $("clock").textContent = clock(now.time);
    $("seek").setAttribute("aria-valuetext", clock(now.time));
    for (const b of box.querySelectorAll("[data-passage]")) {
      b.setAttribute("aria-pressed", String(Number(b.dataset.passage) === now.index));
    }
    $(`hear-${heard}`).checked = true;
    Object.assign(document.body.dataset, { playing: String(playing), heard });
  }

  function tick() {
    if (!playing) return;
    show();
    requestAnimationFrame(tick);
  }

  $("play").addEventListener("click", () => (playing ? pause() : play()));
  $("fair").addEventListener("change", balance);
  $("seek").addEventListener("input", () => seek(Number($("seek").value)));
  for (const role of tracks.keys()) $(`hear-${role}`).addEventListener("change", () => hear(role));
  for (const b of box.querySelectorAll("[data-passage]")) {
    b.addEventListener("click", () => {
      const before = sound.passages.slice(0, Number(b.dataset.passage));
      seek(before.reduce((sum, p) => sum + p.stop_s - p.start_s, 0));
      if (!playing) play();
    });
  }
  addEventListener("keydown", (e) => {
    if (e.ctrlKey || e.metaKey || e.altKey) return;
    const own = e.target.matches("input, button, summary, a, select, textarea");
    if (e.key === " " && !own) { e.preventDefault(); if (playing) pause(); else play(); }
    const role = ["before", "after", "reference"][Number(e.key) - 1];
    if (role) hear(role);
  });
  box.player = { position, tracks, get context() { return context; }, hear, seek };
  show();
})();
