"""Corpora as a command line names them, ``NAME=FOLDER``: opened, checked and joined."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from retone.errors import DataError
from retone.training.data.corpora import Corpus, join_corpora, open_corpus
from retone.training.data.excerpts import open_excerpts


def default_cache() -> Path:
    """Where resampled corpora are kept unless told otherwise."""
    base = os.environ.get("XDG_CACHE_HOME")
    return (Path(base) if base else Path.home() / ".cache") / "retone"


def open_corpora(
    texts: Sequence[str],
    sample_rate: int,
    cache: Path | None,
    kind: str,
    need: Sequence[str] = ("train", "val"),
) -> dict[str, Corpus]:
    """``["debian-speech=FOLDER"]`` to the joined splits, each of ``need`` being non-empty."""
    parts = []
    for text in texts:
        name, equals, folder = text.partition("=")
        if not equals:
            raise DataError(f"--corpus {text}: expected NAME=FOLDER, as in debian-speech=data.")
        corpus = open_corpus(
            name,
            Path(folder),
            sample_rate=sample_rate,
            cache=cache or default_cache(),
            progress=lambda line: print(line, file=sys.stderr),
        )
        tracks = tuple(t for t in corpus.tracks if t.kind in (kind, "audio"))
        parts.append(replace(corpus, tracks=tracks))
    joined = join_corpora(parts)
    splits = {name: joined.split(name) for name in ("train", "val", "test")}
    for split in need:
        if not splits[split].tracks:
            raise DataError(
                f"{joined.name}: no {kind} in its {split} part (of {len(joined.tracks)} speakers "
                "or tracks in all). Add a corpus, or one with more speakers or tracks."
            )
    return splits


def part_of_corpora(args: argparse.Namespace) -> Corpus:
    """``--split`` of ``--corpus``, of which ``--excerpt`` takes a piece of each voice or track."""
    if not args.excerpt:
        return open_corpora(
            args.corpus, args.sample_rate, args.cache, args.kind, need=(args.split,)
        )[args.split]
    parts = []
    for text in args.corpus:
        name, equals, folder = text.partition("=")
        if not equals:
            raise DataError(f"--corpus {text}: expected NAME=FOLDER.")
        parts.append(
            open_excerpts(
                name, Path(folder), sample_rate=args.sample_rate, split=args.split, most=200,
                seconds=args.excerpt, cache=args.cache or default_cache(), kind=args.kind,
            )
        )  # fmt: skip
    return join_corpora(parts)
