"""From a wanted curve to the gains of a ``CurveEqualizer``: smoothing, a range, faded edges."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import ArrayLike, NDArray

from retone.effects.curve_equalizer import CENTRES_HZ, CURVE_TABLE
from retone.errors import SettingError

_STEP = 1 / 24  # of the grid on which curves are smoothed, in octaves
_LOWEST_HZ, _HIGHEST_HZ = 10.0, 40000.0
FADE_OCTAVES = 1.0
"""Width of the fade below ``lowest_hz`` and above ``highest_hz``."""


def curve_gains(
    frequency_hz: ArrayLike,
    gain_db: ArrayLike,
    *,
    smoothing_octaves: float = 1 / 3,
    lowest_hz: float | None = None,
    highest_hz: float | None = None,
) -> dict[str, float]:
    """The parameters of ``CurveEqualizer`` that follow a wanted curve.

    The curve is interpolated over log frequency, held beyond its ends, faded to 0 dB over the
    octave outside ``lowest_hz`` to ``highest_hz`` (half a cosine), and smoothed by a Gaussian.

    Args:
        frequency_hz: [N] increasing, such as the centres of third octaves.
        gain_db: [N]; where it is NaN nothing is known, and the neighbours are interpolated.
        smoothing_octaves: full width of the Gaussian at half its height; 0 for none.
        lowest_hz, highest_hz: range of the change; None leaves that end open.

    Returns:
        Parameter name -> gain in dB, within the parameter's range.

    Raises:
        SettingError: the curve is not increasing in frequency or nowhere known, smoothing is
            negative, or the range is empty.
    """
    f, gain = np.asarray(frequency_hz, np.float64), np.asarray(gain_db, np.float64)
    known = np.isfinite(gain)
    if f.ndim != 1 or f.shape != gain.shape or not known.any():
        raise SettingError(
            f"curve: expected frequencies and gains [N], at least one of them known, got "
            f"{list(f.shape)} and {list(gain.shape)}."
        )
    if not (f > 0).all() or not (np.diff(f) > 0).all():
        raise SettingError("curve: frequencies must be positive and increase.")
    if not 0 <= smoothing_octaves <= 4:
        raise SettingError(f"smoothing_octaves = {smoothing_octaves:g} is outside 0..4.")
    low, high = lowest_hz or 0.0, highest_hz or math.inf
    if not 0 <= low < high:
        raise SettingError(
            f"curve: the lowest frequency {low:g} Hz must lie below the highest, {high:g} Hz."
        )
    octave = np.arange(math.log2(_LOWEST_HZ), math.log2(_HIGHEST_HZ), _STEP)
    curve = np.interp(octave, np.log2(f[known]), gain[known])
    if lowest_hz:
        curve *= _rise((octave - math.log2(lowest_hz)) / FADE_OCTAVES + 1)
    if highest_hz:
        curve *= _rise((math.log2(highest_hz) - octave) / FADE_OCTAVES + 1)
    smooth = _smoothed(curve, smoothing_octaves)
    gains = np.interp(np.log2(CENTRES_HZ), octave, smooth)
    return {
        p.name: min(max(float(g), p.low), p.high) for p, g in zip(CURVE_TABLE, gains, strict=True)
    }


def _rise(x: NDArray[np.float64]) -> NDArray[np.float64]:
    """0 up to 0, 1 from 1 on, half a cosine in between."""
    return np.asarray(0.5 - 0.5 * np.cos(np.pi * np.clip(x, 0, 1)))


def _smoothed(curve: NDArray[np.float64], width_octaves: float) -> NDArray[np.float64]:
    sigma = width_octaves / (2 * math.sqrt(2 * math.log(2))) / _STEP
    if sigma < 0.1:
        return curve
    reach = math.ceil(4 * sigma)
    kernel = np.exp(-0.5 * (np.arange(-reach, reach + 1) / sigma) ** 2)
    padded = np.pad(curve, reach, mode="edge")
    return np.asarray(np.convolve(padded, kernel / kernel.sum(), "valid"))
