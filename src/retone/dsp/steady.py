"""Bands at either end of the spectrum that hold only steady noise, by how their level varies.

A pause shows the noise of a recording, but speech without pauses has none to look at. The power of
a band in short segments varies with what is said; for steady noise it follows a gamma distribution
whose shape is known from bandwidth and duration. There its mean lies where its 10th percentile
says, however loud the noise is. Music may hold steady tones, so only bands count that are well
below the loudest, with nothing but such bands between them and the end of the spectrum.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from retone.dsp.third_octaves import (
    BANDS,
    CENTRES_HZ,
    DENSE,
    HALF,
    LONGEST_S,
    Array,
    Mask,
    levels_db,
    occupied_bands,
    segment_powers,
)

SHORT_S, SHORT_FROM_HZ = 0.043, 380.0
"""Length of the segments from this frequency on; narrower bands need ``LONGEST_S``."""
FEWEST_SEGMENTS = 8
LOW, LOW_NORMAL = 0.1, -1.2816
"""The percentile, and that of the normal distribution, by which those of gamma are approximated."""
LOW_ERROR = 1.71
"""Standard error of that percentile in standard deviations, for one segment."""
INDEPENDENT = 0.51
"""Independent values in a Hann segment, for each Hz and second."""
ABOVE_DB, ERRORS = 1.5, 2.5
"""A band is steady if its mean lies less above what its percentile says, and so many errors."""
BELOW_DB = 20.0
"""Steady bands of less than this below the loudest may be tones."""
WIDTH_HZ = CENTRES_HZ * (2 ** (1 / 6) - 2 ** (-1 / 6))


def steady_bands(audio: Any, sample_rate: float) -> Mask:
    """Mask [BANDS] of the occupied bands next to an end of the spectrum that hold steady noise.

    Args:
        audio: [T]; where it lasts less than ``FEWEST_SEGMENTS`` segments, no band is.
        sample_rate: in Hz.
    """
    over_db, level_db = np.full(BANDS, np.inf), np.full(BANDS, np.nan)
    for seconds, overlap, use in (
        (SHORT_S, HALF, CENTRES_HZ >= SHORT_FROM_HZ),
        (LONGEST_S, DENSE, CENTRES_HZ < SHORT_FROM_HZ),
    ):
        count = len(audio) / sample_rate / seconds
        powers = segment_powers(audio, sample_rate, overlap, seconds)
        level_db[use] = levels_db(powers)[use]
        if count >= FEWEST_SEGMENTS:
            over_db[use] = _over_db(powers, seconds, count)[use]
    known, occupied = np.isfinite(level_db), occupied_bands(level_db)
    faint = np.zeros(BANDS, dtype=bool)
    faint[known] = level_db[known] < level_db[known].max() - BELOW_DB
    empty = (~occupied | (faint & (over_db < ABOVE_DB)))[known]
    at_ends = np.zeros(BANDS, dtype=bool)
    at_ends[known] = np.logical_and.accumulate(empty)
    at_ends[known] |= np.logical_and.accumulate(empty[::-1])[::-1]
    return np.asarray(occupied & at_ends)


def _over_db(powers: Array, seconds: float, count: float) -> Array:
    """How far the mean of powers [N, F] lies above that of steady noise with their percentile, less
    what chance may do, in dB [F]."""
    shape = 1 + INDEPENDENT * WIDTH_HZ * seconds
    share = (1 - 1 / (9 * shape) + LOW_NORMAL / (3 * np.sqrt(shape))) ** 3
    low = levels_db(np.quantile(powers, LOW, axis=0)[None] / share)
    error_db = 10 / np.log(10) * LOW_ERROR / np.sqrt(shape * count)
    return np.asarray(levels_db(powers) - low - ERRORS * error_db)
