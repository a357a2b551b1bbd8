"""Third-octave levels of whole recordings, and the difference in tone between two of them.

Frequencies are in Hz and levels in dB, so recordings at different sample rates can be compared;
bands that do not fit below half the sample rate are NaN. A band more than ``OCCUPIED_DB`` below the
loudest one counts as empty: what is in it is noise or leakage, not programme.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import fft as sp_fft

from retone.errors import AudioError, expect

Array = NDArray[np.float64]
Mask = NDArray[np.bool_]

CENTRES_HZ: Array = 1000.0 * 2.0 ** (np.arange(-16, 14) / 3)
"""Centre frequencies of the 30 bands, from 25 Hz to 20 kHz (nominal)."""
NOMINAL_HZ: Array = np.array(
    [
        *(25, 31.5, 40, 50, 63, 80, 100, 125, 160, 200, 250, 315, 400, 500, 630, 800, 1000),
        *(1250, 1600, 2000, 2500, 3150, 4000, 5000, 6300, 8000, 10000, 12500, 16000, 20000),
    ]
)
"""Their nominal frequencies (ISO 266), as a person names them."""
BANDS = len(CENTRES_HZ)
OCCUPIED_DB = 45.0
SILENCE_DB = -300.0
"""Level of a band that holds exactly nothing."""
SEGMENT = 8192
MAX_BIN_HZ = 6.0
LONGEST_S = 0.34133
"""Of 8192 samples at 24 kHz."""
HALF, DENSE = 2, 4
"""Segments that begin within the length of one. ``DENSE`` ones weight all samples alike, so that
levels do not depend on where the segments begin."""
_SEGMENTS_AT_ONCE = 32


def segment_samples(sample_rate: float, overlap: int = HALF) -> int:
    """Samples per segment: 8192, and more above 49 kHz so that a bin is never wider than 6 Hz.

    ``DENSE`` segments last about ``LONGEST_S`` at rates below 24 kHz, where 8192 samples would
    last longer, so that copies of a recording at low rates are analysed alike.
    """
    if overlap == DENSE and sample_rate * LONGEST_S < SEGMENT:
        return 2 * int(sp_fft.next_fast_len(round(sample_rate * LONGEST_S / 2), real=True))
    return max(SEGMENT, 1 << int(np.ceil(np.log2(sample_rate / MAX_BIN_HZ))))


def segment_powers(audio: Any, sample_rate: float, overlap: int = HALF) -> Array:
    """Mean square per third octave in each segment of a recording.

    Overlapping Hann windows, each segment's mean removed (P. Welch, 1967), power averaged over the
    channels. A bin that crosses a band's edge counts in proportion. The mean over the
    segments is the mean square of that band, as a sine of amplitude 1 has 0.5.

    Args:
        audio: [T] or [C, T], float. Less than one segment is one window of its own length.
        sample_rate: in Hz.
        overlap: ``HALF`` or ``DENSE``.

    Returns:
        [segments, BANDS]; NaN in bands that do not fit below half the sample rate.

    Raises:
        AudioError: there are no samples, or the sample rate is not positive.
        ShapeError: the audio has another shape.
    """
    x = np.asarray(audio)
    x = x[None] if x.ndim == 1 else x
    expect(x, "C T", "third octaves")
    if not x.size or not sample_rate > 0:
        raise AudioError(
            f"third octaves: expected samples and a sample rate above 0 Hz, got {x.shape[1]} "
            f"samples at {sample_rate} Hz."
        )
    if x.dtype not in (np.float32, np.float64):
        x = x.astype(np.float64)
    size = segment_samples(sample_rate, overlap)
    length = min(size, x.shape[1])
    window = (0.5 - 0.5 * np.cos(2 * np.pi * np.arange(length) / length)).astype(x.dtype)
    views = np.lib.stride_tricks.sliding_window_view(x, length, axis=1)[
        :, :: max(length // overlap, 1)
    ]
    scale = 2.0 / (size * len(x) * max(float(np.sum(window**2)), 1e-12))
    bank = _bank(size, float(sample_rate))
    found = np.empty((views.shape[1], BANDS))
    for first in range(0, len(found), _SEGMENTS_AT_ONCE):
        part = views[:, first : first + _SEGMENTS_AT_ONCE]
        part = (part - part.mean(axis=-1, keepdims=True)) * window
        spectrum = sp_fft.rfft(part, size, axis=-1)
        power = np.sum(spectrum.real**2 + spectrum.imag**2, axis=0, dtype=np.float64)
        found[first : first + _SEGMENTS_AT_ONCE] = scale * (power @ bank)
    return found


def levels_db(powers: Array) -> Array:
    """Level in dB [BANDS] of the mean over ``powers`` [segments, BANDS]; at least -300 dB."""
    mean = np.mean(powers, axis=0)
    return np.asarray(10.0 * np.log10(np.maximum(mean, 10.0 ** (SILENCE_DB / 10))))


def third_octave_levels_db(audio: Any, sample_rate: float, overlap: int = HALF) -> Array:
    """Level in dB per third octave [BANDS] of a whole recording; a sine of amplitude 1 has -3.01.

    Args:
        audio: [T] or [C, T]; channels are averaged in power.
        sample_rate: in Hz.
        overlap: ``HALF`` or ``DENSE``.

    Returns:
        NaN in bands that do not fit below half the sample rate.

    Raises:
        AudioError, ShapeError: as ``segment_powers``.
    """
    return levels_db(segment_powers(audio, sample_rate, overlap))


def occupied_bands(level_db: Array, within_db: float = OCCUPIED_DB) -> Mask:
    """Mask [BANDS] of the bands within ``within_db`` of the loudest one."""
    if np.all(np.isnan(level_db)) or np.nanmax(level_db) <= SILENCE_DB:
        return np.zeros(level_db.shape, dtype=bool)
    return np.asarray(level_db > np.nanmax(level_db) - within_db)


def used_bands(input_db: Array, reference_db: Array, within_db: float = OCCUPIED_DB) -> Mask:
    """Mask [BANDS] of the bands that are occupied in the input and in the reference."""
    return occupied_bands(input_db, within_db) & occupied_bands(reference_db, within_db)


def tone_difference_db(input_db: Array, reference_db: Array, used: Mask) -> Array:
    """What the input needs in dB [BANDS] to have the reference's tone, whatever their levels.

    The reference's level minus the input's, each without its own median over the ``used`` bands.

    Returns:
        NaN outside the used bands.
    """
    found = np.full(input_db.shape, np.nan)
    if used.any():
        found[used] = (reference_db[used] - np.median(reference_db[used])) - (
            input_db[used] - np.median(input_db[used])
        )
    return found


@lru_cache(maxsize=8)
def _bank(size: int, sample_rate: float) -> Array:
    """Share [bins, BANDS] of each bin in each band; NaN for bands that do not fit."""
    bins = np.fft.rfftfreq(size, 1.0 / sample_rate)[:, None]
    width = sample_rate / size
    low, high = CENTRES_HZ * 2.0 ** (-1 / 6), CENTRES_HZ * 2.0 ** (1 / 6)
    upper, lower = np.minimum(bins + width / 2, high), np.maximum(bins - width / 2, low)
    share = np.clip(upper - lower, 0.0, None) / width
    share[:, high > sample_rate / 2] = np.nan
    return np.asarray(share)
