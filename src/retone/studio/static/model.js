// The page's data: the state that undo restores, the measurements, and the page's parts.
import { History } from "./history.js";
import { Player } from "./player.js";
import { scaled } from "./scale.js";

export const state = {
  effect: null, setting: {}, locks: new Set(), amount: 1, loudness: "match", ceiling_dbtp: -1,
};
export const page = {
  input: null, references: [], effects: new Map(), curves: null, tab: 0, spectra: {}, style: null,
  whole: null, job: null, gains: {}, offers: { presets: [], estimators: [], targets: [], enhance: "not known yet" },
};
export const parts = {}; // sources, controls, eq
export const history = new History();
export const player = new Player();

export const sent = () => ({
  effect: state.effect, setting: state.setting, locks: [...state.locks], amount: state.amount,
  loudness: Number.isNaN(Number(state.loudness)) ? state.loudness : Number(state.loudness),
  ceiling_dbtp: state.ceiling_dbtp,
});

// The values that are heard: scaled by Amount, except locked ones.
export const effective = () => Object.fromEntries(Object.entries(state.setting).map(([name, value]) =>
  [name, state.locks.has(name) ? value : scaled(param(name), value, state.amount)]));
export const snapshot = () => JSON.stringify({ ...state, locks: [...state.locks] });
export const param = (name) => page.effects.get(state.effect)?.params.get(name);
