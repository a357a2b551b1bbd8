"""Style statistics: spectrum, dynamics and levels of a recording, largely independent of content.

All frequencies are in Hz and all times in seconds, so recordings at different sample rates can be
compared; bands above a recording's bandwidth are NaN.

Band levels are *equivariant*: each band is gated by its own loudest frames, so a linear filter
moves the level of a band by the gain there and leaves the spread unchanged. A gate on the whole
signal would select different frames after filtering.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import fft as sp_fft

from retone.audio.meters.k_weighting import ROUNDED, k_weighting_response
from retone.errors import AudioError, expect

Array = NDArray[np.float64]

BANDS = 48
LOW_HZ, HIGH_HZ = 50.0, 18000.0
TOP_OF_BAND = 0.46
"""A band is valid if its upper edge is below this fraction of the sample rate."""
FRAME_S = 0.064
ACTIVE_DB = 40.0
"""Frames this far or more below the loud frames (95th percentile) are pauses."""
LOUD_SHARE = 0.5
"""Fraction of a band's active frames, the loudest ones, that define its level."""
FLOOR_DB = -120.0
WINDOWS_S = (0.01, 0.1, 0.4)
_FRAMES_AT_ONCE = 32  # intermediate arrays stay in cache
PERCENTILES = (10.0, 30.0, 50.0, 70.0, 95.0)
GROUP_EDGES_HZ = (50.0, 400.0, 1200.0, 3500.0, 18000.0)
MODULATION_EDGES_HZ = (0.5, 2.0, 4.0, 8.0, 15.0)


def erb_number(frequency_hz: Any) -> Any:
    """Hz to ERB-number, ``21.4 log10(1 + 0.00437 f)`` (Glasberg and Moore, 1990)."""
    return 21.4 * np.log10(1.0 + 0.00437 * np.asarray(frequency_hz, dtype=np.float64))


def band_centres_hz() -> Array:
    """Centre frequencies [BANDS] of the bands, evenly spaced in ERB-number."""
    steps = np.linspace(erb_number(LOW_HZ), erb_number(HIGH_HZ), BANDS)
    return np.asarray((10.0 ** (steps / 21.4) - 1.0) / 0.00437)


def valid_bands(sample_rate: float) -> NDArray[np.bool_]:
    """Mask [BANDS] of the bands that fit a sample rate, upper slope included."""
    return _band_edges()[2:] < TOP_OF_BAND * sample_rate


def _band_edges() -> Array:
    first, last = erb_number(LOW_HZ), erb_number(HIGH_HZ)
    step = (last - first) / (BANDS - 1)
    numbers = first + step * np.arange(-1, BANDS + 1)
    return np.asarray((10.0 ** (numbers / 21.4) - 1.0) / 0.00437)


@lru_cache(maxsize=8)
def _bank(size: int, sample_rate: float) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Triangles on the ERB-number scale [bins, BANDS] that sum to 1, and K-weights [bins]."""
    bins = np.fft.rfftfreq(size, 1.0 / sample_rate).astype(np.float64)
    number, centre = erb_number(bins)[:, None], erb_number(band_centres_hz())[None]
    weights = np.clip(1.0 - np.abs(number - centre) / (centre[0, 1] - centre[0, 0]), 0.0, None)
    return weights.astype(np.float32), k_weight(bins).astype(np.float32)


def k_weight(frequency_hz: Array) -> Array:
    """Power response of BS.1770's K weighting at each frequency, a factor."""
    return k_weighting_response(frequency_hz, ROUNDED) ** 2


@dataclass(frozen=True, eq=False)
class StyleStatistics:
    """Statistics of B recordings; fields are [B] or [B, N], in dB unless named otherwise.

    Args:
        band_level_db: [B, BANDS] mean level of the louder half of each band's active frames.
        band_spread_db: [B, BANDS] standard deviation of a band's level over active frames.
        band_floor_db: [B, BANDS] 10th percentile of a band's level over all frames.
        level_percentiles_db: [B, 15] percentiles 10/30/50/70/95 of the 10, 100 and 400 ms levels
            of active passages, relative to their mean level.
        band_crest_db: [B, 4] peak frame over mean power, in four groups of bands.
        modulation_db: [B, 16] strength of level changes at 0.5-2, 2-4, 4-8 and 8-15 Hz in the
            four groups of bands.
        crest_db: [B] sample peak over the level of active passages.
        level_db: [B] mean level of active passages in dBFS.
        loudness_db: [B] gated BS.1770 loudness in LUFS, from frame powers (within about 0.3 LU).
        active_s: [B] duration without pauses, in seconds.
    """

    band_level_db: Array
    band_spread_db: Array
    band_floor_db: Array
    level_percentiles_db: Array
    band_crest_db: Array
    modulation_db: Array
    crest_db: Array
    level_db: Array
    loudness_db: Array
    active_s: Array

    def __len__(self) -> int:
        return int(self.crest_db.shape[0])

    def __getitem__(self, index: slice | int) -> StyleStatistics:
        rows = slice(index, index + 1) if isinstance(index, int) else index
        return StyleStatistics(**{f.name: getattr(self, f.name)[rows] for f in fields(self)})

    @property
    def names(self) -> tuple[str, ...]:
        """One name for each column of ``vector``."""
        out: list[str] = []
        for f in fields(self):
            value = getattr(self, f.name)
            out += [f.name] if value.ndim == 1 else [f"{f.name}.{i}" for i in range(value.shape[1])]
        return tuple(out)

    def vector(self) -> Array:
        """All statistics concatenated, [B, P]; bands that do not fit the sample rate are NaN."""
        parts = [getattr(self, f.name).reshape(len(self), -1) for f in fields(self)]
        return np.concatenate(parts, axis=1)


def average(
    statistics: Sequence[StyleStatistics], weights: Sequence[float] | None = None
) -> StyleStatistics:
    """Mean statistics of several recordings, one row.

    A band that is valid for only some recordings is averaged over those.

    Args:
        statistics: one or more, each with one or more rows.
        weights: one number per item of ``statistics``, shared equally by its rows; None weights
            each row by its ``active_s``.
    """
    if not statistics:
        raise AudioError("average: expected at least one recording's statistics, got none.")
    share = np.concatenate(
        [
            s.active_s if weights is None else np.full(len(s), weights[i] / len(s))
            for i, s in enumerate(statistics)
        ]
    )
    share = np.where(share.sum() > 0, share, 1.0) + 1e-12
    out = {}
    for f in fields(StyleStatistics):
        rows = np.concatenate([getattr(s, f.name) for s in statistics])
        w = share.reshape(-1, *[1] * (rows.ndim - 1)) * np.isfinite(rows)
        total = w.sum(axis=0)
        mean = (np.nan_to_num(rows) * w).sum(axis=0) / np.where(total > 0, total, 1.0)
        out[f.name] = np.where(total > 0, mean, np.nan)[None]
    out["active_s"] = np.array([sum(s.active_s.sum() for s in statistics)])
    return StyleStatistics(**out)


def measure(audio: Any, sample_rate: float) -> StyleStatistics:
    """Style statistics of mono recordings of one length.

    Args:
        audio: [T] or [B, T], array or tensor, full scale 1; half a second or more.
        sample_rate: in Hz.

    Raises:
        ShapeError: audio is not [B, T].
        AudioError: the recordings are shorter than half a second or silent.
    """
    x = audio.detach().cpu().numpy() if hasattr(audio, "detach") else np.asarray(audio)
    x = x[None] if x.ndim == 1 else x
    length = expect(x, "B T", "measure: audio")["T"]
    if length < 0.5 * sample_rate:
        raise AudioError(
            f"measure: the recording lasts {length / sample_rate:.2f} s; statistics need 0.5 s."
        )
    if not (np.abs(x).max(axis=1) > 0).all():
        raise AudioError("measure: a recording is silent. Use a passage with sound.")
    x = np.ascontiguousarray(x, dtype=np.float32)

    power, weighted = _frames(x, sample_rate)
    bands_db = 10 * np.log10(power + 10 ** (FLOOR_DB / 10))
    total_db = 10 * np.log10(power.sum(axis=2) + 10 ** (FLOOR_DB / 10))
    active = total_db > np.percentile(total_db, 95, axis=1, keepdims=True) - ACTIVE_DB
    level, spread = _band_levels(bands_db, active)
    floor = np.percentile(bands_db, 10, axis=1)
    missing = ~valid_bands(sample_rate)
    for field in (level, spread, floor):
        field[:, missing] = np.nan
    crest, modulation = _groups(power * ~missing, active)
    percentiles, mean_db, active_s = _levels(x, sample_rate)
    peak_db = 20 * np.log10(np.abs(x).max(axis=1).astype(np.float64))
    return StyleStatistics(
        band_level_db=level,
        band_spread_db=spread,
        band_floor_db=floor,
        level_percentiles_db=percentiles,
        band_crest_db=crest,
        modulation_db=modulation,
        crest_db=peak_db - mean_db,
        level_db=mean_db,
        loudness_db=_loudness(weighted),
        active_s=active_s,
    )


def _frames(x: NDArray[np.float32], sample_rate: float) -> tuple[Array, Array]:
    """Band powers [B, F, BANDS] and K-weighted power [B, F] of half-overlapping Hann frames."""
    half = round(FRAME_S * sample_rate / 2)
    size = 2 * half
    window = (0.5 - 0.5 * np.cos(2 * np.pi * np.arange(size) / size)).astype(np.float32)
    frames = np.lib.stride_tricks.sliding_window_view(x, size, axis=1)[:, ::half]
    length = sp_fft.next_fast_len(size, real=True)  # zeros added
    bank, k_weight = _bank(length, float(sample_rate))
    scale = 2.0 / (length * float((window.astype(np.float64) ** 2).sum()))
    power = np.empty((*frames.shape[:2], bank.shape[1]))
    weighted = np.empty(frames.shape[:2])
    for row in range(len(x)):
        for at in range(0, frames.shape[1], _FRAMES_AT_ONCE):
            part = slice(at, at + _FRAMES_AT_ONCE)
            spectrum = sp_fft.rfft(frames[row, part] * window, length, axis=1)
            square = spectrum.real**2 + spectrum.imag**2
            power[row, part] = square @ bank
            weighted[row, part] = square @ k_weight
    return power * scale, weighted * scale


def _band_levels(bands_db: Array, active: NDArray[np.bool_]) -> tuple[Array, Array]:
    # Pauses sort last, so the active frames have the lowest ranks.
    ranked = -np.sort(-np.where(active[..., None], bands_db, -np.inf), axis=1)
    count = active.sum(axis=1)[:, None, None]
    rank = np.arange(bands_db.shape[1])[None, :, None]
    louder = rank < np.maximum(1, np.round(LOUD_SHARE * count))
    level = np.where(louder, ranked, 0.0).sum(axis=1) / louder.sum(axis=1)
    inside = rank < count
    mean = np.where(inside, ranked, 0.0).sum(axis=1, keepdims=True) / count
    deviation = np.where(inside, ranked - mean, 0.0)
    return level, np.sqrt((deviation**2).sum(axis=1) / count[:, 0])


def _groups(power: Array, active: NDArray[np.bool_]) -> tuple[Array, Array]:
    centres = band_centres_hz()
    crest, modulation = [], []
    frames = power.shape[1]
    rate = np.fft.rfftfreq(frames, FRAME_S / 2)
    window = np.hanning(frames)[None]
    for low, high in zip(GROUP_EDGES_HZ, GROUP_EDGES_HZ[1:], strict=False):
        group = power[..., (centres >= low) & (centres < high + 1e-6)].sum(axis=2) + 1e-12
        count = np.maximum(active.sum(axis=1), 1)
        mean = (group * active).sum(axis=1) / count
        crest.append(10 * np.log10(group.max(axis=1) / mean))
        # Pauses are clamped at the gate: their depth depends on the noise floor only.
        level = 10 * np.log10(np.maximum(group, group.max(axis=1, keepdims=True) * 1e-4))
        level = (level - level.mean(axis=1, keepdims=True)) * window
        energy = np.abs(np.fft.rfft(level, axis=1)) ** 2 / (window**2).sum() / frames
        for bottom, top in zip(MODULATION_EDGES_HZ, MODULATION_EDGES_HZ[1:], strict=False):
            inside = (rate >= bottom) & (rate < top)
            modulation.append(10 * np.log10(2 * energy[:, inside].sum(axis=1) + 1e-3))
    return np.stack(crest, axis=1), np.stack(modulation, axis=1)


def short_levels_db(x: NDArray[Any], sample_rate: float) -> list[Array]:
    """Levels [B, N] in dB of 10, 100 and 400 ms windows with a 10 ms hop."""
    hop = max(1, round(WINDOWS_S[0] * sample_rate))
    count = x.shape[1] // hop
    blocks = x[:, : count * hop].reshape(x.shape[0], count, hop)
    power = np.einsum("bnt,bnt->bn", blocks, blocks).astype(np.float64) / hop
    running = np.concatenate([np.zeros((x.shape[0], 1)), np.cumsum(power, axis=1)], axis=1)
    out = []
    for seconds in WINDOWS_S:
        n = round(seconds / WINDOWS_S[0])
        mean = np.maximum(running[:, n:] - running[:, :-n], 0.0) / n
        out.append(10 * np.log10(mean + 10 ** (FLOOR_DB / 10)))
    return out


def measure_dynamics(audio: Any, sample_rate: float) -> tuple[Array, Array]:
    """Level statistics only, without a spectrum: much faster than ``measure``.

    Args:
        audio: [B, T], array or tensor.
        sample_rate: in Hz.

    Returns:
        [B, 16] ``level_percentiles_db`` and ``crest_db``, and [B] the mean level in dB.
    """
    x = audio.detach().cpu().numpy() if hasattr(audio, "detach") else np.asarray(audio)
    percentiles, mean_db, _ = _levels(np.asarray(x, dtype=np.float32), sample_rate)
    peak_db = 20 * np.log10(np.maximum(np.abs(x).max(axis=1), 1e-9).astype(np.float64))
    return np.concatenate([percentiles, (peak_db - mean_db)[:, None]], axis=1), mean_db


def _levels(x: NDArray[np.float32], sample_rate: float) -> tuple[Array, Array, Array]:
    short, middle, long = short_levels_db(x, sample_rate)
    rows, means, seconds = [], [], []
    for b in range(x.shape[0]):
        # The gate uses 100 ms levels; a 10 ms level is active if its surroundings are.
        gate = _percentiles(middle[b], (95.0,))[0] - ACTIVE_DB
        on = middle[b] > gate
        around = np.zeros(short.shape[1], dtype=bool)
        around[4 : 4 + on.size] = on
        mean = 10 * np.log10(np.mean(10 ** (short[b][around] / 10)) + 1e-12)
        parts = (short[b][around], middle[b][on], long[b][long[b] > gate])
        rows.append(np.concatenate([_percentiles(p, PERCENTILES) - mean for p in parts]))
        means.append(mean)
        seconds.append(around.sum() * WINDOWS_S[0])
    return np.stack(rows), np.array(means), np.array(seconds)


def _percentiles(values: Array, percent: tuple[float, ...]) -> Array:
    """``np.percentile`` for small arrays, without its call overhead, which dominates a search."""
    ranked = np.sort(values)
    place = np.asarray(percent) * ((len(ranked) - 1) / 100)
    low = place.astype(int)
    high = np.minimum(low + 1, len(ranked) - 1)
    return np.asarray(ranked[low] + (place - low) * (ranked[high] - ranked[low]))


def _loudness(weighted: Array) -> Array:
    """BS.1770 gating over 400 ms means of the K-weighted frame power [B, F]."""
    n = min(round(0.4 / (FRAME_S / 2)), weighted.shape[1])
    running = np.concatenate(
        [np.zeros((weighted.shape[0], 1)), np.cumsum(weighted, axis=1)], axis=1
    )
    block = np.maximum(running[:, n:] - running[:, :-n], 0.0) / n
    block_db = -0.691 + 10 * np.log10(block + 1e-12)
    out = []
    for b in range(weighted.shape[0]):
        on = block_db[b] > -70.0
        if not on.any():
            out.append(float(block_db[b].max()))
            continue
        gate = -0.691 + 10 * np.log10(block[b][on].mean()) - 10.0
        out.append(float(-0.691 + 10 * np.log10(block[b][on & (block_db[b] > gate)].mean())))
    return np.array(out)
