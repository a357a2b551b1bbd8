// Recordings as tracks of the player: short ones whole, long ones in pieces.
import * as api from "./api.js";
import { page, player } from "./model.js";
import { Stream } from "./stream.js";

export async function load(name, which, found) {
  if (found.long) {
    const place = () => (found.arriving ? "arriving" : which);
    player.setTrack(name, streamOf(found, async (...part) => (await api.sound(place(), part)).data), found.rate);
    return;
  }
  const { data, head } = await api.sound(which);
  player.setTrack(name, data, head.rate);
}

const streamOf = ({ rate, channels, frames, ready_s }, fetch) => new Stream(
  { rate, channels, length: frames, ready: ready_s === undefined ? frames : Math.floor(ready_s * rate) }, fetch);

// A long recording as the server renders it, for browsers that do not run effects.
export const rendition = (asked) => streamOf(page.input, async (first, frames) => (await api.rendered("window",
  { ...asked, start_s: first / page.input.rate, stop_s: (first + frames) / page.input.rate })).data);
