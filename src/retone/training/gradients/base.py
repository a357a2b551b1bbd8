"""The interface of a differentiation strategy."""

from __future__ import annotations

from typing import NamedTuple, Protocol

from torch import Tensor, nn

from retone.dsp.effect import Effect
from retone.nets.proxy import EffectNetworks


class Contract(NamedTuple):
    """What runs in training and at inference; ``readable``: settings in dB, Hz and ms."""

    training_forward: str
    training_backward: str
    inference: str
    readable: bool = True


class Gradient(Protocol):
    """A differentiation strategy: a frozen dataclass."""

    @property
    def name(self) -> str:
        """Name in recipes, reports and tables, such as ``"np_hh"``."""
        ...

    @property
    def contract(self) -> Contract:
        """What runs in training forward, training backward and at inference."""
        ...

    def build(self, effect: Effect, *, pretrained: bool = True) -> EffectNetworks | None:
        """The networks that run in the effect's place; None for a strategy without any.

        Args:
            effect: the effect to replace.
            pretrained: load the strategy's own weights, if it has any; False leaves them random,
                for weights that are loaded afterwards.

        Raises:
            DataError: the weights are missing, damaged or were trained for another effect.
        """
        ...

    def train(
        self,
        effect: Effect,
        audio: Tensor,
        sample_rate: float,
        unit: Tensor,
        networks: nn.Module | None = None,
    ) -> Tensor:
        """Render [B, C, T] so that gradients reach ``unit`` [B, P]."""
        ...

    def infer(
        self,
        effect: Effect,
        audio: Tensor,
        sample_rate: float,
        unit: Tensor,
        networks: nn.Module | None = None,
    ) -> Tensor:
        """Render [B, C, T] as at inference."""
        ...


def rendered(effect: Effect, audio: Tensor, sample_rate: float, unit: Tensor) -> Tensor:
    """The effect's own output for unit parameters [B, P]."""
    setting = effect.params.to_physical(unit)
    return effect.render(audio, sample_rate, setting, checked=False).audio
