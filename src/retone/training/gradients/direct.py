"""Strategies that differentiate the effect itself, or the papers' approximation of it."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor, nn

from retone.dsp.effect import Effect
from retone.training.gradients.base import Contract, rendered


@dataclass(frozen=True)
class Exact:
    """The effect itself, with its exact adjoint: the recommended strategy."""

    name: str = "exact"

    @property
    def contract(self) -> Contract:
        return Contract("the effect", "its exact adjoint", "the effect")

    def build(self, effect: Effect, *, pretrained: bool = True) -> None:
        return None

    def train(
        self,
        effect: Effect,
        audio: Tensor,
        sample_rate: float,
        unit: Tensor,
        networks: nn.Module | None = None,
    ) -> Tensor:
        return rendered(effect, audio, sample_rate, unit)

    infer = train


@dataclass(frozen=True)
class FrequencySampled:
    """DeepAFx-ST's AD: frequency-sampled filters and one compressor time constant.

    Args:
        exact_inference: render with the effect itself after training. The paper renders as in
            training, so its release time, which gets no gradient, has no effect either.
    """

    name: str = "frequency_sampled"
    exact_inference: bool = False

    @property
    def contract(self) -> Contract:
        approximation = "frequency-sampled approximation"
        inference = "the effect" if self.exact_inference else approximation
        return Contract(approximation, "autograd of it", inference)

    def build(self, effect: Effect, *, pretrained: bool = True) -> None:
        return None

    def train(
        self,
        effect: Effect,
        audio: Tensor,
        sample_rate: float,
        unit: Tensor,
        networks: nn.Module | None = None,
    ) -> Tensor:
        return effect.relax(audio, sample_rate, effect.params.to_physical(unit))

    def infer(
        self,
        effect: Effect,
        audio: Tensor,
        sample_rate: float,
        unit: Tensor,
        networks: nn.Module | None = None,
    ) -> Tensor:
        if self.exact_inference:
            return rendered(effect, audio, sample_rate, unit)
        return self.train(effect, audio, sample_rate, unit, networks)
