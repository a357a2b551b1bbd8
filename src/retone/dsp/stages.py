"""Processing stages as plain numbers: the effect-independent description that exports use.

An effect returns its stages from ``Effect.stages``; an export target writes them in its format.
Names are relative to the effect: ``""`` is the effect itself, ``band_1`` a part of it.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import torch

from retone.dsp import curve
from retone.units import LN9

QUIET_DB = 0.005
"""Gains smaller than this, in dB, are rounding errors and are left out."""


@dataclass(frozen=True)
class Filter:
    """One cookbook biquad: ``kind`` is ``peak``, ``low_shelf`` or ``high_shelf``."""

    name: str
    kind: str
    frequency_hz: float
    gain_db: float
    q: float


@dataclass(frozen=True)
class Level:
    """A constant gain in dB."""

    name: str
    gain_db: float


@dataclass(frozen=True)
class Dynamics:
    """A compressor with a downward expander; times are 10-90 % times in ms.

    ``rms_ms`` 0 is a peak detector. ``smooth`` is what attack and release smooth: ``"db"``, the
    decibels above the threshold, or ``"gain"``, the linear gain (see ``Compressor``).
    """

    name: str
    threshold_db: float
    ratio: float
    attack_ms: float
    release_ms: float
    knee_db: float
    makeup_db: float
    rms_ms: float = 0.0
    expander_threshold_db: float = -100.0
    expander_ratio: float = 1.0
    smooth: curve.Smoothing = "db"

    @property
    def compresses(self) -> bool:
        return abs(self.ratio - 1) > 1e-3

    @property
    def expands(self) -> bool:
        return self.expander_ratio > 1 + 1e-3

    @property
    def acts(self) -> bool:
        """Whether the gain depends on the level."""
        return self.compresses or self.expands

    @property
    def attack_tau_s(self) -> float:
        """Time of a step to 63 %."""
        return self.attack_ms / 1000 / LN9

    @property
    def release_tau_s(self) -> float:
        """Time of a step to 63 %."""
        return self.release_ms / 1000 / LN9

    def static_gain_db(self, level_db: np.ndarray) -> np.ndarray:
        """Gain in dB, makeup not included, for steady levels in dB."""
        level, *rest = (
            torch.as_tensor(v, dtype=torch.float64)
            for v in (
                level_db, self.knee_db, self.threshold_db, 1 - 1 / self.ratio,
                self.expander_threshold_db, self.expander_ratio - 1,
            )
        )  # fmt: skip
        width, threshold, slope, low_threshold, low_slope = rest
        gain = curve.compression_db(level, threshold, slope, width)
        if self.expander_ratio > 1:
            below = curve.expansion_db(level, low_threshold, low_slope, width)
            gain = curve.combined_db(gain, below, self.smooth)
        return np.asarray(gain.numpy())

    def points(self, lowest_db: float, shift_db: float = 0.0) -> list[tuple[float, float]]:
        """The static curve as (input, output) levels in dB, makeup not included.

        Straight parts take two points, knees nine each. ``shift_db`` shifts the levels,
        for a detector that reads that much higher.
        """
        corners = {lowest_db, 0.0}
        for at, on in (
            (self.threshold_db, self.compresses),
            (self.expander_threshold_db, self.expands),
        ):
            if on:
                half = self.knee_db / 2
                corners |= {float(x) for x in at + np.linspace(-half, half, 9 if half else 1)}
        inside = sorted({round(c + shift_db, 2) for c in corners if c + shift_db > lowest_db})
        level = np.array([lowest_db, *(x for x in inside if x < 0), 0.0])
        gain = self.static_gain_db(level - shift_db)
        return [(float(x), round(float(x + g), 2)) for x, g in zip(level, gain, strict=True)]


@dataclass(frozen=True)
class Bands:
    """A signal split into bands, each with a filter and dynamics, and summed again.

    ``split`` is ``subtracted`` (first-order low-passes, bands are their differences) or
    ``linkwitz-riley`` (4th order, compensated).
    """

    name: str
    split: str
    crossovers_hz: tuple[float, ...]
    filters: tuple[Filter | None, ...]
    dynamics: tuple[Dynamics, ...]

    def title(self, band: int) -> str:
        """Label of a band, counted from 0."""
        return f"{self.name} band {band + 1}"


@dataclass(frozen=True)
class Fixed:
    """A FIR filter, made for one sample rate.

    ``points`` are the curve it was made from as (frequency in Hz, gain in dB), none for a filter
    that was not made from one; ``latency_samples`` is the delay of its linear phase.
    """

    name: str
    taps: tuple[float, ...]
    points: tuple[tuple[float, float], ...] = ()
    latency_samples: int = 0


@dataclass(frozen=True)
class NotExpressible:
    """An effect without stages, which other programs therefore cannot run.

    ``what`` calls it by its kind: ``"a mid/side effect"``.
    """

    name: str
    what: str


Stage = Filter | Level | Dynamics | Bands | Fixed | NotExpressible


def under(path: str, stage: Stage) -> Stage:
    """A stage, and every stage inside it, with the effect's path before its name."""
    name = f"{path}.{stage.name}" if stage.name else path
    if isinstance(stage, Bands):
        return replace(
            stage,
            name=name,
            filters=tuple(f and replace(f, name=f"{path}.{f.name}") for f in stage.filters),
            dynamics=tuple(replace(d, name=f"{path}.{d.name}") for d in stage.dynamics),
        )
    return replace(stage, name=name)
