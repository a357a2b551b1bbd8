"""Rounding float samples to integers, with dither."""

from __future__ import annotations

import numpy as np

from retone import core


def quantise(
    block: np.ndarray, bits: int, *, dither: bool, seed: int, start: int
) -> tuple[np.ndarray, int]:
    """Round [channels, n] samples to ``bits`` bits, left-justified in int32 [n, channels].

    Dither is triangular, two steps wide (TPDF, Lipshitz, Wannamaker & Vanderkooy 1992). A sample
    that is exactly a step of the target keeps its value, so an unchanged passage, digital
    silence included, is bit-identical. The noise depends only on the seed and the sample's
    position, not on the block size.

    Args:
        block: float samples [channels, n], full scale is 1.
        bits: 8 to 32.
        dither: add noise before rounding.
        seed: random seed of the noise.
        start: number of frames before this block.

    Returns:
        The integers, and how many samples were beyond full scale and were clipped.
    """
    out = np.empty(block.shape[::-1], np.int32)
    block = core.floats(block)
    single = core.is_single(block)
    return out, core.quantise(block, out, *block.shape, bits, seed, start, dither, single)
