"""Fit an effect's setting so that the result has the frames that a network predicts.

Gradient descent through the exact effect finds the setting whose result is closest to the predicted
log-mel frames, each value weighted by its certainty.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from retone.dsp.effect import Effect
from retone.estimators.expectation import Descent, descended
from retone.nets.frontend import FrontEnd
from retone.progress import Progress, silent


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

    def misfit(
        self, frames: Tensor, measures: Tensor, bend: float, free_level: float = 0.0
    ) -> Tensor:
        """The misfit of frames [N, M, K] and measures [N, 3]; see ``FitRules``."""
        total = self.weight.sum().clamp(min=1e-6)
        miss = frames - self.frames
        level = (self.weight * miss).sum() / total  # is among the measures
        far = (self.weight * _huber(miss - free_level * level, bend)).sum() / total
        off = _huber(measures - self.measures, bend) * self.measure_weight
        return far + off.sum(1).mean()


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

    def misfit(audio: Tensor) -> Tensor:
        frames, measures = front_end.frames_and_measures(audio)
        return goal.misfit(frames, measures, rules.bend, rules.free_level)

    descent = Descent(rules.steps, rules.learning_rate, rules.prior)
    return descended(
        effect, clips, front_end.config.sample_rate, unit, misfit,
        rules=descent, locks=locks, progress=progress,
    )  # fmt: skip


def _huber(x: Tensor, bend: float) -> Tensor:
    zero = torch.zeros_like(x)
    return torch.nn.functional.huber_loss(x, zero, reduction="none", delta=bend) / bend
