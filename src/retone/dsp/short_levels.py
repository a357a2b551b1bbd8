"""Short-term levels: the dynamics of a recording, and how its noise floor moves."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from retone.dsp.third_octaves import Array, occupied_bands, third_octave_levels_db
from retone.errors import ShapeError, expect

SHORT_S = 0.05
LIVE_DB = 50.0
"""Short levels further below the loudest are pauses, which no measure of dynamics counts."""
DYNAMICS_PERCENTILES = (20.0, 95.0)
QUIET_SHARE = 0.1
PAUSE_DB = 20.0
"""The quietest tenth is a noise floor if it lies at least this far below the programme."""
DIGITAL_SILENCE_DB = 90.0
OCTAVES_HZ = tuple(125.0 * 2.0**n for n in range(7))


def short_levels_db(audio: Any, sample_rate: float) -> Array:
    """Levels in dB [frames] of adjacent 50 ms, channels averaged in power."""
    x = np.asarray(audio, dtype=np.float64)
    x = x[None] if x.ndim == 1 else x
    expect(x, "C T", "short levels")
    size = max(1, round(SHORT_S * sample_rate))
    count = x.shape[1] // size
    power = np.mean(x[:, : count * size].reshape(len(x), count, size) ** 2, axis=(0, 2))
    return np.asarray(10.0 * np.log10(np.maximum(power, 1e-30)))


class ShortLevelMeter:
    """``short_levels_db`` of a stream in blocks of any size. Memory grows by 20 numbers a second.

    Args:
        sample_rate: in Hz.
        channels: 1 and more.
    """

    def __init__(self, sample_rate: float, channels: int) -> None:
        self._size = max(1, round(SHORT_S * sample_rate))
        self._rest = np.zeros((channels, 0))
        self._levels: list[Array] = []
        self._rate = sample_rate

    def update(self, block: Array) -> None:
        """Take the next block [C, n]."""
        expect(block, "C T", "ShortLevelMeter.update", C=len(self._rest))
        x = np.concatenate([self._rest, block], axis=1) if self._rest.size else block
        whole = x.shape[1] // self._size * self._size
        self._rest = x[:, whole:].copy()
        if whole:
            self._levels.append(short_levels_db(x[:, :whole], self._rate))

    def result(self) -> Array:
        """Levels in dB of every whole 50 ms so far [frames]."""
        return np.concatenate(self._levels) if self._levels else np.zeros(0)


def spread_db(levels: Array) -> float:
    """95th minus 20th percentile of the short levels within 50 dB of the loudest; NaN for none."""
    return float(spreads_db(levels[None])[0]) if levels.size else float("nan")


def spreads_db(levels: Array) -> Array:
    """``spread_db`` of several recordings [N, frames], one or more frames each: [N]."""
    low, high = percentiles_db(levels, DYNAMICS_PERCENTILES)
    return np.asarray(high - low)


def percentiles_db(levels: Array, percents: Sequence[float]) -> Array:
    """Percentiles of the short levels within 50 dB of the loudest of each recording.

    Args:
        levels: [N, frames], one or more frames each.
        percents: 0 to 100.

    Returns:
        [percents, N].
    """
    rising = np.sort(levels, axis=1)
    last = rising.shape[1] - 1
    first = last + 1 - np.count_nonzero(rising > rising[:, -1:] - LIVE_DB, axis=1)
    rows = np.arange(len(rising))
    ends = []
    for percent in percents:
        place = first + percent / 100 * (last - first)
        below = np.floor(place).astype(int)
        share = place - below
        above = rising[rows, np.minimum(below + 1, last)]
        ends.append((1 - share) * rising[rows, below] + share * above)
    return np.stack(ends)


def dynamics_db(audio: Any, sample_rate: float) -> float:
    """Spread of the short levels of a recording [T] or [C, T], in dB."""
    return spread_db(short_levels_db(audio, sample_rate))


def octave_dynamics_db(audio: Any, sample_rate: float) -> Array:
    """Spread of the short levels in each octave from 125 Hz to 8 kHz [7], in dB.

    Butterworth band-passes of fourth order, forwards and backwards. NaN where the octave does not
    fit below half the sample rate or holds nothing: no third octave in it is occupied.
    """
    from scipy import signal  # slow to import, and a match seldom needs it

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
    return floor_change_db(own, other)


def floor_change_db(own: Array, other: Array) -> float:
    """``noise_floor_change_db`` by the short levels [frames] of input and output."""
    return float(Floor(own).change_db(other[None])[0])


class Floor:
    """The noise floor and the programme of a recording with short levels [frames].

    ``distance_db`` is the level of its quietest tenth against the programme; ``before_db`` the same
    where that is a noise floor. NaN without either.
    """

    def __init__(self, own: Array) -> None:
        live = own > own.max(initial=-np.inf) - DIGITAL_SILENCE_DB
        self.distance_db = self.before_db = float("nan")
        self.quiet = self.loud = np.zeros(0, dtype=int)
        if not live.any():
            return
        self.quiet = np.flatnonzero(live & (own <= np.quantile(own[live], QUIET_SHARE)))
        self.loud = np.flatnonzero(own >= np.percentile(own[live], DYNAMICS_PERCENTILES[1]))
        self.distance_db = float(self._distance_db(own[None])[0])
        if self.distance_db <= -PAUSE_DB:
            self.before_db = self.distance_db

    def change_db(self, levels: Array) -> Array:
        """How far the floor rose against the programme in each of several outputs [N, frames], [N];
        NaN without a pause."""
        if np.isnan(self.before_db):
            return np.full(len(levels), np.nan)
        return self._distance_db(levels) - self.before_db

    def _distance_db(self, levels: Array) -> Array:
        return _mean_db(levels[:, self.quiet]) - _mean_db(levels[:, self.loud])


def _mean_db(levels: Array) -> Array:
    return np.asarray(10.0 * np.log10(np.mean(10.0 ** (levels / 10.0), axis=1)))
