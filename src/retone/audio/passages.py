"""Passages of a recording as compressed sound, for pages that play them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from retone.audio.array_reader import ArrayReader
from retone.audio.encoders.ogg_opus import ogg_opus
from retone.audio.meters.loudness import loudness_lufs
from retone.audio.reader import AudioReader, open_reader
from retone.audio.resampled import at_sample_rate
from retone.errors import AudioError

_FADE_S = 0.01


@dataclass(frozen=True)
class Encoded:
    """The content of an Ogg Opus file, its length, and its loudness before it was encoded."""

    data: bytes
    seconds: float
    lufs: float


def encoded(
    source: Path | np.ndarray,
    sample_rate: int,
    spans: Sequence[tuple[float, float]],
    bit_rates: Mapping[int, int],
) -> Encoded | None:
    """Passages in a row, each with a fade of 10 ms at its ends; None if they cannot be read.

    Args:
        source: a file, or samples [C, T]; of more than two channels the first two are taken.
        sample_rate: of the samples in Hz; a file at another rate is converted.
        spans: first and last second of each passage; what lies past the end is silent.
        bit_rates: bits a second for one and for two channels.
    """
    try:
        parts = [_read(source, sample_rate, *span) for span in spans]
        audio = np.concatenate(parts, axis=1)
        data = ogg_opus(audio, sample_rate, bit_rates[len(audio)])
    except (AudioError, OSError):
        return None
    return Encoded(data, audio.shape[1] / sample_rate, loudness_lufs(audio, sample_rate))


def _read(source: Path | np.ndarray, sample_rate: int, start_s: float, stop_s: float) -> np.ndarray:
    """A passage as float32 [C, n], C at most 2."""
    first = round(start_s * sample_rate)
    frames = round(stop_s * sample_rate) - first
    opened: AudioReader
    if isinstance(source, Path):
        opened = at_sample_rate(open_reader(source), sample_rate)
    else:
        opened = ArrayReader(source, sample_rate, "recording")
    with opened as reader:
        reader.seek(min(first, reader.info.frames))
        read = reader.read(frames)
    audio = np.zeros((min(len(read), 2), frames), np.float32)
    audio[:, : read.shape[1]] = read[:2]
    fade = np.linspace(0, 1, max(1, min(round(_FADE_S * sample_rate), frames // 2)))
    audio[:, : len(fade)] *= fade
    audio[:, frames - len(fade) :] *= fade[::-1]
    return audio
