"""Fit the six-band equaliser to a wanted gain under the guarantee (``retone.estimators.guard``).

The unknowns are those of ``equalizer_fit`` (gain in dB, log frequency, log Q). The cost is the
error over the matched bands, squared up to ``CORNER_DB`` and absolute beyond, with priors that keep
frequencies and Qs near where they begin. The guarantee enters as a penalty, which pushes harder
with every step while it is broken (an augmented Lagrangian).

Such a cost has many minima of nearly the same depth, and a search for the deepest one answers small
changes of the recordings with another equaliser. So there is no search: a fixed number of short,
damped Gauss-Newton steps leads downhill from one start. Where they end is a continuous function of
the levels. Medians and thresholds are smoothed so that it does not change fast.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from retone.dsp.measure import Array
from retone.dsp.third_octaves import CENTRES_HZ
from retone.effects.equalizer import Equalizer
from retone.estimators.equalizer_fit import FitRules, Problem
from retone.estimators.guard import FAR_DB, Guard

INSIDE = tuple(2.0 ** (n / 9) for n in (-1, 0, 1))
"""Where in a third octave the response is read, as multiples of the centre."""
RULES = FitRules(max_gain_db=18.0, max_q=2.5, gain_sd_db=6.0, place_sd=0.7, points=INSIDE)
START_HZ = (80.0, 220.0, 650.0, 1800.0, 5000.0, 8000.0)
START_Q = (0.7, 1.0, 1.0, 1.0, 1.0, 0.7)
STEPS, STEP, DAMPING, FIRST_DAMPING = 60, 0.5, 10.0, 0.02
ERROR_DB, CORNER_DB = 1.4, 2.0
"""Standard deviation of the error, and from where on it counts less than its square."""
LEVEL_SD_DB = 2.0
"""The mean gain over the matched bands stays near 0, so that thresholds mean the same."""
ONLY_OWN_WEIGHT = 0.2
PENALTY, ROUND_DB = 5.0, 0.6
"""Weight of the guarantee, and how far from its limit it begins to act."""
PUSH, MOST_PUSH_DB = 0.1, 3.0
"""Share of what is missing by which a limit moves with every step, and the most in all."""
MARGIN_DB, LIFT_MARGIN_DB = 1.0, 0.2
KEPT_DB = 0.2
"""How far a band of noise may fall back."""
LOOSER = 4.0
"""By how much more a band may miss the guarantee for each dB by which it is nearer than ``FAR_DB``,
beyond which it must not."""
SHARED = 3
"""Bands on either side of the middle one that share in a median, so that it moves smoothly."""


def fit(
    equalizer: Equalizer,
    guard: Guard,
    wanted_db: Array,
    added_db: Array,
    sample_rate: float,
    locks: Mapping[str, float],
    start: Mapping[str, float] | None = None,
) -> dict[str, float]:
    """Find the equaliser's parameters, in physical units.

    Args:
        equalizer: gives names and ranges.
        guard: the bands and what they need.
        wanted_db: [F] wanted gain in the matched bands, relative to any constant.
        added_db: [F] gain that the rest of the chain adds to the equaliser's.
        sample_rate: of the input, in Hz.
        locks: parameters (the equaliser's own names) with fixed values.
        start: a setting to stay near to.
    """
    flow = _Flow(equalizer, guard, wanted_db, added_db, sample_rate, locks)
    problem = flow.problem
    first = usual_start(equalizer) if start is None else start
    place = problem.vector(first)
    if problem.free.size and guard.matched.any():
        place = flow.end(place)
    return problem.physical(place)


def usual_start(equalizer: Equalizer) -> dict[str, float]:
    """No gain, at frequencies spread over speech and music."""
    columns = zip((0.0,) * len(START_HZ), START_HZ, START_Q, strict=True)
    values = (value for row in columns for value in row)
    return dict(zip(equalizer.params.names, values, strict=True))


class _Flow:
    """The cost and the way down; ``z`` are all parameters, scaled."""

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
        self.added, self.levels = added_db[known], guard.levels_db[known]
        wanted = np.where(self.matched, wanted_db[known], 0.0)
        self.wanted = np.where(self.matched, wanted - self._middle(wanted)[0], 0.0)
        self.held, self.lift_db = guard.held[known], guard.lift_db
        self.weight = np.where(self.matched, 1.0, np.where(self.empty, 0.0, ONLY_OWN_WEIGHT))
        self.weight[self.held] = 0.0
        self.weight /= ERROR_DB**2
        self.moves = self.matched & ~self.held
        need = guard.need_db[known]
        self.sign, size = np.sign(need[self.moves]), np.abs(need[self.moves])
        self.least = MARGIN_DB - LOOSER * np.clip(FAR_DB - size, 0.0, None)
        self.most = 2 * size - self.least
        self.kept = KEPT_DB + LOOSER * np.clip(FAR_DB - need[self.held], 0.0, None)
        self.pushed: Array | float = 0.0
        self.problem = Problem(
            equalizer, CENTRES_HZ[known], wanted, np.eye(len(wanted)), sample_rate, locks, RULES
        )

    def _middle(self, gain: Array) -> tuple[float, Array]:
        """What gains [F] change the middle level of the matched bands by, and the bands' shares in
        it."""
        share = np.zeros(len(gain))
        levels = (self.levels + gain)[self.matched]
        share[self.matched] = _shares(levels, SHARED) if levels.size else 0.0
        return float(share @ (self.levels + gain)), share

    def end(self, start: Array) -> Array:
        """Where the steps from a start lead."""
        p = self.problem
        free, scale = p.free, p.scale
        sd = (np.where(p.is_gain, RULES.gain_sd_db, RULES.place_sd) / scale)[free]
        centre = np.where(p.is_gain, 0.0, start / scale)[free]
        x, self.pushed = start, 0.0
        for number in range(STEPS):
            rise, bend = self.slopes(x)
            rise = rise[free] + ((x / scale)[free] - centre) / sd**2
            bend = bend[np.ix_(free, free)] + np.diag(1 / sd**2)
            if number:
                step = STEP * np.linalg.solve(bend + DAMPING * np.eye(len(free)), rise)
            else:  # gains first
                step = np.zeros(len(free))
                of = np.flatnonzero(p.is_gain[free])
                damped = bend[np.ix_(of, of)] + FIRST_DAMPING * np.eye(len(of))
                step[of] = STEP * np.linalg.solve(damped, rise[of])
            x = x.copy()
            x[free] = np.clip(x[free] - step * scale[free], p.low[free], p.high[free])
        return x

    def slopes(self, x: Array) -> tuple[Array, Array]:
        """Slope [P] of the cost without its priors, and its second derivative [P, P] (Gauss); the
        guarantee pushes harder the next time where its own median says that it is broken."""
        curve, rows = self.problem.evaluate(x)
        rows = rows * self.problem.scale[:, None]
        gain = curve + self.added
        middle, share = self._middle(gain)
        median = np.median((self.levels + gain)[self.matched])
        gain, moves = gain - middle, rows - (rows @ share)[:, None]
        error = gain - self.wanted
        weight = self.weight / np.sqrt(1 + (error / CORNER_DB) ** 2)
        level, level_rows = curve[self.matched].mean(), rows[:, self.matched].mean(axis=1)
        rise = moves @ (weight * error) + level * level_rows / LEVEL_SD_DB**2
        bend = (moves * weight) @ moves.T + np.outer(level_rows, level_rows) / LEVEL_SD_DB**2
        spare, spare_rows = self._spare(gain, moves, SHARED)
        missing, acts = _missing(spare - self.pushed)
        strict = self._spare(gain + middle - median, moves, 0)[0]
        self.pushed = np.clip(self.pushed - PUSH * strict, 0.0, MOST_PUSH_DB)
        spare_rows = spare_rows * acts
        return (
            rise - PENALTY * spare_rows @ missing,
            bend + PENALTY * spare_rows @ spare_rows.T,
        )

    def _spare(self, gain: Array, rows: Array, beside: int) -> tuple[Array, Array]:
        """What the guarantee leaves [N], negative where it is broken, and its slopes [P, N].

        Args:
            gain: [F] relative to the middle of the matched bands; ``rows`` [P, F] its slopes.
            beside: bands that share in the median gain of those that hold sound, on either side.
        """
        moved, moved_rows = self.sign * gain[self.moves], self.sign * rows[:, self.moves]
        spare = [moved - self.least, self.most - moved, gain[self.held] + self.kept]
        slopes = [moved_rows, -moved_rows, rows[:, self.held]]
        if self.empty.any() and self.rests:
            shares = []
            for mask in self.rests:
                share = np.zeros(len(gain))
                share[mask] = _shares(gain[mask], beside)
                shares.append(share)
            rest = min(shares, key=lambda s: float(s @ gain))
            spare.append(self.lift_db - LIFT_MARGIN_DB + rest @ gain - gain[self.empty])
            slopes.append((rows @ rest)[:, None] - rows[:, self.empty])
        return np.concatenate(spare), np.concatenate(slopes, axis=1)


def _missing(spare_db: Array) -> tuple[Array, Array]:
    """How far values are below 0, with a rounded corner, and the slope of that."""
    at = np.clip(spare_db / ROUND_DB, -30.0, 30.0)
    return ROUND_DB * np.log1p(np.exp(-at)), 1 / (1 + np.exp(at))


def _shares(values: Array, beside: int) -> Array:
    """Shares of values in a median that the ``SHARED`` ones next to it on either side are in."""
    place = np.empty(len(values))
    place[np.argsort(values)] = np.arange(len(values)) - 0.5 * (len(values) - 1)
    share = np.clip(1 - np.abs(place) / (beside + 1), 0.0, None)
    return np.asarray(share / share.sum())
