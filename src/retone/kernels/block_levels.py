"""Block mean squares for several block lengths, clip mean square and peak, and the adjoint."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from retone import core

Array = NDArray[np.float32]


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
    core.block_levels(x, sizes, blocks, whole, peak_indices, batch, length, sizes.size)
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
    core.block_levels_adjoint(
        x, sizes, grad_blocks, grad_whole, peak_indices, out, *x.shape, sizes.size
    )
    return out
