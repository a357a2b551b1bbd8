"""The excerpt of a recording that estimators analyse, normalised.

An excerpt's peak is -12 dBFS; the recording's own peak comes with it, so that thresholds can be
moved to the recording's level.
"""

from __future__ import annotations

import numpy as np
import torch

from retone.audio.files import SILENCE_DBFS, require_analysable
from retone.audio.reader import AudioReader
from retone.errors import AudioError
from retone.estimators.base import NORMAL_PEAK_DB, Excerpt
from retone.estimators.speech_music import Content, content_of
from retone.process.recording import Recording, open_recording
from retone.process.stream import BLOCK_FRAMES
from retone.units import db_to_gain

SHORTEST_S = 0.5
"""Statistics of anything shorter are not reliable."""

EXCERPT_S = 60.0
_PIECE_S = 10.0
_CANDIDATES = 4


def load_excerpt(reader: AudioReader) -> tuple[Excerpt, float]:
    """Return the analysis excerpt of a recording and the excerpt's own peak (full scale is 1).

    Raises:
        AudioError: the recording is silent or shorter than `SHORTEST_S`.
    """
    path, rate = reader.info.path, reader.info.sample_rate
    audio = active_excerpt(reader)
    if audio.size < SHORTEST_S * rate:
        raise AudioError(
            f"{path} lasts {reader.info.duration_s:.2f} s; a match needs at least {SHORTEST_S:g} s "
            "of each recording. Use a longer one."
        )
    peak = float(np.abs(audio).max(initial=0.0))
    if peak < db_to_gain(SILENCE_DBFS) and reader.info.channels > 1:
        # channels of opposite sign cancel in the mean, though each is audible
        alone = (active_excerpt(reader, c) for c in range(reader.info.channels))
        audio = max(alone, key=lambda x: float(np.abs(x).max(initial=0.0)))
        peak = float(np.abs(audio).max(initial=0.0))
    require_analysable(peak, audio.size / rate, path)
    scaled = torch.from_numpy(audio * np.float32(db_to_gain(NORMAL_PEAK_DB) / peak))
    return Excerpt(scaled, rate), peak


def content_of_recording(recording: Recording) -> Content:
    """Whether a recording holds speech or music.

    Raises:
        AudioError: it cannot be read or analysed.
    """
    with open_recording(recording) as reader:
        return content_of(load_excerpt(reader)[0])


def active_excerpt(reader: AudioReader, channel: int | None = None) -> np.ndarray:
    """The part of a recording to analyse: [n] mono, at the recording's rate.

    Recordings up to a minute and a half are used in full. Longer ones are divided into six
    segments, and each contributes the loudest ten seconds out of a few candidates, so that no
    single passage dominates and the cost does not grow with the length.

    Args:
        reader: the open recording.
        channel: use only this channel (from 0); None for the mean of all.
    """
    rate, total = reader.info.sample_rate, reader.info.frames
    if total <= EXCERPT_S * 1.5 * rate:
        return _mono(reader, 0, total, channel)
    piece = round(_PIECE_S * rate)
    stretches = round(EXCERPT_S / _PIECE_S)
    chosen: list[np.ndarray] = []
    for i in range(stretches):
        first, last = i * total // stretches, (i + 1) * total // stretches - piece
        starts = np.unique(np.linspace(first, max(first, last), _CANDIDATES).astype(int))
        pieces = [_mono(reader, int(s), piece, channel) for s in starts]
        chosen.append(max(pieces, key=lambda p: float(np.mean(p**2))))
    return np.concatenate(chosen)


def _mono(reader: AudioReader, start: int, count: int, channel: int | None) -> np.ndarray:
    reader.seek(start)
    out = np.empty(count, np.float32)
    done = 0
    while done < count:
        block = reader.read(min(BLOCK_FRAMES, count - done))
        if block.shape[1] == 0:
            return out[:done]
        mono = _mean(block) if channel is None else block[channel]
        out[done : done + block.shape[1]] = mono
        done += block.shape[1]
    return out


def _mean(block: np.ndarray) -> np.ndarray:
    total = block[0]
    for other in block[1:]:
        total = total + other
    return np.asarray(total / len(block))
