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

from retone.audio.meters.k_weighting import k_weighting_filters
from retone.audio.meters.true_peak import TruePeakMeter, checked_block
from retone.compiled import njit
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


@njit(nogil=True, cache=True)
def _measure(x, kw, state, sums, first, edges, out):  # type: ignore[no-untyped-def]
    """K-weighted energy per hop of one channel; state and sums carry on between blocks.

    state: four filter memories and the energy of the hop under way. sums: of x and of x squared.
    edges: ends of the hops that close in this block, as indices into x.
    """
    # y is substituted in the state updates (y = b0 v + s1), which shortens the dependency chain
    b0, a1, a2 = kw[0, 0], kw[0, 3], kw[0, 4]
    e1, e2 = kw[0, 1] - a1 * b0, kw[0, 2] - a2 * b0
    c1, c2 = kw[1, 3], kw[1, 4]
    d1, d2 = -2.0 - c1, 1.0 - c2
    s1, s2, s3, s4, energy = state[0], state[1], state[2], state[3], state[4]
    total, square = sums[0], sums[1]
    start = first
    for hop in range(edges.shape[0] + 1):
        stop = edges[hop] if hop < edges.shape[0] else x.shape[0]
        for n in range(start, stop):
            v = np.float64(x[n])
            total += v
            square += v * v
            y = b0 * v + s1
            s1, s2 = (e1 * v + s2) - a1 * s1, e2 * v - a2 * s1
            z = y + s3
            s3, s4 = (d1 * y + s4) - c1 * s3, d2 * y - c2 * s3
            energy += z * z
        if hop < edges.shape[0]:
            out[hop] = energy
            energy = 0.0
            if abs(s1) + abs(s2) + abs(s3) + abs(s4) < 1e-100:
                s1 = s2 = s3 = s4 = 0.0  # flush decaying states to zero before they become denormal
        start = stop
    state[0], state[1], state[2], state[3], state[4] = s1, s2, s3, s4, energy
    sums[0], sums[1] = total, square


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
            _measure(block[c], self._kw, self._state[c], self._sums[c], 0, edges, energy[c])
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


def _gated(blocks: np.ndarray) -> float:
    loud = blocks[blocks > _power(ABSOLUTE_GATE_LUFS)]
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
