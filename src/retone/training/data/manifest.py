"""The manifest of a corpus: files with speaker or track, licence, hash and split."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from retone.errors import DataError
from retone.files.atomic import write_text_atomic
from retone.files.fields import read_text

MOST_BYTES = 512 << 20
"""Largest manifest: two million files."""
AUDIO_SUFFIXES = (".wav", ".flac", ".ogg", ".oga", ".opus", ".mp3", ".aif", ".aiff")
MOST_NUMBER = 1e9
SPLITS = ("train", "val", "test")

Log = Callable[[str], None]
"""Callback for lines of progress text."""


@dataclass(frozen=True)
class Found:
    """One file of a corpus, before it is opened: its path and the facts that the layout gives.

    ``bandwidth_hz`` is the upper limit of its content in Hz, None if unknown.
    """

    path: str
    group: str
    split: str | None = None
    kind: str = "speech"
    source: str = ""
    licence: str = ""
    author: str = ""
    bandwidth_hz: float | None = None


@dataclass(frozen=True)
class Entry:
    """One usable file of a corpus; ``path`` is relative to the corpus folder.

    ``group`` is the speaker or the track: no group is in two splits. ``sample_rate`` is the
    file's own rate in Hz; ``bandwidth_hz`` is the upper limit of its content, None
    if unknown.
    """

    path: str
    source: str
    group: str
    kind: str
    seconds: float
    sample_rate: int
    licence: str
    author: str
    sha256: str
    split: str
    bandwidth_hz: float | None = None


@dataclass(frozen=True)
class Rules:
    """Conditions for using a file.

    Args:
        min_seconds: shorter files are skipped.
        min_rms_dbfs: files with a lower level count as silent.
        max_clipped: largest fraction of samples at full scale.
        min_high_band_db: lowest energy above 8 kHz, in dB relative to all; None skips the test.
    """

    min_seconds: float = 0.5
    min_rms_dbfs: float = -60.0
    max_clipped: float = 0.005
    min_high_band_db: float | None = None

    def refuse(self, audio: np.ndarray, sample_rate: int) -> str | None:
        """Why ``audio`` [T] or [T, C] in -1..1 is not used; None if it is."""
        if audio.shape[0] < self.min_seconds * sample_rate:
            return "too short"
        if not np.isfinite(audio).all():
            return "not a number"
        if level_dbfs(audio) < self.min_rms_dbfs:
            return "silent"
        if clipped_fraction(audio) > self.max_clipped:
            return "clipped"
        if self.min_high_band_db is not None:
            mono = audio if audio.ndim == 1 else audio.mean(axis=1)
            if high_band_db(mono, sample_rate) < self.min_high_band_db:
                return "low band"
        return None


def level_dbfs(audio: np.ndarray) -> float:
    """RMS level in dB of full scale; silence gives -200."""
    return float(10.0 * np.log10(np.mean(np.square(audio, dtype=np.float64)) + 1e-20))


def clipped_fraction(audio: np.ndarray) -> float:
    """Fraction of samples within 0.01 % of full scale or over it."""
    return float(np.mean(np.abs(audio) >= 0.9999)) if audio.size else 0.0


def high_band_db(audio: np.ndarray, sample_rate: int, edge_hz: float = 8000.0) -> float:
    """Energy above ``edge_hz`` relative to all energy of ``audio`` [T], in dB (-120 or more)."""
    size = 2048
    if audio.size < size or sample_rate / 2 <= edge_hz:
        return -120.0
    frames = audio[: audio.size // size * size].reshape(-1, size)
    power = np.zeros(size // 2 + 1)
    for block in np.array_split(frames, max(1, len(frames) // 512)):
        spectrum = np.fft.rfft(block * np.hanning(size).astype(np.float32), axis=1)
        power += (spectrum.real**2 + spectrum.imag**2).sum(axis=0)
    above = power[np.fft.rfftfreq(size, 1.0 / sample_rate) > edge_hz].sum()
    return float(10.0 * np.log10(max(above / max(power.sum(), 1e-20), 1e-12)))


def file_sha256(path: Path) -> str:
    """SHA-256 of a file's bytes, read in pieces."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def split_groups(
    groups: Iterable[str], order: str = "sorted", train: float = 0.9, val: float = 0.05
) -> dict[str, str]:
    """Give each speaker or track one of the splits train, val, test.

    Args:
        groups: names; repeats are ignored.
        order: ``"sorted"`` cuts the sorted list, as the DeepAFx-ST paper's code does;
            ``"hashed"`` cuts the list sorted by each name's SHA-256, so that alphabetical
            neighbours (often one author or language) do not end up together.
        train, val: fractions; the rest is test. With three groups or more each split gets one.
    """
    names = sorted(set(groups))
    if order == "hashed":
        names.sort(key=lambda name: hashlib.sha256(name.encode()).hexdigest())
    count = len(names)
    n_train = int(count * train)
    n_val = int(count * val + 1e-9)
    if count >= 3:
        n_val = max(1, n_val)
        n_train = min(n_train, count - n_val - 1)
    else:
        n_train, n_val = count, 0
    return {
        name: "train" if i < n_train else "val" if i < n_train + n_val else "test"
        for i, name in enumerate(names)
    }


def split_by_hours(
    hours: Mapping[str, float], val: float = 0.05, test: float = 0.05
) -> dict[str, str]:
    """Give each speaker or track a split, by hours rather than by count.

    For corpora with very unequal speakers. In the order of the names' SHA-256, a speaker joins
    val, else test, where the hours still fit into that split's fraction; the rest is train.

    Args:
        hours: hours of audio by speaker or track.
        val, test: fractions of all hours.
    """
    total = sum(hours.values())
    room = {"val": val * total, "test": test * total}
    splits = dict.fromkeys(hours, "train")
    for name in sorted(hours, key=lambda name: hashlib.sha256(name.encode()).hexdigest()):
        for split in room:
            if hours[name] <= room[split]:
                room[split] -= hours[name]
                splits[name] = split
                break
    return splits


def assign_splits(found: Sequence[Found], order: str) -> dict[str, str]:
    """Split of each group: the one its files state, else a share of 90/5/5 of the others."""
    stated = {item.group: item.split for item in found if item.split is not None}
    free = split_groups((item.group for item in found if item.group not in stated), order)
    return {**free, **stated}


def _entry(row: dict[str, Any]) -> Entry:
    """One line of a manifest; TypeError or ValueError if it is none."""
    entry = Entry(**row)
    for name, value in asdict(entry).items():
        if name == "bandwidth_hz" and value is None:
            continue
        if name in ("seconds", "sample_rate", "bandwidth_hz"):
            if isinstance(value, bool) or not 0 <= value <= MOST_NUMBER:
                raise ValueError(f"{name} = {value!r}")
        elif not isinstance(value, str) or "\0" in value:
            raise ValueError(f"{name} = {value!r}")
    if entry.split and entry.split not in SPLITS:
        raise ValueError(f"split = {entry.split!r}")
    return entry


@dataclass(frozen=True)
class Manifest:
    """The usable files of a corpus and, by reason, the skipped ones."""

    name: str
    entries: tuple[Entry, ...]
    skipped: dict[str, tuple[str, ...]] = field(default_factory=dict)

    @property
    def sha256(self) -> str:
        """Hash of every entry: runs with the same hash used the same files and splits."""
        lines = "\n".join(json.dumps(asdict(entry), sort_keys=True) for entry in self.entries)
        return hashlib.sha256(lines.encode()).hexdigest()

    def hours(self, split: str | None = None) -> float:
        """Hours of audio in one split, or in all."""
        return sum(e.seconds for e in self.entries if split in (None, e.split)) / 3600.0

    def summary(self) -> str:
        """A few lines of text: files and hours per split, skipped files by reason."""
        lines = [f"{self.name}: {len(self.entries)} files, {self.hours():.2f} h"]
        for split in SPLITS:
            groups = {e.group for e in self.entries if e.split == split}
            lines.append(f"  {split}: {len(groups)} speakers or tracks, {self.hours(split):.2f} h")
        for reason, paths in sorted(self.skipped.items()):
            lines.append(f"  skipped, {reason}: {len(paths)} (such as {paths[0]})")
        return "\n".join(lines)

    def save(self, path: Path) -> None:
        """Write one JSON object a line: a heading, then the entries."""
        heading = {"manifest": self.name, "skipped": self.skipped}
        rows = [json.dumps(heading)] + [json.dumps(asdict(entry)) for entry in self.entries]
        write_text_atomic(path, "\n".join(rows) + "\n", force=True, sync=False)

    @classmethod
    def load(cls, path: Path) -> Manifest:
        """Read what `save` wrote.

        Raises:
            DataError: there is no such file or it is not a manifest.
        """
        try:
            if not path.exists():
                raise DataError(f"{path}: there is no manifest; build the corpus first.")
            text = read_text(path, "a manifest", most_bytes=MOST_BYTES)
            heading, *rows = text.splitlines()
            head = json.loads(heading)
            skipped = {reason: tuple(paths) for reason, paths in head["skipped"].items()}
            entries = tuple(_entry(json.loads(row)) for row in rows)
            return cls(str(head["manifest"]), entries, skipped)
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
            raise DataError(f"{path}: not a manifest ({error}); build it again.") from error
