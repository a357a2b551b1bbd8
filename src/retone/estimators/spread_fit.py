"""Find a compressor that gives a recording a wanted spread of its short-term levels.

The spread is the distance of the 95th and 20th percentiles of the 50 ms levels. Where the reference
is more even, a compressor scales what lies above its threshold; where it is livelier, a downward
expander makes quiet passages and pauses quieter. Where equaliser and compressor would bring up the
noise in pauses by more than ``NOISE_LIFT_DB`` against the programme, the expander takes it back or
there is less compression.

Thresholds and slopes come from a grid. All of it is tried on the envelope in steps of a
millisecond, which is 50 times as fast as the recording itself; the best few are rendered, and the
slope is then corrected by rendering.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from retone.dsp.measure import Array
from retone.dsp.param import Setting
from retone.dsp.short_levels import (
    DYNAMICS_PERCENTILES,
    LIVE_DB,
    PAUSE_DB,
    Floor,
    short_levels_db,
    spreads_db,
)
from retone.effects.compressor import Compressor
from retone.estimators.base import NORMAL_PEAK_DB

ATTACK_MS, RELEASE_MS, KNEE_DB = 5.0, 100.0, 6.0
DETECTOR_DB = 3.0
"""How far the peak detector's smoothed level lies above the 50 ms level, at least."""
NOISE_LIFT_DB = 2.5
NOISE_WEIGHT, LOWER_WEIGHT, LOWEST_LIFT_DB = 3.0, 0.5, -12.0
PLACES = (0.0, 0.25, 0.5, 0.8)
"""Thresholds to try, as shares of the way from the 20th to the 95th percentile."""
COMPRESSIONS = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9)
EXPANSIONS = (0.1, 0.2, 0.35, 0.5, 0.75, 1.1, 1.6)
EFFORT_DB = 0.3
SOUNDING_DB, LIVELIER_DB, LIVELIER_WEIGHT = 6.0, 2.0, 3.0
"""Frames this far above the noise floor are sound, not pause. Their spread may rise by
``LIVELIER_DB`` more than is wanted; beyond that each dB costs. Without this, quiet passages would
be turned down where a change of tone moves pauses out of the 50 dB that the spread counts."""
CLOSE_DB = 0.3
RENDERED, CORRECTIONS = 3, 3
HIGHEST_DB = NORMAL_PEAK_DB
"""Highest threshold: 0 dBFS of the recording itself."""
APART_DB = 4.0
ENVELOPE_HZ, ENVELOPE_GAIN = 1000.0, 0.7
"""Rate of the envelope, and the share of each step's peak that acts like the samples themselves."""
FRAME = 50
AT_ONCE = 12


@dataclass(frozen=True)
class Grid:
    """What is tried: thresholds by place, and slopes of the compressor, of an expander that makes a
    recording livelier, and of one that lowers pauses. ``effort_db`` is the spread that a stronger
    setting must gain over a weaker one for each step."""

    places: tuple[float, ...] = PLACES
    compressions: tuple[float, ...] = COMPRESSIONS
    expansions: tuple[float, ...] = EXPANSIONS
    pauses: tuple[float, ...] = EXPANSIONS
    effort_db: float = EFFORT_DB


USUAL = Grid()


@dataclass(frozen=True)
class Measured:
    """What a compressor does: the spread of its output, and how far the noise in pauses has risen
    against the programme since the input (NaN without pauses), and how far the spread of what
    sounds has risen."""

    spread_db: float
    noise_lift_db: float
    livelier_db: float


@dataclass(frozen=True)
class Try:
    """A setting, how many steps of the grid it takes, and the name of the slope to correct."""

    values: Mapping[str, float]
    steps: float
    slope: str = ""


class Sounding:
    """The frames of a recording with short levels [frames] that lie above its noise floor."""

    def __init__(self, own: Array, floor: Floor) -> None:
        sounds = own > own.max(initial=-np.inf) - LIVE_DB
        if np.isfinite(floor.before_db):
            above = sounds & (own > own[floor.quiet].max() + SOUNDING_DB)
            sounds = above if above.any() else sounds  # even sound, with quiet moments in a tenth
        self.frames = np.flatnonzero(sounds)
        self.before_db = float(self._spread_db(own[None])[0])

    def livelier_db(self, levels: Array) -> Array:
        """How far the spread of these frames rose in several outputs [N, frames], [N]."""
        return self._spread_db(levels) - self.before_db

    def _spread_db(self, levels: Array) -> Array:
        low, high = np.percentile(levels[:, self.frames], DYNAMICS_PERCENTILES, axis=1)
        return np.asarray(high - low)


class Signal:
    """What goes into the compressor, and the recording before the equaliser.

    Args:
        toned: [T] the compressor's input.
        own: [T] the recording.
        compressor: with an expander.
        noise_db: level of the pauses in ``toned``; None if there are none.
    """

    def __init__(
        self, toned: Tensor, own: Array, sample_rate: int, compressor: Compressor,
        noise_db: float | None,
    ) -> None:  # fmt: skip
        self.toned, self.rate, self.compressor = toned, sample_rate, compressor
        own_db = short_levels_db(own, sample_rate)
        self.floor = Floor(own_db)
        self.sounding = Sounding(own_db, self.floor)
        self.short_db = short_levels_db(toned.numpy(), sample_rate)
        live = self.short_db[self.short_db > self.short_db.max() - LIVE_DB]
        low, self.quiet_db, self.programme_db = (float(v) for v in np.percentile(live, [5, 20, 95]))
        if noise_db is None and low < self.programme_db - PAUSE_DB:
            noise_db = low
        self.noise_db = noise_db
        self.hop = max(1, round(sample_rate / ENVELOPE_HZ))
        count = len(toned) // self.hop // FRAME * FRAME
        parts = toned[: count * self.hop].reshape(count, self.hop)
        self.envelope = ENVELOPE_GAIN * parts.abs().amax(1).clamp(min=1e-9)
        self.power = parts.double().square().mean(1)
        own_parts = own[: count * self.hop].reshape(-1, FRAME * self.hop)
        power = np.mean(np.square(own_parts, dtype=np.float64), axis=1)
        coarse_db = 10 * np.log10(np.maximum(power, 1e-30))
        self.coarse_floor = Floor(coarse_db)
        self.coarse_sounding = Sounding(coarse_db, self.coarse_floor)

    @property
    def spread_db(self) -> float:
        return self.programme_db - self.quiet_db

    def threshold(self, place: float, below_db: float = 0.0) -> float:
        """A threshold between the quiet passages (0) and the programme (1)."""
        level = self.quiet_db + place * self.spread_db - below_db
        return float(np.clip(level + DETECTOR_DB, -100.0, HIGHEST_DB))

    def coarse(self, rows: Sequence[Mapping[str, float]]) -> list[Measured]:
        """What settings do, by the envelope."""
        found: list[Measured] = []
        for first in range(0, len(rows), AT_ONCE):
            some = rows[first : first + AT_ONCE]
            audio = self.envelope[None, None].expand(len(some), 1, -1).contiguous()
            with torch.no_grad():
                out = self.compressor.render(audio, self.rate / self.hop, _setting(some)).audio
            gain = (out / audio)[:, 0].double()
            power = (self.power * gain.square()).reshape(len(some), -1, FRAME).mean(2)
            levels = 10 * np.log10(np.maximum(power.numpy(), 1e-30))
            measures = zip(
                spreads_db(levels), self.coarse_floor.change_db(levels),
                self.coarse_sounding.livelier_db(levels), strict=True,
            )  # fmt: skip
            found += [Measured(*(float(v) for v in row)) for row in measures]
        return found

    def exact(self, values: Mapping[str, float]) -> Measured:
        """What a setting does, rendered."""
        with torch.no_grad():
            out = self.compressor.render(
                self.toned[None, None], self.rate, _setting([values])
            ).audio
        levels = short_levels_db(out[0, 0].numpy(), self.rate)[None]
        return Measured(
            float(spreads_db(levels)[0]), float(self.floor.change_db(levels)[0]),
            float(self.sounding.livelier_db(levels)[0]),
        )  # fmt: skip


def fit(
    signal: Signal,
    wanted_db: float,
    locks: Mapping[str, float],
    grid: Grid = USUAL,
    *,
    most_lift_db: float,
    change_db: float | None = None,
) -> dict[str, float]:
    """Find the compressor's parameters (its own names, makeup 0).

    Args:
        signal: the compressor's input.
        wanted_db: the spread to reach.
        locks: fixed values.
        grid: what is tried.
        most_lift_db: how far the noise may rise against the programme.
        change_db: the wanted change of the recording's spread; None takes that of the input's.
    """
    evener = wanted_db < signal.spread_db
    change_db = wanted_db - signal.spread_db if change_db is None else change_db
    most_livelier_db = max(change_db, 0.0) + LIVELIER_DB

    def cost(one: Try, found: Measured) -> float:
        away = abs(found.spread_db - wanted_db)
        away += LIVELIER_WEIGHT * max(found.livelier_db - most_livelier_db, 0.0)
        if np.isfinite(found.noise_lift_db):
            away += NOISE_WEIGHT * max(found.noise_lift_db - most_lift_db, 0.0)
            if evener:  # a gate would make the speech more even by taking its pauses away
                away += LOWER_WEIGHT * max(LOWEST_LIFT_DB - found.noise_lift_db, 0.0)
        return away + grid.effort_db * one.steps

    tries = _tries(signal, evener, dict(locks), grid)
    coarse = signal.coarse([t.values for t in tries])
    order = np.argsort([cost(t, m) for t, m in zip(tries, coarse, strict=True)], kind="stable")
    known: list[tuple[float, Try, Measured]] = []
    for i in [0, *(j for j in order[:RENDERED] if j)]:
        found = signal.exact(tries[i].values)
        known.append((cost(tries[i], found), tries[i], found))
    start = min(known, key=lambda k: k[0])
    if start[1].slope and start[1].slope not in locks:
        known += _corrected(signal, start[1], start[2], known[0][2].spread_db, wanted_db, cost)
    return dict(min(known, key=lambda k: k[0])[1].values)


def _tries(signal: Signal, evener: bool, locks: dict[str, float], grid: Grid) -> list[Try]:
    """Settings to try; the first one changes nothing that is not locked."""
    base = {
        "threshold_db": signal.threshold(0.0),
        "ratio": 1.0,
        "attack_ms": ATTACK_MS,
        "release_ms": RELEASE_MS,
        "knee_db": KNEE_DB,
        "makeup_db": 0.0,
        "expander_threshold_db": -100.0,
        "expander_ratio": 1.0,
    }
    tries = [Try(base | locks, 0.0)]
    if not evener:
        for place in grid.places:
            at = signal.threshold(place)
            for n, slope in enumerate(grid.expansions, 1):
                values = {"expander_threshold_db": at, "expander_ratio": 1 + slope}
                tries.append(Try(base | values | locks, n, "expander_ratio"))
    expanders: list[tuple[float, dict[str, float]]] = [(0.0, {})]
    for at in _pause_thresholds(signal):
        for n, slope in enumerate(grid.pauses, 1):
            expander = {"expander_threshold_db": at, "expander_ratio": 1 + slope}
            expanders.append((0.5 * n, expander))
    for steps, expander in expanders:
        if steps:
            tries.append(Try(base | expander | locks, steps, ""))
        for place in grid.places if evener else ():
            at = signal.threshold(place)
            for n, slope in enumerate(grid.compressions, 1):
                values = {"threshold_db": at, "ratio": 1 / (1 - slope)} | expander
                tries.append(Try(base | values | locks, n + steps, "ratio"))
    return tries


def _pause_thresholds(signal: Signal) -> list[float]:
    """Thresholds of an expander that lowers pauses only."""
    if signal.noise_db is None:
        return []
    if signal.quiet_db - signal.noise_db >= APART_DB:
        return [signal.threshold(0.0, below_db=2.0)]
    return [signal.threshold(0.2)]


def _corrected(
    signal: Signal,
    start: Try,
    found: Measured,
    neutral_db: float,
    wanted_db: float,
    cost: Callable[[Try, Measured], float],
) -> list[tuple[float, Try, Measured]]:
    """The same threshold with other slopes, nearer to the wanted spread.

    Args:
        found: what ``start`` does.
        neutral_db: the spread without it.
    """
    compresses = start.slope == "ratio"
    ratio = start.values[start.slope]
    slope = 1 - 1 / ratio if compresses else ratio - 1
    most = COMPRESSIONS[-1] if compresses else EXPANSIONS[-1]
    known = []
    for _ in range(CORRECTIONS):
        missing, gained = wanted_db - neutral_db, found.spread_db - neutral_db
        if abs(missing - gained) < CLOSE_DB:
            break
        if gained * missing <= 0:  # pauses leave what counts: less is more
            slope = 0.5 * slope
        else:
            slope = min(slope * float(np.clip(missing / gained, 0.6, 1.6)), most)
        ratio = 1 / (1 - slope) if compresses else 1 + slope
        one = Try(dict(start.values) | {start.slope: ratio}, start.steps, start.slope)
        found = signal.exact(one.values)
        known.append((cost(one, found), one, found))
    return known


def _setting(rows: Sequence[Mapping[str, float]]) -> Setting:
    return {n: torch.tensor([r[n] for r in rows], dtype=torch.float64) for n in rows[0]}
