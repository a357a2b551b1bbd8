"""The sound of a report: the recording before and after and its reference, as compressed audio.

A short recording is embedded whole. Of a long one, the loudest stretch, a quiet one and the one
that changed most are; or the page plays whole recordings from files beside it.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from retone.audio.passages import encoded

if TYPE_CHECKING:
    from retone.process.result import Rendered, Side

WHOLE_S = 40.0
"""Recordings up to this length are embedded whole."""
LONGEST_S = 1800.0
"""Recordings up to this length are written whole beside a report."""
PASSAGE_S, REFERENCE_S = 10.0, 15.0
BIT_RATE = {1: 64_000, 2: 96_000}
_QUIET_LU = 15.0  # a quiet passage is at most this far below the loudest
WHOLE, LOUDEST, QUIET, CHANGED = "Whole recording", "Loudest part", "Quiet part", "Most changed"


@dataclass(frozen=True)
class Passage:
    """A stretch of the recording; ``title`` says why it was chosen."""

    title: str
    start_s: float
    stop_s: float


@dataclass(frozen=True)
class Track:
    """One recording's passages in a row, as the content of an Ogg Opus file.

    Args:
        role: before, after or reference.
        name: the file's name.
        data: the encoded sound.
        seconds: its length.
        lufs: its integrated loudness.
        file: its address, seen from the page, if it is not embedded.
    """

    role: str
    name: str
    data: bytes
    seconds: float
    lufs: float
    file: str = ""


@dataclass(frozen=True)
class Sound:
    """``passages`` of before and after, which have one time line; the reference has its own."""

    passages: tuple[Passage, ...]
    tracks: tuple[Track, ...]

    def gains_db(self) -> dict[str, float]:
        """Gains that make all tracks as loud as the quietest."""
        known = [t.lufs for t in self.tracks if math.isfinite(t.lufs)]
        goal = min(known, default=0.0)
        return {t.role: goal - t.lufs if math.isfinite(t.lufs) else 0.0 for t in self.tracks}


def sound_of(result: Rendered, output: Path | None = None, *, whole: bool = False) -> Sound | None:
    """The sound of a rendered recording; None if it can no longer be read.

    Args:
        result: what was rendered, to a file or to memory.
        output: where the output's content is, if it does not have its name yet.
        whole: all of a recording of at most ``LONGEST_S``, however long.
    """
    before, after = result.sides[:2]
    if min(before.duration_s, after.duration_s) < 0.1:
        return None
    length = min(before.duration_s, after.duration_s)
    all_of_it = (Passage(WHOLE, 0.0, length),)
    passages = all_of_it if whole and length <= LONGEST_S else passages_of(before, after)
    reference = next((s for s in result.sides if s.role == "reference" and s.levels), None)
    wanted = [(before, before.path, passages), (after, output or after.path, passages)]
    if reference is not None:
        wanted.append((reference, reference.path, (_typical(reference),)))
    with ThreadPoolExecutor(2) as pool:
        tracks = list(pool.map(lambda w: _track(*w), wanted))
    if tracks[0] is None or tracks[1] is None:
        return None
    return Sound(passages, tuple(t for t in tracks if t is not None))


def passages_of(before: Side, after: Side) -> tuple[Passage, ...]:
    """What to embed of a recording: everything, or up to three passages in order of time."""
    length = min(before.duration_s, after.duration_s)
    if length <= WHOLE_S or before.loudness is None or after.loudness is None:
        return (Passage(WHOLE, 0.0, min(length, WHOLE_S)),)
    time_s, level = _moments(before)
    _, changed = _moments(after)
    count = min(len(level), len(changed))
    if count < 2:
        return (Passage(WHOLE, 0.0, WHOLE_S),)
    time_s, level, change = time_s[:count], level[:count], changed[:count] - level[:count]
    change = np.abs(change - np.median(change))
    scores = (
        (LOUDEST, level),
        (QUIET, np.where(level > level.max() - _QUIET_LU, -level, -np.inf)),
        (CHANGED, np.where(level > level.max() - _QUIET_LU, change, -np.inf)),
    )
    found: list[Passage] = []
    for title, score in scores:
        free = np.isfinite(score)
        for p in found:
            free &= np.abs(time_s - (p.start_s + p.stop_s) / 2) >= PASSAGE_S
        if free.any():
            middle = float(time_s[np.argmax(np.where(free, score, -np.inf))])
            start = min(max(middle - PASSAGE_S / 2, 0.0), length - PASSAGE_S)
            if all(abs(start - p.start_s) >= PASSAGE_S for p in found):
                found.append(Passage(title, start, start + PASSAGE_S))
    return tuple(sorted(found, key=lambda p: p.start_s))


def _moments(side: Side) -> tuple[np.ndarray, np.ndarray]:
    """Mean loudness of a passage about each moment: times in s and LUFS."""
    assert side.loudness is not None
    time_s, lufs = side.loudness
    if len(time_s) < 2:
        return time_s, lufs
    power = 10 ** (np.maximum(lufs, -100.0) / 10)
    wide = max(1, min(len(power), round(PASSAGE_S / float(time_s[1] - time_s[0]))))
    mean = np.convolve(power, np.ones(wide) / wide, "same")
    return time_s, 10 * np.log10(mean)


def _typical(side: Side) -> Passage:
    """The stretch of a reference whose loudness is nearest to that of the whole."""
    length = min(side.duration_s, REFERENCE_S)
    start = 0.0
    if side.loudness is not None and len(side.loudness[0]) and side.duration_s > REFERENCE_S:
        assert side.levels is not None
        time_s, lufs = _moments(side)
        middle = float(time_s[np.abs(lufs - side.levels.integrated_lufs).argmin()])
        start = min(max(middle - length / 2, 0.0), side.duration_s - length)
    return Passage("Typical part", start, start + length)


def _track(side: Side, path: Path, passages: Sequence[Passage]) -> Track | None:
    """A recording's passages; None if it can no longer be read."""
    found = encoded(
        path if side.samples is None else side.samples,
        side.sample_rate,
        [(p.start_s, p.stop_s) for p in passages],
        BIT_RATE,
    )
    if found is None:
        return None
    return Track(side.role, side.path.name, found.data, found.seconds, found.lufs)


def beside(sound: Sound, stem: str) -> tuple[Sound, dict[str, bytes]]:
    """The same sound with its data in files beside the page.

    Args:
        sound: as it would be embedded.
        stem: of the page's name; the files are ``STEM.before.opus`` and so on.

    Returns:
        The sound without its data, and the content of each file by name.
    """
    files = {f"{stem}.{t.role}.opus": t.data for t in sound.tracks}
    tracks = [replace(t, data=b"", file=name) for t, name in zip(sound.tracks, files, strict=True)]
    return replace(sound, tracks=tuple(tracks)), files
