"""Means and shares with bootstrap intervals, and the exact binomial test."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

DRAWS = 4000
LEVEL = 0.95


@dataclass(frozen=True)
class Estimate:
    """A value with its interval, and how many listeners and answers are behind it."""

    value: float
    low: float
    high: float
    listeners: int
    answers: int


def bootstrap(
    groups: Sequence[np.ndarray],
    statistic: Callable[[np.ndarray], np.ndarray] | None = None,
    *,
    seed: int = 0,
    draws: int = DRAWS,
    level: float = LEVEL,
) -> Estimate:
    """The mean of all listeners' means, with a percentile interval from a bootstrap.

    Listeners are drawn with replacement, and of each drawn listener the answers, because answers of
    one listener go together. With a single listener only the answers are drawn.

    Args:
        groups: one array of answers for each listener.
        statistic: of the mean [draws]; None for the mean itself.
        seed: of the generator.
        draws: number of bootstrap samples.
        level: of the interval, 0 to 1.
    """
    known = [np.asarray(g, dtype=np.float64) for g in groups if len(g)]
    if not known:
        return Estimate(math.nan, math.nan, math.nan, 0, 0)
    rng = np.random.default_rng(seed)
    count = len(known)
    means = np.empty((draws, count))
    for i, group in enumerate(known):
        means[:, i] = group[rng.integers(0, len(group), (draws, len(group)))].mean(axis=1)
    if count > 1:
        drawn = rng.integers(0, count, (draws, count))
        means = np.take_along_axis(means, drawn, axis=1)
    sample = means.mean(axis=1)
    value = np.array([np.mean([g.mean() for g in known])])
    if statistic is not None:
        sample, value = statistic(sample), statistic(value)
    edge = (1 - level) / 2
    low, high = np.quantile(sample, (edge, 1 - edge))
    return Estimate(
        float(value[0]), float(low), float(high), count, sum(len(g) for g in known)
    )  # fmt: skip


def differences(
    scores: Mapping[str, Mapping[str, Mapping[str, float]]], a: str, b: str
) -> Estimate:
    """How much higher ``a`` is rated than ``b``, paired by listener and item.

    Args:
        scores: listener -> item -> system -> score.
    """
    return bootstrap(
        [
            np.array([s[a] - s[b] for s in items.values() if a in s and b in s])
            for items in scores.values()
        ]
    )


def binomial_p(right: int, count: int) -> float:
    """Probability of at least ``right`` correct answers of ``count`` by guessing one of two."""
    return sum(math.comb(count, k) for k in range(right, count + 1)) / 2**count


def proportion(count: int, total: int, level: float = LEVEL) -> tuple[float, float]:
    """The exact interval (Clopper and Pearson) of a share, seen in ``count`` of ``total``."""
    from scipy.stats import beta

    edge = (1 - level) / 2
    low = float(beta.ppf(edge, count, total - count + 1)) if count else 0.0
    high = float(beta.ppf(1 - edge, count + 1, total - count)) if count < total else 1.0
    return low, high
