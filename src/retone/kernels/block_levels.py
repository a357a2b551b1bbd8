"""Block mean squares for several block lengths, clip mean square and peak, and the adjoint."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from retone.compiled import njit
from retone.kernels.jit import fastmath_njit

Array = NDArray[np.float32]


@njit(nogil=True, cache=True, fastmath={"nnan", "nsz", "reassoc"}, boundscheck=False)
def _peak(x):  # type: ignore[no-untyped-def]
    """Largest absolute value of a signal and the index of its first occurrence."""
    peak, peak_index = np.float32(-1.0), 0
    for start in range(0, x.shape[0], 256):
        part = x[start : start + 256]
        highest: Any = np.float32(0.0)
        for i in range(part.shape[0]):
            v = abs(part[i])
            highest = v if v > highest else highest
        if highest > peak:
            peak, peak_index = highest, start
    while peak_index < x.shape[0] - 1 and abs(x[peak_index]) != peak:
        peak_index += 1
    return abs(x[peak_index]), peak_index


@fastmath_njit
def _energy(part):  # type: ignore[no-untyped-def]
    total: Any = np.float32(0.0)
    for i in range(part.shape[0]):
        total += part[i] * part[i]
    return total


@fastmath_njit
def _forward(x, sizes, blocks, whole, peak_indices):  # type: ignore[no-untyped-def]
    length = x.shape[1]
    for b in range(x.shape[0]):
        row = x[b]
        at = 0
        for size in sizes:
            for k in range(length // size):
                blocks[b, at] = _energy(row[k * size : (k + 1) * size]) / np.float32(size)
                at += 1
        energy = 0.0
        for start in range(0, length, 4096):
            energy += _energy(row[start : start + 4096])
        whole[b, 0] = energy / length
        whole[b, 1], peak_indices[b] = _peak(row)


@fastmath_njit
def _backward(x, sizes, grad_blocks, grad_whole, peak_indices, out):  # type: ignore[no-untyped-def]
    length = x.shape[1]
    for b in range(x.shape[0]):
        by_mean = grad_whole[b, 0] * np.float32(2.0 / length)
        for i in range(length):
            out[b, i] = by_mean
        at = 0
        for size in sizes:
            for k in range(length // size):
                slope = grad_blocks[b, at] * np.float32(2.0 / size)
                for i in range(k * size, (k + 1) * size):
                    out[b, i] += slope
                at += 1
        for i in range(length):
            out[b, i] *= x[b, i]
        peak_index = peak_indices[b]
        out[b, peak_index] += grad_whole[b, 1] * np.sign(x[b, peak_index])


def block_levels(x: Array, sizes: NDArray[np.int64]) -> tuple[Array, Array, NDArray[np.int64]]:
    """Block levels, mean square and peak of each clip.

    Args:
        x: clips [B, T], T >= 1, contiguous.
        sizes: block lengths in samples, 1 ... T; an incomplete block at the end is dropped.

    Returns:
        Mean squares of the blocks, grouped by length, [B, K]; mean square and peak of the clip
        [B, 2]; index of the (first) peak sample, [B].
    """
    batch, length = x.shape
    blocks = np.empty((batch, int((length // sizes).sum())), np.float32)
    whole, peak_indices = np.empty((batch, 2), np.float32), np.empty(batch, np.int64)
    _forward(x, sizes, blocks, whole, peak_indices)
    return blocks, whole, peak_indices


def block_levels_adjoint(
    grad_blocks: Array,
    grad_whole: Array,
    x: Array,
    sizes: NDArray[np.int64],
    peak_indices: NDArray[np.int64],
) -> Array:
    """Gradient on the clips [B, T] from the gradients on the two outputs of ``block_levels``."""
    out = np.empty_like(x)
    _backward(x, sizes, grad_blocks, grad_whole, peak_indices, out)
    return out
