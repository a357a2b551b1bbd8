"""Distance between two spectrograms and its gradient, without a graph.

The whole computation of a multi-resolution STFT loss, fused: windowed frames with mirrored edges,
real FFT, logarithmic and linear magnitude differences, their exact derivative, inverse FFT,
overlap-add; the loops are in ``core/spectra.c``. Frames are processed in chunks that stay in cache,
so memory does not grow with the batch, and the gradient is ready when the forward pass ends.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch

from retone import core
from retone.kernels.rows import run_fft_rows

CHUNK_SAMPLES = 131072  # framed samples (estimate and target) per chunk: 1 MB with the spectra
MIN_PAIRS = 16  # per chunk: setting up an FFT costs about as much as eight frames


@dataclass(frozen=True)
class Terms:
    """Weights of the three terms: log magnitude, linear magnitude, spectral convergence."""

    log: float = 1.0
    linear: float = 1.0
    convergence: float = 0.0


@dataclass(frozen=True)
class Resolution:
    """One STFT: sizes in samples, periodic Hann window centred in the FFT (even size)."""

    fft_size: int
    hop: int
    window: int

    @property
    def bins(self) -> int:
        """Number of frequencies, DC and Nyquist included."""
        return self.fft_size // 2 + 1

    def frames(self, length: int) -> int:
        """Number of frames of a centred STFT."""
        return 1 + length // self.hop

    def hann(self) -> np.ndarray:
        """The window in float32."""
        return torch.hann_window(self.window).numpy()

    @property
    def offset(self) -> int:
        """Zeros in front of the window inside a frame."""
        return (self.fft_size - self.window) // 2


class _Scratch:
    """Buffers of one thread for one resolution."""

    def __init__(self, resolution: Resolution, pairs: int, kept: int = 0) -> None:
        self.resolution = resolution
        self.window = resolution.hann()
        self.frames = torch.empty(2 * pairs, resolution.fft_size)
        self.spectrum = torch.empty(max(2 * pairs, kept), resolution.bins, dtype=torch.complex64)
        self.framed = self.frames.numpy()
        self.interleaved = torch.view_as_real(self.spectrum).flatten(1).numpy()
        self.power = np.empty((max(pairs, kept), resolution.bins), dtype=np.float32)

    def write(self, signals: np.ndarray, first: int, count: int, at: int) -> None:
        """Frames first, first + 1, ... of signals [R, T], counted over all rows."""
        core.write_frames(
            signals, self.window, self.framed[at:], *self._where(signals, first, count)
        )

    def _where(self, signals: np.ndarray, first: int, count: int) -> tuple[int, ...]:
        r, length = self.resolution, signals.shape[1]
        return length, r.window, first, r.frames(length), r.hop, r.offset, count, r.fft_size

    def transform(self, count: int, to: int = 0) -> None:
        torch.fft.rfft(self.frames[:count], out=self.spectrum[to : to + count])

    def invert(self, count: int, at: int = 0) -> None:
        torch.fft.irfft(
            self.spectrum[at : at + count],
            n=self.resolution.fft_size,
            norm="forward",
            out=self.frames[:count],
        )

    def add(self, signals: np.ndarray, first: int, count: int) -> None:
        """Adjoint of ``write``."""
        core.overlap_add(self.framed, self.window, signals, *self._where(signals, first, count))

    def spectra(self, at: int) -> np.ndarray:
        """The spectra from ``at`` on."""
        return self.interleaved[at:]


def _chunk(resolution: Resolution, frames: int) -> int:
    """Pairs of frames per transform call: they fit the cache but amortise the FFT set-up."""
    return min(frames, max(MIN_PAIRS, CHUNK_SAMPLES // (2 * resolution.fft_size)))


def target_powers(target: np.ndarray, plan: tuple[Resolution, ...]) -> list[np.ndarray]:
    """Floored power spectrograms of a target, for repeated use.

    Args:
        target: waveforms [R, T], float32, contiguous.
        plan: the resolutions.

    Returns:
        One array [R, N, F] per resolution.
    """
    rows, length = target.shape
    powers = [np.empty((rows, r.frames(length), r.bins), dtype=np.float32) for r in plan]

    def work(start: int, stop: int) -> None:
        for resolution, power in zip(plan, powers, strict=True):
            frames = resolution.frames(length)
            chunk = _chunk(resolution, frames * (stop - start))
            scratch = _Scratch(resolution, chunk)
            flat = power.reshape(-1, resolution.bins)
            for first in range(start * frames, stop * frames, chunk):
                count = min(chunk, stop * frames - first)
                scratch.write(target, first, count, 0)
                scratch.transform(count)
                core.power(scratch.interleaved, flat[first:], count, resolution.bins)

    run_fft_rows(work, rows)
    return powers


def stft_distance(
    estimate: np.ndarray,
    target: np.ndarray | list[np.ndarray],
    plan: tuple[Resolution, ...],
    terms: Terms,
    gradient: bool,
) -> tuple[np.ndarray, np.ndarray | None]:
    """Mean distance over the resolutions, one number per row, and its gradient.

    Args:
        estimate: waveforms [R, T], float32, contiguous.
        target: waveforms [R, T], float32, contiguous, or the result of ``target_powers``.
        plan: the resolutions.
        terms: weights of the terms.
        gradient: whether to compute the derivative.

    Returns:
        Distances [R] in float64, and their derivatives by the estimate [R, T] in float32 or None.
    """
    rows, length = estimate.shape
    distances = np.zeros(rows)
    slopes = np.zeros_like(estimate) if gradient else None
    per_row = _with_convergence if terms.convergence else _without_convergence

    def work(start: int, stop: int) -> None:
        for index, resolution in enumerate(plan):
            reference = target[index] if isinstance(target, list) else target
            share = 1.0 / len(plan)
            per_row(start, stop, estimate, reference, resolution, terms, share, distances, slopes)

    run_fft_rows(work, rows)
    return distances, slopes


def _without_convergence(
    start: int,
    stop: int,
    estimate: np.ndarray,
    target: np.ndarray,
    resolution: Resolution,
    terms: Terms,
    share: float,
    distances: np.ndarray,
    slopes: np.ndarray | None,
) -> None:
    """Chunks run across rows, so that even a few long frames fill a transform call."""
    frames, bins = resolution.frames(estimate.shape[1]), resolution.bins
    chunk = _chunk(resolution, frames * (stop - start))
    scratch = _Scratch(resolution, chunk)
    mean = share / (frames * bins)
    weights = terms.log * mean, terms.linear * mean, 0.0
    sums = np.zeros((len(estimate), 2))
    powers = target.reshape(-1, bins) if target.ndim == 3 else None
    for first in range(start * frames, stop * frames, chunk):
        count = min(chunk, stop * frames - first)
        scratch.write(estimate, first, count, 0)
        if powers is None:
            scratch.write(target, first, count, count)
        scratch.transform(count if powers is not None else 2 * count)
        core.compare(
            scratch.interleaved, scratch.spectra(count) if powers is None else powers[first:],
            sums, *weights, first, frames, count, bins, powers is not None, slopes is not None,
        )  # fmt: skip
        if slopes is not None:
            scratch.invert(count)
            scratch.add(slopes, first, count)
    distances[start:stop] += mean * (sums[start:stop] @ (terms.log, terms.linear))


def _with_convergence(
    start: int,
    stop: int,
    estimate: np.ndarray,
    target: np.ndarray,
    resolution: Resolution,
    terms: Terms,
    share: float,
    distances: np.ndarray,
    slopes: np.ndarray | None,
) -> None:
    """Spectral convergence needs sums over all frames first, so the spectra of a row are kept."""
    frames, bins = resolution.frames(estimate.shape[1]), resolution.bins
    chunk = _chunk(resolution, frames)
    scratch = _Scratch(resolution, chunk, frames)
    mean = share / (frames * bins)
    prepared = target.ndim == 3
    for row in range(start, stop):
        power = target[row] if prepared else scratch.power
        sums, pieces = np.zeros((2, 2)), range(0, frames, chunk)
        for first in () if prepared else pieces:
            count = min(chunk, frames - first)
            scratch.write(target, row * frames + first, count, 0)
            scratch.transform(count)
            core.power(scratch.interleaved, power[first:], count, bins)
        for first in pieces:
            count = min(chunk, frames - first)
            scratch.write(estimate, row * frames + first, count, 0)
            scratch.transform(count, to=first)
            core.convergence_sums(scratch.spectra(first), power[first:], sums[0], count, bins)
        difference, energy = (float(v) for v in np.sqrt(sums[0]))
        distances[row] += share * terms.convergence * difference / energy
        slope = share * terms.convergence / (difference * energy) if difference > 0 else 0.0
        for first in pieces:
            count = min(chunk, frames - first)
            core.compare(
                scratch.spectra(first), power[first:], sums[1], terms.log * mean,
                terms.linear * mean, slope, 0, count, count, bins, True, slopes is not None,
            )  # fmt: skip
            if slopes is not None:
                scratch.invert(count, at=first)
                scratch.add(slopes, row * frames + first, count)
        distances[row] += mean * (sums[1] @ (terms.log, terms.linear))
