"""Loudness and level meters for streams, in blocks of any size.

Loudness follows ITU-R BS.1770-4 (K-weighting, two gates), loudness range EBU Tech 3342,
short-term loudness EBU Tech 3341.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from retone import core
from retone.audio.meters.k_weighting import k_weighting_filters
from retone.audio.meters.true_peak import TruePeakMeter, checked_block
from retone.errors import AudioError
from retone.units import gain_to_db

ABSOLUTE_GATE_LUFS = -70.0
_OFFSET_DB = -0.691
_HOPS_PER_BLOCK = 4  # 400 ms blocks each 100 ms: 75 % overlap
_HOPS_SHORT_TERM = 30  # 3 s


@dataclass(frozen=True)
class Loudness:
    """Loudness of a stream; minus infinity where nothing passes the gates.

    ``gated`` is False if the stream is shorter than one 400 ms block: ``integrated_lufs`` is
    then ungated. ``range_lu`` is None below 3 s.
    """

    integrated_lufs: float
    momentary_max_lufs: float
    short_term_max_lufs: float
    range_lu: float | None
    gated: bool


@dataclass(frozen=True)
class Levels:
    """All levels of a stream. RMS is over all channels; DC is that of the worst channel."""

    integrated_lufs: float
    momentary_max_lufs: float
    short_term_max_lufs: float
    loudness_range_lu: float | None
    gated: bool
    true_peak_dbtp: float
    sample_peak_dbfs: float
    rms_dbfs: float
    crest_db: float
    dc_offset: float

    def to_dict(self) -> dict[str, Any]:
        """Field names and values; infinities become None, which JSON can hold."""
        return {
            k: None if isinstance(v, float) and not math.isfinite(v) else v
            for k, v in asdict(self).items()
        }


_LOW_EFFECTS = {"LFE", "LFE2"}
_SURROUNDS = {"BL", "BC", "BR", "SL", "SR", "TBL", "TBC", "TBR", "SDL", "SDR"}
_USUAL = {
    5: ("FL", "FR", "FC", "BL", "BR"),
    6: ("FL", "FR", "FC", "LFE", "BL", "BR"),
    8: ("FL", "FR", "FC", "LFE", "BL", "BR", "SL", "SR"),
}


def channel_weights(channels: int, layout: Sequence[str] | None = None) -> np.ndarray:
    """Weights of BS.1770-4 [channels]: LFE 0, channels at the side and behind 1.41, others 1.

    Args:
        channels: number of channels.
        layout: their names, such as ``("FL", "FR", "LFE")``. None means 5.0, 5.1 or 7.1 in the
            order of WAV files for five, six or eight channels, and equal weights for any other
            number.
    """
    names = layout if layout and len(layout) == channels else _USUAL.get(channels)
    if names is None:
        return np.ones(channels)
    return np.array([0.0 if n in _LOW_EFFECTS else 1.41 if n in _SURROUNDS else 1.0 for n in names])


class LoudnessMeter:
    """BS.1770-4 loudness of a stream, independent of the block size.

    Memory grows by ten numbers a second.

    Args:
        sample_rate: 8000 Hz and more.
        channels: 1 and more.
        layout: names of the channels; for the weights see :func:`channel_weights`.
    """

    def __init__(
        self, sample_rate: int, channels: int, layout: Sequence[str] | None = None
    ) -> None:
        if sample_rate < 8000 or channels < 1:
            raise AudioError(
                f"LoudnessMeter: {sample_rate} Hz, {channels} channels; expected 8000 Hz or more "
                "and at least one channel."
            )
        self.sample_rate, self.channels = sample_rate, channels
        self.frames = 0
        self._kw = k_weighting_filters(sample_rate)
        self._weights = channel_weights(channels, layout)
        self._state = np.zeros((channels, 5))
        self._sums = np.zeros((channels, 2))
        self._hops: list[np.ndarray] = []  # weighted energies of 100 ms each
        self._done = 0

    def _edge(self, hop: np.ndarray | int) -> Any:
        """Frame at which a hop ends; 100 ms is no whole number of samples at some rates."""
        return (2 * self.sample_rate * (hop + 1) + 10) // 20

    def update(self, block: np.ndarray) -> None:
        """Take the next block [channels, n]."""
        block = checked_block(block, self.channels, "LoudnessMeter.update")
        end = self.frames + block.shape[1]
        last = self._done
        while self._edge(last) <= end:
            last += 1
        edges = self._edge(np.arange(self._done, last)) - self.frames
        energy = np.zeros((self.channels, len(edges)))
        for c in range(self.channels):
            core.k_weighted(
                block[c], self._kw, self._state[c], self._sums[c], edges, energy[c],
                block.shape[1], len(edges), core.is_single(block),
            )  # fmt: skip
        if len(edges):
            # not a matrix product, whose rounding would depend on the number of hops
            self._hops.append((self._weights[:, None] * energy).sum(axis=0))
        self.frames, self._done = end, last

    def _energies(self) -> np.ndarray:
        return np.concatenate(self._hops) if self._hops else np.zeros(0)

    def _windows(self, hops: int) -> np.ndarray:
        """Mean weighted power of every window of ``hops`` hops."""
        energy = self._energies()
        count = len(energy) - hops + 1
        if count < 1:
            return np.zeros(0)
        sums = np.lib.stride_tricks.sliding_window_view(energy, hops).sum(axis=1)
        ends = self._edge(np.arange(-1, len(energy)))
        return np.asarray(sums / (ends[hops:] - ends[:-hops]))

    def result(self) -> Loudness:
        """The loudness so far."""
        blocks = self._windows(_HOPS_PER_BLOCK)
        if not len(blocks):
            energy = float(self._energies().sum() + self._weights @ self._state[:, 4])
            now = _lufs(energy / self.frames) if self.frames else -math.inf
            return Loudness(now, now, now, None, False)
        short = self._windows(_HOPS_SHORT_TERM)
        return Loudness(
            integrated_lufs=_gated(blocks),
            momentary_max_lufs=_lufs(float(blocks.max())),
            short_term_max_lufs=_lufs(float((short if len(short) else blocks).max())),
            range_lu=_loudness_range(short) if len(short) else None,
            gated=True,
        )

    def short_term(self, points: int = 600) -> tuple[np.ndarray, np.ndarray]:
        """Loudness of 3 s about each moment: times in s and LUFS, both [P], P at most ``points``.

        Neighbours are averaged in power; silence reads -inf. Empty below 3 s.
        """
        power = self._windows(_HOPS_SHORT_TERM)
        step = max(1, -(-len(power) // points))
        starts = np.arange(0, len(power), step)
        time_s = 1.5 + 0.1 * np.minimum(starts + (step - 1) / 2, max(len(power) - 1, 0))
        if not len(power):
            return time_s, power
        sizes = np.diff([*starts, len(power)])
        mean = np.add.reduceat(power, starts) / sizes
        return time_s, np.array([_lufs(float(p)) for p in mean])

    def gain_to(self, goal_lufs: float) -> float:
        """Gain in dB after which the stream's integrated loudness is ``goal_lufs``.

        The absolute gate is that of the louder stream: ``loudness(gain) + gain = goal`` where
        blocks below -70 LUFS - gain are left out. A stream too quiet to have a loudness is thus
        brought to any goal above -70 LUFS; infinity if it is silent. A goal of -70 LUFS or less,
        which no meter can read, counts blocks down to 10 LU below it.
        """
        blocks = self._windows(_HOPS_PER_BLOCK)
        if not len(blocks):
            return goal_lufs - self.result().integrated_lufs
        gate_lufs = ABSOLUTE_GATE_LUFS if goal_lufs > ABSOLUTE_GATE_LUFS else goal_lufs - 10.0
        gain_db = goal_lufs - _gated(blocks, -math.inf)
        for _ in range(100):  # the gate only rises; more than a few times only near -70 LUFS
            before, gain_db = gain_db, goal_lufs - _gated(blocks, gate_lufs - gain_db)
            if not abs(gain_db - before) > 0.001:
                break
        return gain_db

    @property
    def mean_square(self) -> float:
        """Mean of the squared samples over all channels."""
        return float(self._sums[:, 1].sum()) / max(self.frames * self.channels, 1)

    @property
    def dc(self) -> np.ndarray:
        """Mean of each channel's samples."""
        return self._sums[:, 0] / max(self.frames, 1)


def _lufs(power: float) -> float:
    return _OFFSET_DB + 10.0 * math.log10(power) if power > 0 else -math.inf


def _power(lufs: float) -> float:
    return float(10.0 ** ((lufs - _OFFSET_DB) / 10.0))


def _gated(blocks: np.ndarray, absolute_lufs: float = ABSOLUTE_GATE_LUFS) -> float:
    loud = blocks[blocks > _power(absolute_lufs)]
    if not len(loud):
        return -math.inf
    return _lufs(float(loud[loud > 0.1 * loud.mean()].mean()))  # 10 LU below


def _loudness_range(short: np.ndarray) -> float:
    """EBU Tech 3342: 10 % to 95 % of the short-term values above -70 LUFS and -20 LU."""
    loud = short[short > _power(ABSOLUTE_GATE_LUFS)]
    if not len(loud):
        return 0.0
    loud = loud[loud > 0.01 * loud.mean()]
    low, high = np.quantile(10.0 * np.log10(loud), (0.10, 0.95))
    return float(high - low)


class LevelMeter:
    """Loudness, peaks, RMS, crest factor and DC of a stream in one pass.

    Args:
        sample_rate: 8000 Hz and more.
        channels: 1 and more.
        layout: names of the channels; for the weights see :func:`channel_weights`.
    """

    def __init__(
        self, sample_rate: int, channels: int, layout: Sequence[str] | None = None
    ) -> None:
        self._loudness = LoudnessMeter(sample_rate, channels, layout)
        self._peak = TruePeakMeter(sample_rate, channels)

    def update(self, block: np.ndarray) -> None:
        """Take the next block [channels, n]."""
        self._loudness.update(block)
        self._peak.update(block)

    @property
    def frames(self) -> int:
        """Number of frames so far."""
        return self._loudness.frames

    @property
    def sample_peak(self) -> float:
        """Largest absolute sample so far, linear."""
        return self._peak.sample_peak

    def short_term(self, points: int = 600) -> tuple[np.ndarray, np.ndarray]:
        """Loudness over time; see :meth:`LoudnessMeter.short_term`."""
        return self._loudness.short_term(points)

    def gain_to(self, goal_lufs: float) -> float:
        """Gain in dB to a loudness; see :meth:`LoudnessMeter.gain_to`."""
        return self._loudness.gain_to(goal_lufs)

    def result(self) -> Levels:
        """The levels so far."""
        loudness = self._loudness.result()
        peak = gain_to_db(self._peak.sample_peak)
        rms = gain_to_db(math.sqrt(self._loudness.mean_square))
        dc = self._loudness.dc
        return Levels(
            integrated_lufs=loudness.integrated_lufs,
            momentary_max_lufs=loudness.momentary_max_lufs,
            short_term_max_lufs=loudness.short_term_max_lufs,
            loudness_range_lu=loudness.range_lu,
            gated=loudness.gated,
            true_peak_dbtp=self._peak.result(),
            sample_peak_dbfs=peak,
            rms_dbfs=rms,
            crest_db=peak - rms if math.isfinite(peak) else 0.0,
            dc_offset=float(dc[np.abs(dc).argmax()]),
        )


def loudness_lufs(samples: np.ndarray, sample_rate: int) -> float:
    """Integrated loudness of [channels, time] samples in LUFS (BS.1770-4).

    Minus infinity if nothing is louder than -70 LUFS; shorter than 400 ms: not gated.
    """
    meter = LoudnessMeter(sample_rate, samples.shape[0] if samples.ndim == 2 else 1)
    meter.update(samples)
    return meter.result().integrated_lufs
