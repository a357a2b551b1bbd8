"""What a training minimises: distances between waveforms and between styles."""

from __future__ import annotations

from retone.losses.style import StyleDistance
from retone.losses.waveform import (
    L1,
    AtEqualLoudness,
    Loss,
    MultiResolutionSTFT,
    PreparedTarget,
    WeightedSum,
    auraloss_default,
)

__all__ = [
    "L1",
    "AtEqualLoudness",
    "Loss",
    "MultiResolutionSTFT",
    "PreparedTarget",
    "StyleDistance",
    "WeightedSum",
    "auraloss_default",
]
