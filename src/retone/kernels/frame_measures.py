"""Sums over the bins of every short-time frame, and their adjoint, without whole spectrograms.

A feature extractor that keeps the power and magnitude of a whole batch moves them through memory
once per operation. Here the frames of one clip are transformed and reduced in cache. Per frame,
with ``P = |X|^2 / W`` of the windowed frame X of W samples::

    linear_l = sum_k weights[l, k] P_k
    magnitude = sum_k sqrt(P_k + FLOOR)         moment = sum_k frequency_k sqrt(P_k + FLOOR)
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from retone.kernels.fft_rows import run_fft_rows
from retone.kernels.jit import fastmath_njit
from retone.kernels.stft_bins import overlap_add, write_frames

FLOOR = 1e-10
Array = NDArray[np.float32]


@dataclass(frozen=True, eq=False)
class FramePlan:
    """What to sum: contiguous float32 arrays.

    ``window`` [W], for frames ``hop`` samples apart, the first centred on the first sample, edges
    mirrored; ``weights`` [L, F] for the power and ``frequency`` [F] for the magnitude, with
    F = W / 2 + 1.
    """

    window: Array
    hop: int
    weights: Array
    frequency: Array

    def frames(self, length: int) -> int:
        """Number of frames in ``length`` samples."""
        return 1 + length // self.hop


@fastmath_njit
def _powers(spectrum, frequency, scale, power, magnitudes):  # type: ignore[no-untyped-def]
    floor = np.float32(FLOOR)
    for f in range(power.shape[0]):
        source, out_row = spectrum[f], power[f]
        total: Any = np.float32(0.0)
        moment: Any = np.float32(0.0)
        for k in range(power.shape[1]):
            p = (source[2 * k] * source[2 * k] + source[2 * k + 1] * source[2 * k + 1]) * scale
            out_row[k] = p
            m = np.sqrt(p + floor)
            total += m
            moment += m * frequency[k]
        magnitudes[f, 0] = total
        magnitudes[f, 1] = moment


@fastmath_njit
def _spectrum_gradient(spectrum, frequency, scale, grad, grad_magnitudes, out):  # type: ignore[no-untyped-def]
    """The spectrum whose unscaled inverse transform is the gradient of the windowed frames."""
    floor, half = np.float32(FLOOR), np.float32(0.5)
    bins = grad.shape[1]
    for f in range(grad.shape[0]):
        source, out_row, slopes = spectrum[f], out[f], grad[f]
        by_total, by_moment = grad_magnitudes[f, 0] * half, grad_magnitudes[f, 1] * half
        for k in range(bins):
            re, im = source[2 * k], source[2 * k + 1]
            m = np.sqrt((re * re + im * im) * scale + floor)
            g = (slopes[k] + (by_total + by_moment * frequency[k]) / m) * scale
            out_row[2 * k] = g * re
            out_row[2 * k + 1] = g * im
        for k in (0, bins - 1):  # the inverse transform counts all other bins twice
            out_row[2 * k] *= np.float32(2.0)
            out_row[2 * k + 1] = np.float32(0.0)


def measure_frames(audio: Array, plan: FramePlan, keep: bool) -> tuple[Array, Array, Array | None]:
    """Compute the sums of every frame.

    Args:
        audio: clips [B, T], T >= 1, contiguous.
        plan: what to sum.
        keep: whether to keep the spectra for ``measure_frames_adjoint``.

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

    run_fft_rows(work, batch)
    kept = torch.view_as_real(spectra).flatten(2).numpy() if keep else None
    return linear.numpy(), magnitudes, kept


def measure_frames_adjoint(
    grad_linear: Array, grad_magnitudes: Array, spectra: Array, length: int, plan: FramePlan
) -> Array:
    """Gradient on the audio [B, T] from the gradients on the sums and the kept spectra."""
    batch, count, _ = grad_linear.shape
    size = plan.window.size
    bins = size // 2 + 1
    out = np.zeros((batch, length), np.float32)
    weights, scale = torch.from_numpy(plan.weights), np.float32(1 / size)

    def work(start: int, stop: int) -> None:
        frames, grad = torch.empty(count, size), torch.empty(count, bins)
        spectrum = torch.empty(count, bins, dtype=torch.complex64)
        parts = torch.view_as_real(spectrum).flatten(1).numpy()
        for row in range(start, stop):
            torch.mm(torch.from_numpy(grad_linear[row]), weights, out=grad)
            _spectrum_gradient(
                spectra[row], plan.frequency, scale, grad.numpy(), grad_magnitudes[row], parts
            )
            torch.fft.irfft(spectrum, n=size, norm="forward", out=frames)
            overlap_add(frames.numpy(), 0, plan.hop, plan.window, 0, out[row])

    run_fft_rows(work, batch)
    return out
