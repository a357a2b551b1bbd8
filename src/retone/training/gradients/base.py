"""What a differentiation strategy is."""

from __future__ import annotations

from typing import NamedTuple, Protocol

from torch import Tensor, nn

from retone.dsp.effect import Effect


class Contract(NamedTuple):
    """What runs when; ``readable`` says whether the predicted numbers mean dB, Hz and ms."""

    training_forward: str
    training_backward: str
    inference: str
    readable: bool = True


class Gradient(Protocol):
    """A differentiation strategy: a frozen dataclass."""

    @property
    def name(self) -> str:
        """What tables call it."""
        ...

    @property
    def contract(self) -> Contract:
        """What runs in training forward, training backward and at inference."""
        ...

    def build(self, effect: Effect, *, pretrained: bool = True) -> nn.Module | None:
        """The networks that stand in for the effect, None without any.

        Args:
            effect: what they stand in for.
            pretrained: load weights where the strategy has some; False leaves them random, for
                weights that are loaded afterwards.

        Raises:
            DataError: the weights are missing, damaged or of another effect.
        """
        ...

    def train(
        self,
        effect: Effect,
        audio: Tensor,
        sample_rate: float,
        unit: Tensor,
        stand_in: nn.Module | None = None,
    ) -> Tensor:
        """Render [B, C, T] so that gradients reach ``unit`` [B, P]."""
        ...

    def infer(
        self,
        effect: Effect,
        audio: Tensor,
        sample_rate: float,
        unit: Tensor,
        stand_in: nn.Module | None = None,
    ) -> Tensor:
        """Render [B, C, T] as the finished system will."""
        ...


def rendered(effect: Effect, audio: Tensor, sample_rate: float, unit: Tensor) -> Tensor:
    """The effect itself, from unit parameters."""
    return effect.render(audio, sample_rate, effect.params.to_physical(unit)).audio
