"""List the known corpora, build the free ones, or check a folder.

retone corpus list
retone corpus build debian-speech FOLDER    free recordings from Debian packages (needs apt, dpkg)
retone corpus check NAME FOLDER             what of a folder can be used, and what not
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import Any


def add_arguments(parser: argparse.ArgumentParser) -> None:
    actions = parser.add_subparsers(dest="action", metavar="ACTION", required=True)
    actions.add_parser("list", help="the known corpora, their licences and where to get them")
    build = actions.add_parser("build", help="make a free corpus from Debian packages")
    build.add_argument("name", metavar="NAME", help="debian-speech, debian-voices or debian-music")
    build.add_argument("folder", type=Path, metavar="FOLDER", help="where to put it")
    check = actions.add_parser("check", help="read a corpus and say what can be used")
    check.add_argument("name", metavar="NAME", help="a name that 'list' shows")
    check.add_argument("folder", type=Path, metavar="FOLDER", help="where the corpus lies")
    check.add_argument("--sample-rate", type=int, required=True, help="rate to train at, in Hz")
    check.add_argument("--cache", type=Path, help="where resampled audio is kept")


def default_cache() -> Path:
    """Where resampled corpora are kept unless told otherwise."""
    import os

    base = os.environ.get("XDG_CACHE_HOME")
    return (Path(base) if base else Path.home() / ".cache") / "retone"


def open_corpora(
    texts: Sequence[str],
    sample_rate: int,
    cache: Path | None,
    kind: str,
    need: Sequence[str] = ("train", "val"),
) -> dict[str, Any]:
    """``["debian-speech=FOLDER"]`` to the joined splits, each of ``need`` being non-empty."""
    import sys
    from dataclasses import replace

    from retone.data.corpora import join_corpora, open_corpus
    from retone.errors import DataError

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


def run(args: argparse.Namespace) -> int:
    from retone.data.corpora import CORPORA, corpus_manifest, open_corpus

    if args.action == "list":
        for source in CORPORA.values():
            print(f"{source.name:15} {source.kind:7} {source.licence}\n{'':15} {source.where}")
        return 0
    if args.action == "build":
        from retone.data.debian import build

        build(args.name, args.folder, print)
        return 0
    corpus = open_corpus(
        args.name,
        args.folder,
        sample_rate=args.sample_rate,
        cache=args.cache or default_cache(),
        progress=print,
    )
    print(corpus_manifest(corpus).summary())
    print(f"{corpus.hours:.2f} hours from {len(corpus.tracks)} speakers or tracks")
    return 0


def part_of_corpora(args: argparse.Namespace) -> Any:
    """``--split`` of ``--corpus``, of which ``--excerpt`` takes a piece of each voice or track."""
    from retone.data.corpora import join_corpora
    from retone.data.excerpts import open_excerpts
    from retone.errors import DataError

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
