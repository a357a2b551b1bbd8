"""Clipping, used bits, silence and channel faults of a stream."""

from __future__ import annotations

import numpy as np

from retone import core

_STEP_16 = 2.0**-15
_LEAST_RUN = 3
_CORNER_STEPS = 6.0  # how far below a flat top its neighbour must lie; a sine's lies at 4 at most
_CLIP_LEVEL = 0.25  # flat tops further down are quiet signals, not clipping
_FRAME_S = 0.05
_SILENT_DB = -60.0
_LOWEST_DB = -160


class OffsetMeter:
    """Mean of every channel of a stream: a DC offset."""

    def __init__(self, channels: int) -> None:
        self._sum, self._count = np.zeros(channels), 0

    def update(self, block: np.ndarray) -> None:
        """Take the next block [channels, n]."""
        self._sum += block.sum(axis=1, dtype=np.float64)
        self._count += block.shape[1]

    def result(self) -> float:
        """The channel mean furthest from 0, full scale is 1; 0 before the first block."""
        means = self._sum / max(self._count, 1)
        return float(means[np.argmax(np.abs(means))])


class ClipMeter:
    """Samples in flat tops: three and more in a row at a channel's largest or smallest value.

    A flat top counts if the wave bends sharply into it or out of it, which the rounded crest of
    a low tone does not, and if it lies above -12 dBFS.

    Args:
        channels: number of channels.
        bits: of the source's samples, None for float and lossy sources.
    """

    def __init__(self, channels: int, bits: int | None) -> None:
        self._step = max(_STEP_16, 2.0 ** (1 - bits) if bits else 0.0)
        self._state = np.zeros((channels, 2, 5))

    def update(self, block: np.ndarray) -> None:
        """Take the next block [channels, n]."""
        for c, row in enumerate(core.floats(block)):
            for sign, state in zip((1.0, -1.0), self._state[c], strict=True):
                core.flat_tops(
                    row, state, row.size, sign, self._step, _CORNER_STEPS, _LEAST_RUN,
                    core.is_single(row),
                )  # fmt: skip

    def count(self) -> int:
        """Clipped samples so far, over all channels."""
        total = 0.0
        for top, run, corner, _, count in self._state.reshape(-1, 5):
            if top >= _CLIP_LEVEL:
                total += count + (run if run >= _LEAST_RUN and corner else 0.0)
        return int(total)


class BitsMeter:
    """Bits actually used: a 16-bit recording stored with 24 has 8 that are always zero.

    Args:
        bits: of the source's samples; None leaves the meter off.
    """

    def __init__(self, bits: int | None) -> None:
        self._bits = bits
        self._seen = np.int64(0)

    def update(self, block: np.ndarray) -> None:
        """Take the next block [channels, n]."""
        if self._bits is None:
            return
        if self._seen & 1:
            return  # the lowest bit is used already
        for row in core.floats(block):
            seen = core.used_bits(row, row.size, self._bits, core.is_single(row))
            if seen < 0:
                self._bits = None
                return
            self._seen |= seen

    def result(self) -> int | None:
        """Used bits; None where undefined (float, lossy, silence)."""
        if self._bits is None or self._seen == 0:
            return None
        seen = int(self._seen)
        return self._bits - ((seen & -seen).bit_length() - 1)


class ActivityMeter:
    """Level of each 50 ms frame as a histogram, and how the channels relate.

    The mean of each frame is left out: a DC offset is no sound.

    Args:
        sample_rate: in Hz.
        channels: number of channels.
    """

    def __init__(self, sample_rate: int, channels: int) -> None:
        self._size = round(_FRAME_S * sample_rate)
        self._rest = np.zeros((channels, 0), np.float32)
        self._histogram = np.zeros(2 * (10 - _LOWEST_DB) + 1, np.int64)
        self._frames = 0
        self._energy = np.zeros(channels)
        self._difference = 0.0

    def update(self, block: np.ndarray) -> None:
        """Take the next block [channels, n]."""
        x = np.concatenate([self._rest, block.astype(np.float32, copy=False)], axis=1)
        count = x.shape[1] // self._size
        used = x[:, : count * self._size]
        self._rest = x[:, count * self._size :].copy()
        if count:
            self._take(used.reshape(len(x), count, self._size))

    def _take(self, x: np.ndarray) -> None:
        x = x - x.mean(axis=2, keepdims=True)
        energy = np.einsum("cft,cft->cf", x, x, dtype=np.float64)
        self._energy += energy.sum(axis=1)
        if len(x) == 2:
            d = x[0] - x[1]
            self._difference += float(np.einsum("ft,ft->", d, d, dtype=np.float64))
        power = energy.sum(axis=0) / (len(x) * x.shape[2])
        db = 10.0 * np.log10(power + 1e-30)
        place = np.clip(np.rint(2.0 * (db - _LOWEST_DB)), 0, len(self._histogram) - 1)
        self._histogram += np.bincount(place.astype(int), minlength=len(self._histogram))
        self._frames += x.shape[1]

    def finish(self) -> None:
        """Take a last frame that is not full, if it is the only one."""
        if self._frames == 0 and self._rest.shape[1]:
            self._take(self._rest[:, None, :])

    def silence_share(self) -> float:
        """Share of frames below -60 dBFS."""
        quiet = self._histogram[: 2 * (int(_SILENT_DB) - _LOWEST_DB)].sum()
        return float(quiet) / max(self._frames, 1)

    def noise_floor_dbfs(self) -> float | None:
        """RMS level that 5 % of the frames stay under, digital silence left out."""
        counts = self._histogram.copy()
        counts[0] = 0
        total = counts.sum()
        if total == 0:
            return None
        place = int(np.searchsorted(np.cumsum(counts), 0.05 * total))
        return _LOWEST_DB + place / 2.0

    def silent_channels(self) -> list[int]:
        """Channels (from 1) that are 60 dB and more below the loudest one."""
        loudest = self._energy.max(initial=0.0)
        if loudest == 0:
            return []
        return [c + 1 for c, e in enumerate(self._energy) if e < 1e-6 * loudest]

    def dual_mono(self) -> bool:
        """True for two channels that differ by less than -60 dB."""
        total = float(self._energy.sum())
        return len(self._energy) == 2 and total > 0 and self._difference < 1e-6 * total


def percent(share: float) -> str:
    """A share (0 to 1) as a percentage for users, with two digits or more."""
    if 0 < share < 1e-5:
        return "less than 0.001 %"
    return f"{100 * share:.0f} %" if share >= 0.1 else f"{100 * share:.2g} %"
