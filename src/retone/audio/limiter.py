"""A look-ahead limiter that holds a stream's true peak under a ceiling."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from retone.audio.meters.true_peak import (
    HALF_TAPS,
    checked_block,
    interpolator,
    oversampling,
    points_between,
)
from retone.compiled import njit
from retone.errors import AudioError, SettingError
from retone.units import db_to_gain, gain_to_db, smoothing

# Gain reduction is stored in integer steps, so that the moving averages are exact: a passage that
# needs none gets a gain of exactly 1, and the result does not depend on the block size.
_ONE = 2**36
_MARGIN_DB = 0.02  # the gain changes slightly within an interpolated point
_ACTIVE_DB = 0.01
_SEGMENT = 128


@dataclass(frozen=True)
class LimiterReport:
    """Largest gain reduction of a limiter in dB (0 or more), and share of time it was active."""

    max_reduction_db: float
    active_share: float


@njit(nogil=True, cache=True)
def _peaks(x, taps, bound, ceiling, points, sample):  # type: ignore[no-untyped-def]
    """Largest point over the channels in each gap between samples, and largest sample.

    Gap i lies between x[:, i + 11] and x[:, i + 12]; where it cannot pass the ceiling it stays 0.
    """
    channels, width = x.shape
    count = width - 23
    one = np.empty(_SEGMENT, x.dtype)
    work = np.empty(_SEGMENT, x.dtype)
    points[:] = 0
    sample[:] = 0
    for c in range(channels):
        row = x[c]
        for i in range(count):
            sample[i] = max(sample[i], abs(row[i + 11]))
        for first in range(0, count, _SEGMENT):
            size = min(_SEGMENT, count - first)
            near = x.dtype.type(0)
            for i in range(first, first + size + 23):
                near = max(near, abs(row[i]))
            if near * bound <= ceiling:
                continue
            points_between(row, taps, first, one[:size], work[:size])
            for i in range(size):
                points[first + i] = max(points[first + i], one[i])


@njit(nogil=True, cache=True)
def _gains(  # type: ignore[no-untyped-def]
    points, sample, ceiling, target, release, hold, lengths, ints, floats, queue, rings, out
):
    """Reduction for each sample as a sum of integer steps.

    Kept between blocks: ints (time, queue head, queue tail, three ring places, three box sums),
    floats (last gap's peak, reduction under release), the queue (time, need) and the rings.
    """
    size = queue.shape[0]
    rest = ints[6] == 0 and ints[7] == 0 and ints[8] == 0 and floats[1] == 0.0
    for i in range(points.shape[0]):
        peak = max(np.float64(sample[i]), max(floats[0], np.float64(points[i])))
        floats[0] = points[i]
        need = np.int64(0)
        if peak > ceiling:
            need = np.int64(np.ceil((1.0 - target / peak) * _ONE))
        now, head, tail = ints[0], ints[1], ints[2]
        if rest and need == 0:  # all sums are 0 and stay 0; nothing in the queue needs reduction
            ints[0], ints[1] = now + 1, tail
            out[i] = 0
            continue
        # largest need of the last `hold` samples: a queue of falling candidates
        while tail > head and queue[(tail - 1) % size, 1] <= need:
            tail -= 1
        queue[tail % size, 0], queue[tail % size, 1] = now, need
        tail += 1
        while queue[head % size, 0] <= now - hold:
            head += 1
        ints[0], ints[1], ints[2] = now + 1, head, tail
        largest = np.float64(queue[head % size, 1])
        # instant attack, slow release; the last millionth is dropped, so that the gain returns to 1
        level = floats[1]
        level = largest if largest >= level else level + release * (largest - level)
        if largest == 0.0 and level < 1e-6 * _ONE:
            level = 0.0
        floats[1] = level
        # three moving averages: a smooth curve that reaches its target when the peak arrives
        value = np.int64(np.ceil(level))
        for b in range(3):
            place = ints[3 + b]
            ints[6 + b] += value - rings[b, place]
            rings[b, place] = value
            ints[3 + b] = place + 1 if place + 1 < lengths[b] else 0
            value = ints[6 + b]
        out[i] = value
        rest = need == 0 and level == 0.0 and ints[6] == 0 and ints[7] == 0 and ints[8] == 0


class TruePeakLimiter:
    """Keep a stream's true peak under a ceiling, with the same gain for all channels.

    The gain is the lowest that any point of the oversampled signal needs; it is held, released
    (10-90 % time), and smoothed over the look-ahead by three moving averages. Where nothing
    exceeds the ceiling and the release has ended, the output is bit-identical to the input.

    Args:
        ceiling_dbtp: -60 to 0 dBTP.
        sample_rate: in Hz.
        channels: 1 and more.
        lookahead_ms: 0.5 to 20; length of the smoothing, and the delay less 12 samples.
        hold_ms: 0 to 100; half a period of the lowest tone to keep free of distortion.
        release_ms: 1 to 5000, 10-90 %.

    Raises:
        SettingError: a setting is out of range.
    """

    def __init__(
        self,
        ceiling_dbtp: float,
        sample_rate: int,
        channels: int,
        *,
        lookahead_ms: float = 3.0,
        hold_ms: float = 10.0,
        release_ms: float = 100.0,
    ) -> None:
        for name, value, low, high in (
            ("ceiling_dbtp", ceiling_dbtp, -60.0, 0.0),
            ("lookahead_ms", lookahead_ms, 0.5, 20.0),
            ("hold_ms", hold_ms, 0.0, 100.0),
            ("release_ms", release_ms, 1.0, 5000.0),
            ("sample_rate", sample_rate, 1000, 768000),
            ("channels", channels, 1, 4096),
        ):
            if not low <= value <= high:
                raise SettingError(
                    f"TruePeakLimiter: {name} is {value:g}; expected {low:g} to {high:g}."
                )
        self.channels = channels
        self._ceiling = float(db_to_gain(ceiling_dbtp))
        self._target = float(db_to_gain(ceiling_dbtp - _MARGIN_DB))
        self._release = float(smoothing(release_ms, sample_rate))
        # twice the meter's oversampling, so that meters with other interpolators agree
        self._taps = interpolator(2 * oversampling(sample_rate))
        self._bound = 1.0001 * float(np.abs(self._taps).sum(axis=1).max())
        box = max(1, round(lookahead_ms * sample_rate / 3000.0))
        self._lengths = np.full(3, box)
        support = 3 * box - 2
        self._hold = support + round(hold_ms * sample_rate / 1000.0)
        self._scale = float(box) ** 3 * _ONE
        self.latency_frames = support - 1 + HALF_TAPS
        self._ints = np.zeros(9, np.int64)
        self._floats = np.zeros(2)
        self._queue = np.zeros((self._hold + 1, 2), np.int64)
        self._rings = np.zeros((3, box), np.int64)
        self._past: np.ndarray | None = None
        self._frames_in = self._frames_out = self._active = 0
        self._largest = 0
        self._ended = False

    def process(self, block: np.ndarray) -> np.ndarray:
        """Take a block [channels, n] and return the samples that are ready.

        The first ``latency_frames`` are held back; :meth:`flush` returns them at the end, so that
        output and input are aligned and have the same length.
        """
        if self._ended:
            raise AudioError("TruePeakLimiter: the stream has ended; make a new limiter.")
        block = checked_block(block, self.channels, "TruePeakLimiter.process")
        if block.shape[1] == 0:
            return block
        self._frames_in += block.shape[1]
        return self._run(block)

    def flush(self) -> np.ndarray:
        """The rest of the stream, [channels, n]."""
        self._ended = True
        left = self._frames_in - self._frames_out
        if self._past is None:
            return np.zeros((self.channels, 0), np.float32)
        return self._run(np.zeros((self.channels, self.latency_frames), self._past.dtype))[:, :left]

    def _run(self, block: np.ndarray) -> np.ndarray:
        delay, count = self.latency_frames, block.shape[1]
        lag = max(delay, 2 * HALF_TAPS - 1)
        if self._past is None:
            self._past = np.zeros((self.channels, lag), block.dtype)
            self._early = delay  # outputs before the first sample
        x = np.concatenate([self._past, block], axis=1)
        kind = x.dtype.type
        points, sample = np.empty(count, x.dtype), np.empty(count, x.dtype)
        near = np.ascontiguousarray(x[:, lag - (2 * HALF_TAPS - 1) :])
        taps = self._taps.astype(x.dtype)
        _peaks(near, taps, kind(self._bound), kind(self._ceiling), points, sample)
        steps = np.empty(count, np.int64)
        _gains(
            *(points, sample, self._ceiling, self._target, self._release, self._hold),
            *(self._lengths, self._ints, self._floats, self._queue, self._rings, steps),
        )
        drop = min(self._early, count)
        self._early -= drop
        steps = steps[drop:]
        delayed = x[:, lag - delay + drop : lag - delay + count]
        self._past = x[:, count:].copy()
        if len(steps):
            self._largest = max(self._largest, int(steps.max()))
            threshold = (1.0 - db_to_gain(-_ACTIVE_DB)) * self._scale
            self._active += int((steps > threshold).sum())
        self._frames_out += len(steps)
        return (delayed * (1.0 - steps / self._scale)).astype(x.dtype)

    def report(self) -> LimiterReport:
        """Gain reduction so far."""
        return LimiterReport(
            max_reduction_db=abs(gain_to_db(1.0 - self._largest / self._scale)),
            active_share=self._active / max(self._frames_out, 1),
        )
