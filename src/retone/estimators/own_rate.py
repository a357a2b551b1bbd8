"""Carry an equaliser that was fitted at a network's sample rate over to the recording's own.

A network analyses 24 kHz, so it hears nothing above 12 kHz, and near half its rate an equaliser has
another shape than at the recording's. So the six bands are fitted again at the recording's rate: up
to 11 kHz to the response that they had at the network's, above that to the spectra of the recording
and its references. How much of the difference between these spectra is processing, and not content,
depends on whether both are of one voice or piece.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import torch
from scipy import fft as sp_fft

from retone.dsp.effect import Effect, split_setting
from retone.dsp.measure import Array
from retone.dsp.param import Setting
from retone.effects.equalizer import Equalizer
from retone.estimators import equalizer_fit
from retone.estimators.base import Excerpt
from retone.estimators.closed_form import split_locks

HEARD = 0.46
"""Share of a network's rate up to which it hears and its equaliser is followed."""
STEP = 2 ** (1 / 3)
LOW_HZ, LOW_POINTS, POINTS = 30.0, 48, 6
LEAST_WIDTH = 1.1
"""Narrower bands, below half the sample rate, are left out: upper over lower edge."""
HEARD_SD_DB, ABOVE_SD_DB = 1.5, 3.7
"""Uncertainty of each point of the wanted response up to ``HEARD``, and above."""
OTHER_SAME = {"speech": (0.0, 0.65), "music": (0.1, 0.92)}
"""Share of a difference in spectrum that is processing: between two sources, and within one."""
MOST_DB = 25.0
EMPTY_DB = 85.0
"""A band this far below the strongest frequency holds no programme."""
RULES = equalizer_fit.FitRules(
    max_gain_db=np.inf, max_q=np.inf, max_boost_q=np.inf, gain_sd_db=12.0, place_sd=1.0
)


def at_own_rate(
    effect: Effect,
    setting: Setting,
    source: Excerpt,
    references: Sequence[Excerpt],
    *,
    network_rate: int,
    kind: str,
    same_source: Sequence[float],
    locks: Mapping[str, float],
) -> Setting:
    """The setting with the equaliser's response at the source's rate.

    Unchanged where the source's rate is not above the network's, and for an effect that does not
    begin with the six-band equaliser.

    Args:
        effect, setting: a chain and its setting, fitted at ``network_rate`` in Hz.
        source, references: what was analysed.
        kind: ``"speech"`` or ``"music"``.
        same_source: probability for each reference that it is of the source's voice or piece.
        locks: parameters that keep a physical value.
    """
    rate = source.sample_rate
    equalizer = getattr(effect, "members", (effect,))[0]
    edges = _edges_hz(network_rate, rate)
    if not isinstance(equalizer, Equalizer) or len(edges) < 3:
        return setting
    own = split_setting(setting, equalizer.name)
    points = np.array([np.geomspace(a, b, POINTS) for a, b in zip(edges, edges[1:], strict=False)])
    heard = np.geomspace(LOW_HZ, edges[1], LOW_POINTS)

    def response_db(hz: Array, at: int) -> Array:
        gain = equalizer.response(torch.from_numpy(hz), at, own)[0].abs()
        return np.asarray(20 * gain.clamp(min=1e-6).log10())

    as_it_is = response_db(points.ravel(), rate).reshape(points.shape).mean(1)
    other, same = OTHER_SAME[kind]
    shares = [other + p * (same - other) for p in same_source]
    tilt = _wanted_tilt_db(source, references, edges, shares)
    tilt = np.where(np.isfinite(tilt), tilt, as_it_is[1:] - as_it_is[0])
    last_db = response_db(points[0], network_rate).mean()
    target = [response_db(heard, network_rate), np.repeat(last_db + tilt, POINTS)]
    sd_db = np.repeat([HEARD_SD_DB, ABOVE_SD_DB], [len(part) for part in target])
    found = equalizer_fit.fit(
        equalizer, np.concatenate([heard, points[1:].ravel()]), np.concatenate(target),
        np.diag(sd_db**2), rate, split_locks(locks, equalizer.name), RULES,
        start={name: float(value[0]) for name, value in own.items()},
    )  # fmt: skip
    carried = {
        f"{equalizer.name}.{name}": torch.full_like(own[name], value)
        for name, value in found.items()
    }
    return {**setting, **carried}


def _edges_hz(network_rate: int, rate: int) -> list[float]:
    """Edges in Hz of third octaves up to half the rate; the first band is the last one heard."""
    first = HEARD * network_rate
    edges = [first / STEP, first]
    top = 0.49 * rate
    while edges[-1] * LEAST_WIDTH < top:
        edges.append(min(edges[-1] * STEP, top))
    return edges


def _wanted_tilt_db(
    source: Excerpt, references: Sequence[Excerpt], edges: Sequence[float], shares: Sequence[float]
) -> Array:
    """Gain in each band above the first, relative to the first; NaN where a recording is empty."""
    own = _band_levels_db(source, edges)
    wanted = []
    for reference, share in zip(references, shares, strict=True):
        gap = _band_levels_db(reference, edges) - own
        wanted.append(share * np.clip(gap[1:] - gap[0], -MOST_DB, MOST_DB))
    found = np.array(wanted)
    known = np.isfinite(found)
    total = np.where(known, found, 0.0).sum(0)
    return np.where(known.any(0), total / np.maximum(known.sum(0), 1), np.nan)


def _band_levels_db(excerpt: Excerpt, edges: Sequence[float]) -> Array:
    """Mean power of the bins of each band in dB; NaN for bands that are empty or do not fit."""
    rate = excerpt.sample_rate
    size = 2 * sp_fft.next_fast_len(round(0.023 * rate), real=True)
    audio = excerpt.audio.numpy()
    audio = np.pad(audio, (0, max(size - len(audio), 0)))
    frames = np.lib.stride_tricks.sliding_window_view(audio, size)[:: size // 2]
    window = np.hanning(size).astype(np.float32)
    power = np.zeros(size // 2 + 1)
    for first in range(0, len(frames), 64):
        power += (np.abs(sp_fft.rfft(frames[first : first + 64] * window)) ** 2).sum(0)
    hz = np.arange(len(power)) * rate / size
    level = np.full(len(edges) - 1, np.nan)
    for i, (low, high) in enumerate(zip(edges, edges[1:], strict=False)):
        inside = (hz >= low) & (hz < high)
        if high <= rate / 2 and power[inside].mean() > power.max() * 10 ** (-EMPTY_DB / 10):
            level[i] = 10 * np.log10(power[inside].mean())
    return level
