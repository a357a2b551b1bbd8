"""Prepare the listening test that both papers ask for, on your recordings.

python -m retone.lab listen-study VOICE.wav OTHER.wav -o study

Writes one folder for each method: input, rb-dsp, matchering (if it is installed), retone at three
strengths, oracle, and reference (the recording's second half in one of five styles). Then run
'retone listen make study -o test --other-content'.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from retone.lab.commands.corpora import add_seed


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "recordings", nargs="+", type=Path, metavar="FILE", help="unprocessed voices or pieces"
    )
    parser.add_argument(
        "-o", "--output", type=Path, required=True, metavar="FOLDER", help="folder to write"
    )
    parser.add_argument(
        "--styles", nargs="+", metavar="NAME",
        help="styles of the references, in turn (default: telephone warm bright neutral broadcast)",
    )  # fmt: skip
    parser.add_argument(
        "--seconds", type=float, default=10.0, help="length of each file (default: %(default)g)"
    )
    add_seed(parser, 0, "the styles' settings")
    parser.add_argument("--force", action="store_true", help="overwrite existing files")


def run(args: argparse.Namespace) -> int:
    from retone.files.names import shell_word
    from retone.lab.evaluate.listen_study import make_study
    from retone.training.data.styles import FIVE

    counts = make_study(
        args.recordings, args.output, styles=args.styles or FIVE, seconds=args.seconds,
        seed=args.seed, force=args.force,
    )  # fmt: skip
    for name, count in counts.items():
        print(f"{args.output / name}: {count} files")
    if "matchering" not in counts:
        print("matchering is left out: it is not installed (pip install 'retone[peers]')")
    print(f"next: retone listen make {shell_word(args.output)} -o test --other-content")
    return 0
