"""What recordings that belong together have in common: one recording for all, and a loudness."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from retone.audio.clip import Clip
from retone.audio.resampling import resampled
from retone.estimators.base import NORMAL_PEAK_DB
from retone.process.excerpt import load_excerpt
from retone.process.level import loudness_of, mono_offset_lu
from retone.process.recording import open_recording
from retone.units import db_to_gain


class Passage(NamedTuple):
    """A part of a recording: mono samples [T] at its own level, and what the file holds."""

    samples: np.ndarray
    sample_rate: int
    channels: int


def passage_of(path: Path, seconds: float) -> Passage:
    """Up to ``seconds`` from the middle of what sounds in a recording, with its short pauses.

    Raises:
        AudioError: it cannot be read or analysed.
    """
    with open_recording(path) as reader:
        excerpt, peak = load_excerpt(reader)
        info = reader.info
    sound = excerpt.passage if excerpt.passage.numel() else excerpt.audio
    length = min(sound.shape[-1], round(seconds * info.sample_rate))
    start = (sound.shape[-1] - length) // 2
    part = sound[start : start + length].numpy() * np.float32(peak / db_to_gain(NORMAL_PEAK_DB))
    return Passage(part, info.sample_rate, info.channels)


def pooled(parts: Sequence[Passage]) -> Clip:
    """Parts one after the other, at the sample rate that most of them have.

    It is stereo, with equal channels, if most of the recordings are, and so as loud as they are.
    """
    rate = Counter(p.sample_rate for p in parts).most_common(1)[0][0]
    stereo = Counter(p.channels > 1 for p in parts).most_common(1)[0][0]
    mono = np.concatenate(
        [
            p.samples if p.sample_rate == rate else resampled(p.samples, p.sample_rate, rate)
            for p in parts
        ]
    )
    return Clip(np.stack([mono] * (2 if stereo else 1)), rate)


def references_loudness(references: Sequence[Path], mono_as: str) -> float | None:
    """Mean loudness of references in LUFS, as played on loudspeakers; None for silence.

    Args:
        references: recordings.
        mono_as: ``"dual"`` or ``"single"``, see ``process.level.mono_offset_lu``.
    """
    found = []
    for path in references:
        with open_recording(path) as reader:
            lufs = loudness_of(reader)
            if math.isfinite(lufs):
                found.append(lufs + mono_offset_lu(reader.info.channels, mono_as))
    return sum(found) / len(found) if found else None


def album_loudness(levels: Sequence[tuple[float, float]]) -> float | None:
    """Loudness of recordings one after the other in LUFS; None for none.

    Formula: ``10 log10(sum(d 10^(l / 10)) / sum(d))`` for loudness ``l`` in LUFS and duration
    ``d`` in seconds. Measuring the whole at once would also gate quiet songs; this does not.

    Args:
        levels: (LUFS, seconds) of each.
    """
    seconds = sum(d for _, d in levels)
    if not seconds:
        return None
    return 10 * math.log10(sum(d * 10 ** (lufs / 10) for lufs, d in levels) / seconds)
