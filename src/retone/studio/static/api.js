// Talking to the server: JSON, sound, uploads with progress, and events.

export class Refusal extends Error {}

let key = "";

// What this tab keeps over a reload; nothing where the browser forbids it.
export const kept = {
  read(name) { try { return sessionStorage.getItem(`retone-${name}`); } catch { return null; } },
  write(name, text) { // whether there was room for it
    try { sessionStorage.setItem(`retone-${name}`, text); return true; } catch { return false; }
  },
  drop(name) { try { sessionStorage.removeItem(`retone-${name}`); } catch { /* forbidden */ } },
};
let left = false;

async function answer(response) {
  if (response.ok) return response;
  let text = `The server answered ${response.status}.`;
  try { text = (await response.json()).error || text; } catch { /* not JSON */ }
  throw new Refusal(text);
}

async function ask(address, options) {
  try {
    return await answer(await fetch(address, options));
  } catch (error) {
    if (error instanceof Refusal || error.name === "AbortError") throw error;
    throw new Refusal("The studio's server does not respond. Is it still running?");
  }
}

// Whether no other tab has this session: a duplicated tab brings the key of the first one along.
// A page that is loaded again may have to wait until its former self is gone. Over HTTP from another
// machine browsers offer no locks: there the tabs ask each other, and of two that begin at once the
// one with the higher number has it.
const alone = (session) => new Promise((resolve) => {
  const name = `retone-${session}`;
  if (navigator.locks) {
    const hold = () => { resolve(true); return new Promise(() => {}); };
    navigator.locks.request(name, { signal: AbortSignal.timeout(1500) }, hold).catch(() => resolve(false));
    return;
  }
  const line = new BroadcastChannel(name);
  let number = Math.random();
  const settle = (mine) => {
    if (mine) number = 2; else line.close();
    resolve(mine);
  };
  line.onmessage = ({ data }) => {
    if (data.asks < number) line.postMessage({ taken: true });
    else if (data.taken && number < 2) settle(false);
  };
  line.postMessage({ asks: number });
  setTimeout(() => { if (number < 2) settle(true); }, 400);
});

// A session of this tab goes on after a reload, as long as the server keeps it.
export async function start() {
  const known = kept.read("key");
  let found = null;
  try {
    if (known && await alone(known)) found = await (await ask(`/api/resume/${known}`, { method: "POST" })).json();
  } catch (error) {
    if (!(error instanceof Refusal)) throw error;
  }
  if (!found) {
    found = await (await ask("/api/session", { method: "POST" })).json();
    await alone(found.session);
  }
  key = found.session;
  kept.write("key", key);
  addEventListener("pagehide", () => { left = true; navigator.sendBeacon(`/api/leave/${key}`); });
  return found;
}

export const offers = async () => (await ask("/api/offers", {})).json();

export function events(onEvent, onLost) {
  const stream = new EventSource(`/api/events/${key}`);
  stream.onmessage = (e) => onEvent(JSON.parse(e.data));
  let timer = null, lost = false;
  const gone = () => { if (!lost && !left) { lost = true; onLost(); } };
  stream.onopen = () => { clearTimeout(timer); timer = null; };
  stream.onerror = () => {
    if (stream.readyState === EventSource.CLOSED) gone();
    else timer ??= setTimeout(gone, 4000);
  };
}

const body = (data) => ({
  method: "POST", headers: { "content-type": "application/json" }, body: JSON.stringify(data),
});

export const post = async (what, data = {}, signal) =>
  (await ask(`/api/${what[0]}/${key}${what[1] === undefined ? "" : `/${what[1]}`}`,
    { ...body(data), signal })).json();

export const text = async (what, content) =>
  (await ask(`/api/${what}/${key}`, { method: "POST", body: content })).json();

// A JSON head, then float32 samples channel by channel.
export function unpack(buffer) {
  const size = new DataView(buffer).getUint32(0, true);
  const head = JSON.parse(new TextDecoder().decode(new Uint8Array(buffer, 4, size)));
  const data = [];
  for (let c = 0; c < head.channels; c++) {
    data.push(new Float32Array(buffer, 4 + size + 4 * c * head.frames, head.frames));
  }
  return { head, data };
}

// All of a recording, or `part`: its first sample and their number.
export const sound = async (which, part) => {
  const range = part ? `?first=${part[0]}&frames=${part[1]}` : "";
  return unpack(await (await ask(`/api/sound/${key}/${which}${range}`)).arrayBuffer());
};

export const rendered = async (what, data, signal) =>
  unpack(await (await ask(`/api/${what}/${key}`, { ...body(data), signal })).arrayBuffer());

export const downloadAddress = (name) => `/api/download/${key}/${encodeURIComponent(name)}`;

let turn = 0;

export function upload(role, file, name, onProgress) {
  const request = new XMLHttpRequest();
  turn = Math.max(turn + 1, Date.now());
  const done = new Promise((resolve, reject) => {
    request.open("POST", `/api/upload/${key}/${role}?turn=${turn}&name=${encodeURIComponent(name)}`);
    request.responseType = "json";
    request.upload.onprogress = (e) => onProgress(e.loaded / (e.total || 1));
    request.onload = () => (request.status === 200 ? resolve(request.response)
      : reject(new Refusal(request.response?.error || `The server answered ${request.status}.`)));
    request.onerror = () => reject(new Refusal("The upload was interrupted. Is the server running?"));
    request.onabort = () => reject(new DOMException("cancelled", "AbortError"));
    request.send(file);
  });
  // The server says whether it has the recording already; then the page takes it too.
  const cancel = async () => {
    const { late } = await post(["abandon", turn]).catch(() => ({ late: false }));
    if (!late) request.abort();
  };
  return { done, turn, cancel, drop: () => request.abort() };
}

export function fetchFile(address, name) {
  const a = Object.assign(document.createElement("a"), { href: address, download: name });
  document.body.append(a);
  a.click();
  a.remove();
}

export function hand(content, name) { // a text or a Blob
  const address = URL.createObjectURL(new Blob([content], { type: content.type || "text/plain" }));
  fetchFile(address, name);
  setTimeout(() => URL.revokeObjectURL(address), 10000);
}
