"""One excerpt of each of some recordings of a corpus, enough for statistics of a large one."""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np

from retone.audio.resampling import resampled
from retone.errors import DataError
from retone.files.atomic import AtomicFile
from retone.training.data.corpora import PCM_SCALE, Corpus, Track, corpus_source
from retone.training.data.manifest import Found, assign_splits


def open_excerpts(
    name: str,
    folder: Path,
    *,
    sample_rate: int,
    split: str,
    max_groups: int,
    seconds: float,
    cache: Path,
    kind: str | None = None,
) -> Corpus:
    """A small corpus: the middle ``seconds`` of one recording of each voice or track.

    Args:
        name: a key of ``CORPORA``.
        folder: the corpus folder.
        sample_rate: in Hz.
        split: train, val or test.
        max_groups: most voices or tracks, chosen by the hash of their names.
        seconds: length of an excerpt; shorter recordings are skipped.
        cache: folder for the excerpts.
        kind: ``"speech"`` or ``"music"``: use only that part of a mixed corpus.

    Raises:
        DataError: no recording is long enough.
    """
    import soundfile

    source = corpus_source(name)
    found = source.find(folder)
    splits = assign_splits(found, source.order)
    groups: dict[str, Found] = {}
    for item in found:
        if splits[item.group] == split and item.kind in (kind or item.kind, "audio"):
            groups.setdefault(item.group, item)
    order = sorted(groups, key=lambda g: hashlib.sha256(g.encode()).hexdigest())
    place = cache / f"{name}_excerpts_{sample_rate}_{seconds:g}"
    place.mkdir(parents=True, exist_ok=True)
    tracks: list[Track] = []
    for group in order:
        item = groups[group]
        if len(tracks) == max_groups:
            break
        path = place / (hashlib.sha256(item.path.encode()).hexdigest()[:16] + ".npy")
        if not path.is_file():
            try:
                with soundfile.SoundFile(folder / item.path) as file:
                    need = round(seconds * file.samplerate)
                    if file.frames < need:
                        continue
                    file.seek((file.frames - need) // 2)
                    audio = file.read(need, dtype="float32", always_2d=True).mean(axis=1)
                    rate = file.samplerate
            except (soundfile.LibsndfileError, RuntimeError, OSError):
                continue
            if float(np.abs(audio).max(initial=0.0)) < 1e-3:
                continue
            if rate != sample_rate:
                audio = resampled(audio, rate, sample_rate)
            pcm = np.rint(np.clip(audio, -1.0, 1.0) * PCM_SCALE).astype("<i2")
            with AtomicFile(path, force=True, sync=False) as file, file.path.open("wb") as out:
                np.save(out, pcm)
        samples = int(np.load(path, mmap_mode="r").shape[0])
        tracks.append(Track(group, split, item.kind, path, samples))
    if not tracks:
        raise DataError(f"{name}: no recording of {seconds:g} s in its {split} split.")
    digest = hashlib.sha256("\n".join(f"{t.group} {t.samples}" for t in tracks).encode())
    return Corpus(f"{name}/{split}, excerpts", sample_rate, tuple(tracks), digest.hexdigest())
