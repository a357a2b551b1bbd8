"""Levels by time and frequency of a recording of any length, for a picture."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

BANDS = 96
LOWEST_HZ = 30.0


class Picture(NamedTuple):
    """``time_s`` [T + 1] and ``frequency_hz`` [F + 1] are the edges of ``level_db`` [F, T]."""

    time_s: np.ndarray
    frequency_hz: np.ndarray
    level_db: np.ndarray


class Spectrogram:
    """Power spectra of successive segments, joined so that no more than ``columns`` are kept.

    Args:
        sample_rate: in Hz.
        segment: length of a segment in samples.
        columns: largest number of columns of the picture, even.
    """

    def __init__(self, sample_rate: float, segment: int, *, columns: int = 480) -> None:
        self.sample_rate, self.segment, self.columns = sample_rate, segment, columns
        self.edges_hz = np.geomspace(LOWEST_HZ, sample_rate / 2, BANDS + 1)
        bins = self.edges_hz * segment / sample_rate
        self._low = np.minimum(np.floor(bins[:-1] + 0.5).astype(int), segment // 2)
        self._high = np.maximum(np.floor(bins[1:] + 0.5).astype(int), self._low + 1)
        self._joined = 1
        self._full: list[np.ndarray] = []
        self._open = np.zeros(BANDS)
        self._count = 0

    def add(self, power: np.ndarray) -> None:
        """Take the next segment's mean-square per Hz [segment / 2 + 1]."""
        total = np.concatenate([[0.0], np.cumsum(power)])
        self._open += (total[self._high] - total[self._low]) / (self._high - self._low)
        self._count += 1
        if self._count < self._joined:
            return
        self._full.append(self._open / self._count)
        self._open, self._count = np.zeros(BANDS), 0
        if len(self._full) == self.columns:
            pairs = np.array(self._full).reshape(-1, 2, BANDS)
            self._full = list(pairs.mean(axis=1))
            self._joined *= 2

    def result(self) -> Picture | None:
        """The picture so far, in dB of a third of an octave; None before the first segment."""
        columns = list(self._full)
        if self._count:
            columns.append(self._open / self._count)
        if not columns:
            return None
        middle = np.sqrt(self.edges_hz[1:] * self.edges_hz[:-1])
        power = np.array(columns).T * (0.2316 * middle)[:, None]
        step = self._joined * self.segment / self.sample_rate
        time_s = np.arange(len(columns) + 1) * step
        return Picture(time_s, self.edges_hz, 10 * np.log10(np.maximum(power, 1e-20)))
