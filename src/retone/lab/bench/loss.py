"""The training loss: retone's multi-resolution STFT distance and auraloss's."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from retone.lab.bench.methods import Method, measure
from retone.lab.bench.reference import moving_pink_noise
from retone.lab.bench.result import Section
from retone.losses import MultiResolutionSTFT

AURALOSS = {"auraloss": "auraloss"}


def _auraloss(plan: MultiResolutionSTFT) -> Callable[[Tensor, Tensor], Tensor]:
    import auraloss

    loss = auraloss.freq.MultiResolutionSTFTLoss(
        fft_sizes=list(plan.windows),
        hop_sizes=[r.hop for r in plan.plan],
        win_lengths=list(plan.windows),
        w_sc=0.0,
        w_log_mag=1.0,
        w_lin_mag=1.0,
    )
    return loss  # type: ignore[no-any-return]


def loss_section(
    *,
    batch: int,
    length: int,
    sample_rate: float,
    rounds: int,
    seed: int,
    say: Callable[[str], None],
) -> Section:
    """Measure forward + backward of the loss on [batch, 1, length] float32.

    Args:
        batch, length: the audio is [batch, 1, length].
        sample_rate: in Hz.
        rounds, seed, say: as in ``equalizer_section``.
    """
    target = torch.from_numpy(moving_pink_noise(length, sample_rate, seed, batch))[:, None]
    other = torch.from_numpy(moving_pink_noise(length, sample_rate, seed + 1, batch))[:, None]
    estimate = 0.7 * target + 0.3 * other
    ours = MultiResolutionSTFT()
    exact = _value_and_gradient(
        lambda x, y: ours(x, y, sample_rate), estimate.double(), target.double()
    )
    section = Section(
        "loss",
        f"Multi-resolution STFT loss (windows {', '.join(map(str, ours.windows))}), "
        f"forward + backward, {batch} x 1 x {length} float32",
        baseline="retone",
        audio_s=batch * length / sample_rate,
        figures=[
            ("value_error", "value against float64 (relative)"),
            ("grad_error", "gradient against float64 (relative)"),
        ],
        notes=[
            "Log-magnitude and magnitude terms, weight 1 each, as DeepAFx-ST trains. Errors are "
            "against retone's plain autograd path in float64."
        ],
    )

    def figures(result: tuple[Tensor, Tensor]) -> dict[str, float | None]:
        value, gradient = result
        return {
            "value_error": abs(float(value) / float(exact[0]) - 1),
            "grad_error": float((gradient.double() - exact[1]).norm() / exact[1].norm()),
        }

    def with_loss(loss: Callable[[Tensor, Tensor], Tensor]) -> Callable[[], Any]:
        return lambda: _value_and_gradient(loss, estimate, target)

    def prepared() -> Callable[[], Any]:
        known = ours.prepare(target)
        return lambda: _value_and_gradient(
            lambda x, _: ours(x, known, sample_rate), estimate, target
        )

    methods = [
        Method(
            "retone",
            lambda: with_loss(lambda x, y: ours(x, y, sample_rate)),
            figures=figures,
        ),
        Method(
            "retone, target prepared",
            prepared,
            figures=figures,
            note="for a target used more than once",
        ),
        Method("auraloss", lambda: with_loss(_auraloss(ours)), AURALOSS, figures),
    ]
    return measure(section, methods, rounds=rounds, seed=seed, say=say)


def _value_and_gradient(
    loss: Callable[[Tensor, Tensor], Tensor], estimate: Tensor, target: Tensor
) -> tuple[Tensor, Tensor]:
    x = estimate.detach().requires_grad_()
    value = loss(x, target)
    return value.detach(), torch.autograd.grad(value, x)[0]
