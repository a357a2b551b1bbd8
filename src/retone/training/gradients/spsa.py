"""Gradients of a black-box effect, estimated from renders with perturbed settings.

Simultaneous perturbation (J. C. Spall, IEEE Trans. Automatic Control 37(3), 1992): along a random
vector ``d`` of plus and minus ones, ``g_i = <dL/dy, y(u + e d) - y(u - e d)> / (2 e d_i)``. One
direction costs two renders, for any number of parameters. The estimate is unbiased but noisy: for
P parameters the noise has ``P - 1`` times the energy of the gradient.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from retone.dsp.effect import Effect
from retone.dsp.no_double_backward import no_double_backward
from retone.errors import SettingError
from retone.training.gradients.base import Contract, rendered


@dataclass(frozen=True)
class Spsa:
    """Simultaneous perturbation; the effect may be anything that renders.

    The defaults improve on the paper in three ways at ``directions`` times its renders. Directions
    are averaged. They are rows of a Hadamard matrix with random signs, so they are orthogonal and
    their errors partly cancel: K directions leave ``P / K - 1`` of noise instead of
    ``(P - 1) / K``, none for K = P = a power of two. And where a perturbed parameter is clamped to
    its range, the difference is divided by the actual distance. ``paper()`` is DeepAFx-ST's
    estimate.

    Directions come from torch's random state, so a resumed training run draws the same ones. An
    item whose render is not finite passes unchanged and contributes no gradient.

    Args:
        epsilon: perturbation as a fraction of a parameter's range.
        directions: random directions per item and step; each costs two renders.
        orthogonal: draw orthogonal directions.
        true_distance: divide by the actual distance instead of 2 epsilon.

    Raises:
        SettingError: epsilon or directions out of range.
    """

    name: str = "spsa_improved"
    epsilon: float = 5e-4
    directions: int = 4
    orthogonal: bool = True
    true_distance: bool = True

    def __post_init__(self) -> None:
        if not 0 < self.epsilon <= 0.5 or self.directions < 1:
            raise SettingError(
                f"Spsa: epsilon {self.epsilon} must be in 0..0.5 and directions "
                f"{self.directions} at least 1."
            )

    @staticmethod
    def paper() -> Spsa:
        """One direction, always divided by 2 epsilon (biased low at the ends of a range)."""
        return Spsa("spsa", directions=1, orthogonal=False, true_distance=False)

    @property
    def contract(self) -> Contract:
        return Contract(
            "the effect", f"{2 * self.directions} perturbed renders of the effect", "the effect"
        )

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
        if audio.requires_grad:
            raise SettingError("Spsa: gradients reach the settings only; detach the audio.")
        signs = self.draw(*unit.shape).to(unit.device)
        return _Estimated.apply(unit, audio, effect, sample_rate, signs, self)  # type: ignore[no-any-return,no-untyped-call]

    @torch.no_grad()
    def infer(
        self,
        effect: Effect,
        audio: Tensor,
        sample_rate: float,
        unit: Tensor,
        networks: nn.Module | None = None,
    ) -> Tensor:
        out = rendered(effect, audio, sample_rate, unit)
        return torch.where(_finite(out), out, audio)

    def draw(self, batch: int, parameters: int) -> Tensor:
        """Directions of plus and minus ones, [K, batch, parameters] float64."""
        if not self.orthogonal:
            shape = (self.directions, batch, parameters)
            return 2.0 * torch.randint(2, shape).double() - 1
        size = 1 << (max(self.directions, parameters) - 1).bit_length()
        from scipy.linalg import hadamard

        matrix = torch.from_numpy(hadamard(size).astype("float64"))
        rows = torch.rand(batch, size).argsort(1)[:, : self.directions]
        columns = torch.rand(batch, size).argsort(1)[:, :parameters]
        chosen = matrix[rows[:, :, None], columns[:, None, :]]  # [batch, K, parameters]
        signs = 2.0 * torch.randint(2, (batch, 1, parameters)).double() - 1
        return (chosen * signs).transpose(0, 1).contiguous()


class _Estimated(torch.autograd.Function):
    """Forward runs the effect; backward estimates the gradient of the settings."""

    @staticmethod
    def forward(
        ctx: Any,
        unit: Tensor,
        audio: Tensor,
        effect: Effect,
        sample_rate: float,
        signs: Tensor,
        strategy: Spsa,
    ) -> Tensor:
        out = rendered(effect, audio, sample_rate, unit.detach())
        finite = _finite(out)
        ctx.save_for_backward(unit, audio, signs, finite)
        ctx.effect, ctx.sample_rate, ctx.strategy = effect, sample_rate, strategy
        return torch.where(finite, out, audio)

    @staticmethod
    @no_double_backward
    def backward(ctx: Any, *grads: Tensor) -> Any:
        unit, audio, signs, finite = ctx.saved_tensors
        strategy: Spsa = ctx.strategy
        keep = finite[:, 0, 0]
        estimate = torch.zeros(unit.shape, dtype=torch.float64, device=unit.device)
        if not keep.any():
            return estimate.to(unit.dtype), None, None, None, None, None
        audio, weight = audio[keep], grads[0][keep].double()
        u, batch = unit[keep].double(), len(audio)
        total = torch.zeros_like(u)
        for d in signs[:, keep]:
            up = (u + strategy.epsilon * d).clamp(0, 1)
            down = (u - strategy.epsilon * d).clamp(0, 1)
            both = rendered(
                ctx.effect, audio.repeat(2, 1, 1), ctx.sample_rate, torch.cat([up, down])
            )
            difference = both[:batch].double() - both[batch:].double()
            along = (weight * difference).sum((1, 2))
            along = torch.where(along.isfinite(), along, torch.zeros_like(along))
            distance = up - down if strategy.true_distance else 2 * strategy.epsilon * d
            total += along[:, None] / distance
        estimate[keep] = total / len(signs)
        return estimate.to(unit.dtype), None, None, None, None, None


def _finite(audio: Tensor) -> Tensor:
    """Which items are finite throughout, [B, 1, 1]."""
    return audio.isfinite().all(dim=2, keepdim=True).all(dim=1, keepdim=True)
