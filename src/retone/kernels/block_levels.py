"""Mean squares of blocks of several lengths, mean square and peak of clips, and the adjoint."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from retone.compiled import njit
from retone.kernels.torch_rows import loose_njit

Array = NDArray[np.float32]


@njit(nogil=True, cache=True, fastmath={"nnan", "nsz", "reassoc"}, boundscheck=False)
def _loudest(x):  # type: ignore[no-untyped-def]
    """Largest absolute value of a signal, and where it is first."""
    peak, place = np.float32(-1.0), 0
    for start in range(0, x.shape[0], 256):
        part = x[start : start + 256]
        most: Any = np.float32(0.0)
        for i in range(part.shape[0]):
            v = abs(part[i])
            most = v if v > most else most
        if most > peak:
            peak, place = most, start
    while place < x.shape[0] - 1 and abs(x[place]) != peak:
        place += 1
    return abs(x[place]), place


@loose_njit
def _energy(part):  # type: ignore[no-untyped-def]
    total: Any = np.float32(0.0)
    for i in range(part.shape[0]):
        total += part[i] * part[i]
    return total


@loose_njit
def _forward(x, sizes, blocks, whole, places):  # type: ignore[no-untyped-def]
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
        whole[b, 1], places[b] = _loudest(row)


@loose_njit
def _backward(x, sizes, onto_blocks, onto_whole, places, out):  # type: ignore[no-untyped-def]
    length = x.shape[1]
    for b in range(x.shape[0]):
        by_mean = onto_whole[b, 0] * np.float32(2.0 / length)
        for i in range(length):
            out[b, i] = by_mean
        at = 0
        for size in sizes:
            for k in range(length // size):
                slope = onto_blocks[b, at] * np.float32(2.0 / size)
                for i in range(k * size, (k + 1) * size):
                    out[b, i] += slope
                at += 1
        for i in range(length):
            out[b, i] *= x[b, i]
        place = places[b]
        out[b, place] += onto_whole[b, 1] * np.sign(x[b, place])


def block_levels(x: Array, sizes: NDArray[np.int64]) -> tuple[Array, Array, NDArray[np.int64]]:
    """Levels of clips.

    Args:
        x: clips [B, T], T >= 1, contiguous.
        sizes: block lengths, 1 ... T; what does not fill a block at the end is left out.

    Returns:
        Mean squares of the blocks, those of the first length first, [B, K]; mean square and peak
        of the clip [B, 2]; where the peak is (the first of equals), [B].
    """
    batch, length = x.shape
    blocks = np.empty((batch, int((length // sizes).sum())), np.float32)
    whole, places = np.empty((batch, 2), np.float32), np.empty(batch, np.int64)
    _forward(x, sizes, blocks, whole, places)
    return blocks, whole, places


def block_levels_adjoint(
    onto_blocks: Array,
    onto_whole: Array,
    x: Array,
    sizes: NDArray[np.int64],
    places: NDArray[np.int64],
) -> Array:
    """Gradient of the clips [B, T] from those of the blocks and of mean square and peak."""
    out = np.empty_like(x)
    _backward(x, sizes, onto_blocks, onto_whole, places, out)
    return out
