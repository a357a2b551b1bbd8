"""Rounding float samples to integers, with dither."""

from __future__ import annotations

import numpy as np

from retone.compiled import njit


@njit(nogil=True, cache=True, inline="always")
def _uniform(counter: np.uint64) -> float:
    """A number in [0, 1) from a counter (the SplitMix64 finaliser)."""
    z = counter * np.uint64(0x9E3779B97F4A7C15)
    z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    z = z ^ (z >> np.uint64(31))
    return float(z >> np.uint64(11)) * (1.0 / 9007199254740992.0)


@njit(nogil=True, cache=True)
def _quantise(block, bits, dither, seed, start, out):  # type: ignore[no-untyped-def]
    scale = 2.0 ** (bits - 1)
    shift = 32 - bits
    low, high = -scale, scale - 1.0
    channels, frames = block.shape
    clipped = 0
    for n in range(frames):
        for c in range(channels):
            value = block[c, n] * scale
            whole = np.rint(value)
            if dither and whole != value:
                draw = np.uint64(2) * (np.uint64(start + n) * np.uint64(channels) + np.uint64(c))
                draw += np.uint64(seed) << np.uint64(40)
                noise = _uniform(draw + np.uint64(1)) - _uniform(draw + np.uint64(2))
                whole = np.rint(value + noise)
            if whole > high:
                clipped += value > high + 0.5
                whole = high
            elif whole < low:
                clipped += value < low - 0.5
                whole = low
            out[n, c] = np.int32(np.int64(whole) << shift)
    return clipped


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
    clipped = _quantise(block, bits, dither, seed, start, out)
    return out, int(clipped)
