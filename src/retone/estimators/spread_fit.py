"""Find a compressor that gives a recording a wanted spread of its short-term levels.

The spread is the distance of the 95th and 20th percentiles of the 50 ms levels. Where the reference
is more even, a compressor scales what lies above its threshold; where it is livelier, a downward
expander makes quiet passages and pauses quieter. Thresholds and slopes are chosen from a grid by
the static curve on the short-term levels; the slope is then corrected by rendering. Where equaliser
and compressor would bring up the noise in pauses by more than ``NOISE_LIFT_DB`` against the
programme, the expander takes it back, as far as noise and quiet passages are apart.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np

from retone.dsp.measure import Array
from retone.dsp.short_levels import LIVE_DB, PAUSE_DB, spread_db

ATTACK_MS, RELEASE_MS, KNEE_DB = 5.0, 100.0, 6.0
DETECTOR_DB = 3.0
"""How far the peak detector's smoothed level lies above the 50 ms level, at least."""
NOISE_LIFT_DB = 2.5
PLACES = (0.0, 0.25, 0.5, 0.8)
"""Thresholds to try, as shares of the way from the 20th to the 95th percentile."""
COMPRESSIONS = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9)
EXPANSIONS = (0.1, 0.2, 0.35, 0.5, 0.75, 1.1, 1.6, 2.4, 3.5)
EFFORT_DB = 0.3
"""Spread that a stronger setting must gain over the weakest one for each step of the grid."""
CLOSE_DB = 0.3
ROUNDS = 3
MAX_EXPANSION = 3.0
APART_DB = 4.0


@dataclass(frozen=True, eq=False)
class Levels:
    """The 50 ms levels [N] of a recording in dBFS and their percentiles.

    ``noise_db`` is None if it has no pauses and no passage as quiet as one.
    """

    programme_db: float
    quiet_db: float
    noise_db: float | None
    short_db: Array

    @property
    def spread_db(self) -> float:
        return self.programme_db - self.quiet_db

    def at(self, place: float) -> float:
        """A level between the quiet passages (0) and the programme (1)."""
        return self.quiet_db + place * self.spread_db

    @classmethod
    def of(cls, short_db: Array, noise_db: float | None) -> Levels:
        live = short_db[short_db > short_db.max() - LIVE_DB]
        low, quiet, programme = np.percentile(live, [5.0, 20.0, 95.0])
        if noise_db is None and low < programme - PAUSE_DB:
            noise_db = float(low)
        return cls(float(programme), float(quiet), noise_db, short_db)


@dataclass(frozen=True)
class Measured:
    """What a compressor does: the spread of its output, and how far the noise in pauses has risen
    against the programme since the input."""

    spread_db: float
    noise_lift_db: float


def fit(
    levels: Levels,
    wanted_db: float,
    measured: Callable[[Mapping[str, float]], Measured],
    locks: Mapping[str, float],
) -> dict[str, float]:
    """Find the compressor's parameters (its own names, makeup 0).

    Args:
        levels: of the compressor's input.
        wanted_db: the spread to reach.
        measured: renders with a setting and measures the result.
        locks: fixed values.
    """
    base = {
        "threshold_db": float(np.clip(levels.quiet_db + DETECTOR_DB, -100.0, 0.0)),
        "ratio": 1.0,
        "attack_ms": ATTACK_MS,
        "release_ms": RELEASE_MS,
        "knee_db": KNEE_DB,
        "makeup_db": 0.0,
        "expander_threshold_db": -100.0,
        "expander_ratio": 1.0,
    } | dict(locks)
    lowest = -np.inf
    if levels.noise_db is not None:
        room = max(levels.quiet_db - levels.noise_db - APART_DB, 0.0)
        lowest = levels.spread_db - NOISE_LIFT_DB - (MAX_EXPANSION - 1) * room
    wanted = max(wanted_db, lowest)
    livelier = wanted - levels.spread_db
    if levels.spread_db >= 1.0 and abs(livelier) >= CLOSE_DB:
        if livelier > 0 and "expander_ratio" not in locks:
            place, step = _chosen(levels, wanted, EXPANSIONS, "expander_threshold_db" in locks)
            threshold = levels.at(place) + DETECTOR_DB
            base["expander_threshold_db"] = float(np.clip(threshold, -100.0, 0.0))
            base |= locks
            slope = _corrected(
                lambda x: measured(base | {"expander_ratio": 1 + x}).spread_db,
                levels.spread_db, wanted, step, EXPANSIONS[-1],
            )  # fmt: skip
            return base | {"expander_ratio": 1 + slope}
        if livelier < 0 and "ratio" not in locks:
            place, step = _chosen(levels, wanted, COMPRESSIONS, "threshold_db" in locks)
            threshold = levels.at(place) + DETECTOR_DB
            base["threshold_db"] = float(np.clip(threshold, -100.0, 0.0))
            base |= locks
            slope = _corrected(
                lambda x: measured(base | {"ratio": 1 / (1 - x)}).spread_db,
                levels.spread_db, wanted, step, COMPRESSIONS[-1],
            )  # fmt: skip
            base = base | {"ratio": 1 / (1 - slope)}
    return base | _expander(base, levels, measured) | dict(locks)


def _chosen(
    levels: Levels, wanted_db: float, steps: tuple[float, ...], fixed: bool
) -> tuple[float, float]:
    """Threshold (as a place) and slope whose static curve gives the wanted spread."""
    best, cost = (0.0, 0.0), np.inf
    up = steps is COMPRESSIONS
    for place in PLACES[:1] if fixed else PLACES:
        threshold = levels.at(place)
        for number, slope in enumerate(steps):
            if up:
                moved = levels.short_db - slope * np.maximum(levels.short_db - threshold, 0.0)
            else:
                moved = levels.short_db - slope * np.maximum(threshold - levels.short_db, 0.0)
            found = abs(spread_db(moved) - wanted_db) + EFFORT_DB * number
            if found < cost:
                best, cost = (place, slope), found
    return best


def _corrected(
    spread_at: Callable[[float], float],
    spread_db: float,
    wanted_db: float,
    slope: float,
    most: float,
) -> float:
    """The slope near the given one whose rendering comes nearest; 0 gives ``spread_db``."""
    known = [(0.0, spread_db)]
    for _ in range(ROUNDS):
        found = spread_at(slope)
        known.append((slope, found))
        if abs(found - wanted_db) < CLOSE_DB or slope <= 0:
            break
        gained = (found - spread_db) / slope
        if gained * (wanted_db - spread_db) <= 0:  # pauses leave what counts: less is more
            slope = 0.5 * slope
        else:
            slope = float(np.clip((wanted_db - spread_db) / gained, 0.5 * slope, 1.7 * slope))
            slope = min(slope, most)
    return min(known, key=lambda p: abs(p[1] - wanted_db))[0]


def _expander(
    base: dict[str, float], levels: Levels, measured: Callable[[Mapping[str, float]], Measured]
) -> dict[str, float]:
    """The expander that takes back what equaliser and compressor lift the noise by."""
    if levels.noise_db is None or levels.quiet_db - levels.noise_db < APART_DB:
        return {}
    lift = measured(base).noise_lift_db - NOISE_LIFT_DB
    if not lift > 0:
        return {}
    threshold = levels.quiet_db - 2.0
    ratio = float(np.clip(1.0 + lift / (threshold - levels.noise_db), 1.0, MAX_EXPANSION))
    return {
        "expander_threshold_db": float(np.clip(threshold + DETECTOR_DB, -100.0, 0.0)),
        "expander_ratio": ratio,
    }
