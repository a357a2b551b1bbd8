"""Find a compressor that gives a recording a wanted spread of its short-term levels.

The spread is the distance of the 95th and 20th percentiles of the 50 ms levels. The threshold lies
at the 20th percentile, so that everything livelier than that is scaled; the slope ``1 - 1/ratio`` is
found by rendering (secant steps), below 0 where the reference is livelier. Where compression would
bring up the noise in pauses by more than ``NOISE_LIFT_DB`` against the programme, an expander below
the quiet passages takes it back.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np

from retone.dsp.measure import Array
from retone.metrics.natural import LIVE_DB

ATTACK_MS, RELEASE_MS, KNEE_DB = 5.0, 100.0, 6.0
DETECTOR_DB = 6.0
"""How far a peak detector reads above the 50 ms level on speech and music."""
NOISE_LIFT_DB = 2.5
SLOPES = (-0.9, 0.9)
CLOSE_DB = 0.3
ROUNDS = 3
MAX_EXPANSION = 3.0


@dataclass(frozen=True)
class Levels:
    """Percentiles of a recording's 50 ms levels in dBFS and the level of its noise."""

    programme_db: float
    quiet_db: float
    noise_db: float

    @property
    def spread_db(self) -> float:
        return self.programme_db - self.quiet_db

    @classmethod
    def of(cls, short_db: Array, noise_db: float | None) -> Levels:
        live = short_db[short_db > short_db.max() - LIVE_DB]
        low, quiet, programme = np.percentile(live, [5.0, 20.0, 95.0])
        return cls(float(programme), float(quiet), float(low if noise_db is None else noise_db))


def fit(
    levels: Levels,
    wanted_db: float,
    spread_of: Callable[[Mapping[str, float]], float],
    locks: Mapping[str, float],
) -> dict[str, float]:
    """Find the compressor's parameters (its own names, makeup 0).

    Args:
        levels: of the compressor's input.
        wanted_db: the spread to reach.
        spread_of: renders with a setting and measures the spread.
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
    if "ratio" in locks:
        return base
    headroom = max(levels.quiet_db - levels.noise_db, 0.0)
    lowest = levels.spread_db - NOISE_LIFT_DB - 0.7 * headroom
    wanted = max(wanted_db, lowest)
    if abs(wanted - levels.spread_db) < CLOSE_DB or levels.spread_db < 1.0:
        return base

    def at(slope: float) -> dict[str, float]:
        out = base | {"ratio": 1.0 / (1.0 - slope)}
        return {**out, **_expander(levels, slope, locks)}

    known = [(0.0, levels.spread_db)]
    slope = float(np.clip(1.3 * (1 - wanted / levels.spread_db), *SLOPES))
    for _ in range(ROUNDS):
        found = spread_of(at(slope))
        known.append((slope, found))
        if abs(found - wanted) < CLOSE_DB:
            break
        (x0, y0), (x1, y1) = sorted(known, key=lambda p: abs(p[1] - wanted))[:2]
        if abs(y1 - y0) < 1e-3:
            break
        slope = float(np.clip(x0 + (wanted - y0) * (x1 - x0) / (y1 - y0), *SLOPES))
    best = min(known, key=lambda p: abs(p[1] - wanted))[0]
    return at(best) if best else base


def _expander(levels: Levels, slope: float, locks: Mapping[str, float]) -> dict[str, float]:
    """The expander that takes back what compression lifts the noise by."""
    lift = slope * levels.spread_db - NOISE_LIFT_DB
    threshold = levels.quiet_db - 2.0
    depth = threshold - levels.noise_db
    if lift <= 0 or depth < 3.0 or "expander_ratio" in locks:
        return {}
    ratio = float(np.clip(1.0 + lift / depth, 1.0, MAX_EXPANSION))
    return {
        "expander_threshold_db": float(np.clip(threshold + DETECTOR_DB, -100.0, 0.0)),
        "expander_ratio": ratio,
    } | {n: v for n, v in locks.items() if n.startswith("expander")}
