"""Fit an effect's setting so that the result has the frames that a network wants.

Settings are guessed badly and computed well: gradient descent through the exact effect finds the
setting whose result comes nearest to the wanted log-mel frames, every number weighed by how
certain it is.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from retone.dsp.effect import Effect
from retone.estimators.expectation import MARGIN, Adam
from retone.nets.frontend import FrontEnd


class FrameGoal(NamedTuple):
    """What a fit aims at: log-mel frames [N, M, K] of N clips in dB / 20, and their weights.

    The misfit is the weighted mean of a Huber distance over frames, and the same of ``measures``
    [N, 3] (RMS and K-weighted level in dB / 20, centroid in kHz), summed with ``measure_weight``
    [N, 3]. ``weight`` is 0 where nothing is known.
    """

    frames: Tensor
    weight: Tensor
    measures: Tensor
    measure_weight: Tensor


@dataclass(frozen=True)
class FitRules:
    """How a setting is fitted.

    Args:
        steps: steps of Adam.
        learning_rate: of the first step, on logits; it falls to zero.
        bend: where the distance turns from square to linear, in dB / 20.
        free_level: how much of the level that all frames have in common is none of their business.
        prior: weight of the mean squared distance, in logits, to where the fit began.
    """

    steps: int = 60
    learning_rate: float = 0.1
    bend: float = 0.05
    free_level: float = 0.0
    prior: float = 0.0


def fit_frames(
    effect: Effect,
    front_end: FrontEnd,
    clips: Tensor,
    goal: FrameGoal,
    unit: Tensor,
    *,
    rules: FitRules,
    locks: Mapping[str, float],
    progress: Callable[[int, int], None] | None = None,
) -> tuple[Tensor, float]:
    """Unit parameters [1, P] of the best result seen, and its misfit.

    Args:
        effect: what is set.
        front_end: hears results; its rate is that of the clips.
        clips: the source [N, T], heard as one recording with one setting.
        goal: what their results should sound like.
        unit: where to begin, [1, P].
        locks: parameters that keep a physical value.
        progress: called with (steps done, steps to do).
    """
    table, rate = effect.params, front_end.config.sample_rate
    free = torch.tensor([[n not in locks for n in table.names]])
    held = table.to_unit(table.setting(dict(locks))).float()
    start = torch.logit(unit.float().clamp(MARGIN, 1 - MARGIN))
    z = start.clone().requires_grad_()
    optimizer = Adam(z, (0.9, 0.99))
    total = goal.weight.sum().clamp(min=1e-6)
    best, kept = math.inf, torch.where(free, unit.float(), held)
    for step in range(rules.steps + 1):
        now = torch.where(free, torch.sigmoid(z), held)
        setting = table.to_physical(now.expand(clips.shape[0], -1))
        audio = effect.render(clips[:, None], rate, setting).audio[:, 0]
        frames, measures = front_end.frames_and_measures(audio)
        miss = frames - goal.frames
        level = (goal.weight * miss).sum() / total  # is among the measures
        miss = miss - rules.free_level * level
        misfit = (goal.weight * _huber(miss, rules.bend)).sum() / total
        off = _huber(measures - goal.measures, rules.bend) * goal.measure_weight
        loss = misfit + off.sum(1).mean() + rules.prior * (z - start).square().mean()
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
        if progress is not None:
            progress(step + 1, rules.steps)
    return kept, best


def _huber(x: Tensor, bend: float) -> Tensor:
    zero = torch.zeros_like(x)
    return torch.nn.functional.huber_loss(x, zero, reduction="none", delta=bend) / bend
