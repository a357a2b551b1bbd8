"""Which parts of a recording sound: an activity gate on the power of every 20 ms.

The gate is relative to the recording's active level, which depends neither on how long a recording
is silent nor on single clicks:

    L = mean of the powers within 10 dB below L or above it, none counted above T,

where T is the power exceeded for half a second in all. The highest such L is taken. A hop is
active if it is above L - 36 dB or, where stationary noise lies between the phrases, 6 dB above the
noise. A pause keeps a quarter of a second at both ends, so that no word is clipped and ordinary
pauses stay as they are. What lies more than 55 dB below L, or 12 dB below the recording's own
noise, is no pause of it: it leaves altogether.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from retone.audio.meters.activity import HOP_S
from retone.units import db_to_gain

Powers = NDArray[np.float64]
Mask = NDArray[np.bool_]

TOP_S = 0.5
WITHIN_DB = 10.0
GATE_DB = -36.0
SILENCE_DB = -55.0
NOTHING_DB = -100.0
"""Relative to the active level: the gate, what is left out even of short pauses, and what is no
sound at all."""
HANGOVER_S = 0.25
ISOLATED_S, ISOLATED_HOPS = 0.5, 2
"""So few active hops in such a time are a click, not sound."""
STEADY_S, STEADY_DB = 0.3, 6.0
LOWEST_SHARE = 0.2
NEAR_DB, NOISE_SHARE, NOISE_S = 4.0, 0.4, 0.5
NOISE_MARGIN_DB, SILENCE_MARGIN_DB = 6.0, 12.0
HIGHEST_GATE_DB, HIGHEST_NOISE_DB = -12.0, -15.0
PAUSE_AFTER_S, PAUSE_BEFORE_S, PAUSE_WITHIN_S = 0.1, 0.06, 0.36
SHORTEST_PAUSE_S = 0.1


@dataclass(frozen=True)
class Activity:
    """Hops of 20 ms of a recording.

    Args:
        keep: [N] hops to analyse.
        pause: [N] hops that hold what sounds in pauses next to active passages.
        power: [N] their mean squares, none above T.
        gate_db: the gate relative to the active level.
    """

    keep: Mask
    pause: Mask
    power: Powers
    gate_db: float


def active_level(power: Powers) -> tuple[float, float]:
    """The level L and the limit T of the module's docstring, as mean squares; 0 for silence."""
    sounding = int(np.count_nonzero(power))
    if not sounding:
        return 0.0, 0.0
    rank = min(round(TOP_S / HOP_S), sounding // 10)
    top = float(np.partition(power, -1 - rank)[-1 - rank])
    limited = np.minimum(power, top)
    level = top
    while True:
        lower = float(limited[limited > level * db_to_power(-WITHIN_DB)].mean())
        if lower >= level * 0.999:
            return level, top
        level = lower


def activity(power: Powers, *, noise: bool) -> Activity:
    """Gate a recording.

    Args:
        power: mean square of each hop, [N]; ``retone.audio.meters.activity``.
        noise: whether stationary noise between phrases is a pause as well.
    """
    level, top = active_level(power)
    if not level:
        none = np.zeros(len(power), bool)
        return Activity(none, none, power, GATE_DB)
    level_db = 10 * np.log10(np.maximum(power / level, 1e-20))
    gate_db, silence_db = GATE_DB, SILENCE_DB
    noise_db = _noise_db(level_db) if noise else None
    if noise_db is not None:
        gate_db = max(gate_db, min(noise_db + NOISE_MARGIN_DB, HIGHEST_GATE_DB))
        silence_db = max(silence_db, noise_db - SILENCE_MARGIN_DB)
    active = _without_clicks(level_db > gate_db)
    keep = widened(active, HANGOVER_S, HANGOVER_S) & (level_db > silence_db)
    near = widened(active, PAUSE_WITHIN_S, PAUSE_WITHIN_S)
    pause = near & ~widened(active, PAUSE_AFTER_S, PAUSE_BEFORE_S) & (level_db <= gate_db)
    audible = _long_runs(pause & (level_db > silence_db), SHORTEST_PAUSE_S)
    if not audible.any():
        audible = _long_runs(pause & (level_db > NOTHING_DB), SHORTEST_PAUSE_S)
    return Activity(keep, audible, np.minimum(power, top), gate_db)


def runs(mask: Mask) -> list[tuple[int, int]]:
    """First index and the one after the last of every run of True."""
    edges = np.flatnonzero(np.diff(np.concatenate([[0], mask.astype(np.int8), [0]])))
    return [(int(a), int(b)) for a, b in zip(edges[::2], edges[1::2], strict=True)]


def widened(mask: Mask, after_s: float, before_s: float) -> Mask:
    """True also ``after_s`` after and ``before_s`` before each True."""
    after, before = round(after_s / HOP_S), round(before_s / HOP_S)
    total = np.concatenate([[0], np.cumsum(mask)])
    at = np.arange(len(mask))
    count = total[np.minimum(at + before + 1, len(mask))] - total[np.maximum(at - after, 0)]
    return np.asarray(count > 0)


def db_to_power(db: float) -> float:
    """Ratio of powers."""
    return db_to_gain(db) ** 2


def _noise_db(level_db: Powers) -> float | None:
    """Level of stationary noise relative to the active level; None if there is none.

    Noise is the lowest steady level, and most hops near it lie in passages of 0.3 s with hardly any
    change; silence is left out, so that it may interrupt them. Noise too low to raise the gate does
    not count.
    """
    size = round(STEADY_S / HOP_S)
    level_db = level_db[level_db > SILENCE_DB]
    if len(level_db) < size:
        return None
    windows = np.lib.stride_tricks.sliding_window_view(
        np.convolve(level_db, np.ones(5) / 5, mode="same"), size
    )
    highest, lowest = windows.max(axis=1), windows.min(axis=1)
    middle = 0.5 * (highest + lowest)
    steady = highest - lowest < STEADY_DB
    steady &= (middle > GATE_DB - NOISE_MARGIN_DB) & (middle < HIGHEST_NOISE_DB)
    if not steady.any():
        return None
    noise_db = float(np.quantile(middle[steady], LOWEST_SHARE))
    steady &= np.abs(middle - noise_db) < 0.5 * STEADY_DB
    inside = np.zeros(len(level_db), bool)
    for start in np.flatnonzero(steady):
        inside[start : start + size] = True
    near = np.abs(level_db - noise_db) < NEAR_DB
    count = int((inside & near).sum())
    if count * HOP_S < NOISE_S or count < NOISE_SHARE * near.sum():
        return None
    return noise_db


def _without_clicks(active: Mask) -> Mask:
    half = round(0.5 * ISOLATED_S / HOP_S)
    total = np.concatenate([[0], np.cumsum(active)])
    at = np.arange(len(active))
    around = total[np.minimum(at + half + 1, len(active))] - total[np.maximum(at - half, 0)]
    return np.asarray(active & (around > ISOLATED_HOPS))


def _long_runs(mask: Mask, least_s: float) -> Mask:
    out = np.zeros_like(mask)
    for first, last in runs(mask):
        if (last - first) * HOP_S >= least_s:
            out[first:last] = True
    return out
