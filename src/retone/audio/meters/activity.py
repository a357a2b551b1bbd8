"""Short-term power of a stream: when a recording sounds and when it does not."""

from __future__ import annotations

import numpy as np

from retone.audio.meters.true_peak import checked_block
from retone.compiled import njit

HOP_S = 0.02
_PARTS = 4


@njit(nogil=True, cache=True, fastmath={"reassoc", "contract"})
def _sums(x, first, hop, carried, out):  # type: ignore[no-untyped-def]
    """Sum and sum of squares of each hop of one channel; ``carried`` holds those of the last.

    first: samples missing from the hop under way. out: [N, 2], one row for each hop that closes.
    """
    total, square = carried[0], carried[1]
    start, stop = 0, min(first, x.shape[0])
    for row in range(out.shape[0] + 1):
        for n in range(start, stop):
            v = np.float64(x[n])
            total += v
            square += v * v
        if row < out.shape[0]:
            out[row, 0], out[row, 1] = total, square
            total, square = 0.0, 0.0
            start, stop = stop, min(stop + hop, x.shape[0])
    carried[0], carried[1] = total, square


class ActivityMeter:
    """Power of every 20 ms of a stream, the mean of its channels, rumble attenuated.

    The mean of every 5 ms is removed, a high-pass of 6 dB per octave at about 100 Hz that leaves no
    DC. Channels are measured one by one, so those of opposite polarity do not cancel. Memory grows
    by two hundred numbers a second.

    Args:
        sample_rate: in Hz.
        channels: 1 and more.
    """

    def __init__(self, sample_rate: int, channels: int) -> None:
        self._part = round(HOP_S / _PARTS * sample_rate)
        self.hop = _PARTS * self._part
        """Frames of a hop."""
        self.channels = channels
        self._filled = 0
        self._carried = np.zeros((channels, 2))
        self._power: list[np.ndarray] = []

    def update(self, block: np.ndarray) -> None:
        """Take the next block [channels, n]."""
        block = checked_block(block, self.channels, "ActivityMeter.update")
        closed, rest = divmod(self._filled + block.shape[1], self._part)
        sums = np.zeros((self.channels, closed, 2))
        for c in range(self.channels):
            _sums(block[c], self._part - self._filled, self._part, self._carried[c], sums[c])
        self._filled = rest
        mean = sums / self._part
        power = np.maximum(mean[..., 1] - mean[..., 0] ** 2, 0.0)
        # what is left of a constant is rounding, not sound
        power[power < 1e-12 * mean[..., 1]] = 0.0
        self._power.append(power.mean(axis=0))

    def result(self) -> np.ndarray:
        """Mean square of every whole hop so far, [N]; full scale is 1."""
        power = np.concatenate(self._power) if self._power else np.zeros(0)
        whole = len(power) // _PARTS * _PARTS
        return np.asarray(power[:whole].reshape(-1, _PARTS).mean(axis=1))
