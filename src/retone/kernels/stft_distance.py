"""Distance between two spectrograms and its gradient, without a graph.

The whole computation of a multi-resolution STFT loss, fused: windowed frames with mirrored edges,
real FFT, logarithmic and linear magnitude differences, their exact derivative, inverse FFT,
overlap-add. Frames are processed in chunks that stay in cache, so memory does not grow with the
batch, and the gradient is ready when the forward pass ends.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch

from retone.kernels.fft_rows import run_fft_rows
from retone.kernels.stft_bins import (
    compare,
    convergence_sums,
    overlap_add,
    write_frames,
)
from retone.kernels.stft_bins import power as power_of

CHUNK_SAMPLES = 131072  # framed samples (estimate and target) per chunk: 1 MB with the spectra
MIN_PAIRS = 16  # per chunk: setting up an FFT costs about as much as eight frames

_Segment = tuple[int, int, int, int]


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

    def write(self, signal: np.ndarray, first: int, count: int, at: int) -> None:
        r = self.resolution
        write_frames(signal, first, r.hop, self.window, r.offset, self.framed[at : at + count])

    def transform(self, count: int, to: int = 0) -> None:
        torch.fft.rfft(self.frames[:count], out=self.spectrum[to : to + count])

    def invert(self, count: int, at: int = 0) -> None:
        torch.fft.irfft(
            self.spectrum[at : at + count],
            n=self.resolution.fft_size,
            norm="forward",
            out=self.frames[:count],
        )

    def add(self, signal: np.ndarray, first: int, count: int, at: int) -> None:
        r = self.resolution
        overlap_add(self.framed[at : at + count], first, r.hop, self.window, r.offset, signal)


def _chunk(resolution: Resolution, frames: int) -> int:
    """Pairs of frames per transform call: they fit the cache but amortise the FFT set-up."""
    return min(frames, max(MIN_PAIRS, CHUNK_SAMPLES // (2 * resolution.fft_size)))


def _segments(start: int, stop: int, frames: int, chunk: int) -> Iterator[list[_Segment]]:
    """Cut the frames of rows start..stop-1 into chunks: lists of (row, first, count, at)."""
    for low in range(start * frames, stop * frames, chunk):
        high = min(low + chunk, stop * frames)
        parts = []
        for row in range(low // frames, (high - 1) // frames + 1):
            first = max(low - row * frames, 0)
            count = min(high - row * frames, frames) - first
            parts.append((row, first, count, row * frames + first - low))
        yield parts


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
            for parts in _segments(start, stop, frames, chunk):
                for row, first, count, at in parts:
                    scratch.write(target[row], first, count, at)
                scratch.transform(at + count)
                for row, first, count, at in parts:
                    power_of(
                        scratch.interleaved[at : at + count], power[row, first : first + count]
                    )

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
    frames = resolution.frames(estimate.shape[1])
    chunk = _chunk(resolution, frames * (stop - start))
    scratch = _Scratch(resolution, chunk)
    mean = share / (frames * resolution.bins)
    weights = np.float32(terms.log * mean), np.float32(terms.linear * mean), np.float32(0.0)
    prepared = target.ndim == 3
    for parts in _segments(start, stop, frames, chunk):
        total = sum(count for _, _, count, _ in parts)
        for row, first, count, at in parts:
            scratch.write(estimate[row], first, count, at)
            if not prepared:
                scratch.write(target[row], first, count, total + at)
        scratch.transform(total if prepared else 2 * total)
        if not prepared:
            power_of(scratch.interleaved[total : 2 * total], scratch.power[:total])
        for row, first, count, at in parts:
            power = target[row, first : first + count] if prepared else scratch.power[at:]
            spectrum = scratch.interleaved[at : at + count]
            logs, differences = compare(spectrum, power[:count], *weights, slopes is not None)
            distances[row] += mean * (terms.log * logs + terms.linear * differences)
        if slopes is not None:
            scratch.invert(total)
            for row, first, count, at in parts:
                scratch.add(slopes[row], first, count, at)


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
    frames = resolution.frames(estimate.shape[1])
    chunk = _chunk(resolution, frames)
    scratch = _Scratch(resolution, chunk, frames)
    mean = share / (frames * resolution.bins)
    weights = np.float32(terms.log * mean), np.float32(terms.linear * mean)
    prepared = target.ndim == 3
    for row in range(start, stop):
        power = target[row] if prepared else scratch.power
        pieces = [part for parts in _segments(0, 1, frames, chunk) for part in parts]
        if not prepared:
            for _, first, count, _ in pieces:
                scratch.write(target[row], first, count, 0)
                scratch.transform(count)
                power_of(scratch.interleaved[:count], power[first : first + count])
        difference = energy = 0.0
        for _, first, count, _ in pieces:
            scratch.write(estimate[row], first, count, 0)
            scratch.transform(count, to=first)
            here = slice(first, first + count)
            sums = convergence_sums(scratch.interleaved[here], power[here])
            difference, energy = difference + sums[0], energy + sums[1]
        difference, energy = float(np.sqrt(difference)), float(np.sqrt(energy))
        distances[row] += share * terms.convergence * difference / energy
        slope = share * terms.convergence / (difference * energy) if difference > 0 else 0.0
        for _, first, count, _ in pieces:
            here = slice(first, first + count)
            logs, differences = compare(
                scratch.interleaved[here], power[here], *weights, np.float32(slope),
                slopes is not None,
            )  # fmt: skip
            distances[row] += mean * (terms.log * logs + terms.linear * differences)
            if slopes is not None:
                scratch.invert(count, at=first)
                scratch.add(slopes[row], first, count, 0)
