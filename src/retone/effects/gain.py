"""Gain: level, in dB, and nothing else."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from retone.dsp.effect import Effect, Rendered, State
from retone.dsp.param import Param, ParamTable, Setting

_TABLE = ParamTable((Param("gain_db", "dB", -48, 48, 0, "linear", "Level change.", neutral=0),))


@dataclass(frozen=True)
class Gain(Effect):
    """``y = x 10^(gain_db / 20)``."""

    name: str = "gain"

    @property
    def params(self) -> ParamTable:
        return _TABLE

    def _render(
        self, audio: Tensor, sample_rate: float, setting: Setting, state: State | None, curves: bool
    ) -> Rendered:
        factor = 10 ** (setting["gain_db"].double() / 20)
        return Rendered(audio * factor.to(audio)[:, None, None], {}, {})

    def response(
        self, frequency_hz: Tensor, sample_rate: float, setting: Mapping[str, Tensor]
    ) -> Tensor:
        factor = (10 ** (setting["gain_db"].double() / 20)).to(torch.complex128)
        return factor[:, None].expand(-1, frequency_hz.numel())
