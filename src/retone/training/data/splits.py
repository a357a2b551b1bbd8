"""Several corpora opened and joined, split by split."""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

from retone.errors import DataError
from retone.training.data.corpora import Corpus, join_corpora, open_corpus
from retone.training.data.manifest import SPLITS, Log


def default_cache() -> Path:
    """The usual folder for resampled corpora: ``XDG_CACHE_HOME/retone`` or ``~/.cache/retone``."""
    base = os.environ.get("XDG_CACHE_HOME")
    return (Path(base) if base else Path.home() / ".cache") / "retone"


def named_folders(texts: Iterable[str]) -> list[tuple[str, Path]]:
    """``["debian-speech=FOLDER"]`` as (name, folder) pairs.

    Raises:
        DataError: a text has another form.
    """
    found = []
    for text in texts:
        name, equals, folder = text.partition("=")
        if not equals:
            raise DataError(f"'{text}': expected NAME=FOLDER, as in debian-speech=data.")
        found.append((name, Path(folder)))
    return found


def open_splits(
    folders: Iterable[tuple[str, Path]],
    *,
    sample_rate: int,
    cache: Path | None,
    kind: str,
    need: Iterable[str] = ("train", "val"),
    progress: Log | None = None,
) -> dict[str, Corpus]:
    """Open corpora and join them split by split.

    Args:
        folders: (name, folder) of each corpus; names are keys of CORPORA.
        sample_rate: sample rate in Hz of the crops.
        cache: folder for resampled copies; None takes ``default_cache``.
        kind: ``"speech"`` or ``"music"``: which recordings of mixed corpora are used.
        need: splits that must not be empty.
        progress: called with lines of text.

    Returns:
        ``"train"``, ``"val"`` and ``"test"``.

    Raises:
        DataError: a corpus cannot be opened, or a needed split is empty.
    """
    parts = []
    for name, folder in folders:
        corpus = open_corpus(
            name, folder, sample_rate=sample_rate, cache=cache or default_cache(), progress=progress
        )
        tracks = tuple(t for t in corpus.tracks if t.kind in (kind, "audio"))
        parts.append(replace(corpus, tracks=tracks))
    joined = join_corpora(parts)
    splits = {name: joined.split(name) for name in SPLITS}
    for split in need:
        if not splits[split].tracks:
            raise DataError(
                f"{joined.name}: no {kind} in its {split} split ({len(joined.tracks)} speakers or "
                "tracks in all). Add a corpus, or one with more speakers or tracks."
            )
    return splits
