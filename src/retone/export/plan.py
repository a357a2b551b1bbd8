"""A settings file as plain processing stages: what every export target writes in its own words.

``amount`` is already applied, bands that do nothing are left out, and frequencies are held below
0.49 of the sample rate as the effects do.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from retone.dsp.biquad import TOP_OF_BAND
from retone.dsp.effect import Effect
from retone.effects import Compressor, DynamicEqualizer, Equalizer, Fir, Gain, MultibandEqualizer
from retone.effects.dynamic_equalizer import BANDS, KNEE_DB
from retone.effects.equalizer import BANDS as EQ_BANDS
from retone.errors import SettingError
from retone.process.settings_file import SettingsFile
from retone.report.collect import leaves
from retone.units import LN9

QUIET_DB = 0.005
"""Gains smaller than this are rounding, not a wish."""


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

    ``rms_ms`` 0 is a peak detector. ``smooth`` is ``db`` or ``gain`` as in ``Compressor``.
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

    def gain_at(self, level_db: np.ndarray) -> np.ndarray:
        """Gain in dB, makeup not included, for steady levels in dB."""

        def knee(d: np.ndarray) -> np.ndarray:
            w = max(self.knee_db, 1e-6)
            inside = (np.clip(d, -w / 2, w / 2) + w / 2) ** 2 / (2 * w)
            return np.where(d > w / 2, d, inside)

        over = knee(level_db - self.threshold_db)
        under = knee(self.expander_threshold_db - level_db)
        return np.asarray(-(1 - 1 / self.ratio) * over - (self.expander_ratio - 1) * under)

    def points(self, lowest_db: float, shift_db: float = 0.0) -> list[tuple[float, float]]:
        """The static curve as (input, output) levels in dB, makeup not included.

        Straight parts take two points, knees nine each. ``shift_db`` moves the levels for a
        detector that reads so much higher.
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
        gain = self.gain_at(level - shift_db)
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
        """Words for one band, from 0."""
        return f"{self.name} band {band + 1}"


@dataclass(frozen=True)
class Fixed:
    """A FIR filter, made for one sample rate."""

    name: str
    taps: tuple[float, ...]


Stage = Filter | Level | Dynamics | Bands | Fixed


@dataclass(frozen=True)
class Plan:
    """Everything a target has to do, in order, and what stands in no target.

    Args:
        title: a name for headings.
        stages: in processing order; the gain after the effect is the last.
        sample_rate: in Hz, which the settings were rendered at.
        channels: of the recording they were made for.
        settings: where the plan comes from.
    """

    title: str
    stages: tuple[Stage, ...]
    sample_rate: int
    channels: int
    settings: SettingsFile

    def only(self, *kinds: type) -> Plan:
        """The plan with stages of these kinds alone."""
        return replace(self, stages=tuple(s for s in self.stages if isinstance(s, kinds)))


def plan_of(settings: SettingsFile, *, sample_rate: int | None = None) -> Plan:
    """The stages that a settings file asks for.

    Args:
        settings: a settings file of any retone command.
        sample_rate: in Hz, where it will run; None for the settings' own.

    Raises:
        SettingError: it holds an effect that no export knows, or a FIR filter for another rate.
    """
    rate = sample_rate or settings.sample_rate
    effect = settings.effect_at(rate)
    stages: list[Stage] = []
    for path, member, own in leaves(effect, settings.effective_setting()):
        values = {n: float(v[0]) for n, v in own.items()}
        if isinstance(member, Equalizer):
            stages += _filters(path, values, rate)
        elif isinstance(member, Compressor):
            one = _dynamics(path, values, member)
            if one.acts or abs(one.makeup_db) > QUIET_DB:
                stages.append(one)
        elif isinstance(member, MultibandEqualizer):
            stages.append(_multiband(path, values, member))
        elif isinstance(member, DynamicEqualizer):
            stages.append(_dynamic(path, values, member, own))
        elif isinstance(member, Gain):
            stages.append(Level(path, values["gain_db"]))
        elif isinstance(member, Fir):
            stages.append(Fixed(path, member.taps))
        else:
            raise SettingError(f"{path}: a {type(member).__name__} cannot be exported yet.")
    plan = settings.level_plan
    if plan is not None and abs(plan.gain_db) > QUIET_DB:
        stages.append(Level("gain after the effect", plan.gain_db))
    source = next((s for s in settings.sources if s.role == "input"), None)
    title = source.file if source else "settings"
    channels = source.channels if source else 2
    return Plan(title, tuple(stages), rate, channels, settings)


def dynamics_of(path: str, member: Effect, own: Mapping[str, Tensor]) -> tuple[Dynamics, ...]:
    """The compressors of one effect: one, one for each band, or none."""
    values = {n: float(v[0]) for n, v in own.items()}
    if isinstance(member, Compressor):
        return (_dynamics(path, values, member),)
    if isinstance(member, MultibandEqualizer):
        return _multiband(path, values, member).dynamics
    if isinstance(member, DynamicEqualizer):
        return _dynamic(path, values, member, own).dynamics
    return ()


def limiter_note(plan: Plan) -> str | None:
    """A sentence on the true-peak limiter, which no target has in this form."""
    level = plan.settings.level_plan
    if level is None or level.ceiling_dbtp is None:
        return None
    what = (
        f"it took up to {level.limiter_most_db:.1f} dB, {level.limiter_active_percent:.1f} % of "
        "the time"
        if level.limiter_most_db > 0.05
        else "it had nothing to do"
    )
    return (
        f"The true-peak limiter at {level.ceiling_dbtp:g} dBTP is left out ({what}); "
        "add your own last."
    )


def _filters(path: str, values: Mapping[str, float], rate: float) -> list[Stage]:
    found: list[Stage] = []
    for band in EQ_BANDS:
        gain = values[f"{band}_gain_db"]
        if abs(gain) > QUIET_DB:
            frequency = min(values[f"{band}_frequency_hz"], TOP_OF_BAND * rate)
            kind = "peak" if band.startswith("peak") else band
            name = f"{path}.{band}"
            found.append(Filter(name, kind, frequency, gain, values[f"{band}_q"]))
    return found


def _dynamics(path: str, values: Mapping[str, float], member: Compressor) -> Dynamics:
    names = ("threshold_db", "ratio", "attack_ms", "release_ms", "knee_db", "makeup_db")
    more = ("expander_threshold_db", "expander_ratio") if member.has_expander else ()
    return Dynamics(path, rms_ms=member.rms_ms, **{n: values[n] for n in (*names, *more)})


def _crossovers(values: Mapping[str, float]) -> tuple[float, ...]:
    return tuple(values[f"crossover_{i}_hz"] for i in range(1, BANDS))


def _multiband(path: str, values: Mapping[str, float], member: MultibandEqualizer) -> Bands:
    dynamics = tuple(
        Dynamics(
            f"{path}.band_{i}",
            values[f"band_{i}_threshold_db"],
            values[f"band_{i}_ratio"],
            values[f"band_{i}_attack_ms"],
            values[f"band_{i}_release_ms"],
            KNEE_DB,
            values[f"band_{i}_gain_db"],
            member.compressor.rms_ms,
            values[f"band_{i}_expander_threshold_db"],
            values[f"band_{i}_expander_ratio"],
        )
        for i in range(1, BANDS + 1)
    )
    return Bands(path, "subtracted", _crossovers(values), (None,) * BANDS, dynamics)


def _dynamic(
    path: str, values: Mapping[str, float], member: DynamicEqualizer, own: Mapping[str, Tensor]
) -> Bands:
    edges = _crossovers(values)
    middle = [edges[0], *(math.sqrt(a * b) for a, b in zip(edges, edges[1:], strict=False))]
    middle.append(edges[-1])
    filters: list[Filter | None] = []
    dynamics = []
    for i in range(1, BANDS + 1):
        kind = "low_shelf" if i == 1 else "high_shelf" if i == BANDS else "peak"
        gain, name = values[f"band_{i}_gain_db"], f"{path}.band_{i}"
        band = Filter(name, kind, middle[i - 1], gain, values[f"band_{i}_q"])
        filters.append(band if abs(gain) > QUIET_DB else None)
        what = ("threshold_db", "ratio", "attack_ms", "release_ms")
        found = {n: values[f"band_{i}_{n}"] for n in what}
        dynamics.append(
            Dynamics(
                name, **found, knee_db=KNEE_DB, makeup_db=values[f"band_{i}_makeup_db"],
                rms_ms=member.compressor.rms_ms,
            )
        )  # fmt: skip
    return Bands(path, "linkwitz-riley", edges, tuple(filters), tuple(dynamics))


def double(value: float) -> Tensor:
    """A number as the effects take it."""
    return torch.tensor([value], dtype=torch.float64)
