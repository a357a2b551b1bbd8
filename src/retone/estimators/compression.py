"""Find a compressor that gives the source the reference's distribution of levels over time.

Candidates on a grid are rendered with the effect itself. Each is scored by how likely the rest of
the difference in level percentiles and crest is only content (covariance from
``retone.estimators.content_statistics``), plus a prior that favours no compression. The answer is
the best candidate with its slope ``1 - 1/ratio`` moved towards the weighted mean of all, so that
weak evidence gives weak compression.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import product

import numpy as np
import torch
from torch import Tensor

from retone.dsp.measure import BANDS, Array, StyleStatistics, measure_dynamics
from retone.dsp.param import Param, Setting
from retone.effects.compressor import Compressor

LOUD = 4
"""Column of ``dynamics`` with the 95th percentile of 10 ms levels."""


@dataclass(frozen=True)
class SearchRules:
    """The grid and the prior.

    Args:
        slopes: values of ``1 - 1/ratio`` to try, besides 0.
        depths_db: thresholds, in dB below the source's 95th percentile of 10 ms levels.
        times_ms: pairs of attack and release.
        knee_db: knee of every candidate.
        prior_none: prior probability that the reference is not more compressed.
        temper: exponent on the likelihood, below 1 because levels are not independent evidence.
        model_db: standard deviation in dB added to every statistic for what the effect cannot
            match.
        batch: candidates rendered at a time (bounds the memory).
    """

    slopes: tuple[float, ...] = (0.3, 0.55, 0.75, 0.88)
    depths_db: tuple[float, ...] = (0.0, 8.0, 16.0, 26.0, 38.0)
    times_ms: tuple[tuple[float, float], ...] = ((2.0, 60.0), (20.0, 250.0))
    knee_db: float = 6.0
    prior_none: float = 0.25
    temper: float = 0.5
    model_db: float = 1.0
    batch: int = 8


def dynamics(statistics: StyleStatistics) -> Array:
    """The statistics that are matched, [B, 16]: level percentiles, then crest."""
    return np.concatenate([statistics.level_percentiles_db, statistics.crest_db[:, None]], axis=1)


def dynamics_covariance(content: Array) -> Array:
    """The part of a content covariance that belongs to ``dynamics``."""
    percentiles = BANDS + np.arange(15)
    crest = len(content) - 2
    chosen = np.append(percentiles, crest)
    return np.asarray(content[np.ix_(chosen, chosen)])


def search(
    compressor: Compressor,
    audio: Tensor,
    sample_rate: int,
    reference: Array,
    covariance: Array,
    locks: Mapping[str, float],
    rules: SearchRules,
) -> dict[str, float]:
    """Find the compressor's parameters (physical units, makeup 0).

    Args:
        compressor: the effect, which renders the candidates.
        audio: [T] its input.
        sample_rate: in Hz.
        reference: [16] ``dynamics`` of the reference.
        covariance: [16, 16] of content.
        locks: parameters (the compressor's own names) with fixed values.
        rules: grid and prior.
    """
    table = compressor.params
    own, mean_db = measure_dynamics(audio[None], sample_rate)
    loud = float(mean_db[0] + own[0, LOUD])
    base = {p.name: p.default for p in table} | {"knee_db": rules.knee_db, "makeup_db": 0.0}
    grid = [
        base | {"ratio": 1.0, "threshold_db": _inside(table["threshold_db"], loud)} | dict(locks)
    ]
    for slope, depth, (attack, release) in product(rules.slopes, rules.depths_db, rules.times_ms):
        candidate = base | {
            "ratio": 1 / (1 - slope),
            "threshold_db": _inside(table["threshold_db"], loud - depth),
            "attack_ms": attack,
            "release_ms": release,
        }
        candidate |= dict(locks)
        if candidate not in grid:
            grid.append(candidate)

    found = _render(compressor, audio, sample_rate, grid, rules.batch)
    whiten = np.linalg.inv(
        np.linalg.cholesky(covariance + rules.model_db**2 * np.eye(len(covariance)))
    )
    misfit = 0.5 * (((reference - found) @ whiten.T) ** 2).sum(axis=1)
    prior = np.full(len(grid), np.log((1 - rules.prior_none) / max(1, len(grid) - 1)))
    prior[0] = np.log(rules.prior_none)
    score = prior - rules.temper * misfit
    weight = np.exp(score - score.max())
    weight /= weight.sum()
    if "ratio" in locks or len(grid) == 1:
        return grid[int(score.argmax())]
    if score.argmax() == 0 and weight[0] > 0.5:
        return grid[0]
    best = dict(grid[1 + int(score[1:].argmax())])
    slope = float(weight @ (1 - 1 / np.array([g["ratio"] for g in grid])))
    acting = weight * (1 - 1 / np.array([g["ratio"] for g in grid]))
    acting /= acting.sum()
    if "threshold_db" not in locks:
        best["threshold_db"] = float(acting @ np.array([g["threshold_db"] for g in grid]))
    for name in ("attack_ms", "release_ms"):
        if name not in locks:
            best[name] = float(np.exp(acting @ np.log([g[name] for g in grid])))
    best["ratio"] = float(np.clip(1 / (1 - slope), table["ratio"].low, table["ratio"].high))
    return best


def _inside(param: Param, value: float) -> float:
    return float(np.clip(value, param.low, param.high))


def _render(
    compressor: Compressor,
    audio: Tensor,
    sample_rate: int,
    grid: list[dict[str, float]],
    batch: int,
) -> Array:
    out = []
    for start in range(0, len(grid), batch):
        rows = grid[start : start + batch]
        setting: Setting = {
            name: torch.tensor([row[name] for row in rows], dtype=torch.float64)
            for name in compressor.params.names
        }
        many = audio.expand(len(rows), 1, -1)
        with torch.no_grad():
            y = compressor.render(many, sample_rate, setting).audio[:, 0]
        out.append(measure_dynamics(y, sample_rate)[0])
    return np.concatenate(out)
