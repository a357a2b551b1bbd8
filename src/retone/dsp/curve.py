"""The compressor's static curve: gain for a steady level, before any smoothing.

Textbook soft knee (Giannoulis, Massberg, Reiss, "Digital dynamic range compressor design", JAES
60(6), 2012)::

    knee(d) = 0                     below the knee, d < -W/2
              (d + W/2)^2 / (2 W)   inside it; W is its full width
              d                     above it
    gain    = -(1 - 1/ratio) knee(level - threshold)
              -(expander_ratio - 1) knee(expander_threshold - level)

Reports, the studio and the exports take the curve from here; the compiled loops in
``retone.kernels`` hold the same formula for speed.
"""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor

POWER_FLOOR = 1e-12
"""Least power of a level, -120 dB: ``level = 10 log10(max(power, POWER_FLOOR))``."""

Smoothing = Literal["db", "gain"]
"""What attack and release smooth: decibels above the threshold, or the linear gain."""


def knee(over_db: Tensor, knee_db: Tensor) -> Tensor:
    """dB above a threshold: 0 below the knee, ``over_db`` above it, a parabola inside."""
    width = knee_db.clamp(min=1e-12)
    above = over_db + width / 2  # the knee's lower end
    inside = torch.minimum(above.clamp_min(0), width)
    return inside * inside / (2 * width) + (above - width).clamp_min(0)


def compression_db(
    level_db: Tensor, threshold_db: Tensor, slope: Tensor, knee_db: Tensor
) -> Tensor:
    """Gain above a threshold in dB; ``slope`` is ``1 - 1/ratio``. Shapes broadcast."""
    return -slope * knee(level_db - threshold_db, knee_db)


def expansion_db(level_db: Tensor, threshold_db: Tensor, slope: Tensor, knee_db: Tensor) -> Tensor:
    """Gain below a threshold in dB; ``slope`` is ``expander ratio - 1``. Shapes broadcast."""
    return -slope * knee(threshold_db - level_db, knee_db)


def combined_db(compression: Tensor, expansion: Tensor, smooth: Smoothing) -> Tensor:
    """Both gains together: their sum if decibels are smoothed, else the stronger of the two."""
    return compression + expansion if smooth == "db" else torch.minimum(compression, expansion)
