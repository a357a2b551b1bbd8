"""How well predicted log-mel frames tell the true ones: likelihood in dB, masked and weighted."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from retone.nets.frames import DB, FrameNet, Wanted
from retone.nets.frontend import FrontEnd
from retone.nets.iterative import Expected


class FrameTruth(NamedTuple):
    """What frames are measured against.

    ``frames`` [B, M, N] in dB / 20; ``weight`` [B, M, N] of each number, 0 where nothing is known;
    ``summary`` [B, S]: the statistics of the clip, as ``Features`` has them; ``known`` [B, S]: the
    weight of each, less where it is of a band that the recording has not.
    """

    frames: Tensor
    weight: Tensor
    summary: Tensor
    known: Tensor


def cell_weight(
    source: Tensor, target: Tensor, energy: Tensor, bands: Tensor, *, floor_db: float = -90.0
) -> Tensor:
    """Weights [B, M, N] of log-mel numbers.

    Args:
        source, target: frames [B, M, N] in dB / 20; where both lie under ``floor_db`` is nothing.
        energy: share of each frame [B, N] in the clip, summing to 1; it has half a say.
        bands: which bands the recording has at all [B, M], 0 or 1.
    """
    heard = torch.maximum(source, target) > floor_db / DB
    frames = 0.5 + 0.5 * energy * energy.shape[-1]
    return heard * frames[:, None] * bands[:, :, None]


class Apart(NamedTuple):
    """Errors of frames in two parts: ``level`` [B], common to all of a clip, and ``tone``, the
    rest [B, M, N], both in dB / 20 and unweighted."""

    level: Tensor
    tone: Tensor


def apart(frames: Tensor, truth: FrameTruth) -> Apart:
    """What of the truth frames [B, M, N] miss.

    How loud a result should be is known worse than anything else, and an absolute error that all
    bands share would hide the signs of their own.
    """
    miss = truth.frames - frames
    total = truth.weight.sum((1, 2)).clamp(min=1.0)
    level = (miss * truth.weight).sum((1, 2)) / total
    return Apart(level, miss - level[:, None, None])


@dataclass(frozen=True)
class FrameLoss:
    """Laplace negative log-likelihood of frames but for their common level, and errors of means.

    Args:
        curve_weight: of the mean absolute error of each band's mean over time, in dB: the part of
            the error that does not average out in a fit.
        level_weight: of the absolute error of the level of all, in dB.
        summary_weight: of the surprise of the clip's statistics.
        measure_weight: of the errors of what frames show of RMS and K-weighted level, in dB, and
            of the centroid, in 100 Hz: what style is judged by.
    """

    curve_weight: float = 0.3
    level_weight: float = 0.1
    summary_weight: float = 0.3
    measure_weight: float = 0.1

    def __call__(self, network: FrameNet, wanted: Wanted, truth: FrameTruth) -> Tensor:
        """Mean over the batch, a scalar, of what a network said."""
        level, tone = apart(wanted.frames, truth)
        loss = frame_nll(tone, wanted.log_scale, truth.weight)
        loss = loss + self.curve_weight * curve_error_db(tone * truth.weight, truth.weight)
        loss = loss + self.level_weight * DB * level.abs()
        off = measure_errors(network.front_end, wanted.frames, truth)
        loss = loss + self.measure_weight * off.abs().sum(1)
        expected = masked(wanted.expected, truth.known)
        summary = network.standardized(truth.summary)
        return (loss + self.summary_weight * expected.nll(summary)).mean()


def measure_errors(front_end: FrontEnd, frames: Tensor, truth: FrameTruth) -> Tensor:
    """Errors [B, 3] of what frames [B, M, N] show of RMS and K-weighted level, dB, and of the
    centroid, 100 Hz."""
    shown = front_end.measures_of(frames) - front_end.measures_of(truth.frames)
    return shown * shown.new_tensor([DB, DB, 10.0])


def frame_nll(miss: Tensor, log_scale: Tensor, weight: Tensor) -> Tensor:
    """Weighted mean negative log-likelihood of errors [B, M, N], dB / 20, less ln 2, [B]."""
    each = weight * (miss.abs() * (-log_scale).exp() + log_scale)
    return each.sum((1, 2)) / weight.sum((1, 2)).clamp(min=1.0)


def masked(expected: Expected, known: Tensor) -> Expected:
    """Expected statistics of which only the known ones [B, S] count."""
    weight = known if expected.weight is None else expected.weight * known
    return expected._replace(weight=weight)


def curve_error_db(miss: Tensor, weight: Tensor) -> Tensor:
    """Mean over bands of the absolute mean over time of weighted errors [B, M, N], dB, [B]."""
    band = weight.sum(2)
    each = DB * miss.sum(2).abs() / band.clamp(min=1e-6)
    known = (band > 1e-3).to(each)
    return (each * known).sum(1) / known.sum(1).clamp(min=1.0)


def cell_error_db(miss: Tensor, weight: Tensor) -> Tensor:
    """Mean absolute error in dB of weighted errors [B, M, N], [B]."""
    return DB * miss.abs().sum((1, 2)) / weight.sum((1, 2)).clamp(min=1.0)
