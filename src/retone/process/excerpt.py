"""The excerpt of a recording that estimators analyse: what sounds, as mono, normalised.

One pass over the recording measures the power of every 20 ms; ``retone.process.activity`` decides
which parts sound. An excerpt's peak is -12 dBFS; the recording's own peak comes with it, so that
thresholds can be moved to the recording's level.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import torch
from numpy.typing import NDArray

from retone.audio.files import SILENCE_DBFS, require_analysable
from retone.audio.formats import bit_depth
from retone.audio.meters.activity import HOP_S, ActivityMeter
from retone.audio.reader import AudioReader
from retone.dsp.short_levels import LIVE_DB, dynamics_db
from retone.dsp.third_octaves import (
    BANDS,
    DENSE,
    levels_db,
    segment_powers,
    segment_samples,
    third_octave_levels_db,
)
from retone.errors import AudioError
from retone.estimators.base import NORMAL_PEAK_DB, Excerpt, samples_of
from retone.estimators.speech_music import Content, content_of
from retone.process.activity import GATE_DB, Activity, Mask, activity, db_to_power, runs, widened
from retone.process.recording import Recording, open_recording
from retone.process.stream import BLOCK_FRAMES, block_frames
from retone.units import db_to_gain, gain_to_db

SHORTEST_S = 0.5
"""Statistics of anything shorter are not reliable."""

EXCERPT_S = 60.0
PAUSES_S = 6.0
PASSAGE_S = 30.0
PAUSE_S = 1.0
"""How much of a pause counts for dynamics, at either end."""
FINE_SILENCE_DBFS = -120.0
"""Recordings of 24 bits and more and of floats hold sound far below -90 dBFS."""
_PIECE_S = 10.0
_CANDIDATES = 4
_DECISION_S = 15.0
_WEAK_DB = -15.0
_CANCELLED, _CANCELLED_DB = 0.25, -15.0
_CLICK_DB, _CLICK_HOPS, _CLICK_SHARE, _CLICK_S = 10.0, 10, 0.005, 0.1
_FADE_S = 0.005
_SOUNDS_DB = -30.0

Segments = Sequence[tuple[int, int]]
"""First frame and the one after the last of each part, in order."""
Gains = NDArray[np.float32]
"""Factor of each channel in the mono mix, [C]."""


def load_excerpt(reader: AudioReader, *, side: bool = False) -> tuple[Excerpt, float]:
    """Return the analysis excerpt of a recording and the excerpt's own peak (full scale is 1).

    Of up to a minute and a half of sound everything is used. More is divided into six stretches,
    and each contributes the loudest ten seconds out of a few candidates, so that no single
    passage dominates and the cost does not grow with the length. Pauses, digital silence and
    noise between phrases do not count as sound.

    Args:
        reader: the recording.
        side: of two channels, analyse half their sum and add half their difference.

    Raises:
        AudioError: the recording is silent or shorter than `SHORTEST_S`, or the two channels cancel
            where their sum is to be analysed.
    """
    info = reader.info
    if info.frames < SHORTEST_S * info.sample_rate:
        raise AudioError(
            f"{info.path} lasts {info.duration_s:.2f} s; at least {SHORTEST_S:g} s of a recording "
            "are needed to find settings. Use a longer one."
        )
    power = _powers(reader)
    found = activity(power, noise=True)
    side &= info.channels == 2
    audio, gains, tone = _sounding(reader, found, side)
    if found.gate_db > GATE_DB:
        # what is steady and low may be noise behind a voice, or music
        start = torch.from_numpy(audio[: round(_DECISION_S * info.sample_rate)])
        if content_of(Excerpt(start, info.sample_rate)).kind == "music":
            found = activity(power, noise=False)
            audio, gains, tone = _sounding(reader, found, side)
    if side:
        _refuse_cancelled(reader, found, audio)
    peak = _robust_peak(audio, info.sample_rate)
    fine = (bit_depth(info.subtype) or 0) > 16
    least_dbfs = FINE_SILENCE_DBFS if fine else SILENCE_DBFS
    require_analysable(peak, audio.size / info.sample_rate, info.path, least_dbfs)
    pauses = _mono(reader, _pauses(found, reader), gains, fade=round(_FADE_S * info.sample_rate))
    factor = np.float32(db_to_gain(NORMAL_PEAK_DB) / peak)
    limit = np.float32(db_to_gain(NORMAL_PEAK_DB))
    scaled = torch.from_numpy(np.clip(audio * factor, -limit, limit))
    quiet = torch.from_numpy(pauses * factor)
    other = _side(reader, found, factor) if side else None
    passage, louder_db = _passage(reader, _with_pauses(found, reader), gains)
    passage *= factor
    spread_db = dynamics_db(passage, info.sample_rate)
    passage = samples_of(passage, round(PASSAGE_S * info.sample_rate))
    excerpt = Excerpt(
        scaled, info.sample_rate, quiet, tone, torch.from_numpy(np.clip(passage, -limit, limit)),
        spread_db, louder_db, gain_to_db(peak) - NORMAL_PEAK_DB + louder_db, other,
    )  # fmt: skip
    return excerpt, peak


def _passage(
    reader: AudioReader, parts: Segments, gains: Gains
) -> tuple[NDArray[np.float32], float]:
    """The parts as mono [n], and how far the loudest channel's peaks lie above the mix's in dB."""
    loudest = None if len(gains) == 1 else np.empty(sum(b - a for a, b in parts), np.float32)
    mono = _mono(reader, parts, gains, loudest=loudest)
    hop = round(HOP_S * reader.info.sample_rate)
    count = len(mono) // hop
    if loudest is None or not count:
        return mono, 0.0
    own, all_of_them = (
        np.abs(x[: count * hop]).reshape(count, hop).max(axis=1) for x in (mono, loudest)
    )
    sounds = own > own.max() * db_to_gain(_SOUNDS_DB)
    if not sounds.any():
        return mono, 0.0
    return mono, float(20 * np.log10(np.median(all_of_them[sounds] / own[sounds])))


def _refuse_cancelled(reader: AudioReader, found: Activity, mid: NDArray[np.float32]) -> None:
    """Refuse a recording whose mid is far below its side."""
    parts = _segments(_chosen(found), reader)
    side = _mono(reader, parts, np.array([0.5, -0.5], np.float32))
    if np.square(side).mean() * db_to_power(_CANCELLED_DB) > np.square(mid).mean():
        raise AudioError(
            f"{reader.info.path}: the two channels nearly cancel, so there is no mid to match. "
            "Match both channels alike."
        )


def _side(reader: AudioReader, found: Activity, factor: np.float32) -> Excerpt:
    """Half the difference of the channels where the recording sounds, and in its pauses."""
    gains, rate = np.array([0.5, -0.5], np.float32), reader.info.sample_rate
    audio = _mono(reader, _segments(_chosen(found), reader), gains)
    pauses = _mono(reader, _pauses(found, reader), gains, fade=round(_FADE_S * rate))
    return Excerpt(torch.from_numpy(audio * factor), rate, torch.from_numpy(pauses * factor))


def content_of_recording(recording: Recording) -> Content:
    """Whether a recording holds speech or music.

    Raises:
        AudioError: it cannot be read or analysed.
    """
    with open_recording(recording) as reader:
        return content_of(load_excerpt(reader)[0])


def _powers(reader: AudioReader) -> NDArray[np.float64]:
    """Mean square of every 20 ms of a recording."""
    meter = ActivityMeter(reader.info.sample_rate, reader.info.channels)
    reader.seek(0)
    for block in reader.blocks(block_frames(reader.info.channels)):
        meter.update(block)
    return meter.result()


def _sounding(
    reader: AudioReader, found: Activity, mid: bool
) -> tuple[NDArray[np.float32], Gains, NDArray[np.float64] | None]:
    """The parts to analyse as mono [n], the gains of the mix, and the third-octave levels of all
    channels; None for mono and for the mid, whose levels are those of the mix."""
    parts = _segments(_chosen(found), reader)
    channels = reader.info.channels
    if channels == 1 or mid:
        gains = np.full(channels, 1 / channels, np.float32)
        return _mono(reader, parts, gains), gains, None
    tone = ToneMeter(reader.info.sample_rate)
    gains = mix_gains(tone.passed(_blocks(reader, parts)), channels)
    return _mono(reader, parts, gains), gains, tone.levels_db()


class ToneMeter:
    """Third-octave levels of all channels of audio that passes by in blocks, as if it were one."""

    def __init__(self, sample_rate: int) -> None:
        self.sample_rate = sample_rate
        self.size = segment_samples(sample_rate, DENSE)
        self.rest: NDArray[np.float32] | None = None
        self.total, self.count = np.zeros(BANDS), 0

    def passed(self, blocks: Iterator[np.ndarray]) -> Iterator[np.ndarray]:
        """The same blocks, measured."""
        for block in blocks:
            rest = block if self.rest is None else np.concatenate([self.rest, block], axis=1)
            if rest.shape[1] >= self.size:
                powers = segment_powers(rest, self.sample_rate, DENSE)
                self.total += powers.sum(axis=0)
                self.count += len(powers)
                rest = rest[:, len(powers) * (self.size // DENSE) :]
            self.rest = rest.copy()
            yield block

    def levels_db(self) -> NDArray[np.float64]:
        """Levels [BANDS] in dB; see ``third_octave_levels_db``."""
        if not self.count and self.rest is not None:  # less than one segment in all
            return third_octave_levels_db(self.rest, self.sample_rate, DENSE)
        return levels_db(self.total[None] / max(self.count, 1))


def _chosen(found: Activity) -> Mask:
    """Hops to analyse: all that sound or, of a long recording, six pieces of ten seconds."""
    keep = found.keep.copy()
    if not keep.any():
        keep[: round(EXCERPT_S / HOP_S)] = True
    while keep.sum() * HOP_S < SHORTEST_S + HOP_S and not keep.all():
        keep = widened(keep, 2 * HOP_S, 2 * HOP_S)
    at = np.flatnonzero(keep)
    if len(at) * HOP_S <= 1.5 * EXCERPT_S:
        return keep
    piece, stretches = round(_PIECE_S / HOP_S), round(EXCERPT_S / _PIECE_S)
    total = np.concatenate([[0.0], np.cumsum(found.power[at])])
    keep[:] = False
    for i in range(stretches):
        first, last = i * len(at) // stretches, (i + 1) * len(at) // stretches - piece
        starts = np.linspace(first, max(first, last), _CANDIDATES).astype(int)
        start = max(starts, key=lambda s: float(total[s + piece] - total[s]))
        keep[at[start : start + piece]] = True
    return keep


def _with_pauses(found: Activity, reader: AudioReader) -> Segments:
    """The parts to analyse with their pauses. Of long pauses the middle is left out where it is so
    quiet that it does not count for the spread, or where only pieces are analysed. A click in
    digital silence keeps some of that: alone it would have no levels."""
    chosen = _chosen(found)
    audible = found.power > 0
    parts = widened(chosen, PAUSE_S, PAUSE_S)
    if (chosen >= found.keep).all():
        parts |= found.power > found.power.max() * db_to_power(-LIVE_DB)
    sounds = parts & audible
    return _segments(sounds if sounds.sum() * HOP_S >= _CLICK_S else chosen, reader)


def _pauses(found: Activity, reader: AudioReader) -> Segments:
    """What sounds in pauses, up to `PAUSES_S` from all over the recording."""
    parts = _segments(found.pause, reader)
    seconds = sum(b - a for a, b in parts) / reader.info.sample_rate
    if seconds <= PAUSES_S:
        return parts
    count = max(1, int(len(parts) * PAUSES_S / seconds))
    return [parts[i] for i in np.linspace(0, len(parts) - 1, count).astype(int)]


def _segments(mask: Mask, reader: AudioReader) -> Segments:
    """Runs of hops as runs of frames; the last reaches to the end of the recording."""
    hop = ActivityMeter(reader.info.sample_rate, 1).hop
    found = [(first * hop, last * hop) for first, last in runs(mask)]
    if found and found[-1][1] == len(mask) * hop:
        found[-1] = (found[-1][0], reader.info.frames)
    return found


def _blocks(reader: AudioReader, parts: Segments) -> Iterator[np.ndarray]:
    """Blocks [C, n] of the parts; no block goes beyond the end of its part."""
    for first, last in parts:
        reader.seek(first)
        while first < last:
            block = reader.read(min(BLOCK_FRAMES, last - first))
            if block.shape[1] == 0:
                return
            first += block.shape[1]
            yield block


def mix_gains(blocks: Iterator[np.ndarray], channels: int) -> Gains:
    """Gains of a mono mix that holds what sounds, [C]: the mean wherever that does.

    Channels that nearly cancel are added with opposite signs. The sum is divided by the number of
    channels that are less than 15 dB below the strongest, so a dead channel does not halve the
    level.
    """
    if channels == 1:
        return np.ones(1, np.float32)
    products = np.zeros((channels, channels))
    for block in blocks:
        products += np.asarray(block @ block.T, np.float64)
    power = np.diag(products)
    strong = power > power.max() * db_to_power(_WEAK_DB)
    signs = np.ones(channels)
    if products.sum() < _CANCELLED * power.sum():
        signs = np.where(np.linalg.eigh(products)[1][:, -1] < 0, -1.0, 1.0)
        signs *= 1.0 if (signs * power).sum() >= 0 else -1.0
    return np.asarray(signs / max(1, strong.sum()), np.float32)


def _mono(
    reader: AudioReader,
    parts: Segments,
    gains: Gains,
    fade: int = 0,
    loudest: NDArray[np.float32] | None = None,
) -> NDArray[np.float32]:
    """The parts of a recording one after the other, mixed to [n].

    Args:
        fade: frames over which parts overlap, as noise: at equal power.
        loudest: [n] gets the magnitude of the loudest channel; only without a fade.
    """
    out = np.empty(sum(b - a for a, b in parts), np.float32)
    done = 0
    ramp = np.sin(np.linspace(0.0, 0.5 * np.pi, fade, dtype=np.float32))
    for part in parts:
        start = done if done == 0 else done - fade
        before = out[start:done].copy()
        done = start
        for block in _blocks(reader, [part]):
            mono = _mean(block) if (gains * len(gains) == 1).all() else gains @ block
            out[done : done + block.shape[1]] = mono
            if loudest is not None:
                np.abs(block).max(axis=0, out=loudest[done : done + block.shape[1]])
            done += block.shape[1]
        if before.size:
            own = out[start : start + fade]
            own[:] = own * ramp + before * ramp[::-1]
    return out[:done]


def _mean(block: np.ndarray) -> np.ndarray:
    total = block[0]
    for other in block[1:]:
        total = total + other
    return np.asarray(total / len(block))


def _robust_peak(audio: NDArray[np.float32], sample_rate: int) -> float:
    """The peak without clicks: of 20 ms that are not 10 dB above those ten times as frequent.

    A few hops far above all others are a click; any other recording keeps its own peak.
    """
    hop = round(HOP_S * sample_rate)
    edges = np.arange(0, audio.size, hop)
    peaks = np.maximum.reduceat(np.abs(audio), edges) if audio.size else np.zeros(1)
    rank = min(len(peaks) - 1, max(_CLICK_HOPS, round(_CLICK_SHARE * len(peaks))))
    usual = float(np.partition(peaks, -1 - rank)[-1 - rank])
    usual *= db_to_gain(_CLICK_DB)
    return float(peaks[peaks <= usual].max()) if usual > 0 else float(peaks.max())
