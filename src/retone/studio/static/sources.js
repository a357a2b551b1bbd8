// The left column: choosing, dropping or recording sounds, and what the result should be like.
import { Refusal, hand, upload } from "./api.js";
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
    this.microphone = null; // the role that is being recorded, and how to stop it
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

  // One recording at a time; the button that began it ends it.
  async record(role, button) {
    const other = $(`record-${role === "input" ? "reference" : "input"}`);
    if (this.microphone) {
      const { stop, timer } = this.microphone;
      if (this.microphone.role !== role || !stop) return;
      clearTimeout(timer);
      this.microphone.stop = null;
      const sound = await stop();
      this.microphone = null;
      button.classList.remove("on");
      button.textContent = "Record";
      other.disabled = false;
      await this.deliver(role, sound);
      return;
    }
    this.microphone = { role };
    other.disabled = true;
    try {
      const stop = await record();
      const most = Math.max(1, 60 * this.info.limits.minutes - 1);
      const end = async () => {
        await this.record(role, button);
        this.callbacks.say(`The recording was ended: the limit is ${this.info.limits.minutes} minutes.`);
      };
      this.microphone = { role, stop, timer: setTimeout(end, Math.min(1000 * most, 2 ** 31 - 1)) };
      button.classList.add("on");
      button.textContent = "Stop";
    } catch (error) {
      this.microphone = null;
      other.disabled = false;
      this.callbacks.say(`The microphone cannot be used (${error.name}).`, true);
    }
  }

  // What the microphone gave exists only here: it is kept until the server has it or it is refused.
  async deliver(role, sound) {
    if (await this.send(role, sound, "recording.wav")) return;
    const li = document.createElement("li");
    const action = (text, does) => {
      const button = Object.assign(document.createElement("button"), { textContent: text });
      button.addEventListener("click", does);
      return button;
    };
    const row = document.createElement("span");
    row.append(
      action("Try again", () => { li.remove(); this.deliver(role, sound); }),
      action("Download it", () => { hand(sound, "recording.wav"); li.dataset.saved = "true"; }),
      action("Discard", () => li.remove()));
    li.append(Object.assign(document.createElement("b"), { textContent: "recording.wav was not taken" }), row);
    $(`kept-${role}`).append(li);
  }

  // Whether closing the page would lose a sound from the microphone.
  get unsaved() {
    return this.microphone !== null || document.querySelector("[id^=kept-] li:not([data-saved])") !== null;
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

  // Whether the recording was taken.
  async send(role, file, name) {
    if (role === "input") this.going?.drop();
    const most = this.info.limits.upload_bytes;
    if (file.size > most) {
      this.callbacks.say(`${name} is larger than the limit of ${Math.round(most / 2 ** 20)} MB. Save it ` +
        "as FLAC or M4A, which are smaller, or use 'retone match' on the command line, which has no limit.", true);
      return false;
    }
    const words = `Reading ${name}`;
    const cancel = () => going.cancel();
    const shown = (share) => {
      if (role !== "input" || (this.going === going && !going.reading)) this.callbacks.busy(words, share, cancel);
    };
    const going = upload(role, file, name, shown);
    if (role === "input") this.going = going;
    this.callbacks.busy(words, 0, cancel);
    try {
      const found = await going.done;
      if (role === "input" && this.going !== going) return false;
      await this.callbacks.added(role, found, going.turn);
      if (role === "reference") this.pick("match");
      return true;
    } catch (error) {
      if (role === "input" && this.going === going) this.callbacks.abandoned();
      if (error instanceof Refusal) this.callbacks.say(error.message, true);
      else if (error.name !== "AbortError") throw error;
      return false;
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
    $(`record-${role}`).hidden = items.length > 0 && this.microphone?.role !== role;
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
