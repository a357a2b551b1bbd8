"""How much of a preset's change a recording still needs, and which.

A preset that knows its voices before and after treatment says what treatment does to every
statistic: ``m``, after minus before. A recording differs from the voices after treatment by ``d``.
Either nobody treated it (``d = m + c``), or it is in the style already (``d = c``), where ``c`` is
what voices differ by. The odds follow from all statistics together; the equaliser curve that is
wanted is ``m`` with that chance, plus the part of the rest that is more than voices differ by, as
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
    Treatment,
)

COLOUR = 0.3
"""Strength of microphone and room, in random equaliser curves, that recordings come with."""
MODEL_VARIANCE = 4.0
"""dB^2 added to every statistic for what the model leaves out."""


@dataclass(frozen=True, eq=False)
class Change:
    """What a recording needs to sound like a profile.

    ``needed`` is the chance that nobody treated it in this style yet; ``treatment`` the wanted
    equaliser curve; ``dynamics`` [16] the wanted change of ``compression.dynamics``.
    """

    needed: float
    treatment: Treatment
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
        profile: one that holds ``untreated``.
        content: of voices (or pieces), for one beside the mean of many.
        sample_rate: the lower of both rates, in Hz.
        scales: strengths of further equalisation to weigh.
        temper: exponent of the likelihood of strengths, below 1 because their model is not exact.
    """
    assert profile.untreated is not None
    after, before = columns(profile.statistics)[0], columns(profile.untreated)[0]
    difference, change = after - columns(source)[0], after - before
    known = np.isfinite(difference) & np.isfinite(change)
    known[:BANDS] &= valid_bands(sample_rate)
    low, high = NO_ENERGY_DB
    level = np.where(known[:BANDS], source.band_level_db[0], low)
    trust = np.clip((level - low) / (high - low), 0.0, 1.0)

    spread = content.other + MODEL_VARIANCE * np.eye(len(known))
    spread[:BANDS, :BANDS] += COLOUR**2 * content.treatment + LEVEL_VARIANCE
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
        likelihood = []
        for scale in scales:
            prior = scale**2 * content.treatment
            root = np.linalg.cholesky(prior[grid] + noise)
            gain = np.linalg.solve(root, prior[bands])
            z = np.linalg.solve(root, rest)
            likelihood.append(-0.5 * float(z @ z) - float(np.log(np.diag(root)).sum()))
            means.append(start + z @ gain)
            covariances.append(prior - gain.T @ gain)
        among = np.exp(temper * (np.array(likelihood) - max(likelihood)))
        weights.append(chance * among / among.sum())
    weight = np.concatenate(weights)
    mean = weight @ np.array(means)
    covariance = np.einsum("n,nij->ij", weight, np.array(covariances)) + 0.25 * np.eye(BANDS)
    places = np.append(BANDS + np.arange(15), len(known) - 2)
    return Change(needed, Treatment(mean, covariance, trust, 0.0), needed * change[places])
