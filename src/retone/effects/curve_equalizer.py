"""An equaliser drawn as a curve: one gain per third octave, smooth in between, as one FIR filter.

The curve passes through every gain at its frequency, ``1000 * 2^(k/3)`` Hz for k = -17 to 13. In
between it is a Catmull-Rom spline over log frequency, which is linear in the gains; below the
first and above the last frequency it is constant.

Minimum phase comes from the real cepstrum: the logarithm of the magnitude is transformed, folded
onto positive times, transformed back and exponentiated (Oppenheim and Schafer, *Discrete-Time
Signal Processing*, "Cepstrum analysis"). It has no latency. Linear phase keeps the shape of
transients' spectra without moving parts of them in time, at the price of pre-echo and latency.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar, Literal, Self

import numpy as np
import torch
from torch import Tensor

from retone.dsp.effect import Effect, Rendered, State
from retone.dsp.param import Param, ParamTable, Setting
from retone.dsp.stages import QUIET_DB, Fixed, Stage
from retone.effects.fir import delayed, filtered, response_of
from retone.units import DB_PER_NEPER

Phase = Literal["minimum", "linear"]
PHASES: tuple[Phase, ...] = ("minimum", "linear")

NOMINAL_HZ = (
    20, 25, 31.5, 40, 50, 63, 80, 100, 125, 160, 200, 250, 315, 400, 500, 630, 800, 1000, 1250,
    1600, 2000, 2500, 3150, 4000, 5000, 6300, 8000, 10000, 12500, 16000, 20000,
)  # fmt: skip
"""Names of the third octaves (IEC 61260), which their parameters carry."""

CENTRES_HZ = tuple(1000.0 * 2 ** (k / 3) for k in range(-17, 14))
"""Frequencies of the gains; the names are these, rounded."""

REACH_S = 0.34
"""Length of the minimum-phase filter, and half that of the linear-phase filter, in seconds."""
_FADE = 0.25  # share of the reach over which the filter fades out


def _shown(hz: float) -> str:
    return f"{hz / 1000:g} kHz" if hz >= 1000 else f"{hz:g} Hz"


CURVE_TABLE = ParamTable(
    tuple(
        Param(
            f"gain_{int(hz)}_hz_db", "dB", -24, 24, 0, "linear", f"Gain at {_shown(hz)}.",
            neutral=0, role="gain",
        )
        for hz in NOMINAL_HZ
    )
)  # fmt: skip


@dataclass(frozen=True)
class CurveEqualizer(Effect):
    """A smooth curve through 31 gains, as a FIR filter made for the rate at hand.

    Args:
        phase: ``"minimum"`` (no latency) or ``"linear"`` (a latency of ``REACH_S``).
    """

    kind: ClassVar[str] = "curve_equalizer"
    exact_blocks: ClassVar[bool] = False
    name: str = "curve_equalizer"
    phase: Phase = "minimum"

    @classmethod
    def examples(cls) -> tuple[Self, ...]:
        return (cls(), cls(name="linear_curve", phase="linear"))

    @property
    def params(self) -> ParamTable:
        return CURVE_TABLE

    def latency_samples(self, sample_rate: float) -> int:
        return _reach(sample_rate) if self.phase == "linear" else 0

    def _change(self, sample_rate: float, setting: Mapping[str, Tensor]) -> Tensor:
        """The taps [B, K] less those of the neutral filter, a (delayed) unit impulse.

        Rendering adds the neutral part as it is, so that a neutral setting is exact.
        """
        gains = torch.stack([setting[n].double() for n in CURVE_TABLE.names], dim=1)
        if gains.shape[0] == 0:  # which transforms refuse
            return gains[:, :1].expand(0, self.latency_samples(sample_rate) + 1)
        if gains.device.type == "cpu" and gains.shape[0] > 1:
            # One by one: a product or transform of several rows at once may round differently.
            items = [_designed(one, sample_rate, self.phase) for one in gains.split(1)]
            return torch.cat(items)
        if torch.is_grad_enabled():
            return _designed(gains, sample_rate, self.phase)
        taps = _kept(tuple(gains[0].tolist()), sample_rate, self.phase)
        return taps.to(gains.device)

    def taps(self, sample_rate: float, setting: Mapping[str, Tensor]) -> Tensor:
        """The impulse response [B, K] at a sample rate in Hz."""
        change = self._change(sample_rate, setting)
        neutral = torch.zeros_like(change)
        neutral[:, self.latency_samples(sample_rate)] = 1.0
        return neutral + change

    def _render(
        self, audio: Tensor, sample_rate: float, setting: Setting, state: State | None, curves: bool
    ) -> Rendered:
        change = self._change(sample_rate, setting).to(audio.device)
        past = state["past"] if state else None
        dry = delayed(audio, self.latency_samples(sample_rate), past)
        wet, past = filtered(audio, change, past)
        return Rendered((dry + wet).to(audio.dtype), {"past": past}, {})

    def static_path(
        self, audio: Tensor, sample_rate: float, setting: Mapping[str, Tensor]
    ) -> Tensor:
        return delayed(audio, self.latency_samples(sample_rate), None).to(audio.dtype)

    def response(
        self, frequency_hz: Tensor, sample_rate: float, setting: Mapping[str, Tensor]
    ) -> Tensor:
        return response_of(self.taps(sample_rate, setting), frequency_hz, sample_rate)

    def stages(self, setting: Mapping[str, Tensor], sample_rate: float) -> tuple[Stage, ...]:
        gains = tuple(float(setting[n][0]) for n in CURVE_TABLE.names)
        if max(abs(g) for g in gains) <= QUIET_DB:
            return ()
        taps = tuple(self.taps(sample_rate, setting)[0].tolist())
        points = tuple(zip(CENTRES_HZ, gains, strict=True))
        return (Fixed("", taps, points, self.latency_samples(sample_rate)),)

    def _about_response(self) -> str:
        return (
            "The curve through the gains of all third octaves, as one filter of "
            f"{self.phase} phase."
        )


def curve_matrix(frequency_hz: np.ndarray) -> np.ndarray:
    """The spline's weights [F, 31]: times the gains, it is the curve in dB at ``frequency_hz``."""
    f = np.maximum(np.asarray(frequency_hz, dtype=np.float64), 1e-3)
    last = len(CENTRES_HZ) - 1
    at = np.clip(3 * np.log2(f / CENTRES_HZ[0]), 0, last)
    left = np.minimum(at.astype(int), last - 1)
    u = at - left
    # Catmull-Rom: the slope at a point is half the difference of its neighbours.
    weights = (
        u * ((2 - u) * u - 1) / 2,
        (u * u * (3 * u - 5) + 2) / 2,
        u * ((4 - 3 * u) * u + 1) / 2,
        u * u * (u - 1) / 2,
    )
    found = np.zeros((f.size, last + 1))
    for offset, weight in zip((-1, 0, 1, 2), weights, strict=True):
        np.add.at(found, (np.arange(f.size), np.clip(left + offset, 0, last)), weight)
    return found


def _reach(sample_rate: float) -> int:
    return round(REACH_S * sample_rate)


@functools.lru_cache(maxsize=2)
def _matrix(sample_rate: float, size: int) -> Tensor:
    frequency = np.arange(size // 2 + 1) * (sample_rate / size)
    return torch.from_numpy(np.ascontiguousarray(curve_matrix(frequency).T))


@functools.lru_cache(maxsize=8)
def _kept(gains: tuple[float, ...], sample_rate: float, phase: Phase) -> Tensor:
    return _designed(torch.tensor([gains], dtype=torch.float64), sample_rate, phase)


def _designed(gains: Tensor, sample_rate: float, phase: Phase) -> Tensor:
    """Taps [B, K] of a curve less the neutral impulse; gains [B, 31] in dB.

    Four times the reach as transform length keeps the cepstrum's aliasing below 0.01 dB.
    """
    reach = _reach(sample_rate)
    size = 1 << (4 * reach - 1).bit_length()
    curve = gains @ _matrix(sample_rate, size).to(gains.device) / DB_PER_NEPER
    fade = torch.ones(reach + 1, dtype=torch.float64, device=gains.device)
    count = math.ceil(_FADE * reach)
    ramp = torch.arange(1, count + 1, dtype=torch.float64, device=gains.device) / (count + 1)
    fade[-count:] = torch.cos(torch.pi / 2 * ramp) ** 2
    if phase == "linear":
        half = torch.fft.irfft(torch.expm1(curve), size)[:, : reach + 1] * fade
        return torch.cat([half[:, 1:].flip(1), half], dim=1)
    fold = torch.zeros(size, dtype=torch.float64, device=gains.device)
    fold[0], fold[1 : size // 2], fold[size // 2] = 1.0, 2.0, 1.0
    cepstrum = torch.fft.irfft(curve, size) * fold
    change = torch.exp(torch.fft.rfft(cepstrum)) - 1
    return torch.fft.irfft(change, size)[:, :reach] * fade[1:]
