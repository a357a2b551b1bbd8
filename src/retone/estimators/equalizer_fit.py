"""Fit the six-band equaliser's own response to a target curve, by bounded Gauss-Newton steps.

The unknowns are gain in dB, log frequency and log Q; the response is the one the effect renders
with (``retone.dsp.biquad``). Residuals are whitened by the target's covariance, so the fit is
closest where the curve is certain. Weak priors keep unused bands at their defaults.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from retone.dsp import biquad
from retone.dsp.measure import Array
from retone.effects.equalizer import BANDS as EQ_BANDS
from retone.effects.equalizer import Equalizer
from retone.kernels.designs import HIGH_SHELF, LOW_SHELF, PEAK, design_forward

STEP = np.array([1e-4, 1e-5, 1e-5])
"""Steps of the difference quotients by gain in dB, log frequency and log Q."""
KINDS = np.array([LOW_SHELF, PEAK, PEAK, PEAK, PEAK, HIGH_SHELF])
MOVES = np.concatenate([np.zeros((1, 3)), np.diag(STEP)])


@dataclass(frozen=True)
class FitRules:
    """Limits and priors of a fitted equaliser.

    Args:
        max_gain_db: largest gain of a band, either way.
        max_q: largest Q of a band that cuts.
        max_boost_q: Q above which a boost costs extra.
        gain_sd_db: standard deviation of the prior on gains; smaller keeps bands that change little
            at 0.
        place_sd: standard deviation of the prior on log frequency and log Q around the defaults.
        steps: maximum number of Gauss-Newton steps per start.
        points: the response at a frequency is the mean over its multiples by these.
    """

    max_gain_db: float = 18.0
    max_q: float = 6.0
    max_boost_q: float = 2.5
    gain_sd_db: float = 30.0
    place_sd: float = 2.0
    steps: int = 25
    points: tuple[float, ...] = (1.0,)


def fit(
    equalizer: Equalizer,
    frequency_hz: Array,
    target_db: Array,
    covariance: Array,
    sample_rate: float,
    locks: Mapping[str, float],
    rules: FitRules,
    start: Mapping[str, float] | None = None,
) -> dict[str, float]:
    """Find the equaliser's parameters, in physical units.

    Args:
        equalizer: gives names and ranges.
        frequency_hz, target_db: [F] the wanted gain; covariance: [F, F] its uncertainty in dB^2.
        sample_rate: at which the equaliser will run, in Hz.
        locks: parameters (the equaliser's own names) with fixed values.
        rules: limits and priors.
        start: initial values, on which the priors are then centred; None tries two of its own.
    """
    problem = Problem(equalizer, frequency_hz, target_db, covariance, sample_rate, locks, rules)
    best: Array | None = None
    cost = np.inf
    for first in problem.starts() if start is None else [problem.begin_at(start)]:
        if problem.free.size == 0:
            best = first
            break
        from scipy.optimize import least_squares

        result = least_squares(
            problem.residuals,
            first[problem.free],
            jac=problem.jacobian,
            bounds=(problem.low[problem.free], problem.high[problem.free]),
            method="trf",
            x_scale=problem.scale[problem.free],
            max_nfev=rules.steps,
            ftol=1e-4,
            xtol=1e-4,
            gtol=1e-5,
        )
        if result.cost < cost:
            cost, best = float(result.cost), problem.full(result.x)
    assert best is not None
    return problem.physical(best)


class Problem:
    """Residuals and Jacobian over the free parameters; vectors are in gain dB, log f, log Q."""

    def __init__(
        self,
        equalizer: Equalizer,
        frequency_hz: Array,
        target_db: Array,
        covariance: Array,
        sample_rate: float,
        locks: Mapping[str, float],
        rules: FitRules,
    ) -> None:
        self.equalizer, self.rules, self.sample_rate = equalizer, rules, sample_rate
        self.locks = locks
        self.frequency, self.target = frequency_hz, target_db
        points_hz = np.multiply.outer(rules.points, frequency_hz).ravel()
        self.phi = np.sin(np.pi * np.minimum(points_hz / sample_rate, 0.5)) ** 2
        self.last: tuple[Array, Array, Array] | None = None
        self.centre: Array | None = None
        root = np.linalg.cholesky(covariance + 0.25 * np.eye(len(target_db)))
        self.whiten = np.linalg.inv(root)
        table = equalizer.params
        self.names = table.names
        self.is_gain = np.array([p.role == "gain" for p in table])
        low = np.array([table[n].low for n in self.names], dtype=np.float64)
        high = np.array([table[n].high for n in self.names], dtype=np.float64)
        default = np.array([table[n].default for n in self.names], dtype=np.float64)
        for i, name in enumerate(self.names):
            if self.is_gain[i]:
                low[i], high[i] = max(low[i], -rules.max_gain_db), min(high[i], rules.max_gain_db)
            elif table[name].role == "q":
                high[i] = max(min(high[i], rules.max_q), 1.001 * low[i])
            else:
                high[i] = max(min(high[i], 0.45 * sample_rate), 1.001 * low[i])
                default[i] = min(default[i], high[i])
        place = ~self.is_gain
        for vector in (low, high, default):
            vector[place] = np.log(vector[place])
        self.low, self.high = low, high
        self.default = np.clip(default, low, high)
        self.scale = np.where(self.is_gain, 6.0, 0.5)
        self.locked = np.zeros(len(self.names), dtype=bool)
        for name, value in locks.items():
            i = self.names.index(name)
            self.locked[i] = True
            self.default[i] = value if self.is_gain[i] else np.log(value)
        self.free = np.flatnonzero(~self.locked)
        self.prior_sd = np.where(self.is_gain, rules.gain_sd_db, rules.place_sd)[self.free]

    def physical(self, full: Array) -> dict[str, float]:
        values = np.where(self.is_gain, full, np.exp(np.where(self.is_gain, 0.0, full)))
        out = {}
        for i, name in enumerate(self.names):
            p = self.equalizer.params[name]
            out[name] = self.locks.get(name, float(np.clip(values[i], p.low, p.high)))
        return out

    def vector(self, values: Mapping[str, float]) -> Array:
        """Physical values, with the locks, as a vector within the limits."""
        given = np.array([values[n] for n in self.names], dtype=np.float64)
        full = np.where(self.is_gain, given, np.log(np.where(self.is_gain, 1.0, given)))
        return np.where(self.locked, self.default, np.clip(full, self.low, self.high))

    def full(self, free: Array) -> Array:
        out = self.default.copy()
        out[self.free] = free
        return out

    def evaluate(self, full: Array) -> tuple[Array, Array]:
        """Response in dB [F] and its slope by each parameter [P, F].

        A parameter moves its own band only, so each band is designed four times: unchanged, and
        with each of its three parameters slightly increased.
        """
        if self.last is not None and np.array_equal(self.last[0], full):
            return self.last[1], self.last[2]
        bands = full.reshape(1, -1, 3) + MOVES[:, None]
        gain, frequency, q = np.moveaxis(bands, 2, 0)
        top_hz = biquad.TOP_OF_BAND * self.sample_rate
        sections = design_forward(
            KINDS, np.exp(frequency), gain, np.exp(q), self.sample_rate, top_hz
        )
        sections = sections.swapaxes(0, 1)
        curves = _magnitude_db(sections, self.phi)
        curves = curves.reshape(*curves.shape[:-1], len(self.rules.points), -1).mean(axis=-2)
        slope = (curves[:, 1:] - curves[:, :1]) / STEP[:, None]
        self.last = (full.copy(), curves[:, 0].sum(axis=0), slope.reshape(len(full), -1))
        return self.last[1], self.last[2]

    def starts(self) -> list[Array]:
        """Frequencies at their defaults, and peaks where the rest of the curve is largest."""
        frequency = self.frequency
        plain = self.default.copy()
        greedy = self.default.copy()
        rest = self.target.copy()
        for band in EQ_BANDS:
            g, f, q = (
                self.names.index(f"{band}_{part}") for part in ("gain_db", "frequency_hz", "q")
            )
            near = int(np.abs(np.log(frequency) - self.default[f]).argmin())
            if not self.locked[g]:
                plain[g] = np.clip(0.5 * self.target[near], self.low[g], self.high[g])
            inside = (np.log(frequency) >= self.low[f]) & (np.log(frequency) <= self.high[f])
            if not inside.any() or self.locked[[g, f, q]].any():
                continue
            at = int(np.flatnonzero(inside)[np.abs(rest[inside]).argmax()])
            greedy[f] = np.log(frequency[at])
            greedy[g] = np.clip(0.8 * rest[at], self.low[g], self.high[g])
            alone = self.default.copy()
            alone[self.is_gain] = 0.0
            alone[[g, f]] = greedy[[g, f]]
            rest = rest - self.evaluate(alone)[0]
        return [self._inside(v) for v in (plain, greedy)]

    def begin_at(self, values: Mapping[str, float]) -> Array:
        """A start from physical values; the priors are centred on it."""
        self.centre = self._inside(self.vector(values))
        return self.centre

    def _inside(self, full: Array) -> Array:
        inner = 1e-6 * (self.high - self.low)
        return np.where(
            self.locked, self.default, np.clip(full, self.low + inner, self.high - inner)
        )

    def _boost_cost(self, full: Array) -> Array:
        out = []
        for band in EQ_BANDS:
            gain = max(full[self.names.index(f"{band}_gain_db")], 0.0)
            sharp = max(full[self.names.index(f"{band}_q")] - np.log(self.rules.max_boost_q), 0.0)
            out.append(gain * sharp)
        return np.array(out)

    def _boost_slope(self, full: Array) -> Array:
        out = np.zeros((len(EQ_BANDS), len(full)))
        for row, band in enumerate(EQ_BANDS):
            g, q = self.names.index(f"{band}_gain_db"), self.names.index(f"{band}_q")
            gain, sharp = full[g], full[q] - np.log(self.rules.max_boost_q)
            if gain > 0 and sharp > 0:
                out[row, g], out[row, q] = sharp, gain
        return out

    def residuals(self, free: Array) -> Array:
        full = self.full(free)
        error = self.whiten @ (self.evaluate(full)[0] - self.target)
        prior = (free - self.prior_centre()) / self.prior_sd
        return np.concatenate([error, prior, self._boost_cost(full)])

    def prior_centre(self) -> Array:
        if self.centre is not None:
            return np.asarray(self.centre[self.free])
        return np.where(self.is_gain, 0.0, self.default)[self.free]

    def jacobian(self, free: Array) -> Array:
        full = self.full(free)
        _, slope = self.evaluate(full)
        return np.concatenate(
            [
                self.whiten @ slope[self.free].T,
                np.diag(1 / self.prior_sd),
                self._boost_slope(full)[:, self.free],
            ]
        )


def _magnitude_db(sections: Array, phi: Array) -> Array:
    """Gain in dB [..., F] of biquads [..., 5] at ``phi = sin^2(w / 2)``.

    Polynomials in phi keep their precision at low frequencies, where cosines cancel.
    """
    b0, b1, b2, a1, a2 = (sections[..., i, None] for i in range(5))
    top = (b0 + b1 + b2) ** 2 - 4 * (b0 * b1 + 4 * b0 * b2 + b1 * b2) * phi + 16 * b0 * b2 * phi**2
    bottom = (1 + a1 + a2) ** 2 - 4 * (a1 + 4 * a2 + a1 * a2) * phi + 16 * a2 * phi**2
    return np.asarray(10 * np.log10(np.maximum(top, 1e-30) / np.maximum(bottom, 1e-30)))
