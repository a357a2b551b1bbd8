"""``evaluate natural`` and ``natural-docs``: untreated recordings with another voice or piece as
reference, and recordings through devices."""

from __future__ import annotations

import argparse
import os
from pathlib import Path

from retone.lab.commands.corpora import add_number, add_output, add_seed, add_workers
from retone.lab.commands.verbs import DEVICE_NAMES, Names, Verb, docs_folder

SHARED = "RETONE_SHARED"
"""Environment variable: a folder whose subfolder ``audio`` is the kit to use by default."""


def _add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--corpus", action="append", metavar="NAME=FOLDER",
        help="a corpus and its folder (repeatable); 'retone corpus list' shows the names "
        f"(default: the kit in the folder audio of ${SHARED})",
    )  # fmt: skip
    parser.add_argument(
        "--split", default="dev", choices=("dev", "test"),
        help="part of the corpus: test, or dev for all others (default: %(default)s)",
    )  # fmt: skip
    parser.add_argument(
        "--table", default="pairs", choices=("pairs", "devices"),
        help="untreated pairs, or recordings through devices (default: %(default)s)",
    )  # fmt: skip
    parser.add_argument(
        "--kind", nargs="+", default=["speech", "music"], choices=("speech", "music"),
        help="kinds of recordings for --table pairs (default: speech music)",
    )  # fmt: skip
    add_number(parser, "--speech-pairs", 40, "pairs of voices", "N")
    add_number(parser, "--music-pairs", 20, "pairs of pieces", "N")
    add_number(parser, "--voices", 8, "voices through each device", "N")
    parser.add_argument(
        "--devices", nargs="+", choices=DEVICE_NAMES, metavar="NAME",
        help="devices of --table devices: %(choices)s (default: all)",
    )  # fmt: skip
    parser.add_argument(
        "--rows", nargs="+", choices=Names("retone.lab.evaluate.natural_rows:ROWS"), metavar="NAME",
        help="rows of the table: %(choices)s (default: all whose package is installed)",
    )  # fmt: skip
    parser.add_argument(
        "--no-quality", action="store_true", help="leave out predicted quality (DNSMOS)"
    )
    add_seed(parser, 17)
    add_workers(parser)
    add_output(parser, "result file (JSON); an existing one is continued")


def _run(args: argparse.Namespace) -> int:
    from retone.lab.evaluate import natural
    from retone.lab.evaluate.natural_page import section
    from retone.lab.evaluate.natural_rows import ROWS
    from retone.terminal import progress_bar

    folders, rows = _folders(args.corpus), args.rows or list(ROWS)
    pairs = []
    for kind in args.kind if args.table == "pairs" else ("speech",):
        passages = natural.find(folders, args.split, kind, args.seed)
        if args.table == "devices":
            devices = args.devices or list(DEVICE_NAMES)
            pairs += natural.device_pairs(passages, devices, args.voices, args.seed)
        else:
            count = args.speech_pairs if kind == "speech" else args.music_pairs
            pairs += natural.natural_pairs(passages, count, args.seed)
    for name in rows:
        if not ROWS[name].available:
            print(f"row {name} is left out: the package {ROWS[name].package} is not installed")
    with progress_bar() as progress:
        result = natural.evaluate(
            pairs, rows, name="+".join(name for name, _ in folders), split=args.split,
            seed=args.seed, quality=not args.no_quality, path=args.output, workers=args.workers,
            progress=progress,
        )  # fmt: skip
    print("\n".join(section(result)))
    return 0


def _folders(named: list[str] | None) -> list[tuple[str, Path]]:
    from retone.errors import DataError
    from retone.training.data.splits import named_folders

    if named:
        return named_folders(named)
    shared = os.environ.get(SHARED)
    if not shared or not (Path(shared) / "audio").is_dir():
        raise DataError(
            "evaluate natural needs recordings: give --corpus NAME=FOLDER, or set "
            f"{SHARED} to a folder with a kit in its subfolder audio."
        )
    return [("kit", Path(shared) / "audio")]


def _no_arguments(parser: argparse.ArgumentParser) -> None:
    pass


def _docs(args: argparse.Namespace) -> int:
    from retone.files.atomic import write_text_atomic
    from retone.lab.evaluate.natural_page import page
    from retone.lab.evaluate.result import Result

    docs = docs_folder()
    files = sorted((docs / "results").glob("natural_*.json"))
    write_text_atomic(docs / "natural.md", page([Result.load(f) for f in files]), force=True)
    print(docs / "natural.md")
    return 0


VERBS = (
    Verb("natural", "match untreated recordings and measure", _add_arguments, _run),
    Verb(
        "natural-docs", "write docs/natural.md (in a clone of the repository)", _no_arguments, _docs
    ),
)
