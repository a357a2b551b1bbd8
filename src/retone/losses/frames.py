"""Loss and errors of predicted log-mel frames, weighted by band and frame."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from retone.nets.frames import DB, FrameNet, FramePrediction
from retone.nets.frontend import FrontEnd
from retone.nets.iterative import Expected


class FrameTarget(NamedTuple):
    """Target of a prediction of frames.

    ``frames`` [B, M, N] in dB / 20; ``weight`` [B, M, N] of each value, 0 where it is unknown;
    ``summary`` [B, S]: summary statistics of the target, as in ``Features``; ``known`` [B, S]: the
    weight of each statistic, lower for bands above the recording's bandwidth.
    """

    frames: Tensor
    weight: Tensor
    summary: Tensor
    known: Tensor


def cell_weight(
    source: Tensor, target: Tensor, energy: Tensor, bands: Tensor, *, floor_db: float = -90.0
) -> Tensor:
    """Weights [B, M, N] of log-mel values.

    Args:
        source, target: frames [B, M, N] in dB / 20; values below ``floor_db`` in both weigh 0.
        energy: weight of each frame [B, N], summing to 1; it determines half of a frame's weight.
        bands: weight of each band [B, M].
        floor_db: level in dB below which there is no content.
    """
    active = torch.maximum(source, target) > floor_db / DB
    frames = 0.5 + 0.5 * energy * energy.shape[-1]
    return active * frames[:, None] * bands[:, :, None]


class FrameErrors(NamedTuple):
    """Errors of frames in dB / 20, unweighted: ``level`` [B], common to the whole clip, and
    ``tone`` [B, M, N], the rest."""

    level: Tensor
    tone: Tensor


def frame_errors(frames: Tensor, target: FrameTarget) -> FrameErrors:
    """Errors of predicted frames [B, M, N], split into level and tone.

    The level of the target is the least certain part of a prediction. Without the split, a level
    error common to all bands would determine the sign of each band's gradient.
    """
    miss = target.frames - frames
    total = target.weight.sum((1, 2)).clamp(min=1.0)
    level = (miss * target.weight).sum((1, 2)) / total
    return FrameErrors(level, miss - level[:, None, None])


@dataclass(frozen=True)
class FrameLoss:
    """Laplace negative log-likelihood of frames without their common level, plus errors of means.

    Args:
        curve_weight: weight of the mean absolute error of each band's mean over time, in dB: the
            part of the error that does not average out in a fit.
        level_weight: weight of the absolute error of the common level, in dB.
        summary_weight: weight of the negative log-likelihood of the summary statistics.
        measure_weight: weight of the errors of the measures that style is scored by: RMS and
            K-weighted level in dB and centroid in units of 100 Hz, computed from the frames.
        linear: 1 weights the errors of bands by their width in Hz, 0 all bands alike.
    """

    curve_weight: float = 0.3
    level_weight: float = 0.1
    summary_weight: float = 0.3
    measure_weight: float = 0.1
    linear: float = 0.0

    def __call__(self, network: FrameNet, wanted: FramePrediction, target: FrameTarget) -> Tensor:
        """Mean loss, a scalar, of a network's prediction for a batch."""
        level, tone = frame_errors(wanted.frames, target)
        bands = self._bands(network)
        loss = frame_nll(tone, wanted.log_scale, target.weight * bands[:, None])
        curve = curve_error_db(tone * target.weight, target.weight, bands)
        loss = loss + self.curve_weight * curve
        loss = loss + self.level_weight * DB * level.abs()
        off = measure_errors(network.front_end, wanted.frames, target)
        loss = loss + self.measure_weight * off.abs().sum(1)
        expected = masked(wanted.expected, target.known)
        summary = network.standardized(target.summary)
        return (loss + self.summary_weight * expected.nll(summary)).mean()

    def _bands(self, network: FrameNet) -> Tensor:
        """Weight of each band [M], 1 on average."""
        width = network.front_end.widths()
        return 1 - self.linear + self.linear * width / width.mean()


def measure_errors(front_end: FrontEnd, frames: Tensor, target: FrameTarget) -> Tensor:
    """Errors [B, 3] of the measures computed from predicted frames [B, M, N]: RMS and K-weighted
    level in dB, and centroid in units of 100 Hz."""
    shown = front_end.measures_of(frames) - front_end.measures_of(target.frames)
    return shown * shown.new_tensor([DB, DB, 10.0])


def frame_nll(miss: Tensor, log_scale: Tensor, weight: Tensor) -> Tensor:
    """Weighted mean negative log-likelihood of errors [B, M, N], dB / 20, less ln 2, [B]."""
    each = weight * (miss.abs() * (-log_scale).exp() + log_scale)
    return each.sum((1, 2)) / weight.sum((1, 2)).clamp(min=1.0)


def masked(expected: Expected, known: Tensor) -> Expected:
    """Expected statistics, weighted by ``known`` [B, S] too."""
    weight = known if expected.weight is None else expected.weight * known
    return expected._replace(weight=weight)


def curve_error_db(miss: Tensor, weight: Tensor, bands: Tensor | None = None) -> Tensor:
    """Mean over bands of the absolute mean over time of weighted errors [B, M, N], dB, [B].

    ``bands`` [M] weights the bands; None: all alike.
    """
    band = weight.sum(2)
    each = DB * miss.sum(2).abs() / band.clamp(min=1e-6)
    known = (band > 1e-3).to(each)
    if bands is not None:
        known = known * bands
    return (each * known).sum(1) / known.sum(1).clamp(min=1e-3)


def cell_error_db(miss: Tensor, weight: Tensor) -> Tensor:
    """Mean absolute error in dB of weighted errors [B, M, N], [B]."""
    return DB * miss.abs().sum((1, 2)) / weight.sum((1, 2)).clamp(min=1.0)
