"""Short-term power of a stream: when a recording sounds and when it does not."""

from __future__ import annotations

import numpy as np

from retone.audio.meters.true_peak import checked_block

HOP_S = 0.02
_PARTS = 4


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
        self._rest = np.zeros((channels, 0))
        self._power: list[np.ndarray] = []

    def update(self, block: np.ndarray) -> None:
        """Take the next block [channels, n]."""
        block = checked_block(block, self.channels, "ActivityMeter.update").astype(np.float64)
        if self._rest.shape[1]:
            block = np.concatenate([self._rest, block], axis=1)
        count = block.shape[1] // self._part
        parts = block[:, : count * self._part].reshape(self.channels, count, self._part)
        self._rest = block[:, count * self._part :].copy()
        sums = np.stack([parts.sum(axis=-1), np.einsum("ckn,ckn->ck", parts, parts)], axis=-1)
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
