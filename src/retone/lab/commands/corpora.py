"""Options of lab commands that name corpora, and the recordings they select."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from retone.training.data.corpora import Corpus

SPLITS = ("train", "val", "test")
MAX_EXCERPTS = 200


def add_corpus(parser: argparse.ArgumentParser, *, kind: bool = True) -> None:
    """Add ``--corpus``, ``--split``, ``--kind`` and ``--cache``."""
    parser.add_argument(
        "--corpus", action="append", required=True, metavar="NAME=FOLDER",
        help="a corpus and its folder (repeatable); 'retone corpus list' shows the names",
    )  # fmt: skip
    parser.add_argument(
        "--split", default="test", choices=SPLITS, help="part of the corpus (default: %(default)s)"
    )
    if kind:
        parser.add_argument(
            "--kind", default="speech", choices=("speech", "music"),
            help="kind of recordings (default: %(default)s)",
        )  # fmt: skip
    parser.add_argument("--cache", type=Path, metavar="DIR", help="folder for resampled audio")


def add_number(
    parser: argparse.ArgumentParser,
    option: str,
    default: int | float,
    help: str,
    metavar: str | None = None,
) -> None:
    """Add an option for a number of the default's type; its help ends with the default."""
    parser.add_argument(
        option, type=type(default), default=default, metavar=metavar,
        help=f"{help} (default: %(default)s)",
    )  # fmt: skip


def add_seed(parser: argparse.ArgumentParser, default: int, what: str = "pairs") -> None:
    """Add ``--seed``."""
    add_number(parser, "--seed", default, f"random seed for {what}")


def add_output(parser: argparse.ArgumentParser, help: str = "result file (JSON)") -> None:
    """Add ``--output``."""
    parser.add_argument("-o", "--output", type=Path, metavar="JSON", help=help)


def add_workers(parser: argparse.ArgumentParser) -> None:
    """Add ``--workers``."""
    parser.add_argument(
        "--workers", type=_workers, default=1, metavar="N",
        help="parallel processes, or the address of a Ray cluster, 'ray' to start one here "
        "(default: %(default)s)",
    )  # fmt: skip


def _workers(text: str) -> int | str:
    if text in ("ray", "auto") or "://" in text or ":" in text:
        return text
    try:
        number = int(text)
    except ValueError:
        number = 0
    if number < 1:
        raise argparse.ArgumentTypeError(
            f"{text!r}: expected a number of processes, such as 4, or a Ray cluster"
        )
    return number


def corpus_of(args: argparse.Namespace, sample_rate: int, kind: str = "speech") -> Corpus:
    """The split that the options select, at a sample rate in Hz.

    With ``--excerpt`` only an excerpt of each speaker or track is read. ``--only`` keeps speakers
    or tracks whose names have this prefix; each ``--without`` removes some.

    Raises:
        DataError: a corpus cannot be opened, or nothing is left.
    """
    from dataclasses import replace

    from retone.errors import DataError
    from retone.training.data.corpora import join_corpora
    from retone.training.data.excerpts import open_excerpts
    from retone.training.data.splits import default_cache, named_folders, open_splits

    kind, cache = getattr(args, "kind", kind), args.cache or default_cache()
    folders = named_folders(args.corpus)
    seconds = getattr(args, "excerpt", None)
    if seconds:
        corpus = join_corpora(
            open_excerpts(
                name, folder, sample_rate=sample_rate, split=args.split, max_groups=MAX_EXCERPTS,
                seconds=seconds, cache=cache, kind=kind,
            )
            for name, folder in folders
        )  # fmt: skip
    else:
        corpus = open_splits(
            folders, sample_rate=sample_rate, cache=cache, kind=kind, need=(args.split,),
            progress=lambda line: print(line, file=sys.stderr),
        )[args.split]  # fmt: skip
    only = getattr(args, "only", None)
    if only:
        kept = tuple(t for t in corpus.tracks if t.group.startswith(only))
        if not kept:
            raise DataError(
                f"{corpus.name}: no voice or track begins with '{only}'; it has "
                f"{', '.join(t.group for t in corpus.tracks[:5])}, ..."
            )
        corpus = replace(corpus, name=f"{corpus.name}/{only}*", tracks=kept)
    for prefix in getattr(args, "without", ()):
        kept = tuple(t for t in corpus.tracks if not t.group.startswith(prefix))
        corpus = replace(corpus, name=f"{corpus.name} without {prefix}", tracks=kept)
    return corpus
