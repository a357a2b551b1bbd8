"""Fit an effect's setting to the statistics that a network predicts for the target.

A network predicts settings and statistics with similar errors, but the effect of a setting can be
computed: a few steps of gradient descent through the exact effect find a setting, close to the
predicted one, whose result has the predicted statistics, each weighted by its certainty.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from retone.dsp.effect import Effect
from retone.nets.frontend import merge_clips
from retone.nets.iterative import Expected
from retone.progress import ESTIMATING, Progress, silent

LEARNING_RATE = 0.06
MARGIN = 0.002


class Adam:
    """torch's Adam for one tensor, bit-identical.

    ``torch.optim`` loads torch's compiler when first used, which takes longer than this fit.
    """

    def __init__(self, value: Tensor, betas: tuple[float, float] = (0.9, 0.999)) -> None:
        self.value, self.betas, self.count = value, betas, 0
        self.mean, self.square = torch.zeros_like(value), torch.zeros_like(value)

    @torch.no_grad()
    def step(self, gradient: Tensor, learning_rate: float, eps: float = 1e-8) -> None:
        """One step, in place."""
        first, second = self.betas
        self.count += 1
        self.mean.lerp_(gradient, 1 - first)
        self.square.mul_(second).addcmul_(gradient, gradient, value=1 - second)
        size = learning_rate / (1 - first**self.count)
        spread = (self.square.sqrt() / math.sqrt(1 - second**self.count)).add_(eps)
        self.value.addcdiv_(self.mean, spread, value=-size)


def fit_expectation(
    network: Any,
    effect: Effect,
    clips: Tensor,
    sample_rate: float,
    expected: Expected,
    unit: Tensor,
    *,
    steps: int,
    prior: float,
    locks: Mapping[str, float],
    progress: Progress = silent,
) -> Tensor:
    """Unit parameters [1, P] after ``steps`` of Adam on ``nll + prior |z - z0|^2``.

    ``nll`` is the negative log-likelihood of the result's statistics. The best setting is kept; it
    is never worse than the start, and always finite.

    Args:
        network: computes the statistics (``encode`` and ``standardized``, with gradient).
        effect: the effect to set.
        clips: pieces of the source [N, T] at ``sample_rate``; one setting serves them all.
        expected: predicted statistics of all pieces together, [1, S].
        unit: start and, as logits, centre z0 of the prior, [1, P].
        steps, prior: number of steps and weight of the prior.
        locks: parameters that keep a physical value.
    """
    table = effect.params
    free = torch.tensor([[n not in locks for n in table.names]])
    held = table.to_unit(table.setting(dict(locks))).to(unit)
    start = torch.logit(unit.clamp(MARGIN, 1 - MARGIN)).float()
    z = start.clone().requires_grad_()
    optimizer = Adam(z)

    def result() -> Tensor:
        return torch.where(free, torch.sigmoid(z), held.float())

    best, kept = math.inf, result().detach()
    for step in range(steps + 1):
        setting = table.to_physical(result().expand(clips.shape[0], -1))
        audio = effect.render(clips[:, None], sample_rate, setting, checked=False).audio[:, 0]
        features = merge_clips(network.encode(audio))
        nll = expected.nll(network.standardized(features.summary)).mean()
        loss = nll + prior * (z - start).square().mean()
        if not bool(torch.isfinite(loss)):
            break
        if float(loss.detach()) < best:
            best, kept = float(loss.detach()), result().detach()
        if step == steps:
            break
        (slope,) = torch.autograd.grad(loss, z)
        if not bool(torch.isfinite(slope).all()):
            break
        optimizer.step(slope, LEARNING_RATE * (1 - step / steps))
        progress(ESTIMATING, step + 1, steps)
    return kept
