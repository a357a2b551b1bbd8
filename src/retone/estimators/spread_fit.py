"""Find a compressor that gives a recording a wanted spread of its short-term levels.

The spread is the distance of the 95th and 20th percentiles of the 50 ms levels. Where the reference
is more even, a compressor whose threshold lies near the 20th percentile scales everything above;
where it is livelier, a downward expander below the middle of the spread makes quiet passages and
pauses quieter. The slope is found by rendering (secant steps). Where equaliser and compressor would
bring up the noise in pauses by more than ``NOISE_LIFT_DB`` against the programme, the expander takes
it back, as far as noise and quiet passages are apart.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np

from retone.dsp.measure import Array
from retone.metrics.natural import LIVE_DB, PAUSE_DB

ATTACK_MS, RELEASE_MS, KNEE_DB = 5.0, 100.0, 6.0
DETECTOR_DB = 3.0
"""How far the peak detector's smoothed level lies above the 50 ms level, at least."""
NOISE_LIFT_DB = 2.5
COMPRESSION = (0.0, 0.9)
EXPANSION = (0.0, 4.0)
MIDDLE = 0.5
CLOSE_DB = 0.3
ROUNDS = 4
MAX_EXPANSION = 3.0
APART_DB = 4.0


@dataclass(frozen=True)
class Levels:
    """Percentiles of a recording's 50 ms levels in dBFS; ``noise_db`` is None if it has
    no pauses and no passage as quiet as one."""

    programme_db: float
    quiet_db: float
    noise_db: float | None

    @property
    def spread_db(self) -> float:
        return self.programme_db - self.quiet_db

    @classmethod
    def of(cls, short_db: Array, noise_db: float | None) -> Levels:
        live = short_db[short_db > short_db.max() - LIVE_DB]
        low, quiet, programme = np.percentile(live, [5.0, 20.0, 95.0])
        if noise_db is None and low < programme - PAUSE_DB:
            noise_db = float(low)
        return cls(float(programme), float(quiet), noise_db)


@dataclass(frozen=True)
class Heard:
    """What a compressor does: the spread of its output, and how far the noise in pauses has risen
    against the programme since the input."""

    spread_db: float
    noise_lift_db: float


def fit(
    levels: Levels,
    wanted_db: float,
    heard: Callable[[Mapping[str, float]], Heard],
    locks: Mapping[str, float],
) -> dict[str, float]:
    """Find the compressor's parameters (its own names, makeup 0).

    Args:
        levels: of the compressor's input.
        wanted_db: the spread to reach.
        heard: renders with a setting and measures.
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
    if levels.spread_db < 1.0 or abs(livelier) < CLOSE_DB:
        return base | _expander(base, levels, heard) | dict(locks)
    if livelier < 0 and "ratio" not in locks:
        slope = _searched(
            lambda x: heard(base | {"ratio": 1 / (1 - x)}).spread_db,
            levels.spread_db, wanted, -1.2 * livelier / levels.spread_db, COMPRESSION,
        )  # fmt: skip
        base = base | {"ratio": 1 / (1 - slope)}
    elif livelier > 0 and "expander_ratio" not in locks:
        middle = levels.quiet_db + MIDDLE * levels.spread_db
        base["expander_threshold_db"] = float(np.clip(middle + DETECTOR_DB, -100.0, 0.0))
        base |= locks
        slope = _searched(
            lambda x: heard(base | {"expander_ratio": 1 + x}).spread_db,
            levels.spread_db, wanted, livelier / (MIDDLE * levels.spread_db), EXPANSION,
        )  # fmt: skip
        return base | {"expander_ratio": 1 + slope}
    return base | _expander(base, levels, heard) | dict(locks)


def _searched(
    spread_at: Callable[[float], float],
    spread_db: float,
    wanted_db: float,
    first: float,
    limits: tuple[float, float],
) -> float:
    """The slope whose spread comes nearest to the wanted one; 0 gives ``spread_db``."""
    known = [(0.0, spread_db)]
    slope = float(np.clip(first, *limits))
    for _ in range(ROUNDS):
        found = spread_at(slope)
        known.append((slope, found))
        if abs(found - wanted_db) < CLOSE_DB:
            break
        (x0, y0), (x1, y1) = sorted(known, key=lambda p: abs(p[1] - wanted_db))[:2]
        if abs(y1 - y0) < 1e-3 or abs(x1 - x0) < 1e-3:
            break
        slope = float(np.clip(x0 + (wanted_db - y0) * (x1 - x0) / (y1 - y0), *limits))
    return min(known, key=lambda p: abs(p[1] - wanted_db))[0]


def _expander(
    base: dict[str, float], levels: Levels, heard: Callable[[Mapping[str, float]], Heard]
) -> dict[str, float]:
    """The expander that takes back what equaliser and compressor lift the noise by."""
    if levels.noise_db is None or levels.quiet_db - levels.noise_db < APART_DB:
        return {}
    lift = heard(base).noise_lift_db - NOISE_LIFT_DB
    if not lift > 0:
        return {}
    threshold = levels.quiet_db - 2.0
    ratio = float(np.clip(1.0 + lift / (threshold - levels.noise_db), 1.0, MAX_EXPANSION))
    return {
        "expander_threshold_db": float(np.clip(threshold + DETECTOR_DB, -100.0, 0.0)),
        "expander_ratio": ratio,
    }
