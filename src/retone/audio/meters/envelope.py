"""Waveform envelope and level histogram of signals of any length."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from retone.errors import SettingError, ShapeError


class Envelope(NamedTuple):
    """``time_s`` [P] (middle of each segment), ``low`` and ``high`` [R, P]."""

    time_s: np.ndarray
    low: np.ndarray
    high: np.ndarray


class EnvelopeMeter:
    """Minimum and maximum of every row over at most ``points`` segments of equal length.

    The length of the recording need not be known: when all segments are full, neighbours are
    merged and segments become twice as long. The result does not depend on the block size.

    Args:
        sample_rate: in Hz.
        points: maximum number of segments, even.
    """

    def __init__(self, sample_rate: float, *, points: int = 1500) -> None:
        if points < 2 or points % 2:
            raise SettingError(f"EnvelopeMeter: points must be even and above 0, got {points}.")
        self.sample_rate = float(sample_rate)
        self.points = points
        self._stretch = 1
        self._filled = 0  # samples in all segments, the last possibly unfinished
        self._low: np.ndarray | None = None
        self._high: np.ndarray | None = None

    def update(self, rows: np.ndarray) -> None:
        """Take the next block, [R, n]; rows are channels, or curves over time."""
        if rows.ndim != 2:
            raise ShapeError(f"EnvelopeMeter: expected [R, n], got {list(rows.shape)}.")
        if self._low is None or self._high is None:
            self._low = np.full((rows.shape[0], self.points), np.inf)
            self._high = np.full((rows.shape[0], self.points), -np.inf)
        low, high = self._low, self._high
        if rows.shape[0] != low.shape[0]:
            raise ShapeError(
                f"EnvelopeMeter: expected {low.shape[0]} rows as before, got {rows.shape[0]}."
            )
        start = 0
        while start < rows.shape[1]:
            if self._filled == self.points * self._stretch:
                self._halve()
            room = self.points * self._stretch - self._filled
            part = rows[:, start : start + room]
            first = np.arange(-self._filled % self._stretch, part.shape[1], self._stretch)
            if not len(first) or first[0] > 0:
                first = np.concatenate([[0], first])
            where = (self._filled + first) // self._stretch
            low[:, where] = np.minimum(low[:, where], np.minimum.reduceat(part, first, axis=1))
            high[:, where] = np.maximum(high[:, where], np.maximum.reduceat(part, first, axis=1))
            self._filled += part.shape[1]
            start += part.shape[1]

    def _halve(self) -> None:
        assert self._low is not None and self._high is not None
        half = self.points // 2
        low = self._low.reshape(-1, half, 2).min(axis=2)
        high = self._high.reshape(-1, half, 2).max(axis=2)
        self._low[:, :half], self._high[:, :half] = low, high
        self._low[:, half:], self._high[:, half:] = np.inf, -np.inf
        self._stretch *= 2

    def result(self) -> Envelope:
        """The envelope so far; empty arrays before the first sample."""
        if self._low is None or self._high is None:
            return Envelope(np.zeros(0), np.zeros((1, 0)), np.zeros((1, 0)))
        count = -(-self._filled // self._stretch)
        time_s = (np.arange(count) + 0.5) * self._stretch / self.sample_rate
        return Envelope(time_s, self._low[:, :count].copy(), self._high[:, :count].copy())


class LevelHistogram:
    """Histogram of a recording's level: peaks of 10 ms segments, loudest channel.

    Args:
        sample_rate: in Hz.
        low_db: segments quieter than this are not counted.
        step_db: width of a bin.
    """

    def __init__(self, sample_rate: float, low_db: float = -80.0, step_db: float = 1.0) -> None:
        self._stretch = max(1, round(sample_rate / 100))
        self.edges_db = np.arange(low_db, step_db / 2, step_db)
        self._counts = np.zeros(len(self.edges_db) - 1)
        self._pending = np.zeros(0)

    def update(self, block: np.ndarray) -> None:
        """Take the next block, [C, n]."""
        if block.ndim != 2:
            raise ShapeError(f"LevelHistogram: expected [C, n], got {list(block.shape)}.")
        peak = np.abs(block).max(axis=0) if block.shape[0] else np.zeros(0)
        audio = np.concatenate([self._pending, peak])
        whole = audio.size // self._stretch * self._stretch
        self._pending = audio[whole:].copy()
        self._count(audio[:whole].reshape(-1, self._stretch).max(axis=1))

    def _count(self, peaks: np.ndarray) -> None:
        level = 20 * np.log10(np.maximum(peaks, 1e-10))
        level = np.minimum(level, self.edges_db[-1])  # the last bin takes everything above
        self._counts += np.histogram(level, self.edges_db)[0]

    def share(self) -> np.ndarray:
        """Share of the counted segments in each bin; zeros if none was counted."""
        total = self._counts.sum()
        return self._counts / total if total else self._counts.copy()
