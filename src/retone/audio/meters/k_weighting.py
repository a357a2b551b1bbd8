"""BS.1770's K weighting: a shelf of +4 dB above 1.7 kHz and a high-pass at 38 Hz.

BS.1770-4 tables filter coefficients at 48 kHz only. They are the bilinear transform of two
analogue filters, whose constants below reproduce the tabulated digits.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np


class Prototype(NamedTuple):
    """The two analogue filters: corner frequencies in Hz, Q factors, and the shelf's gain."""

    shelf_hz: float
    shelf_q: float
    shelf_db: float
    highpass_hz: float
    highpass_q: float


STANDARD = Prototype(
    1681.974450955533, 0.7071752369554196, 3.999843853973347, 38.13547087602444, 0.5003270373238773
)
ROUNDED = Prototype(1681.974, 0.7071752, 3.999844, 38.13547, 0.5003270)
"""Seven digits, which the shipped networks and presets were made with (3e-7 of the power apart)."""
_BAND_EXPONENT = 0.4996667741545416  # the shelf's middle term, a power of its gain


def k_weighting_filters(sample_rate: float) -> np.ndarray:
    """Digital filters at any sample rate in Hz: rows (b0 b1 b2 a1 a2), shelf and high-pass."""
    f = STANDARD
    k = math.tan(math.pi * f.shelf_hz / sample_rate)
    q = f.shelf_q
    high = 10.0 ** (f.shelf_db / 20.0)
    band = high**_BAND_EXPONENT
    a0 = 1.0 + k / q + k * k
    shelf = (
        (high + band * k / q + k * k) / a0,
        2.0 * (k * k - high) / a0,
        (high - band * k / q + k * k) / a0,
        2.0 * (k * k - 1.0) / a0,
        (1.0 - k / q + k * k) / a0,
    )
    k = math.tan(math.pi * f.highpass_hz / sample_rate)
    q = f.highpass_q
    a0 = 1.0 + k / q + k * k
    highpass = (1.0, -2.0, 1.0, 2.0 * (k * k - 1.0) / a0, (1.0 - k / q + k * k) / a0)
    return np.array([shelf, highpass])


def k_weighting_response(frequency_hz: np.ndarray, filters: Prototype = STANDARD) -> np.ndarray:
    """Magnitude of the analogue filters at each frequency in Hz, a factor; float64."""
    s = 1j * np.maximum(np.asarray(frequency_hz, dtype=np.float64), 1e-3)
    high = 10.0 ** (filters.shelf_db / 20.0)
    x = s / filters.shelf_hz
    shelf = high * x * x + high**_BAND_EXPONENT * x / filters.shelf_q + 1
    shelf /= x * x + x / filters.shelf_q + 1
    x = s / filters.highpass_hz
    return np.asarray(np.abs(shelf * (x * x / (x * x + x / filters.highpass_q + 1))))
