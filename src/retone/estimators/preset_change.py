"""Infer how much of a preset's change a recording still needs.

A preset with statistics before and after processing shows how processing changes every
statistic: ``m``, after minus before. A recording differs from the processed voices by ``d``. Either
it is unprocessed (``d = m + c``) or already in the style (``d = c``), where ``c`` is how voices
differ. The odds follow from all statistics together. The equaliser curve that is needed is ``m``
times that probability, plus the part of the rest that exceeds usual differences between voices, as
in ``retone.estimators.separation``.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from retone.dsp.measure import BANDS, Array, StyleStatistics, valid_bands
from retone.estimators.content_statistics import ContentStatistics, columns
from retone.estimators.profile import Profile
from retone.estimators.separation import (
    DOUBT_VARIANCE,
    LEVEL_VARIANCE,
    NO_ENERGY_DB,
    NO_ENERGY_VARIANCE,
    ProcessingPosterior,
    posterior_by_scale,
)

COLOUR = 0.3
"""Strength of microphone and room in unprocessed recordings, relative to random equaliser curves.
"""
MODEL_VARIANCE = 4.0
"""dB^2 added to every statistic for model errors."""


@dataclass(frozen=True, eq=False)
class Change:
    """The change that a recording needs to sound like a profile.

    ``needed`` is the probability that it is not in this style yet; ``equalisation`` the equaliser
    curve it needs; ``dynamics`` [16] the change of ``compression.dynamics`` it needs.
    """

    needed: float
    equalisation: ProcessingPosterior
    dynamics: Array


def infer_change(
    source: StyleStatistics,
    profile: Profile,
    content: ContentStatistics,
    *,
    sample_rate: float,
    scales: Sequence[float],
    temper: float,
) -> Change:
    """Infer what a recording needs.

    Args:
        source: one row, peak at -12 dBFS.
        profile: one that holds ``unprocessed``.
        content: content statistics for one voice (or piece) against the mean of many.
        sample_rate: the lower of both rates, in Hz.
        scales: strengths of further equalisation to consider.
        temper: exponent of the likelihood of strengths, below 1 because their model is not exact.
    """
    assert profile.unprocessed is not None
    after, before = columns(profile.statistics)[0], columns(profile.unprocessed)[0]
    difference, change = after - columns(source)[0], after - before
    known = np.isfinite(difference) & np.isfinite(change)
    known[:BANDS] &= valid_bands(sample_rate)
    low, high = NO_ENERGY_DB
    level = np.where(known[:BANDS], source.band_level_db[0], low)
    trust = np.clip((level - low) / (high - low), 0.0, 1.0)

    spread = content.other + MODEL_VARIANCE * np.eye(len(known))
    spread[:BANDS, :BANDS] += COLOUR**2 * content.processing + LEVEL_VARIANCE
    spread[:BANDS, :BANDS] += np.diag(NO_ENERGY_VARIANCE * (1 - trust))
    seen = np.flatnonzero(known)
    root = np.linalg.cholesky(spread[np.ix_(seen, seen)])
    z, step = (np.linalg.solve(root, v[seen]) for v in (difference, change))
    log_odds = 0.5 * float(z @ z - (z - step) @ (z - step))
    needed = float(1 / (1 + np.exp(-np.clip(log_odds, -30, 30))))

    bands = np.flatnonzero(known[:BANDS])
    grid = np.ix_(bands, bands)
    noise = content.other[:BANDS, :BANDS][grid] + LEVEL_VARIANCE
    noise = noise + np.diag(DOUBT_VARIANCE + NO_ENERGY_VARIANCE * (1 - trust[bands]))
    base = np.where(known[:BANDS], change[:BANDS], 0.0)
    weights, means, covariances = [], [], []
    for chance, start in ((needed, base), (1 - needed, np.zeros(BANDS))):
        rest = (difference[:BANDS] - start)[bands]
        found = posterior_by_scale(
            rest, content.processing, bands, noise, scales=scales, temper=temper
        )
        weights.append(chance * found.weights)
        means += [start + mean for mean in found.means]
        covariances += found.covariances
    weight = np.concatenate(weights)
    mean = weight @ np.array(means)
    covariance = np.einsum("n,nij->ij", weight, np.array(covariances)) + 0.25 * np.eye(BANDS)
    columns_used = np.append(BANDS + np.arange(15), len(known) - 2)
    return Change(
        needed, ProcessingPosterior(mean, covariance, trust, 0.0), needed * change[columns_used]
    )
