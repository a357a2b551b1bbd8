"""Bandwidth: where the content of a recording ends, and whether it ends in a steep edge."""

from __future__ import annotations

import numpy as np

_BIN_HZ = 12.0
_SMOOTH_HZ = 120.0
_SIDE_HZ = (100.0, 600.0)  # what is compared on both sides of a possible edge
_EDGE_DB = 20.0
_RETURN_DB = 12.0  # what lies above an edge stays this far below what lies below it
_RANGE_DB = 70.0
_LOWEST_EDGE_HZ = 1500.0


class BandwidthMeter:
    """Where the content of a stream ends, from its mean power spectrum.

    Hann windows of about 12 Hz per bin, no overlap, summed over channels.

    Args:
        sample_rate: in Hz.
        channels: number of channels.
    """

    def __init__(self, sample_rate: int, channels: int) -> None:
        self.sample_rate = sample_rate
        self.size = 2 ** round(np.log2(sample_rate / _BIN_HZ))
        self._window = np.hanning(self.size).astype(np.float32)
        self._power = np.zeros(self.size // 2 + 1)
        self._rest = np.zeros((channels, 0), np.float32)
        self._count = 0

    def update(self, block: np.ndarray) -> None:
        """Take the next block [channels, n]."""
        x = np.concatenate([self._rest, block.astype(np.float32, copy=False)], axis=1)
        count = x.shape[1] // self.size
        for i in range(count):
            frame = x[:, i * self.size : (i + 1) * self.size]
            self._add(frame)
        self._rest = x[:, count * self.size :].copy()

    def _add(self, frame: np.ndarray) -> None:
        spectrum = np.fft.rfft(frame * self._window)
        self._power += (spectrum.real**2 + spectrum.imag**2).sum(axis=0)
        self._count += 1

    def result(self) -> tuple[float, bool]:
        """Highest frequency with content in Hz, and whether it ends in a steep edge."""
        return bandwidth(*self.spectrum())

    def spectrum(self) -> tuple[np.ndarray, np.ndarray]:
        """Frequencies in Hz and mean power; a full-scale sine reads about 1/4."""
        power, count = self._power, self._count
        if count == 0:  # shorter than one frame
            frame = np.pad(self._rest, ((0, 0), (0, self.size - self._rest.shape[1])))
            power, count = (np.abs(np.fft.rfft(frame * self._window)) ** 2).sum(axis=0), 1
        frequency = np.fft.rfftfreq(self.size, 1.0 / self.sample_rate)
        return frequency, power / count / float(self._window.sum()) ** 2


def bandwidth(frequency_hz: np.ndarray, power: np.ndarray) -> tuple[float, bool]:
    """Highest frequency with content, and whether the spectrum ends there in a steep edge.

    A steep edge is a drop of 20 dB or more from the 500 Hz below to the 500 Hz above, with no
    content above it; resampling, telephone lines and lossy coding leave such edges.
    Without one, content ends where the smoothed spectrum is last within 70 dB of its maximum.

    Args:
        frequency_hz: [bins], even steps.
        power: [bins].

    Returns:
        Frequency in Hz (0 for silence), and True if there is an edge below half the rate.
    """
    step = float(frequency_hz[1])
    if not power.any():
        return 0.0, False
    db = 10.0 * np.log10(power + 1e-20)
    width = max(1, round(_SMOOTH_HZ / step))
    # Below the floor there is nothing, however far: a deep edge lies where a shallow one would.
    db = np.maximum(db, _smoothed(db, width).max() - _RANGE_DB - _EDGE_DB)
    smooth = _smoothed(db, width)
    near, far = (max(1, round(hz / step)) for hz in _SIDE_HZ)
    span = far - near
    sums = np.concatenate([[0.0], np.cumsum(db)])
    mean = (sums[span:] - sums[:-span]) / span  # mean[i]: bins i ... i + span - 1
    at = np.arange(max(far, round(_LOWEST_EDGE_HZ / step)), len(db) - far)
    last = int(np.flatnonzero(smooth > smooth.max() - _RANGE_DB)[-1])
    if len(at):
        below, above = mean[at - far], mean[at + near]
        highest_after = np.maximum.accumulate(smooth[::-1])[::-1]
        steep = (below - above > _EDGE_DB) & (highest_after[at + near] < below - _RETURN_DB)
        if steep.any():
            first = int(steep.argmax())
            run = steep[first:]
            end = first + (int(run.argmin()) if not run.all() else len(run))
            best = first + int((below - above)[first:end].argmax())
            edge = int(at[best])
            still = smooth[edge - near : edge + far] > below[best] - _EDGE_DB
            edge += int(np.flatnonzero(still)[-1]) - near if still.any() else 0
            if edge < last + near:
                return float(frequency_hz[edge]), True
    return float(frequency_hz[last]), False


def _smoothed(db: np.ndarray, width: int) -> np.ndarray:
    smooth = np.convolve(np.pad(db, width, mode="edge"), np.ones(width) / width, "same")
    return smooth[width:-width]
