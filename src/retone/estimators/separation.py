"""What of a difference between two recordings is treatment, and what is content.

Model, in dB at the bands of ``retone.dsp.measure``: the difference is ``d = t + c + g 1`` with a
treatment ``t ~ N(0, s^2 T)``, content ``c ~ N(0, C)`` and an unknown level ``g``. ``T`` and ``C``
come from ``retone.estimators.content_statistics``. Strengths ``s`` are weighed by how well each
explains ``d``; which ``C`` holds, that of one voice or of two, by statistics that a filter does not
change (``statistics.voice_features``). The answer is the mean and covariance of ``t``: a Wiener
filter across bands.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from retone.dsp.measure import BANDS, Array, StyleStatistics, valid_bands
from retone.estimators.content_statistics import ContentStatistics, voice_features

Voices = Literal["auto", "same", "other"]

LEVEL_VARIANCE = 400.0
DOUBT_VARIANCE = 1.0
NO_ENERGY_DB = (-100.0, -88.0)
"""Band levels (dB of full scale, peak at -12) under which a band is not trusted, and over which
it is; 16-bit dither lies near -110 in one band."""
NO_ENERGY_VARIANCE = 900.0
SHARPNESS = 2.5
"""Factor on the log odds of one voice, found on recordings kept apart for it: the features, learnt
one passage at a time, tell more than they claim."""


@dataclass(frozen=True, eq=False)
class Treatment:
    """Posterior of the treatment: mean [BANDS] and covariance [BANDS, BANDS] in dB.

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
) -> Treatment:
    """Infer the treatment from two one-row statistics.

    Args:
        source, reference: levels at equal peak.
        content: covariances.
        sample_rate: the lower of both recordings' rates, in Hz.
        scales: strengths ``s`` to weigh.
        voices: whether both are of one voice, if known.
        temper: exponent on the likelihood, below 1 because the model is not exact.
        same_scales: strengths to weigh if both are of one voice; None takes ``scales``.
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
        likelihood = []
        for scale in (same_scales or scales) if name == "same" else scales:
            prior = scale**2 * content.treatment
            root = np.linalg.cholesky(prior[grid] + spread)
            gain = np.linalg.solve(root, prior[seen])
            z = np.linalg.solve(root, difference)
            likelihood.append(-0.5 * float(z @ z) - float(np.log(np.diag(root)).sum()))
            means.append(z @ gain)
            covariances.append(prior - gain.T @ gain)
        among = np.exp(temper * (np.array(likelihood) - max(likelihood)))
        weights.append(chance * among / among.sum())
    weight = np.concatenate(weights)
    mean = weight @ np.array(means)
    apart = np.array(means) - mean
    covariance = np.einsum("n,nij->ij", weight, np.array(covariances))
    covariance += np.einsum("n,ni,nj->ij", weight, apart, apart)
    return Treatment(mean, covariance, trust, p)


def same_voice(
    source: StyleStatistics, reference: StyleStatistics, content: ContentStatistics
) -> float:
    """Probability, even odds given, that two recordings are of one voice; kept off 0 and 1."""
    odds = float(voice_features(source, reference)[0] @ content.voice[:-1] + content.voice[-1])
    return float(np.clip(1 / (1 + np.exp(-SHARPNESS * odds)), 0.02, 0.98))
