"""Reproduce the papers' tables and figures: rows, columns and names as printed.

reproduce deepafx-st table-1 --corpus libritts=FOLDER --corpus daps=FOLDER -o DIR
reproduce diff-deq --corpus libritts=FOLDER --scale small -o DIR
reproduce all --corpus kit=FOLDER --train folder=VOICES --scale tiny -o DIR

Systems without a run folder in DIR/runs are trained first. The same command goes on where it
stopped. What cannot be measured (no corpus, no weights, no GPU) is an empty cell with its reason.
DIR/report.md holds all tables; each table and figure has a JSON of its own.
"""

from __future__ import annotations

import argparse
from pathlib import Path

PAPERS = ("deepafx-st", "diff-deq")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("paper", choices=(*PAPERS, "all"), help="which paper")
    parser.add_argument(
        "items", nargs="*", metavar="ITEM", help="table-1 ... figure-5 (default: all of them)"
    )
    parser.add_argument(
        "--corpus", action="append", default=[], metavar="NAME=FOLDER",
        help="recordings to measure on (repeatable); NAME/PREFIX=FOLDER takes the voices or tracks "
        "whose names begin with PREFIX",
    )  # fmt: skip
    parser.add_argument(
        "--train", action="append", default=[], metavar="NAME=FOLDER",
        help="recordings to train on (repeatable; default: the papers' own among --corpus, else "
        "all)",
    )  # fmt: skip
    parser.add_argument(
        "--scale", choices=("tiny", "small", "paper"), default="paper",
        help="sizes only: tiny takes minutes, small days, paper the papers' own (default: "
        "%(default)s)",
    )  # fmt: skip
    parser.add_argument("-o", "--output", type=Path, required=True, metavar="DIR", help="results")
    parser.add_argument(
        "--runs", type=Path, metavar="DIR", help="run folders (default: runs in the output folder)"
    )
    parser.add_argument(
        "--no-training", action="store_true", help="use the runs that exist, and train nothing"
    )
    parser.add_argument("--device", default="cpu", help="for training (default: %(default)s)")
    parser.add_argument(
        "--workers", type=int, default=1, help="parallel processes (default: %(default)s)"
    )
    parser.add_argument(
        "--seed", type=int, default=42, help="random seed for pairs (default: %(default)s)"
    )
    parser.add_argument(
        "--nisqa", type=Path, metavar="FILE", help="NISQA's weights, nisqa.tar, for figures 3 to 5"
    )
    parser.add_argument("--cache", type=Path, metavar="DIR", help="folder for resampled audio")


def run(args: argparse.Namespace) -> int:
    import sys

    from retone.errors import SettingError
    from retone.lab.published import ITEMS
    from retone.lab.reproduce.recordings import Given, Recordings
    from retone.lab.reproduce.run import REPORT, cost, reproduce
    from retone.lab.reproduce.scales import SCALES
    from retone.lab.reproduce.systems import Runs
    from retone.lab.reproduce.work import Work
    from retone.metrics.perceptual import use_nisqa_weights
    from retone.training.provenance import commit

    commit()  # as it is now
    papers = PAPERS if args.paper == "all" else (args.paper,)
    names = [n for n in args.items if n != "all"]
    wanted = [(p, n) for p in papers for n in ITEMS[p] if not names or n in names]
    known = {n for p in papers for n in ITEMS[p]}
    for name in names:
        if name not in known:
            raise SettingError(f"'{name}' is not measured in {args.paper}: choose one of "
                               f"{', '.join(sorted(known))}.")  # fmt: skip
    if args.nisqa:
        use_nisqa_weights(args.nisqa)

    def say(text: str) -> None:
        print(text, file=sys.stderr, flush=True)

    args.output.mkdir(parents=True, exist_ok=True)
    scale = SCALES[args.scale]
    recordings = Recordings(
        [Given.parse(t) for t in args.corpus], [Given.parse(t) for t in args.train], args.cache
    )
    runs = Runs(
        args.runs or args.output / "runs", scale, recordings.splits,
        may_train=not args.no_training, say=say, device=args.device, workers=args.workers - 1,
    )  # fmt: skip
    work = Work(args.output, recordings, runs, scale, args.seed, args.workers, say)
    found = reproduce(work, wanted)
    print(f"{cost(found)}\n{args.output / REPORT}")
    return 0
