"""A look-ahead limiter that holds a stream's true peak under a ceiling."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from retone import core
from retone.audio.meters.true_peak import (
    HALF_TAPS,
    checked_block,
    interpolator,
    oversampling,
)
from retone.errors import AudioError, SettingError
from retone.units import db_to_gain, gain_to_db, smoothing

# Gain reduction is stored in integer steps, so that the moving averages are exact: a passage that
# needs none gets a gain of exactly 1, and the result does not depend on the block size.
_ONE = 2**36
_MARGIN_DB = 0.02  # the gain changes slightly within an interpolated point
_ACTIVE_DB = 0.01
_MOST_DB = 20.0 * 36.0 * 0.30103  # one step; below it the gain is 0


@dataclass(frozen=True)
class LimiterReport:
    """Largest gain reduction of a limiter in dB (0 or more), and share of time it was active."""

    max_reduction_db: float
    active_share: float


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
        single = core.is_single(x)
        points, sample = np.empty(count, x.dtype), np.empty(count, x.dtype)
        near = np.ascontiguousarray(x[:, lag - (2 * HALF_TAPS - 1) :])
        core.limiter_peaks(
            near, self._taps, points, sample, *near.shape, len(self._taps), self._bound,
            self._ceiling, single,
        )  # fmt: skip
        steps = np.empty(count, np.int64)
        core.limiter_gain(
            points, sample, self._ints, self._floats, self._queue, self._rings, steps,
            count, len(self._queue), self._rings.shape[1], self._hold, _ONE,
            self._ceiling, self._target, self._release, single,
        )  # fmt: skip
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
            max_reduction_db=min(abs(gain_to_db(1.0 - self._largest / self._scale)), _MOST_DB),
            active_share=self._active / max(self._frames_out, 1),
        )
