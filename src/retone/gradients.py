"""How gradients get through an effect: one small object per strategy, passed to a recipe.

=================  ==================  ======================  ==================
strategy           training forward    training backward       inference
=================  ==================  ======================  ==================
Exact              the effect          its exact adjoint       the effect
FrequencySampled   the stand-in        autograd of it          the effect
=================  ==================  ======================  ==================

Settings enter as unit parameters [B, P] in [0, 1].
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from torch import Tensor

from retone.dsp.effect import Effect


class Gradient(Protocol):
    """A differentiation strategy."""

    @property
    def name(self) -> str:
        """What tables call it."""
        ...

    def train(self, effect: Effect, audio: Tensor, sample_rate: float, unit: Tensor) -> Tensor:
        """Render [B, C, T] so that gradients reach ``unit`` [B, P]."""
        ...

    def infer(self, effect: Effect, audio: Tensor, sample_rate: float, unit: Tensor) -> Tensor:
        """Render [B, C, T] as the finished system will."""
        ...


@dataclass(frozen=True)
class Exact:
    """The effect itself, with its exact adjoint: the recommended strategy."""

    name: str = "exact"

    def train(self, effect: Effect, audio: Tensor, sample_rate: float, unit: Tensor) -> Tensor:
        return effect.render(audio, sample_rate, effect.params.to_physical(unit)).audio

    infer = train


@dataclass(frozen=True)
class FrequencySampled:
    """DeepAFx-ST's AD: frequency-sampled filters and one compressor time constant in training."""

    name: str = "frequency_sampled"

    def train(self, effect: Effect, audio: Tensor, sample_rate: float, unit: Tensor) -> Tensor:
        return effect.relax(audio, sample_rate, effect.params.to_physical(unit))

    def infer(self, effect: Effect, audio: Tensor, sample_rate: float, unit: Tensor) -> Tensor:
        return effect.render(audio, sample_rate, effect.params.to_physical(unit)).audio
