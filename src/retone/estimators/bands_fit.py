"""Fit the six-band equaliser to a wanted gain under the guarantee (``retone.estimators.guard``).

The unknowns are those of ``equalizer_fit`` (gain in dB, log frequency, log Q). The cost is
the smoothed absolute error over the matched bands, which is what the tables measure; the guarantee
enters as linearised constraints (sequential quadratic programming). If no start leads to a solution
that keeps it, less is wanted.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from retone.dsp.measure import Array
from retone.dsp.third_octaves import CENTRES_HZ
from retone.effects.equalizer import Equalizer
from retone.estimators.equalizer_fit import FitRules, Problem
from retone.estimators.guard import LIFT_DB, Guard

INSIDE = tuple(2.0 ** (n / 9) for n in (-1, 0, 1))
"""Where in a third octave the response is read, as multiples of the centre."""
RULES = FitRules(max_gain_db=18.0, max_q=2.5, max_boost_q=2.5, gain_sd_db=6.0, points=INSIDE)
MARGIN_DB = 0.4
ROUND_DB = 0.5
KEPT_DB = 0.2
"""How far a band of noise may fall back."""
ONLY_OWN_WEIGHT = 0.2
LEVEL_SD_DB = 1.0
"""The mean gain over the matched bands stays near 0, so that thresholds mean the same."""
STEPS, TOLERANCE = 300, 1e-4
BROKEN_COST = 50.0
CLOSE_DB = 0.02
STEP_DB = 0.02
"""Levels and gains are rounded to this: the search has many ends, and the last bits of samples must
not choose one."""
RETRIES = ((0.9, 0.15), (0.7, 0.1), (0.5, 0.1), (0.3, 0.05), (0.8, -0.2), (0.4, -0.2))


@dataclass(frozen=True, eq=False)
class _Run:
    vector: Array
    cost: float
    broken: float


def fit(
    equalizer: Equalizer,
    guard: Guard,
    wanted_db: Array,
    added_db: Array,
    sample_rate: float,
    locks: Mapping[str, float],
    start: Mapping[str, float] | None = None,
    *,
    again: bool = False,
) -> dict[str, float]:
    """Find the equaliser's parameters, in physical units.

    Args:
        equalizer: gives names and ranges.
        guard: the bands and what they need.
        wanted_db: [F] wanted gain in the matched bands, relative to any constant.
        added_db: [F] gain that the rest of the chain adds to the equaliser's.
        sample_rate: of the input, in Hz.
        locks: parameters (the equaliser's own names) with fixed values.
        start: a setting to begin with, besides one made from the curve.
        again: begin only there.
    """
    search = _Search(equalizer, guard, wanted_db, added_db, sample_rate, locks)
    starts = search.problem.starts()
    if start is not None:
        starts = [search.rounded(start), *([] if again else starts[1:])]
    if search.problem.free.size == 0 or not guard.matched.any():
        return search.problem.physical(search.problem.vector(start) if start else starts[0])
    runs = [search.run(first) for first in starts]
    best = min(runs, key=lambda r: r.cost + BROKEN_COST * r.broken)
    for share, margin in RETRIES[-2:] if again else RETRIES:
        if best.broken <= CLOSE_DB:
            break
        other = search.eased(share, margin).run(search.towards_zero(best.vector, share))
        if other.broken < best.broken:
            best = other
    return search.problem.physical(best.vector)


class _Point(NamedTuple):
    """Scaled and plain free parameters; relative gain in dB [F] of the whole chain and its slope
    [P, F]; mean gain over the matched bands and its slope [P], in `LEVEL_SD_DB`."""

    z: Array
    x: Array
    gain: Array
    slope: Array
    level: float
    level_slope: Array


class _Search:
    """The constrained problem; ``z`` holds the free parameters, scaled."""

    def __init__(
        self,
        equalizer: Equalizer,
        guard: Guard,
        wanted_db: Array,
        added_db: Array,
        sample_rate: float,
        locks: Mapping[str, float],
    ) -> None:
        known = guard.known
        self.matched, self.empty = guard.matched[known], guard.empty[known]
        self.rests = [m[known] for m in (guard.rests, guard.occupied) if m.any()]
        self.need, self.added = _rounded(guard.need_db[known]), _rounded(added_db[known])
        self.levels = _rounded(guard.levels_db[known])
        wanted = np.where(self.matched, _rounded(guard.relative_db(wanted_db)[known]), 0.0)
        self.wanted = wanted
        self.far = guard.far[known]
        self.sign = np.sign(self.need[self.far])
        self.held = guard.held_far[known]
        self.weight = np.where(self.matched, 1.0, np.where(self.empty, 0.0, ONLY_OWN_WEIGHT))
        self.weight[guard.held[known]] = 0.0
        self.problem = Problem(
            equalizer,
            CENTRES_HZ[known],
            wanted - np.where(self.matched, self.added, 0.0),
            np.eye(int(known.sum())),
            sample_rate,
            locks,
            RULES,
        )
        p = self.problem
        self.margin = MARGIN_DB
        self.scale = p.scale[p.free]
        self.prior_sd = p.prior_sd
        self.centre = p.prior_centre()
        self.low, self.high = p.low[p.free], p.high[p.free]
        self.point: _Point | None = None

    def rounded(self, start: Mapping[str, float]) -> Array:
        """A start as a vector, without the last bits."""
        p = self.problem
        return np.clip(p.scale * _rounded(p.vector(start) / p.scale), p.low, p.high)

    def at(self, z: Array) -> _Point:
        """What the cost and the constraints read at a point; they ask for the same one in turn."""
        if self.point is None or not np.array_equal(self.point.z, z):
            x = z * self.scale
            curve, slope = self.problem.evaluate(self.problem.full(x))
            gain = curve + self.added
            middle = _median_at(np.where(self.matched, self.levels + gain, np.nan))
            gain = gain - (self.levels + gain)[middle]
            rows = slope[self.problem.free] * self.scale[:, None]
            level = float(curve[self.matched].mean()) / LEVEL_SD_DB
            level_slope = rows[:, self.matched].mean(axis=1) / LEVEL_SD_DB
            moves = rows - rows[:, [middle]]
            self.point = _Point(z.copy(), x, gain, moves, level, level_slope)
        return self.point

    def cost(self, z: Array) -> tuple[float, Array]:
        _, x, gain, slope, level, level_slope = self.at(z)
        error = gain - self.wanted
        size = np.sqrt(error * error + ROUND_DB**2)
        away = (x - self.centre) / self.prior_sd
        value = float(self.weight @ size + 0.5 * away @ away + 0.5 * level * level)
        change = slope @ (self.weight * error / size)
        return value, change + away / self.prior_sd * self.scale + level * level_slope

    def allowed(self, z: Array) -> Array:
        """The constraints, each at least 0 where the guarantee holds."""
        gain = self.at(z).gain
        moved = self.sign * gain[self.far]
        parts = [moved - self.margin, 2 * np.abs(self.need[self.far]) - self.margin - moved]
        if self.held.any():
            parts.append(gain[self.held] + KEPT_DB)
        if self.empty.any():
            parts.append(LIFT_DB - gain[self.empty] + gain[self._rest(gain)])
        return np.concatenate(parts)

    def allowed_slope(self, z: Array) -> Array:
        point = self.at(z)
        gain, slope = point.gain, point.slope
        moved = (self.sign * slope[:, self.far]).T
        parts = [moved, -moved]
        if self.held.any():
            parts.append(slope[:, self.held].T)
        if self.empty.any():
            middle = self._rest(gain)
            parts.append((slope[:, [middle]] - slope[:, self.empty]).T)
        return np.concatenate(parts)

    def _rest(self, gain: Array) -> int:
        """Index of the band whose gain empty bands may not exceed by much."""
        found = [_median_at(np.where(m, gain, np.nan)) for m in self.rests]
        return min(found, key=lambda i: float(gain[i]))

    def eased(self, share: float, margin: float) -> _Search:
        """The same problem with a share of the wanted gain and another margin."""
        other = copy.copy(self)
        other.point = None
        other.wanted, other.margin = share * self.wanted, margin
        return other

    def towards_zero(self, vector: Array, share: float) -> Array:
        return np.where(self.problem.is_gain & ~self.problem.locked, share * vector, vector)

    def run(self, start: Array) -> _Run:
        from scipy.optimize import minimize

        p = self.problem
        found = minimize(
            self.cost,
            start[p.free] / self.scale,
            jac=True,
            method="SLSQP",
            bounds=list(zip(self.low / self.scale, self.high / self.scale, strict=True)),
            constraints=[{"type": "ineq", "fun": self.allowed, "jac": self.allowed_slope}],
            options={"maxiter": STEPS, "ftol": TOLERANCE},
        )
        x = np.clip(found.x * self.scale, self.low, self.high)
        broken = np.clip(-self.allowed(x / self.scale), 0.0, None).sum()
        return _Run(p.full(x), self.cost(x / self.scale)[0], float(broken))


def _rounded(values_db: Array) -> Array:
    return np.asarray(STEP_DB * np.round(values_db / STEP_DB))


def _median_at(values: Array) -> int:
    """Index of the (lower) median among values that are not NaN."""
    order = np.argsort(values)
    return int(order[(np.isfinite(values).sum() - 1) // 2])
