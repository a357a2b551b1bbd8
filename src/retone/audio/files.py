"""Recordings in files: public names, loading into memory, and comparison."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np

from retone.audio.clip import Clip
from retone.audio.reader import AudioInfo, AudioReader, info, open_reader
from retone.audio.writer import AtomicWriter
from retone.errors import AudioError

__all__ = [
    "AtomicWriter",
    "AudioInfo",
    "AudioReader",
    "info",
    "load",
    "open_reader",
    "require_analysable",
    "same_audio",
]

SILENCE_DBFS = -90.0
SHORTEST_S = 0.1


def load(
    path: str | Path,
    *,
    start_s: float = 0.0,
    duration_s: float | None = None,
    analysis: bool = False,
    warnings: list[str] | None = None,
) -> Clip:
    """Read a recording, or a part of it, into memory.

    Args:
        path: the recording.
        start_s: start in seconds.
        duration_s: seconds to read; None for the rest.
        analysis: also refuse what :func:`require_analysable` refuses.
        warnings: list to which warnings are appended.

    Raises:
        AudioError: the file cannot be used; the message says why.
    """
    with open_reader(path) as reader:
        rate, total = reader.info.sample_rate, reader.info.frames
        first = round(start_s * rate)
        if not 0 <= first < total:
            raise AudioError(
                f"{path}: cannot start at {start_s} s; "
                f"expected 0 to {reader.info.duration_s:.2f} s."
            )
        reader.seek(first)
        count = total - first
        if duration_s is not None:
            count = min(count, round(duration_s * rate))
        samples = np.empty((reader.info.channels, count), reader.info.dtype)
        done = 0
        while done < count:
            block = reader.read(min(65536, count - done))
            samples[:, done : done + block.shape[1]] = block
            done += block.shape[1]
        if warnings is not None:
            warnings.extend(reader.warnings)
    clip = Clip(samples, rate)
    if analysis:
        require_analysable(clip.peak, clip.duration_s, path)
    return clip


def require_analysable(
    peak: float, duration_s: float, where: str | Path, least_dbfs: float = SILENCE_DBFS
) -> None:
    """Refuse recordings from which no setting can be estimated.

    Args:
        peak: largest absolute sample, full scale is 1.
        duration_s: length in seconds.
        where: prefix of messages, such as the file's name.
        least_dbfs: peak below which a recording is silent.

    Raises:
        AudioError: shorter than 0.1 s, or nowhere above ``least_dbfs``.
    """
    if duration_s < SHORTEST_S:
        raise AudioError(
            f"{where} lasts {duration_s * 1000:.1f} ms; expected at least {SHORTEST_S:g} s. "
            "Use a longer recording."
        )
    if peak < 10.0 ** (least_dbfs / 20.0):
        level = f"a peak of {20 * math.log10(peak):.1f} dBFS" if peak > 0 else "only zeros"
        raise AudioError(
            f"{where} is silent ({level}); expected sound above {least_dbfs:g} dBFS. "
            "Check that the right channel or file was recorded."
        )


def same_audio(path_a: str | Path, path_b: str | Path) -> bool:
    """True if two files hold the same sound: one file, or equal samples at the same rate.

    Containers and tags may differ: a WAV and the FLAC made from it are the same.

    Raises:
        AudioError: one of them cannot be read.
    """
    a, b = Path(path_a), Path(path_b)
    if a.exists() and b.exists() and a.samefile(b):
        return True
    with open_reader(a) as left, open_reader(b) as right:
        one, two = left.info, right.info
        shape = (one.sample_rate, one.channels, one.frames)
        if shape != (two.sample_rate, two.channels, two.frames):
            return False
        pairs = zip(left.blocks(), right.blocks(), strict=True)
        return all(np.array_equal(x, y) for x, y in pairs)
