"""A constant gain in dB."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import torch
from torch import Tensor

from retone.dsp.effect import Effect, Rendered, State
from retone.dsp.param import Param, ParamTable, Setting
from retone.dsp.stages import Level, Stage
from retone.dsp.views import View

_TABLE = ParamTable(
    (Param("gain_db", "dB", -48, 48, 0, "linear", "Level change.", neutral=0, role="makeup"),)
)


@dataclass(frozen=True)
class Gain(Effect):
    """``y = x 10^(gain_db / 20)``."""

    kind: ClassVar[str] = "gain"
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

    def stages(self, setting: Mapping[str, Tensor], sample_rate: float) -> tuple[Stage, ...]:
        return (Level("", float(setting["gain_db"][0])),)

    def views(
        self, setting: Mapping[str, Tensor], sample_rate: float, frequency_hz: np.ndarray
    ) -> tuple[View, ...]:
        return ()  # the report's table already shows its only value
