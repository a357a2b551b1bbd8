"""How well predicted log-mel frames tell the true ones: likelihood in dB, masked and weighted."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from retone.nets.frames import DB, Wanted
from retone.nets.iterative import Expected


class FrameTruth(NamedTuple):
    """What frames are measured against.

    ``frames`` [B, M, N] in dB / 20; ``weight`` [B, M, N] of each number, 0 where nothing is known;
    ``summary`` [B, S]: the statistics of the clip, as ``Heard`` has them; ``known`` [B, S]: 1
    where they are of bands that the recording has, 0 elsewhere.
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


@dataclass(frozen=True)
class FrameLoss:
    """Laplace negative log-likelihood of frames, and the error of their means over time.

    Args:
        curve_weight: of the mean absolute error of each band's mean over time, in dB: the part of
            the error that does not average out in a fit.
        summary_weight: of the surprise of the clip's statistics.
    """

    curve_weight: float = 0.2
    summary_weight: float = 0.5

    def __call__(self, wanted: Wanted, truth: FrameTruth, summary: Tensor) -> Tensor:
        """Mean over the batch, a scalar; ``summary`` is the truth's, standardised [B, S]."""
        miss = (truth.frames - wanted.frames) * truth.weight
        surprise = miss.abs() * (-wanted.log_scale).exp() + truth.weight * wanted.log_scale
        total = truth.weight.sum((1, 2)).clamp(min=1.0)
        loss = surprise.sum((1, 2)) / total
        loss = loss + self.curve_weight * curve_error_db(miss, truth.weight)
        expected = masked(wanted.expected, truth.known)
        return (loss + self.summary_weight * expected.surprise(summary)).mean()


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
