"""Find multiband dynamics that bring the spread of short levels in every octave to a reference's.

A broadband compressor moves all octaves alike; voices and rooms differ by octave. The borders of
the six bands lie on borders of octaves. Each band's compressor or expander is found as the
broadband one is (``spread_fit``), on what the effect's own crossover passes to it. Neighbouring
bands overlap, so the result is rendered, and what is missing is asked of the bands again.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch
from torch import Tensor

from retone.dsp.measure import Array
from retone.dsp.param import Setting
from retone.dsp.short_levels import OCTAVES_HZ, octave_dynamics_db
from retone.effects import MultibandEqualizer
from retone.effects.bands import BANDS
from retone.estimators import spread_fit
from retone.estimators.base import samples_of

CROSSOVERS_HZ = (177.0, 354.0, 1414.0, 2828.0, 5657.0)
LEAST_CHANGE_DB = 1.5
"""A band whose octaves are nearer than this stays as it is."""
MOST_CHANGE_DB = 6.0
ROUNDS = 2
SHARES = (0.2, 3.0)
RENDERED_S = 15.0
GRID = spread_fit.Grid(
    places=(0.0, 0.4, 0.8),
    compressions=(0.15, 0.3, 0.45, 0.6, 0.75),
    expansions=(0.2, 0.5, 1.0, 1.6),
    pauses=(0.5, 1.1),
    effort_db=0.1,
)
_NAMES = (
    "threshold_db", "ratio", "attack_ms", "release_ms", "expander_threshold_db", "expander_ratio",
)  # fmt: skip


def fit(
    effect: MultibandEqualizer,
    passage: Tensor,
    sample_rate: int,
    change_db: Array,
    locks: Mapping[str, float],
) -> Setting:
    """Find a setting of the effect; its gains stay 0 dB.

    Args:
        effect: the effect.
        passage: [T] the input with its pauses.
        sample_rate: in Hz.
        change_db: [7] wanted change of the spread in the octaves from 125 Hz; NaN where unknown.
        locks: fixed values, by the effect's own names.
    """
    setting = effect.params.neutral(1)
    passage = samples_of(passage, round(RENDERED_S * sample_rate))
    fixed = {f"crossover_{i}_hz": hz for i, hz in enumerate(CROSSOVERS_HZ, 1)} | dict(locks)
    setting = _with(effect, setting, fixed)
    edges = effect.crossovers_hz(setting)[0].numpy()
    octaves = [
        np.flatnonzero((np.searchsorted(edges, OCTAVES_HZ) == k) & np.isfinite(change_db))
        for k in range(BANDS)
    ]
    parts = effect.split_bands(passage[None, None], sample_rate, setting)[0, :, 0]
    bands = parts.to(passage.dtype)
    before = octave_dynamics_db(passage.numpy(), sample_rate)
    goal = before + np.clip(change_db, -MOST_CHANGE_DB, MOST_CHANGE_DB)
    signals = [spread_fit.Signal(b, b.numpy(), sample_rate, effect.compressor, None) for b in bands]
    # A band holds what leaks from its neighbours and pulses less: so shares are asked for, not dB.
    asked = np.array([_share(goal[o], before[o]) for o in octaves])
    active = [k for k in range(BANDS) if abs(_mean((goal - before)[octaves[k]])) > LEAST_CHANGE_DB]
    best, least = setting, _mean(np.abs(goal - before))
    for _ in range(ROUNDS if active else 0):
        tried = setting
        for k in active:
            start = f"band_{k + 1}_"
            own = {n: locks[start + n] for n in _NAMES if start + n in locks}
            found = spread_fit.fit(
                signals[k], asked[k] * signals[k].spread_db, own, GRID,
                most_lift_db=spread_fit.NOISE_LIFT_DB,
            )  # fmt: skip
            tried = _with(effect, tried, {start + n: found[n] for n in _NAMES})
        with torch.no_grad():
            out = effect.render(passage[None, None], sample_rate, tried).audio[0, 0].numpy()
        after = octave_dynamics_db(out, sample_rate)
        left = _mean(np.abs(goal - after))
        if left < least:
            best, least = tried, left
        for k in active:
            asked[k] *= _share(goal[octaves[k]], after[octaves[k]])
    return best


def _share(goal_db: Array, spread_db: Array) -> float:
    """Wanted spread of some octaves as a share of what it is."""
    now = max(_mean(spread_db), 1.0)
    return float(np.clip(_mean(goal_db) / now, *SHARES)) if np.isfinite(goal_db).any() else 1.0


def _mean(values_db: Array) -> float:
    known = values_db[np.isfinite(values_db)]
    return float(known.mean()) if known.size else 0.0


def _with(effect: MultibandEqualizer, setting: Setting, values: Mapping[str, float]) -> Setting:
    """A setting with other values, held in their ranges."""
    out = dict(setting)
    for name, value in values.items():
        p = effect.params[name]
        out[name] = torch.tensor([min(max(value, p.low), p.high)], dtype=torch.float64)
    return out
