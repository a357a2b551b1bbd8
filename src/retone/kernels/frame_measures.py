"""Sums over the bins of every short-time frame, and their adjoint, without whole spectrograms.

A feature extractor that keeps the power and magnitude of a whole batch moves them through memory
once per operation. Here the frames of one clip are transformed and reduced in cache. Per frame,
with ``P = |X|^2 / W`` of the windowed frame X of W samples::

    linear_l = sum_k weights[l, k] P_k
    magnitude = sum_k sqrt(P_k + FLOOR)         moment = sum_k frequency_k sqrt(P_k + FLOOR)
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from retone import core
from retone.kernels.rows import run_fft_rows

FLOOR = 1e-10
"""As in ``core/spectra.c``."""
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
    weights, scale = torch.from_numpy(plan.weights.T), 1 / size
    at = (0, count, plan.hop, 0, count, size)  # see core/spectra.c

    def work(start: int, stop: int) -> None:
        frames, power = torch.empty(count, size), torch.empty(count, bins)
        own = torch.empty(0 if keep else count, bins, dtype=torch.complex64)
        for row in range(start, stop):
            spectrum = spectra[row] if keep else own
            core.write_frames(audio[row], plan.window, frames.numpy(), length, size, *at)
            torch.fft.rfft(frames, out=spectrum)
            parts = torch.view_as_real(spectrum).flatten(1).numpy()
            core.frame_powers(
                parts, plan.frequency, power.numpy(), magnitudes[row], scale, count, bins
            )
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
    weights, scale = torch.from_numpy(plan.weights), 1 / size
    at = (0, count, plan.hop, 0, count, size)

    def work(start: int, stop: int) -> None:
        frames, grad = torch.empty(count, size), torch.empty(count, bins)
        spectrum = torch.empty(count, bins, dtype=torch.complex64)
        parts = torch.view_as_real(spectrum).flatten(1).numpy()
        for row in range(start, stop):
            torch.mm(torch.from_numpy(grad_linear[row]), weights, out=grad)
            core.frame_gradient(
                spectra[row], plan.frequency, grad.numpy(), grad_magnitudes[row], parts, scale,
                count, bins,
            )  # fmt: skip
            torch.fft.irfft(spectrum, n=size, norm="forward", out=frames)
            core.overlap_add(frames.numpy(), plan.window, out[row], length, size, *at)

    run_fft_rows(work, batch)
    return out
