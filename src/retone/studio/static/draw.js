// Canvas helpers: sharp on every screen, colours from the style sheet.

export function colour(name) {
  return getComputedStyle(document.documentElement).getPropertyValue(`--${name}`).trim();
}

// Size a canvas to its box and give its context in CSS pixels.
export function canvas(element) {
  const box = element.getBoundingClientRect();
  const ratio = devicePixelRatio || 1;
  const w = Math.max(1, Math.round(box.width * ratio)), h = Math.max(1, Math.round(box.height * ratio));
  if (element.width !== w || element.height !== h) { element.width = w; element.height = h; }
  const g = element.getContext("2d");
  g.setTransform(ratio, 0, 0, ratio, 0, 0);
  g.clearRect(0, 0, box.width, box.height);
  g.font = "11px system-ui, 'Liberation Sans', sans-serif";
  return { g, w: box.width, h: box.height };
}

export function line(g, xs, ys) {
  g.beginPath();
  let pen = false;
  for (let i = 0; i < xs.length; i++) {
    if (ys[i] === null || Number.isNaN(ys[i])) { pen = false; continue; }
    if (pen) g.lineTo(xs[i], ys[i]); else g.moveTo(xs[i], ys[i]);
    pen = true;
  }
}

export function wave(element, tracks, share) {
  const { g, w, h } = canvas(element);
  const middle = h / 2;
  g.fillStyle = colour("grid");
  g.fillRect(0, middle, w, 1);
  const peak = Math.max(0.05, ...tracks.flatMap((t) => t.wave.high.map((v, i) =>
    Math.max(Math.abs(v), Math.abs(t.wave.low[i])) * t.gain)));
  for (const t of tracks) {
    const n = t.wave.high.length;
    g.fillStyle = colour(t.css);
    g.globalAlpha = t.alpha;
    const k = (0.94 * middle * t.gain) / peak;
    g.beginPath();
    const x = (i) => (i / n) * w * (t.ready ?? 1); // the part that has been read
    for (let i = 0; i < n; i++) g.lineTo(x(i), middle - t.wave.high[i] * k);
    for (let i = n - 1; i >= 0; i--) g.lineTo(x(i), middle - t.wave.low[i] * k + 1);
    g.fill();
  }
  g.globalAlpha = 1;
  cursor(g, share * w, h);
}

export function cursor(g, x, h) {
  g.fillStyle = colour("ink");
  g.fillRect(x - 0.75, 0, 1.5, h);
}

// Level in to level out, dB: one compressor, or one line for each band.
export function staticCurves(element, views) {
  const { g, w, h } = canvas(element);
  if (!views.length) return empty(g, w, h, "no dynamics active");
  const low = -72, pad = 20;
  const x = (v) => pad + ((v - low) / -low) * (w - pad - 6);
  const y = (v) => h - 16 - ((v - low) / -low) * (h - 24);
  g.strokeStyle = colour("grid");
  g.fillStyle = colour("faint");
  for (let v = -60; v <= 0; v += 20) {
    g.beginPath(); g.moveTo(x(v), y(low)); g.lineTo(x(v), y(0)); g.moveTo(x(low), y(v)); g.lineTo(x(0), y(v)); g.stroke();
    g.fillText(v, x(v) - (v ? 9 : 6), h - 3);
    if (v > -60) g.fillText(v, 0, y(v) + 4);
  }
  g.setLineDash([3, 4]); g.strokeStyle = colour("faint");
  line(g, [x(low), x(0)], [y(low), y(0)]); g.stroke(); g.setLineDash([]);
  g.save();
  g.beginPath(); g.rect(pad, 4, w, h - 20); g.clip();
  g.lineWidth = views.length > 1 ? 1.6 : 2.2;
  for (const view of views) {
    g.strokeStyle = colour(view.css);
    line(g, view.input_db.map(x), view.output_db.map(y)); g.stroke();
  }
  g.restore();
  g.lineWidth = 1;
  const [view] = views;
  if (view.threshold_db !== null) {
    g.strokeStyle = colour("zero"); g.setLineDash([2, 3]);
    line(g, [x(view.threshold_db), x(view.threshold_db)], [y(low), y(0)]); g.stroke(); g.setLineDash([]);
  }
}

export function reductions(element, rows, share) {
  const { g, w, h } = canvas(element);
  if (!rows || !rows.length) return empty(g, w, h, "no dynamics active yet");
  if (rows.length > 1) return strips(g, w, h, rows, share);
  const least = Math.min(-6, ...rows.flatMap((r) => r.low.filter((v) => v !== null)));
  const most = Math.max(0, ...rows.flatMap((r) => r.low.filter((v) => v !== null)));
  const bottom = Math.max(-36, Math.floor(least / 6) * 6), top = Math.ceil(most / 6) * 6;
  const y = (v) => 6 + ((top - Math.max(v, bottom)) / (top - bottom)) * (h - 14);
  g.strokeStyle = colour("grid"); g.fillStyle = colour("faint");
  const step = top - bottom > 18 ? 12 : 6;
  for (let v = top; v >= bottom; v -= step) {
    g.beginPath(); g.moveTo(26, y(v)); g.lineTo(w, y(v)); g.stroke();
    g.fillText(v, 2, y(v) + 4);
  }
  const [r] = rows;
  g.globalAlpha = 0.25;
  g.fillStyle = colour(r.css);
  const xs = r.low.map((_, i) => 26 + ((i + 0.5) / r.low.length) * (w - 26));
  const ys = r.low.map((v) => (v === null ? null : y(v)));
  line(g, [26, ...xs, w], [y(0), ...ys, y(0)]); g.fill();
  g.globalAlpha = 1;
  g.strokeStyle = colour(r.css); g.lineWidth = 1.2;
  line(g, xs, ys); g.stroke();
  cursor(g, 26 + share * (w - 26), h);
}

// One strip for each band: expansion above its line, reduction below it.
function strips(g, w, h, rows, share) {
  const each = h / rows.length;
  rows.forEach((r, k) => {
    const values = r.low.filter((v) => v !== null);
    const deep = Math.min(-6, Math.max(-24, Math.min(...values)));
    const high = Math.max(0, ...values);
    const top = k * each + 2, room = each - 4;
    const y = (v) => top + ((high - Math.max(v, deep)) / (high - deep)) * room;
    const xs = r.low.map((_, i) => 26 + ((i + 0.5) / r.low.length) * (w - 26));
    const ys = r.low.map((v) => (v === null ? null : y(v)));
    g.fillStyle = colour(r.css); g.globalAlpha = 0.3;
    line(g, [26, ...xs, w], [y(0), ...ys, y(0)]); g.fill();
    g.globalAlpha = 1; g.strokeStyle = colour(r.css); g.lineWidth = 1;
    line(g, xs, ys); g.stroke();
    g.fillStyle = colour(r.css);
    g.fillText(k + 1, 2, top + 9);
    g.fillStyle = colour("faint");
    g.fillText(Math.round(deep), 8, top + room);
    g.strokeStyle = colour("grid");
    line(g, [26, w], [y(0), y(0)]); g.stroke();
  });
  cursor(g, 26 + share * (w - 26), h);
}

function empty(g, w, h, words) {
  g.fillStyle = colour("faint");
  g.textAlign = "center";
  g.fillText(words, w / 2, h / 2);
  g.textAlign = "start";
}

export function meter(element, peakDb, rmsDb, reductionDb) {
  const { g, w, h } = canvas(element);
  const x = (db) => Math.max(0, Math.min(1, (db + 60) / 60)) * w;
  g.fillStyle = colour("grid"); g.fillRect(0, 2, w, 9);
  g.fillStyle = colour(peakDb > -0.1 ? "reference" : "after"); g.fillRect(0, 2, x(rmsDb), 9);
  g.globalAlpha = 0.45; g.fillRect(0, 2, x(peakDb), 9); g.globalAlpha = 1;
  g.fillStyle = colour("grid"); g.fillRect(0, 14, w, 5);
  g.fillStyle = colour("b4"); const r = Math.min(1, -reductionDb / 24) * w;
  if (r > 0) g.fillRect(w - r, 14, r, 5);
}
