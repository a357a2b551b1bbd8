"""Where the sound of a stereo recording comes from: its energy by direction."""

from __future__ import annotations

import numpy as np

_EVERY = 4  # one sample of four gives the same picture


class StereoMeter:
    """Share of a stereo recording's energy in each direction.

    The direction of a pair of samples (L, R) is ``atan2(R - L, R + L)``, folded to -90..90
    degrees: -45 is the left loudspeaker alone, 0 the centre, 45 the right one alone; beyond that
    the channels have opposite polarity. Each pair counts with its energy, L^2 + R^2.

    Args:
        channels: of the recording; without two there is nothing to measure.
        bins: number of directions.
    """

    def __init__(self, channels: int, *, bins: int = 91) -> None:
        self.channels, self.bins = channels, bins
        self._energy = np.zeros(bins)
        self._skip = 0

    def update(self, block: np.ndarray) -> None:
        """Take the next block [C, n]."""
        if self.channels != 2:
            return
        part = block[:, self._skip :: _EVERY]
        self._skip = (self._skip - block.shape[1]) % _EVERY
        if not part.shape[1]:
            return
        left, right = part.astype(np.float32, copy=False)
        side, mid = right - left, right + left
        side *= np.where(mid < 0, -1, 1).astype(np.float32)
        angle = np.arctan2(side, np.abs(mid))
        where = ((angle / np.pi + 0.5) * (self.bins - 1) + 0.5).astype(np.int32)
        power = left * left + right * right
        self._energy += np.bincount(where, power, minlength=self.bins)[: self.bins]

    def result(self) -> tuple[np.ndarray, np.ndarray] | None:
        """Directions in degrees and shares of the energy, both [bins]; None without stereo."""
        total = float(self._energy.sum())
        if self.channels != 2 or total <= 0:
            return None
        return np.linspace(-90, 90, self.bins), self._energy / total
