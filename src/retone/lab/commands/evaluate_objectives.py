"""``evaluate objectives``: what perceptual terms in the loss change in ``enhance``."""

from __future__ import annotations

import argparse
from pathlib import Path

from retone.lab.commands.corpora import add_corpus, add_number, add_output, add_seed, corpus_of
from retone.lab.commands.verbs import Verb


def _add(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--train", action="append", required=True, metavar="NAME=FOLDER",
        help="a corpus to train on, and its folder (repeatable)",
    )  # fmt: skip
    parser.add_argument(
        "--runs", type=Path, required=True, metavar="DIR", help="folder for the run folders"
    )
    parser.add_argument(
        "--nisqa", type=Path, metavar="FILE", help="NISQA's weights (nisqa.tar), or their folder"
    )
    add_corpus(parser, kind=False)
    add_number(parser, "--steps", 300, "steps of each training")
    add_number(parser, "--pairs", 40, "number of pairs to judge")
    add_number(parser, "--cdpam-pairs", 20, "how many of them CDPAM judges, 3 s each")
    add_seed(parser, 42)
    add_output(parser, "result file (JSON); an existing one is continued")


def _run(args: argparse.Namespace) -> int:
    from retone.lab.evaluate import objectives
    from retone.metrics.perceptual import use_nisqa_weights
    from retone.terminal import progress_bar
    from retone.training.data.splits import named_folders, open_splits
    from retone.training.provenance import commit
    from retone.training.recipes.diffdeq import SAMPLE_RATE

    commit()  # as it is now
    if args.nisqa is not None:
        use_nisqa_weights(args.nisqa)
    corpora = open_splits(
        named_folders(args.train), sample_rate=SAMPLE_RATE, cache=args.cache, kind="speech"
    )
    with progress_bar() as progress:
        rows, weights = objectives.train_all(corpora, args.runs, args.steps, progress)
        about = {
            "steps": args.steps, "weights": weights, "trained_on": corpora["train"].name,
            "training_corpus_sha256": corpora["train"].sha256,
        }  # fmt: skip
        result = objectives.evaluate(
            corpus_of(args, SAMPLE_RATE), rows, pairs=args.pairs, cdpam_pairs=args.cdpam_pairs,
            seed=args.seed, about=about, path=args.output, progress=progress,
        )  # fmt: skip
    print(objectives.section(result))
    return 0


VERBS = (
    Verb("objectives", "what perceptual terms in the loss change in enhance", _add, _run),
)  # fmt: skip
