"""Sums over the bins of every short-time frame, and their adjoint, without whole spectrograms.

A feature extractor that keeps power and magnitude of all frames of a batch moves them through
memory once per operation. Here one clip's frames are transformed and reduced while they lie in
the cache. Per frame, with ``P = |X|^2 / W`` of the Hann-windowed frame X of W samples::

    linear_l = sum_k weights[l, k] P_k
    magnitude = sum_k sqrt(P_k + FLOOR)         moment = sum_k frequency_k sqrt(P_k + FLOOR)
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from retone.kernels.stft_bins import overlap_add, write_frames
from retone.kernels.torch_rows import loose_njit, on_rows

FLOOR = 1e-10
Array = NDArray[np.float32]


@dataclass(frozen=True, eq=False)
class FramePlan:
    """What is summed: float32 arrays, contiguous.

    ``window`` [W] of frames that lie ``hop`` samples apart, the first centred on the first sample,
    edges mirrored; ``weights`` [L, F] on the power and ``frequency`` [F] on the magnitude, with
    F = W / 2 + 1.
    """

    window: Array
    hop: int
    weights: Array
    frequency: Array

    def frames(self, length: int) -> int:
        """Number of frames of so many samples."""
        return 1 + length // self.hop


@loose_njit
def _powers(spectrum, frequency, scale, power, magnitudes):  # type: ignore[no-untyped-def]
    floor = np.float32(FLOOR)
    for f in range(power.shape[0]):
        source, goal = spectrum[f], power[f]
        total: Any = np.float32(0.0)
        moment: Any = np.float32(0.0)
        for k in range(power.shape[1]):
            p = (source[2 * k] * source[2 * k] + source[2 * k + 1] * source[2 * k + 1]) * scale
            goal[k] = p
            m = np.sqrt(p + floor)
            total += m
            moment += m * frequency[k]
        magnitudes[f, 0] = total
        magnitudes[f, 1] = moment


@loose_njit
def _onto_spectrum(spectrum, frequency, scale, onto, onto_magnitudes, out):  # type: ignore[no-untyped-def]
    """The spectrum whose unscaled inverse transform is the gradient of the windowed frames."""
    floor, half = np.float32(FLOOR), np.float32(0.5)
    bins = onto.shape[1]
    for f in range(onto.shape[0]):
        source, goal, slopes = spectrum[f], out[f], onto[f]
        by_total, by_moment = onto_magnitudes[f, 0] * half, onto_magnitudes[f, 1] * half
        for k in range(bins):
            re, im = source[2 * k], source[2 * k + 1]
            m = np.sqrt((re * re + im * im) * scale + floor)
            g = (slopes[k] + (by_total + by_moment * frequency[k]) / m) * scale
            goal[2 * k] = g * re
            goal[2 * k + 1] = g * im
        for k in (0, bins - 1):  # the inverse transform counts all others twice
            goal[2 * k] *= np.float32(2.0)
            goal[2 * k + 1] = np.float32(0.0)


def measure_frames(audio: Array, plan: FramePlan, keep: bool) -> tuple[Array, Array, Array | None]:
    """The sums of every frame.

    Args:
        audio: clips [B, T], T >= 1, contiguous.
        plan: what is summed.
        keep: whether the spectra are kept for ``measure_frames_adjoint``.

    Returns:
        linear [B, N, L]; magnitude and moment [B, N, 2]; spectra [B, N, 2 F] or None.
    """
    batch, length = audio.shape
    count, size = plan.frames(length), plan.window.size
    bins = size // 2 + 1
    linear = torch.empty(batch, count, len(plan.weights))
    magnitudes = np.empty((batch, count, 2), np.float32)
    spectra = torch.empty(batch if keep else 0, count, bins, dtype=torch.complex64)
    weights, scale = torch.from_numpy(plan.weights.T), np.float32(1 / size)

    def work(start: int, stop: int) -> None:
        frames, power = torch.empty(count, size), torch.empty(count, bins)
        own = torch.empty(0 if keep else count, bins, dtype=torch.complex64)
        for row in range(start, stop):
            spectrum = spectra[row] if keep else own
            write_frames(audio[row], 0, plan.hop, plan.window, 0, frames.numpy())
            torch.fft.rfft(frames, out=spectrum)
            parts = torch.view_as_real(spectrum).flatten(1).numpy()
            _powers(parts, plan.frequency, scale, power.numpy(), magnitudes[row])
            torch.mm(power, weights, out=linear[row])

    on_rows(work, batch)
    kept = torch.view_as_real(spectra).flatten(2).numpy() if keep else None
    return linear.numpy(), magnitudes, kept


def measure_frames_adjoint(
    onto_linear: Array, onto_magnitudes: Array, spectra: Array, length: int, plan: FramePlan
) -> Array:
    """Gradient of the audio [B, T] from those of the sums; ``spectra`` as they were kept."""
    batch, count, _ = onto_linear.shape
    size = plan.window.size
    bins = size // 2 + 1
    out = np.zeros((batch, length), np.float32)
    weights, scale = torch.from_numpy(plan.weights), np.float32(1 / size)

    def work(start: int, stop: int) -> None:
        frames, onto = torch.empty(count, size), torch.empty(count, bins)
        spectrum = torch.empty(count, bins, dtype=torch.complex64)
        parts = torch.view_as_real(spectrum).flatten(1).numpy()
        for row in range(start, stop):
            torch.mm(torch.from_numpy(onto_linear[row]), weights, out=onto)
            _onto_spectrum(
                spectra[row], plan.frequency, scale, onto.numpy(), onto_magnitudes[row], parts
            )
            torch.fft.irfft(spectrum, n=size, norm="forward", out=frames)
            overlap_add(frames.numpy(), 0, plan.hop, plan.window, 0, out[row])

    on_rows(work, batch)
    return out
