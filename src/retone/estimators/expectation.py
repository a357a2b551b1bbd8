"""Fit an effect's setting to the statistics that a network predicts for the target.

A network predicts settings and statistics with similar errors, but the effect of a setting can be
computed: a few steps of gradient descent through the exact effect find a setting, close to the
predicted one, whose result has the predicted statistics, each weighted by its certainty.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from retone.dsp.effect import Effect
from retone.nets.frontend import Features, merge_clips
from retone.nets.iterative import Expected
from retone.progress import ESTIMATING, Progress, silent

MARGIN = 0.002
BESIDE = 0.5
"""Weight of the likelihood of statistics beside another misfit, found on held-out voices."""


@dataclass(frozen=True)
class Descent:
    """How a setting is fitted.

    Args:
        steps: steps of Adam.
        learning_rate: of the first step, on logits; it falls linearly to zero.
        prior: weight of the mean squared distance, in logits, to the initial setting.
        betas: of Adam.
    """

    steps: int
    learning_rate: float
    prior: float
    betas: tuple[float, float] = (0.9, 0.99)


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


def descended(
    effect: Effect,
    clips: Tensor,
    sample_rate: float,
    unit: Tensor,
    misfit: Callable[[Tensor], Tensor],
    *,
    rules: Descent,
    locks: Mapping[str, float],
    progress: Progress = silent,
) -> tuple[Tensor, float]:
    """Unit parameters [1, P] with the lowest misfit, and that misfit.

    They are never worse than the initial ones, and always finite.

    Args:
        effect: the effect to set.
        clips: pieces of the source [N, T] at ``sample_rate``; one setting serves them all.
        unit: initial unit parameters and, as logits, the centre of the prior, [1, P].
        misfit: results [N, T] -> what is to be small.
        rules: of the descent.
        locks: parameters that keep a physical value.
        progress: called after each step.
    """
    table = effect.params
    free = torch.tensor([[n not in locks for n in table.names]])
    held = table.to_unit(table.setting(dict(locks))).float()
    start = torch.logit(unit.float().clamp(MARGIN, 1 - MARGIN))
    z = start.clone().requires_grad_()
    optimizer = Adam(z, rules.betas)
    best, kept = math.inf, torch.where(free, unit.float(), held)
    for step in range(rules.steps + 1):
        now = torch.where(free, torch.sigmoid(z), held)
        setting = table.to_physical(now.expand(clips.shape[0], -1))
        audio = effect.render(clips[:, None], sample_rate, setting, checked=False).audio[:, 0]
        loss = misfit(audio) + rules.prior * (z - start).square().mean()
        if not bool(torch.isfinite(loss)):
            break
        if float(loss.detach()) < best:
            best, kept = float(loss.detach()), now.detach()
        if step == rules.steps:
            break
        (slope,) = torch.autograd.grad(loss, z)
        if not bool(torch.isfinite(slope).all()):
            break
        optimizer.step(slope, rules.learning_rate * (1 - step / rules.steps))
        progress(ESTIMATING, step + 1, rules.steps)
    return kept, best


def fit_expectation(
    network: Any,
    effect: Effect,
    clips: Tensor,
    sample_rate: float,
    expected: Expected,
    unit: Tensor,
    *,
    rules: Descent,
    locks: Mapping[str, float],
    also: Callable[[Features], Tensor] | None = None,
    progress: Progress = silent,
) -> Tensor:
    """Unit parameters [1, P] fitted to the negative log-likelihood of the result's statistics.

    Args:
        network: computes the statistics (``encode`` and ``standardized``, with gradient).
        effect, clips, sample_rate, unit, rules, locks, progress: see ``descended``.
        expected: predicted statistics of all pieces together, [1, S].
        also: what else is to be small, from the features of the results; it counts fully and the
            likelihood by ``BESIDE``.
    """

    def misfit(audio: Tensor) -> Tensor:
        features = network.encode(audio)
        nll = expected.nll(network.standardized(merge_clips(features).summary)).mean()
        return nll if also is None else BESIDE * nll + also(features)

    return descended(
        effect, clips, sample_rate, unit, misfit, rules=rules, locks=locks, progress=progress
    )[0]
