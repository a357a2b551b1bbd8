"""Corpora: where each comes from, how it is read, split, checked and cached for cropping.

`open_corpus` reads a corpus folder once: every file is decoded, checked against the rules,
folded to mono, resampled, and appended to one 16-bit array per speaker or track on disk. After
that a crop is a memory-mapped slice, and no more than one source file is ever in memory.
"""

from __future__ import annotations

import functools
import hashlib
import math
from collections import defaultdict
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from pathlib import Path, PurePath
from typing import BinaryIO

import numpy as np

from retone.audio.resampling import resampled
from retone.errors import DataError, SettingError
from retone.files.atomic import locked, new_folder
from retone.registry import Registry, called
from retone.training.data import layouts
from retone.training.data.manifest import (
    SPLITS,
    Entry,
    Found,
    Log,
    Manifest,
    Rules,
    assign_splits,
    file_sha256,
)

PCM_SCALE = 32767.0
CACHE_VERSION = 1
FULL_BAND = 0.86
"""Share of half the sample rate that the content of a full-band recording reaches."""


@dataclass(frozen=True, kw_only=True)
class CorpusSource:
    """A known corpus.

    Args:
        name: unique key in ``CORPORA``.
        title: full name.
        kind: speech, music or audio.
        licence: short name of its licence.
        where: where to get it.
        find: lists its files; raises DataError if the folder has another layout.
        order: order in which speakers or tracks without a stated split are assigned to splits.
        rules: which files are used.
    """

    name: str
    title: str
    kind: str
    licence: str
    where: str
    find: Callable[[Path], list[Found]]
    order: str = "sorted"
    rules: Rules = Rules()


_OWN = {
    source.name: source
    for source in (
        CorpusSource(
            name="libritts",
            title="LibriTTS (train-clean-360 in the paper)",
            kind="speech",
            licence="CC BY 4.0",
            where="https://www.openslr.org/60/",
            find=layouts.libritts,
        ),
        CorpusSource(
            name="vctk",
            title="CSTR VCTK Corpus 0.92",
            kind="speech",
            licence="CC BY 4.0",
            where="https://doi.org/10.7488/ds/2645",
            find=layouts.vctk,
        ),
        CorpusSource(
            name="daps",
            title="DAPS (Device and Produced Speech), cleanraw",
            kind="speech",
            licence="CC BY-NC 4.0",
            where="https://doi.org/10.5281/zenodo.4660670",
            find=layouts.daps,
        ),
        CorpusSource(
            name="mtg-jamendo",
            title="MTG-Jamendo",
            kind="music",
            licence="Creative Commons, per track (many non-commercial)",
            where="https://mtg.github.io/mtg-jamendo-dataset/",
            find=layouts.jamendo,
        ),
        CorpusSource(
            name="musdb18",
            title="MUSDB18-HQ",
            kind="music",
            licence="educational use, per track",
            where="https://doi.org/10.5281/zenodo.3338373",
            find=layouts.musdb18,
        ),
        CorpusSource(
            name="debian-speech",
            title="Spoken prompts from Debian packages",
            kind="speech",
            licence="GPL-2, GPL-2+",
            where="Debian packages; retone.training.debian.build fetches them",
            find=layouts.built,
            order="hashed",
        ),
        CorpusSource(
            name="debian-voices",
            title="Actors from Debian packages, for recipes at 24 kHz",
            kind="speech",
            licence="GPL-2",
            where="Debian packages; retone.training.debian.build fetches them",
            find=layouts.built,
            order="hashed",
        ),
        CorpusSource(
            name="debian-music",
            title="Game music from Debian packages",
            kind="music",
            licence="GPL, CC BY, CC BY-SA, public domain, per file",
            where="Debian packages; retone.training.debian.build fetches them",
            find=layouts.built,
            order="hashed",
            rules=Rules(min_seconds=10.0),
        ),
        CorpusSource(
            name="kit",
            title="Excerpts described by a manifest.csv",
            kind="audio",
            licence="per file",
            where="a folder with manifest.csv: path, source, speaker, licence, author, split, kind",
            find=layouts.kit,
            order="hashed",
        ),
        CorpusSource(
            name="folder",
            title="Any folder of audio",
            kind="audio",
            licence="the user's own",
            where="your disk",
            find=layouts.any_folder,
            order="hashed",
        ),
    )
}

CORPORA: Registry[CorpusSource] = Registry(
    "retone.corpora", "corpus", _OWN, check=called(CorpusSource)
)
"""Known corpora by name; other packages add theirs by entry points in ``retone.corpora``."""


def corpus_source(name: str) -> CorpusSource:
    """The corpus of that name.

    Raises:
        DataError: there is none, or it cannot be loaded.
    """
    try:
        return CORPORA.named(name)
    except SettingError as error:
        raise DataError(str(error)) from None


@functools.lru_cache(maxsize=1024)
def _mapped(path: Path) -> np.ndarray:
    return np.load(path, mmap_mode="r")


@dataclass(frozen=True)
class Track:
    """One speaker (all utterances joined) or one track, ready for cropping.

    ``bandwidth_hz`` is the lowest upper limit of the content of its files, at most half of their
    lowest sample rate.
    """

    group: str
    split: str
    kind: str
    path: Path
    samples: int
    bandwidth_hz: float = math.inf

    def read(self, start: int, length: int) -> np.ndarray:
        """``length`` samples from ``start``: mono, float32 [length] in -1..1."""
        part = _mapped(self.path)[start : start + length]
        return part.astype(np.float32) * np.float32(1.0 / PCM_SCALE)


@dataclass(frozen=True)
class Corpus:
    """Speakers or tracks at one sample rate in Hz; only what is cropped is read."""

    name: str
    sample_rate: int
    tracks: tuple[Track, ...]
    sha256: str

    def split(self, name: str) -> Corpus:
        """The speakers or tracks of one split: train, val or test."""
        if name not in SPLITS:
            raise DataError(f"split '{name}' is unknown; choose one of {', '.join(SPLITS)}.")
        tracks = tuple(track for track in self.tracks if track.split == name)
        return replace(self, name=f"{self.name}/{name}", tracks=tracks)

    def at(self, number: int) -> Corpus:
        """The part that pair ``number`` is drawn from: all of it, if nothing is streamed."""
        return self

    @functools.cached_property
    def sizes(self) -> np.ndarray:
        """Samples of each speaker or track."""
        return np.array([track.samples for track in self.tracks], dtype=np.int64)

    @property
    def hours(self) -> float:
        """Hours of audio."""
        return sum(track.samples for track in self.tracks) / self.sample_rate / 3600.0


def full_band(corpus: Corpus) -> np.ndarray:
    """Whether the content of each speaker or track reaches ``FULL_BAND``, bool."""
    edge_hz = FULL_BAND * corpus.sample_rate / 2
    return np.array([track.bandwidth_hz >= edge_hz for track in corpus.tracks], dtype=bool)


def join_corpora(corpora: Iterable[Corpus]) -> Corpus:
    """Join corpora with the same sample rate into one.

    Raises:
        DataError: none given, or the rates differ.
    """
    parts = tuple(corpora)
    rates = {part.sample_rate for part in parts}
    if len(rates) != 1:
        raise DataError(f"join_corpora: sample rates {sorted(rates)}; open all at one rate.")
    joined = "+".join(part.sha256 for part in parts)
    return Corpus(
        "+".join(part.name for part in parts),
        parts[0].sample_rate,
        tuple(track for part in parts for track in part.tracks),
        hashlib.sha256(joined.encode()).hexdigest(),
    )


def open_corpus(
    name: str,
    folder: Path,
    *,
    sample_rate: int,
    cache: Path,
    progress: Log | None = None,
) -> Corpus:
    """Open a corpus, reading and resampling it into ``cache`` the first time.

    Args:
        name: a key of CORPORA.
        folder: the corpus folder.
        sample_rate: sample rate in Hz of the crops.
        cache: folder for the resampled copy; one subfolder per corpus folder and rate.
        progress: called with lines of text, the last one a summary.

    Raises:
        DataError: unknown name, no such folder, another layout, or no usable file.
    """
    source = corpus_source(name)
    if not folder.is_dir():
        raise DataError(f"{name}: no folder {folder}; get the corpus from {source.where}.")
    found = source.find(folder)
    for item in found:
        path = PurePath(item.path)
        if path.is_absolute() or ".." in path.parts:  # a list that another person wrote
            raise DataError(
                f"{name}: {folder} lists {item.path}, which is not inside it. Remove it."
            )
        if item.split not in (None, "", *SPLITS) or "\0" in item.path:
            known = ", ".join(SPLITS)
            raise DataError(f"{name}: {folder} lists a split '{item.split}'; expected {known}.")
    stamp = _stamp(folder, found, sample_rate, source.rules)
    target = cache / f"{name}_{sample_rate}_{stamp[:12]}"
    manifest_path = target / "manifest.jsonl"
    if not manifest_path.is_file():
        cache.mkdir(parents=True, exist_ok=True)
        with locked(cache / f"{target.name}.lock"):  # other processes wait and then only open it
            if not manifest_path.is_file():
                say = progress or (lambda text: None)
                _fill_whole(source, folder, found, sample_rate, target, say)
    manifest = Manifest.load(manifest_path)
    if not manifest.entries:
        raise DataError(f"{name}: no usable file in {folder}. {manifest.summary()}")
    tracks = []
    for group, entries in _by_group(manifest.entries).items():
        path = target / _cache_name(group)
        samples = int(_mapped(path).shape[0])
        band = min(min(e.sample_rate / 2, e.bandwidth_hz or math.inf) for e in entries)
        tracks.append(Track(group, entries[0].split, entries[0].kind, path, samples, band))
    return Corpus(name, sample_rate, tuple(tracks), manifest.sha256)


def _fill_whole(
    source: CorpusSource,
    folder: Path,
    found: list[Found],
    sample_rate: int,
    target: Path,
    say: Log,
) -> None:
    with new_folder(target) as aside:
        manifest = _fill(source, folder, found, sample_rate, aside, say)
        manifest.save(aside / "manifest.jsonl")
    say(manifest.summary())


def corpus_manifest(corpus: Corpus) -> Manifest:
    """The manifest of a corpus that was opened: files, hashes, licences, skipped files."""
    if not corpus.tracks:
        raise DataError(f"{corpus.name} is empty and has no manifest.")
    return Manifest.load(corpus.tracks[0].path.parent / "manifest.jsonl")


def _stamp(folder: Path, found: list[Found], sample_rate: int, rules: Rules) -> str:
    digest = hashlib.sha256(f"{CACHE_VERSION} {sample_rate} {rules}".encode())
    for item in found:
        try:
            state = (folder / item.path).stat()
            digest.update(f"{item}{state.st_size}{state.st_mtime_ns}".encode())
        except OSError:
            digest.update(f"{item} missing".encode())
    return digest.hexdigest()


def _cache_name(group: str) -> str:
    return hashlib.sha256(group.encode()).hexdigest()[:16] + ".npy"


def _by_group(entries: Iterable[Entry]) -> dict[str, list[Entry]]:
    groups: dict[str, list[Entry]] = defaultdict(list)
    for entry in entries:
        groups[entry.group].append(entry)
    return groups


def _fill(
    source: CorpusSource,
    folder: Path,
    found: list[Found],
    sample_rate: int,
    place: Path,
    progress: Log,
) -> Manifest:
    place.mkdir(parents=True, exist_ok=True)
    splits = assign_splits(found, source.order)
    groups: dict[str, list[Found]] = defaultdict(list)
    for item in found:
        groups[item.group].append(item)
    entries: list[Entry] = []
    skipped: dict[str, list[str]] = defaultdict(list)
    seen: set[str] = set()
    for number, (group, items) in enumerate(sorted(groups.items()), start=1):
        path = place / _cache_name(group)
        samples = 0
        with path.open("wb") as file:
            _header(file, 0)
            for item in items:
                got = _check(folder, item, source, seen)
                if isinstance(got, str):
                    skipped[got].append(item.path)
                    continue
                audio, entry = got
                pcm = _resampled(audio, entry.sample_rate, sample_rate)
                file.write(pcm.tobytes())
                samples += pcm.size
                entries.append(replace(entry, split=splits[group]))
            file.seek(0)
            _header(file, samples)
        if not samples:
            path.unlink()
        if number % 50 == 0:
            progress(f"{source.name}: {number} of {len(groups)} speakers or tracks read")
    return Manifest(source.name, tuple(entries), {r: tuple(p) for r, p in skipped.items()})


def _header(file: BinaryIO, samples: int) -> None:
    shape = {"descr": "<i2", "fortran_order": False, "shape": (samples,)}
    np.lib.format.write_array_header_1_0(file, shape)


def _check(
    folder: Path, item: Found, source: CorpusSource, seen: set[str]
) -> tuple[np.ndarray, Entry] | str:
    """Mono audio [T] and its entry, or the reason why the file is not used."""
    import soundfile

    path = folder / item.path
    try:
        audio, rate = soundfile.read(path, dtype="float32", always_2d=True)
        digest = file_sha256(path)
    except (soundfile.LibsndfileError, RuntimeError, OSError):
        return "unreadable"
    reason = source.rules.refuse(audio, rate)
    if reason is None and digest in seen:
        reason = "duplicate"
    if reason is not None:
        return reason
    seen.add(digest)
    entry = Entry(
        path=item.path,
        source=item.source or source.name,
        group=item.group,
        kind=item.kind,
        seconds=round(audio.shape[0] / rate, 3),
        sample_rate=int(rate),
        licence=item.licence or source.licence,
        author=item.author,
        sha256=digest,
        split=item.split or "",
        bandwidth_hz=item.bandwidth_hz,
    )
    return audio.mean(axis=1), entry


def _resampled(audio: np.ndarray, own_rate: int, sample_rate: int) -> np.ndarray:
    if own_rate != sample_rate:
        audio = resampled(audio, own_rate, sample_rate)
    return np.rint(np.clip(audio, -1.0, 1.0) * PCM_SCALE).astype("<i2")
