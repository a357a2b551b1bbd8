// The left column: choosing, dropping or recording sounds, and what the result should be like.
import { Refusal, upload } from "./api.js";
import { record } from "./record.js";
import { clock } from "./scale.js";

const $ = (id) => document.getElementById(id);

// callbacks: added(role, found, turn), abandoned(), removed(index), goal(kind), busy(text, share, cancel), idle(), say(text, error)
export class Sources {
  constructor(info, callbacks) {
    this.info = info;
    this.callbacks = callbacks;
    this.goal = "match";
    this.preset = null;
    this.zone("input");
    this.zone("reference");
    this.tabs();
  }

  // What the server can do, known a moment after the page has loaded.
  offer(offers) {
    if (offers.enhance) $("enhance-about").textContent = `Not available: ${offers.enhance}`;
    this.presets(offers.presets);
  }

  zone(role) {
    const drop = $(`drop-${role}`), file = $(`file-${role}`), button = $(`record-${role}`);
    const open = () => file.click();
    drop.addEventListener("click", open);
    drop.addEventListener("keydown", (e) => {
      if (e.key === "Enter" || e.key === " ") { e.preventDefault(); e.stopPropagation(); open(); }
    });
    file.addEventListener("change", () => {
      const chosen = [...file.files];
      file.value = "";
      this.take(role, chosen);
    });
    for (const [name, on] of [["dragenter", true], ["dragover", true], ["dragleave", false], ["drop", false]]) {
      drop.addEventListener(name, (e) => { e.preventDefault(); drop.classList.toggle("over", on); });
    }
    drop.addEventListener("drop", async (e) => this.take(role, await dropped(e.dataTransfer)));
    button.addEventListener("click", () => this.record(role, button));
  }

  async record(role, button) {
    if (this.stop) {
      const stop = this.stop;
      this.stop = null;
      button.classList.remove("on");
      button.textContent = "Record";
      const sound = await stop();
      await this.send(role, sound, "recording.wav");
      return;
    }
    try {
      this.stop = await record();
      button.classList.add("on");
      button.textContent = "Stop";
    } catch (error) {
      this.callbacks.say(`The microphone cannot be used (${error.name}).`, true);
    }
  }

  // A new recording ends the reading of an earlier one; references are read one after the other.
  async take(role, files) {
    if (!files.length) { this.callbacks.say("There is no recording in it.", true); return; }
    if (role === "input") {
      if (files.length > 1) this.callbacks.say(`The first of ${files.length} recordings was taken: ${files[0].name}.`);
      await this.send(role, files[0], files[0].name);
      return;
    }
    const most = this.info.limits.references;
    if (files.length > most) this.callbacks.say(`The first ${most} of ${files.length} recordings were taken.`);
    for (const f of files.slice(0, most)) this.line = (this.line ?? Promise.resolve()).then(() => this.send(role, f, f.name));
    await this.line;
  }

  async send(role, file, name) {
    if (role === "input") this.going?.cancel();
    const most = this.info.limits.upload_bytes;
    if (file.size > most) {
      this.callbacks.say(`${name} is larger than the limit of ${Math.round(most / 2 ** 20)} MB. Save it ` +
        "as FLAC or M4A, which are smaller, or use 'retone match' on the command line, which has no limit.", true);
      return;
    }
    const words = `Reading ${name}`;
    const cancel = () => going.cancel();
    const shown = (share) => { if (role !== "input" || this.going === going) this.callbacks.busy(words, share, cancel); };
    const going = upload(role, file, name, shown);
    if (role === "input") this.going = going;
    this.callbacks.busy(words, 0, cancel);
    try {
      const found = await going.done;
      if (role === "input" && this.going !== going) return;
      await this.callbacks.added(role, found, going.turn);
      if (role === "reference") this.pick("match");
    } catch (error) {
      if (role === "input" && this.going === going) this.callbacks.abandoned();
      if (error instanceof Refusal) this.callbacks.say(error.message, true);
      else if (error.name !== "AbortError") throw error;
    } finally {
      if (role !== "input" || this.going === going) {
        if (role === "input") this.going = null;
        this.callbacks.idle();
      }
    }
  }

  list(role, items) {
    $(`list-${role}`).replaceChildren(...items.map((item, index) => {
      const li = document.createElement("li");
      const name = Object.assign(document.createElement("b"), { textContent: item.name, title: item.name });
      const about = Object.assign(document.createElement("small"), { textContent: `${clock(item.seconds)}, ${item.about.replace(/, [\d.]+ s$/, "")}` });
      li.append(name);
      if (role === "reference") {
        const gone = Object.assign(document.createElement("button"), { textContent: "✕", title: "Remove" });
        gone.setAttribute("aria-label", `Remove ${item.name}`);
        gone.addEventListener("click", () => this.callbacks.removed(index));
        li.append(gone);
      }
      li.append(about);
      return li;
    }));
    const drop = $(`drop-${role}`);
    drop.classList.toggle("small", items.length > 0);
    drop.querySelector("strong").textContent = items.length
      ? (role === "input" ? "Choose another" : "Add another reference")
      : (role === "input" ? "Drop it here" : "Drop a reference");
    $(`record-${role}`).hidden = items.length > 0 && !this.stop;
  }

  tabs() {
    const tabs = [...document.querySelectorAll("#step-goal [role=tab]")];
    tabs.forEach((tab, i) => {
      tab.addEventListener("click", () => this.pick(tab.id.slice(4)));
      tab.addEventListener("keydown", (e) => {
        const to = { ArrowRight: i + 1, ArrowLeft: i - 1 }[e.key];
        if (to === undefined) return;
        e.preventDefault();
        e.stopPropagation();
        const next = tabs[(to + tabs.length) % tabs.length];
        next.focus();
        this.pick(next.id.slice(4));
      });
    });
  }

  pick(goal) {
    this.goal = goal;
    for (const name of ["match", "preset", "enhance"]) {
      const on = name === goal;
      $(`tab-${name}`).setAttribute("aria-selected", String(on));
      $(`tab-${name}`).tabIndex = on ? 0 : -1;
      $(`goal-${name}`).hidden = !on;
    }
    this.callbacks.goal(goal);
  }

  // Presets of one's own come first; they last as long as the page, their files longer.
  own(preset) {
    const box = $("presets");
    box.querySelector(`[data-preset="${preset.name}"]`)?.remove();
    box.querySelector(":scope > p")?.remove();
    this.presets([preset], true);
    box.firstElementChild.click();
  }

  presets(known, first = false) {
    const box = $("presets");
    if (!known.length) {
      box.append(Object.assign(document.createElement("p"), { textContent: "This version has no presets." }));
      return;
    }
    box[first ? "prepend" : "append"](...known.map((p) => {
      const button = document.createElement("button");
      button.setAttribute("role", "radio");
      button.setAttribute("aria-checked", "false");
      button.dataset.preset = p.name;
      button.append(Object.assign(document.createElement("b"), { textContent: p.name.replaceAll("-", " ") }),
        Object.assign(document.createElement("small"), { textContent: p.description }));
      button.addEventListener("click", () => {
        this.preset = p.name;
        box.querySelectorAll("button").forEach((b) => b.setAttribute("aria-checked", String(b === button)));
        this.callbacks.goal("preset");
      });
      return button;
    }));
  }
}

const SOUND = /\.(wav|flac|ogg|opus|mp3|m4a|mp4|mov|mkv|webm|wma|aiff?|caf|w64|wv|ape)$/i;

// The files of a drop; of a folder, every recording in it, by name.
async function dropped(data) {
  const entries = [...data.items].map((i) => i.webkitGetAsEntry?.()).filter(Boolean);
  if (!entries.some((e) => e.isDirectory)) return [...data.files];
  const found = [];
  const walk = async (entry) => {
    if (entry.isFile) {
      if (SOUND.test(entry.name)) found.push([entry.fullPath, await new Promise((ok, no) => { entry.file(ok, no); })]);
      return;
    }
    const reader = entry.createReader();
    for (;;) { // it gives a hundred at a time
      const some = await new Promise((ok, no) => { reader.readEntries(ok, no); });
      if (!some.length) break;
      for (const e of some) await walk(e);
    }
  };
  for (const e of entries) await walk(e);
  return found.sort(([a], [b]) => a.localeCompare(b)).map(([, f]) => f);
}
