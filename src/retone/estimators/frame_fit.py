"""Fit an effect's setting so that the result has the frames that a network predicts.

Gradient descent through the exact effect finds the setting whose result is closest to the predicted
log-mel frames, each value weighted by its certainty.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from retone.dsp.effect import Effect
from retone.estimators.expectation import MARGIN, Adam
from retone.nets.frontend import FrontEnd
from retone.progress import ESTIMATING, Progress, silent


class FrameGoal(NamedTuple):
    """Goal of a fit: log-mel frames [N, M, K] of N clips in dB / 20, and their weights.

    The misfit is the weighted mean of a Huber distance over frames, and the same of ``measures``
    [N, 3] (RMS and K-weighted level in dB / 20, centroid in kHz), summed with ``measure_weight``
    [N, 3]. ``weight`` is 0 where the goal is unknown.
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
        learning_rate: learning rate of the first step, on logits; it falls linearly to zero.
        bend: error in dB / 20 at which the distance changes from quadratic to linear.
        free_level: share of the level error common to all frames that the frames ignore.
        prior: weight of the mean squared distance, in logits, to the initial setting.
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
    progress: Progress = silent,
) -> tuple[Tensor, float]:
    """Unit parameters [1, P] with the lowest misfit, and that misfit.

    Args:
        effect: the processor whose setting is fitted.
        front_end: analyses the results; its sample rate is that of the clips.
        clips: pieces [N, T] of the source, which share one setting.
        goal: frames and measures that the results should have.
        unit: initial unit parameters [1, P].
        locks: parameters that keep a physical value.
        progress: called after each step.
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
        audio = effect.render(clips[:, None], rate, setting, checked=False).audio[:, 0]
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
        progress(ESTIMATING, step + 1, rules.steps)
    return kept, best


def _huber(x: Tensor, bend: float) -> Tensor:
    zero = torch.zeros_like(x)
    return torch.nn.functional.huber_loss(x, zero, reduction="none", delta=bend) / bend
