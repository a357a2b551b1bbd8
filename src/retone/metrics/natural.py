"""How near an output comes to a reference that is another recording, and what that cost.

Two untreated recordings have no known target: the reference is another voice or piece. These
measures compare long-term tone and dynamics, which a listener hears as "sounds like that one", and
what was done to bands and pauses in which nothing was recorded. The bands that count are chosen
by the input and the reference, so the output cannot choose its own.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy import signal

from retone.dsp.third_octaves import (
    Array,
    occupied_bands,
    third_octave_levels_db,
    tone_difference_db,
    used_bands,
)
from retone.errors import ShapeError, expect

APART_DB = 3.0
"""Bands further apart than this before count for the direction."""
WORSE_DB = 0.5
SHORT_S = 0.05
LIVE_DB = 50.0
"""Short levels further below the loudest are pauses, which no measure of dynamics counts."""
DYNAMICS_PERCENTILES = (20.0, 95.0)
OCTAVES_HZ = tuple(125.0 * 2.0**n for n in range(7))
QUIET_SHARE = 0.1
PAUSE_DB = 20.0
"""The quietest tenth is a noise floor if it lies at least this far below the programme."""
DIGITAL_SILENCE_DB = 90.0
INAUDIBLE_DB = 100.0


@dataclass(frozen=True)
class Tone:
    """The difference in tone to the reference, before and after.

    Args:
        before_db, after_db: mean absolute difference over the used bands.
        apart: number of used bands that were more than 3 dB apart before.
        right: of these, how many ended nearer.
        worse: of these, how many ended more than 0.5 dB further away.
    """

    before_db: float
    after_db: float
    apart: int
    right: int
    worse: int


def tone(input_db: Array, output_db: Array, reference_db: Array) -> Tone:
    """Compare third-octave levels [BANDS] of input and output with the reference's."""
    used = used_bands(input_db, reference_db) & np.isfinite(output_db)
    if not used.any():
        return Tone(np.nan, np.nan, 0, 0, 0)
    before = np.abs(tone_difference_db(input_db, reference_db, used)[used])
    after = np.abs(tone_difference_db(output_db, reference_db, used)[used])
    apart = before > APART_DB
    return Tone(
        float(before.mean()),
        float(after.mean()),
        int(apart.sum()),
        int((after < before)[apart].sum()),
        int((after > before + WORSE_DB)[apart].sum()),
    )


def boost_of_nothing_db(input_db: Array, output_db: Array) -> float:
    """Highest gain in bands where the input holds nothing, against the median gain elsewhere.

    Input levels more than 100 dB below the loudest band count as 100 dB below: nobody hears what
    is less, whatever its gain.

    Returns:
        In dB; NaN if the input has content in every band.
    """
    known = np.isfinite(input_db) & np.isfinite(output_db)
    occupied = occupied_bands(input_db) & known
    empty = known & ~occupied
    if not (occupied.any() and empty.any()):
        return float("nan")
    floor_db = float(np.max(input_db[occupied])) - INAUDIBLE_DB
    middle = float(np.median((output_db - input_db)[occupied]))
    # The floor is a level of the input; in the output it is moved by the gain of the programme.
    gain = np.maximum(output_db, floor_db + middle) - np.maximum(input_db, floor_db)
    return float(np.max(gain[empty]) - middle)


def short_levels_db(audio: Any, sample_rate: float) -> Array:
    """Levels in dB [frames] of adjacent 50 ms, channels averaged in power."""
    x = np.asarray(audio, dtype=np.float64)
    x = x[None] if x.ndim == 1 else x
    expect(x, "C T", "short levels")
    size = max(1, round(SHORT_S * sample_rate))
    count = x.shape[1] // size
    power = np.mean(x[:, : count * size].reshape(len(x), count, size) ** 2, axis=(0, 2))
    return np.asarray(10.0 * np.log10(np.maximum(power, 1e-30)))


def spread_db(levels: Array) -> float:
    """95th minus 20th percentile of the short levels within 50 dB of the loudest; NaN for none."""
    if not levels.size:
        return float("nan")
    low, high = np.percentile(levels[levels > levels.max() - LIVE_DB], DYNAMICS_PERCENTILES)
    return float(high - low)


def dynamics_db(audio: Any, sample_rate: float) -> float:
    """Spread of the short levels of a recording [T] or [C, T], in dB."""
    return spread_db(short_levels_db(audio, sample_rate))


def octave_dynamics_db(audio: Any, sample_rate: float) -> Array:
    """Spread of the short levels in each octave from 125 Hz to 8 kHz [7], in dB.

    Butterworth band-passes of fourth order, forwards and backwards. NaN where the octave does not
    fit below half the sample rate or holds nothing: no third octave in it is occupied.
    """
    x = np.asarray(audio, dtype=np.float64)
    occupied = occupied_bands(third_octave_levels_db(x, sample_rate))
    found = np.full(len(OCTAVES_HZ), np.nan)
    for i, centre_hz in enumerate(OCTAVES_HZ):
        edges_hz = centre_hz / np.sqrt(2), centre_hz * np.sqrt(2)
        # CENTRES_HZ holds 125 Hz as its eighth band; every octave is three bands.
        if edges_hz[1] >= 0.99 * sample_rate / 2 or not occupied[3 * i + 6 : 3 * i + 9].any():
            continue
        sections = signal.butter(2, edges_hz, "bandpass", fs=sample_rate, output="sos")
        found[i] = dynamics_db(signal.sosfiltfilt(sections, x, axis=-1), sample_rate)
    return found


def noise_floor_change_db(input: Any, output: Any, sample_rate: float) -> float:
    """How far the noise floor rose against the programme, in dB; both [T] or [C, T], aligned.

    The floor is the quietest tenth of the input's 50 ms frames, without digital silence; the
    programme is the loudest twentieth. The same frames are read in the output.

    Returns:
        NaN if the input has no pause: its quietest tenth is within 20 dB of the programme.

    Raises:
        ShapeError: the lengths differ.
    """
    own, other = short_levels_db(input, sample_rate), short_levels_db(output, sample_rate)
    if own.shape != other.shape:
        raise ShapeError(
            f"noise floor: expected an output as long as the input, got {other.size} frames of "
            f"50 ms for {own.size}."
        )
    live = own > own.max(initial=-np.inf) - DIGITAL_SILENCE_DB
    if not live.any():
        return float("nan")
    own, other = own[live], other[live]
    quiet = own <= np.quantile(own, QUIET_SHARE)
    loud = own >= np.percentile(own, DYNAMICS_PERCENTILES[1])
    if _mean_db(own[loud]) - _mean_db(own[quiet]) < PAUSE_DB:
        return float("nan")
    before, after = (_mean_db(x[quiet]) - _mean_db(x[loud]) for x in (own, other))
    return after - before


def _mean_db(levels: Array) -> float:
    return float(10.0 * np.log10(np.mean(10.0 ** (levels / 10.0))))
