"""``evaluate objectives``: what a perceptual loss changes in ``match``."""

from __future__ import annotations

import argparse
from pathlib import Path

from retone.lab.commands.corpora import add_output, add_seed
from retone.lab.commands.verbs import Verb


def _add(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("recordings", nargs="+", type=Path, metavar="FILE", help="clean voices")
    parser.add_argument("--sample-rate", type=int, required=True, help="in Hz, such as 24000")
    parser.add_argument(
        "--seconds", type=float, default=5.0, help="length of each clip (default: %(default)g)"
    )
    parser.add_argument(
        "--steps", type=int, default=40, help="steps of each fit (default: %(default)s)"
    )
    add_seed(parser, 0, "the styles' settings")
    add_output(parser)


def _run(args: argparse.Namespace) -> int:
    from retone.lab.evaluate.objectives import evaluate, page
    from retone.terminal import progress_bar

    with progress_bar() as progress:
        result = evaluate(
            args.recordings, args.sample_rate, seconds=args.seconds, steps=args.steps,
            seed=args.seed, path=args.output, progress=progress,
        )  # fmt: skip
    print(page(result))
    return 0


VERBS = (Verb("objectives", "the fit of match against fits of perceptual losses", _add, _run),)
