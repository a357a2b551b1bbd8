// Talking to the server: JSON, sound, uploads with progress, and events.

export class Refusal extends Error {}

let key = "";

// What this tab keeps over a reload; nothing where the browser forbids it.
export const kept = {
  read(name) { try { return sessionStorage.getItem(`retone-${name}`); } catch { return null; } },
  write(name, text) { try { sessionStorage.setItem(`retone-${name}`, text); } catch { /* full or forbidden */ } },
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

// A session of this tab goes on after a reload, as long as the server keeps it.
export async function start() {
  const known = kept.read("key");
  let found = null;
  try {
    if (known) found = await (await ask(`/api/resume/${known}`, { method: "POST" })).json();
  } catch (error) {
    if (!(error instanceof Refusal)) throw error;
  }
  found ??= await (await ask("/api/session", { method: "POST" })).json();
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
  return { done, turn, cancel: () => request.abort() };
}

export function fetchFile(address, name) {
  const a = Object.assign(document.createElement("a"), { href: address, download: name });
  document.body.append(a);
  a.click();
  a.remove();
}

export function hand(text, name) {
  const address = URL.createObjectURL(new Blob([text], { type: "text/plain" }));
  fetchFile(address, name);
  setTimeout(() => URL.revokeObjectURL(address), 10000);
}
