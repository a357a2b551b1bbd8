"""A fixed FIR filter as an effect without parameters: the rule-based matcher's equaliser."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar, Self

import torch
from torch import Tensor

from retone.dsp.effect import Effect, Rendered, State
from retone.dsp.param import ParamTable, Setting
from retone.dsp.stages import Fixed, Stage

_SEGMENT = 16384


@dataclass(frozen=True)
class Fir(Effect):
    """Convolution with ``taps``, causal, made for one sample rate.

    Block-wise rendering equals rendering in one go to rounding: the convolution runs in float64
    by FFT over segments.
    """

    kind: ClassVar[str] = "fir"
    tied_to_rate: ClassVar[bool] = True
    name: str
    taps: tuple[float, ...]

    @classmethod
    def examples(cls) -> tuple[Self, ...]:
        return ()  # no parameters, so the contract tests have nothing to vary

    @property
    def params(self) -> ParamTable:
        return ParamTable(())

    def _render(
        self, audio: Tensor, sample_rate: float, setting: Setting, state: State | None, curves: bool
    ) -> Rendered:
        h = torch.tensor(self.taps, dtype=torch.float64, device=audio.device)
        keep = h.numel() - 1
        past = (
            state["past"]
            if state
            else torch.zeros(*audio.shape[:2], keep, dtype=torch.float64, device=audio.device)
        )
        x = torch.cat([past, audio.double()], dim=-1)
        n = 1 << (min(_SEGMENT, x.shape[-1]) + keep).bit_length()
        spectrum = torch.fft.rfft(h, n)
        step = n - keep
        parts = [
            torch.fft.irfft(torch.fft.rfft(x[..., i : i + n], n) * spectrum, n)[..., keep:]
            for i in range(0, audio.shape[-1], step)
        ]
        y = torch.cat(parts, dim=-1)[..., : audio.shape[-1]] if parts else audio.double()
        return Rendered(y.to(audio.dtype), {"past": x[..., x.shape[-1] - keep :]}, {})

    def response(
        self, frequency_hz: Tensor, sample_rate: float, setting: Mapping[str, Tensor]
    ) -> Tensor:
        h = torch.tensor(self.taps, dtype=torch.float64)
        w = 2 * torch.pi / sample_rate * frequency_hz.double()
        lag = torch.arange(h.numel(), dtype=torch.float64)
        turn = torch.polar(torch.ones(1, dtype=torch.float64), -w[:, None] * lag)
        return (turn * h).sum(-1)[None]

    def stages(self, setting: Mapping[str, Tensor], sample_rate: float) -> tuple[Stage, ...]:
        return (Fixed("", self.taps),)

    def _about_response(self) -> str:
        return f"A fixed filter of {len(self.taps)} taps."
