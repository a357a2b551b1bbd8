"""Separate processing differences from content differences between two recordings.

Model, in dB at the bands of ``retone.dsp.measure``: the difference is ``d = t + c + g 1`` with
processing ``t ~ N(0, s^2 T)``, content ``c ~ N(0, C)`` and an unknown level ``g``. ``T`` and ``C``
come from ``retone.estimators.content_statistics``. Strengths ``s`` are weighted by how well each
explains ``d``. Whether ``C`` is that of one voice or of two follows from statistics that a filter
does not change (``content_statistics.voice_features``). The result is the mean and covariance of
``t``: a Wiener filter across bands.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from retone.dsp.measure import BANDS, Array, StyleStatistics, valid_bands
from retone.estimators.content_statistics import ContentStatistics, voice_features

Voices = Literal["auto", "same", "other"]

LEVEL_VARIANCE = 400.0
DOUBT_VARIANCE = 1.0
NO_ENERGY_DB = (-100.0, -88.0)
"""Band levels in dBFS at a peak of -12 dBFS: below the first a band is not trusted, above the
second fully; 16-bit dither is near -110 dB in one band."""
NO_ENERGY_VARIANCE = 900.0
SHARPNESS = 2.5
"""Factor for the log odds of one voice, found on held-out recordings: the odds, trained on single
passages, are too cautious."""


@dataclass(frozen=True, eq=False)
class ProcessingPosterior:
    """Posterior of the processing: mean [BANDS] and covariance [BANDS, BANDS] in dB.

    ``trust`` [BANDS] is 1 where both recordings have energy, 0 where one has none;
    ``same_voice`` is the probability that both are of one voice.
    """

    mean_db: Array
    covariance: Array
    trust: Array
    same_voice: float


def infer(
    source: StyleStatistics,
    reference: StyleStatistics,
    content: ContentStatistics,
    *,
    sample_rate: float,
    scales: Sequence[float],
    voices: Voices,
    temper: float,
    same_scales: Sequence[float] | None = None,
) -> ProcessingPosterior:
    """Infer the processing from two one-row statistics.

    Args:
        source, reference: levels at equal peak.
        content: covariances.
        sample_rate: the lower of both recordings' rates, in Hz.
        scales: strengths ``s`` to consider.
        voices: whether both are of the same voice, if known.
        temper: exponent of the likelihood, below 1 because the model is not exact.
        same_scales: strengths to consider if both are of one voice; None takes ``scales``.
    """
    pair = np.stack([source.band_level_db[0], reference.band_level_db[0]])
    known = valid_bands(sample_rate) & np.isfinite(pair).all(axis=0)
    lowest = np.where(known, pair.min(axis=0), NO_ENERGY_DB[0])
    low, high = NO_ENERGY_DB
    trust = np.clip((lowest - low) / (high - low), 0.0, 1.0)
    seen: NDArray[np.intp] = np.flatnonzero(known)
    difference = (pair[1] - pair[0])[seen]

    noise = np.diag(DOUBT_VARIANCE + NO_ENERGY_VARIANCE * (1 - trust[seen])) + LEVEL_VARIANCE
    grid = np.ix_(seen, seen)
    p = same_voice(source, reference, content) if voices == "auto" else float(voices == "same")
    weights, means, covariances = [], [], []
    for name, chance in (("same", p), ("other", 1 - p)):
        if chance == 0:
            continue
        spread = getattr(content, name)[:BANDS, :BANDS][grid] + noise
        known_scales = (same_scales or scales) if name == "same" else scales
        found = posterior_by_scale(
            difference, content.processing, seen, spread, scales=known_scales, temper=temper
        )
        weights.append(chance * found.weights)
        means += found.means
        covariances += found.covariances
    weight = np.concatenate(weights)
    mean = weight @ np.array(means)
    offset = np.array(means) - mean
    covariance = np.einsum("n,nij->ij", weight, np.array(covariances))
    covariance += np.einsum("n,ni,nj->ij", weight, offset, offset)
    return ProcessingPosterior(mean, covariance, trust, p)


class PosteriorByScale(NamedTuple):
    """Posterior of the processing for each strength; ``weights`` sum to 1."""

    weights: Array
    means: list[Array]
    covariances: list[Array]


def posterior_by_scale(
    difference: Array,
    processing: Array,
    seen: NDArray[np.intp],
    noise: Array,
    *,
    scales: Sequence[float],
    temper: float,
) -> PosteriorByScale:
    """Wiener estimates of the processing, one per strength.

    Args:
        difference: [K] observed difference in dB at the bands ``seen``.
        processing: [BANDS, BANDS] covariance of processing of strength 1, in dB^2.
        seen: [K] numbers of the observed bands.
        noise: [K, K] covariance of everything else.
        scales: strengths.
        temper: exponent of the likelihood of a strength.
    """
    grid = np.ix_(seen, seen)
    likelihood, means, covariances = [], [], []
    for scale in scales:
        prior = scale**2 * processing
        root = np.linalg.cholesky(prior[grid] + noise)
        gain = np.linalg.solve(root, prior[seen])
        z = np.linalg.solve(root, difference)
        likelihood.append(-0.5 * float(z @ z) - float(np.log(np.diag(root)).sum()))
        means.append(z @ gain)
        covariances.append(prior - gain.T @ gain)
    among = np.exp(temper * (np.array(likelihood) - max(likelihood)))
    return PosteriorByScale(among / among.sum(), means, covariances)


def same_voice(
    source: StyleStatistics, reference: StyleStatistics, content: ContentStatistics
) -> float:
    """Probability that two recordings are of one voice, given even odds; within 0.02..0.98."""
    odds = float(voice_features(source, reference)[0] @ content.voice[:-1] + content.voice[-1])
    return float(np.clip(1 / (1 + np.exp(-SHARPNESS * odds)), 0.02, 0.98))
