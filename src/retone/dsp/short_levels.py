"""Short-term levels: the dynamics of a recording, and how its noise floor moves."""

from __future__ import annotations

from typing import Any

import numpy as np

from retone.dsp.third_octaves import Array
from retone.errors import ShapeError, expect

SHORT_S = 0.05
LIVE_DB = 50.0
"""Short levels further below the loudest are pauses, which no measure of dynamics counts."""
DYNAMICS_PERCENTILES = (20.0, 95.0)
QUIET_SHARE = 0.1
PAUSE_DB = 20.0
"""The quietest tenth is a noise floor if it lies at least this far below the programme."""
DIGITAL_SILENCE_DB = 90.0


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
    return floor_change_db(own, other)


def floor_change_db(own: Array, other: Array) -> float:
    """``noise_floor_change_db`` by the short levels [frames] of input and output."""
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
