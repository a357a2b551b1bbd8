"""Samples at another sample rate."""

from __future__ import annotations

import numpy as np
import soxr

_LEAST_FREE_BYTES = 48 << 20
"""What must be free before soxr is called: it does not check its own allocations."""


def resampled(
    samples: np.ndarray, old_rate: float, new_rate: float, quality: str = "HQ"
) -> np.ndarray:
    """Samples at another sample rate, with linear phase and no delay (soxr).

    Args:
        samples: [T] or [T, C], float32 or float64.
        old_rate: their sample rate in Hz.
        new_rate: the wanted one in Hz.
        quality: of soxr: MQ, HQ or VHQ.

    Raises:
        MemoryError: too little memory is left.
    """
    expect_memory(samples.nbytes * max(1.0, new_rate / old_rate))
    return np.asarray(soxr.resample(samples, old_rate, new_rate, quality))


def expect_memory(made_bytes: float) -> None:
    """Check that soxr has room to make this much.

    Raises:
        MemoryError: it has not.
    """
    np.empty(_LEAST_FREE_BYTES + int(2 * made_bytes), np.uint8)
