"""Average spectrum of a recording of any length, block by block."""

from __future__ import annotations

import math

import numpy as np

from retone.audio.meters.spectrogram import Spectrogram
from retone.errors import AudioError, ShapeError

_AT_ONCE = 4  # segments; small enough for intermediate results to stay in cache
FLOOR_DB = -200.0
"""Reading for silence, in dB."""


class SpectrumMeter:
    """Welch's averaged periodogram, read out as level per 1/6 octave.

    Adjacent Hann windows in single precision, each segment's mean removed (P. Welch, "The use
    of fast Fourier transform for the estimation of power spectra", IEEE Trans. Audio 15(2), 1967);
    overlap would take twice the time and change a plot by less than its line width. The segment
    is the power of two that gives 4 to 8 Hz per bin (4096 or 8192 samples at 24..48 kHz), so
    recordings at different rates read alike. Channels are averaged in power.
    The result does not depend on the block size.

    Args:
        sample_rate: in Hz.
        over_time: also keep the spectrum over time, for ``spectrogram``.
    """

    def __init__(self, sample_rate: float, *, over_time: bool = False) -> None:
        if not sample_rate > 0:
            raise AudioError(f"SpectrumMeter: sample_rate must be positive, got {sample_rate}.")
        self.sample_rate = float(sample_rate)
        self.segment = 1 << max(6, math.ceil(math.log2(sample_rate / 8)))
        self._window = _hann(self.segment)
        self._density = np.zeros(self.segment // 2 + 1)
        self._count = 0
        self._pending: np.ndarray | None = None
        self.spectrogram = Spectrogram(self.sample_rate, self.segment) if over_time else None

    def update(self, block: np.ndarray) -> None:
        """Take the next block, [C, n], any n; the number of channels must stay."""
        if block.ndim != 2:
            raise ShapeError(f"SpectrumMeter: expected [C, n], got {list(block.shape)}.")
        if self._pending is None:
            self._pending = np.zeros((block.shape[0], 0), np.float32)
        if block.shape[0] != self._pending.shape[0]:
            raise ShapeError(
                f"SpectrumMeter: expected {self._pending.shape[0]} channels as before, "
                f"got {block.shape[0]}."
            )
        audio = np.concatenate([self._pending, block.astype(np.float32, copy=False)], axis=1)
        count = audio.shape[1] // self.segment
        used = count * self.segment
        if count:
            segments = audio[:, :used].reshape(audio.shape[0], count, self.segment)
            for first in range(0, count, _AT_ONCE):
                part = segments[:, first : first + _AT_ONCE]
                for power in self._periodograms(part, self._window):
                    self._density += power  # one by one: independent of the block size
                    if self.spectrogram is not None:
                        self.spectrogram.add(power)
            self._count += count
        self._pending = audio[:, used:].copy()

    def density(self) -> tuple[np.ndarray, np.ndarray]:
        """Bin frequencies in Hz and mean-square per Hz, both [segment / 2 + 1]."""
        frequency_hz = np.fft.rfftfreq(self.segment, 1 / self.sample_rate)
        if self._count:
            return frequency_hz, self._density / self._count
        audio = self._pending
        if audio is None or audio.shape[1] == 0:
            return frequency_hz, self._density.copy()
        # Shorter than one segment: a window of its own length.
        return frequency_hz, self._periodograms(audio[:, None], _hann(audio.shape[1]))[0]

    def result(self, frequency_hz: np.ndarray) -> np.ndarray:
        """Level in dB of the 1/6 octave around each frequency.

        A sine of amplitude 1 reads -3.01 dB at its frequency, white noise rises 3 dB per octave
        and pink noise is flat. Where 1/6 octave is narrower than two bins, the mean density of
        two bins is used.

        Args:
            frequency_hz: [F], above 0; bands beyond half the sample rate are cut there.

        Returns:
            [F] in dB, at least ``FLOOR_DB``.
        """
        f = np.asarray(frequency_hz, dtype=np.float64)
        bins, density = self.density()
        width = bins[1]
        edges = np.concatenate([[0.0], bins[:-1] + width / 2, bins[-1:]])
        energy = np.concatenate([[0.0], np.cumsum(density * np.diff(edges))])
        low, high = f * 2 ** (-1 / 12), f * 2 ** (1 / 12)
        wanted = high - low
        half = np.maximum(wanted, 2 * width) / 2
        narrow = wanted < 2 * width
        low, high = np.where(narrow, f - half, low), np.where(narrow, f + half, high)
        low, high = np.clip(low, 0, bins[-1]), np.clip(high, 0, bins[-1])
        power = np.interp(high, edges, energy) - np.interp(low, edges, energy)
        power *= np.where(narrow, wanted / np.maximum(high - low, 1e-9), 1.0)
        return 10 * np.log10(np.maximum(power, 10 ** (FLOOR_DB / 10)))

    def _periodograms(self, segments: np.ndarray, window: np.ndarray) -> np.ndarray:
        """Mean-square per Hz [N, F] of segments [C, N, segment], channels averaged."""
        from scipy.fft import rfft

        centred = segments - segments.mean(axis=-1, keepdims=True)
        centred *= window
        parts = rfft(centred, self.segment, axis=-1).view(np.float32)
        parts *= parts
        square = parts.sum(axis=0, dtype=np.float64)
        power: np.ndarray = square[:, ::2] + square[:, 1::2]
        share = len(segments) * self.sample_rate * max(float((window**2).sum()), 1e-12)
        power *= 2 / share  # for the negative frequencies too
        power[:, [0, -1]] *= 0.5
        return power


def _hann(length: int) -> np.ndarray:
    """Periodic Hann window."""
    hann = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(length) / max(length, 1))
    return hann.astype(np.float32)


def log_frequencies(sample_rate: float, count: int = 240, low_hz: float = 20.0) -> np.ndarray:
    """``count`` frequencies from ``low_hz`` to half the sample rate, evenly spaced in log."""
    return np.geomspace(low_hz, sample_rate / 2, count)
