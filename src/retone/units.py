"""Unit conversions. Functions take floats, arrays or tensors.

Times of attack and release are 10-90 % rise times of a one-pole smoother: its feedback
coefficient is ``exp(-ln 9 / (sample_rate * time))``, so a step goes from 10 % to 90 % of its
height in the stated time. (The 63 % time is the stated time divided by ln 9 = 2.197.)
"""

from __future__ import annotations

import math
from typing import Any

LN9 = math.log(9.0)
DB_PER_NEPER = 20.0 / math.log(10.0)


def db_to_gain(db: Any) -> Any:
    """Decibels to linear amplitude, ``10^(db / 20)``."""
    return 10.0 ** (db / 20.0)


def gain_to_db(gain: float) -> float:
    """Linear amplitude (> 0) to decibels; 0 gives minus infinity."""
    return 20.0 * math.log10(gain) if gain > 0 else -math.inf


def smoothing(time_ms: Any, sample_rate: float) -> Any:
    """Update coefficient ``k`` of ``y += k (x - y)`` with a 10-90 % rise time of ``time_ms``.

    ``k = 1 - exp(-ln 9 / (sample_rate * time_ms / 1000))``; a time of 0 gives 1 (no smoothing).
    """
    if isinstance(time_ms, (int, float)):
        return 1.0 if time_ms <= 0 else -math.expm1(-LN9 * 1000.0 / (sample_rate * time_ms))
    if hasattr(time_ms, "expm1"):  # a tensor
        return -(-LN9 * 1000.0 / (sample_rate * time_ms)).expm1()
    import numpy as np

    with np.errstate(divide="ignore"):
        return -np.expm1(-LN9 * 1000.0 / (sample_rate * np.asarray(time_ms, dtype=np.float64)))
