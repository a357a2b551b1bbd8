"""Corpora larger than the disk: WebDataset shards anywhere that fsspec reaches.

A shard is a tar file, as WebDataset has it: files with the same stem belong together, ``clip.flac``
(or WAV, MP3, Opus, whatever libsndfile reads) and optionally ``clip.json`` with ``speaker`` (or
``track``). ``index_shards`` reads the shards once and writes ``index.json``: the position, length
and speaker of every clip. Training then needs the index and, at any time, a few whole shards on
disk.

Pairs stay numbered, so that a run resumes exactly: the numbers are cut into windows, and the seed
gives each window a few shards that its pairs are drawn from. All processes of a machine share the
shards in the cache, the oldest of which is deleted before the cache grows beyond its limit.
"""

from __future__ import annotations

import functools
import hashlib
import io
import json
import os
import tarfile
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from retone.audio.resampling import resampled
from retone.errors import DataError, MissingExtraError
from retone.files.atomic import AtomicFile, locked
from retone.training.data.corpora import Corpus
from retone.training.data.manifest import SPLITS, Log, split_groups

INDEX = "index.json"
FORMAT = 1
AUDIO = (".flac", ".wav", ".ogg", ".opus", ".mp3", ".aiff")
WINDOW = 4096
"""Pairs that are drawn from the same shards."""
AT_ONCE = 4
"""Shards of a window."""
DECODED = 32
"""Clips that each process keeps decoded."""
_VALIDATION = -1


def filesystem(url: str) -> tuple[Any, str]:
    """The fsspec file system of an URL or path, and the path in it.

    Raises:
        MissingExtraError: without fsspec, or without the package for this kind of URL.
    """
    try:
        import fsspec
    except ImportError as error:
        raise MissingExtraError("Shards", "fsspec", "stream") from error
    try:
        found: tuple[Any, str] = fsspec.core.url_to_fs(url)
    except (ImportError, ValueError) as error:  # such as s3fs for s3://, or an unknown scheme
        raise DataError(f"{url}: {error}.") from error
    return found


def index_shards(url: str, *, sample_rate: int, say: Log = lambda text: None) -> int:
    """Read all shards in a folder and write their index beside them.

    Args:
        url: folder of ``*.tar`` files, on disk or anything fsspec knows, such as ``s3://...``.
        sample_rate: rate in Hz at which the clips will be used; lengths are counted at it.
        say: called with a line for each shard.

    Returns:
        The number of clips.

    Raises:
        DataError: no shards, or a shard cannot be read.
    """
    fs, root = filesystem(url)
    names = sorted(Path(p).name for p in fs.glob(f"{root}/*.tar"))
    if not names:
        raise DataError(f"{url}: no .tar files. Make shards with any WebDataset writer.")
    shards, count = [], 0
    for name in names:
        path = f"{root}/{name}"
        try:
            with fs.open(path, "rb") as file:
                clips = clips_of(file, sample_rate)
        except (tarfile.TarError, OSError) as error:
            raise DataError(f"{path} is not a readable tar file ({error}).") from error
        shards.append({"name": name, "bytes": int(fs.size(path)), "clips": clips})
        count += len(clips)
        say(f"{name}: {len(clips)} clips")
    data = {"retone_shards": FORMAT, "sample_rate": sample_rate, "shards": shards}
    with fs.open(f"{root}/{INDEX}", "w") as file:
        json.dump(data, file)
    return count


def clips_of(file: Any, sample_rate: int) -> list[list[Any]]:
    """[offset, bytes, samples, speaker] of each clip in a shard."""
    import soundfile

    audio: dict[str, list[Any]] = {}
    speakers: dict[str, str] = {}
    with tarfile.open(fileobj=file, mode="r:") as tar:
        for member in tar:
            place, _, base = member.name.rpartition("/")
            name, _, ending = base.partition(".")
            stem = f"{place}/{name}"
            if not member.isfile():
                continue
            if f".{ending}" in AUDIO:
                body = tar.extractfile(member)
                assert body is not None
                try:
                    info = soundfile.info(io.BytesIO(body.read()))
                except soundfile.LibsndfileError:
                    continue
                samples = int(info.frames * sample_rate / info.samplerate)
                audio[stem] = [member.offset_data, member.size, samples]
            elif ending == "json":
                body = tar.extractfile(member)
                assert body is not None
                known = json.loads(body.read())
                speakers[stem] = str(known.get("speaker") or known.get("track") or stem)
    return [[*spot, speakers.get(stem, stem)] for stem, spot in audio.items()]


@dataclass(frozen=True)
class ShardCache:
    """Whole shards on disk, at most ``max_bytes`` of them.

    ``path`` is safe with many processes: one fetches a shard, the others wait for it.
    """

    folder: Path
    max_bytes: int
    url: str

    def path(self, name: str, size: int) -> Path:
        """The local copy of a shard, fetched if it is not there.

        Raises:
            DataError: it cannot be fetched, or it alone is larger than the cache.
        """
        target = self.folder / name
        if not target.is_file():
            if size > self.max_bytes:
                raise DataError(
                    f"{name} has {size} bytes, the cache holds {self.max_bytes}. Use smaller "
                    "shards or a larger cache."
                )
            self.folder.mkdir(parents=True, exist_ok=True)
            with locked(self.folder / ".lock"):
                if not target.is_file():
                    self._make_room(size)
                    self._fetch(name, target)
        os.utime(target)
        return target

    def _fetch(self, name: str, target: Path) -> None:
        fs, root = filesystem(self.url)
        try:
            with AtomicFile(target, force=True, sync=False) as file:
                fs.get_file(f"{root}/{name}", str(file.path))
        except OSError as error:
            raise DataError(f"{self.url}/{name} cannot be fetched ({error}).") from error

    def _make_room(self, size: int) -> None:
        held = [(p.stat().st_mtime, p.stat().st_size, p) for p in self.folder.glob("*.tar")]
        total = sum(s for _, s, _ in held) + size
        for _, own, path in sorted(held):
            if total <= self.max_bytes:
                return
            path.unlink(missing_ok=True)  # a process that reads it keeps its open file
            total -= own


@dataclass(frozen=True)
class StreamedTrack:
    """One clip of a shard; like ``corpora.Track``, but decoded when it is read."""

    group: str
    split: str
    kind: str
    path: Path
    samples: int
    cache: ShardCache
    shard: str
    shard_bytes: int
    offset: int
    size: int
    sample_rate: int
    bandwidth_hz: float = float("inf")

    def read(self, start: int, length: int) -> np.ndarray:
        """``length`` samples from ``start``: mono, float32 [length] in -1..1."""
        return _decoded(self)[start : start + length]


@functools.lru_cache(maxsize=DECODED)
def _decoded(track: StreamedTrack) -> np.ndarray:
    import soundfile

    for _ in range(8):
        path = track.cache.path(track.shard, track.shard_bytes)
        try:
            with path.open("rb") as file:
                file.seek(track.offset)
                data = file.read(track.size)
            break
        except FileNotFoundError:  # another process made room in between
            continue
    else:
        raise DataError(f"{track.shard}: the cache is too small for the shards in use at once.")
    audio, rate = soundfile.read(io.BytesIO(data), dtype="float32", always_2d=True)
    mono = audio.mean(axis=1)
    if rate != track.sample_rate:
        mono = resampled(mono, rate, track.sample_rate)
    whole = np.zeros(track.samples, np.float32)
    count = min(whole.size, mono.size)
    whole[:count] = mono[:count]
    return whole


@dataclass(frozen=True)
class StreamedCorpus(Corpus):
    """Clips of shards: ``tracks`` are all of them, ``at`` those that a pair is drawn from."""

    shards: tuple[str, ...] = ()
    seed: int = 0

    def at(self, number: int) -> Corpus:
        """The clips that pair ``number`` is drawn from: those of its window's shards."""
        return self._window(number // WINDOW)

    @functools.cached_property
    def _windows(self) -> dict[int, Corpus]:
        return {}

    def _window(self, window: int) -> Corpus:
        known = self._windows
        if window not in known:
            order = np.random.default_rng([self.seed, window + 1]).permutation(len(self.shards))
            chosen = {self.shards[i] for i in order[:AT_ONCE]}
            tracks = tuple(t for t in self.tracks if t.shard in chosen)  # type: ignore[attr-defined]
            known.clear()  # pairs come in order
            known[window] = Corpus(self.name, self.sample_rate, tracks, self.sha256)
        return known[window]

    def split(self, name: str) -> StreamedCorpus:
        """The speakers or tracks of one split; validation uses the same few shards always."""
        part = super().split(name)
        assert isinstance(part, StreamedCorpus)
        held = {t.shard for t in part.tracks}  # type: ignore[attr-defined]
        part = replace(part, shards=tuple(s for s in self.shards if s in held))
        if name == "train" or not part.shards:
            return part
        fixed = part._window(_VALIDATION)
        held = {t.shard for t in fixed.tracks}  # type: ignore[attr-defined]
        return replace(part, tracks=fixed.tracks, shards=tuple(s for s in part.shards if s in held))


def open_shards(
    url: str, *, cache: Path, max_bytes: int, kind: str, seed: int = 42
) -> dict[str, StreamedCorpus]:
    """The ``"train"``, ``"val"`` and ``"test"`` splits of indexed shards.

    Args:
        url: folder of shards and their index.
        cache: folder for the shards in use.
        max_bytes: most bytes of shards on this disk; at least ``AT_ONCE + 1`` shards.
        kind: ``"speech"`` or ``"music"``.
        seed: which shards a window uses.

    Raises:
        DataError: there is no index, or the cache cannot hold the shards of one window.
    """
    fs, root = filesystem(url)
    try:
        with fs.open(f"{root}/{INDEX}", "rb") as file:
            text = file.read()
        data = json.loads(text)
        if data["retone_shards"] != FORMAT:
            raise ValueError("another version")
        shards, rate = data["shards"], int(data["sample_rate"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise DataError(
            f"{url} has no {INDEX} that this version can read ({error}). Index the shards first."
        ) from error
    largest = max((int(s["bytes"]) for s in shards), default=0)
    if largest * (AT_ONCE + 1) > max_bytes:
        raise DataError(
            f"{url}: a cache of {max_bytes / 1e9:.1f} GB cannot hold {AT_ONCE + 1} shards of "
            f"{largest / 1e9:.1f} GB. Make it larger, or the shards smaller."
        )
    store = ShardCache(cache, max_bytes, url)
    tracks: tuple[Any, ...] = tuple(_tracks(shards, store, kind, rate))
    name = f"shards {Path(root).name}"
    whole = StreamedCorpus(
        name, rate, tracks, hashlib.sha256(text).hexdigest(), tuple(s["name"] for s in shards), seed
    )
    return {split: whole.split(split) for split in SPLITS}


def _tracks(
    shards: Iterable[dict[str, Any]], store: ShardCache, kind: str, rate: int
) -> Iterable[StreamedTrack]:
    shards = list(shards)
    splits = split_groups({clip[3] for s in shards for clip in s["clips"]}, "hashed")
    for shard in shards:
        for offset, size, samples, group in shard["clips"]:
            yield StreamedTrack(
                group, splits[group], kind, store.folder / shard["name"], samples, store,
                shard["name"], int(shard["bytes"]), offset, size, rate,
            )  # fmt: skip
