"""``evaluate synthetic``: pairs of one clip processed two ways, so that the target is known."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from retone.estimators.choose import Choices
from retone.lab.commands.corpora import (
    add_corpus,
    add_output,
    add_seed,
    add_workers,
    corpus_of,
)
from retone.lab.commands.verbs import Names, Verb

METHODS = Choices(
    "input", "matchering", "network-alone", "network-fitted", "network-ungated", "oracle",
    "rules-published", without=("auto",),
)  # fmt: skip
"""Rows: the unprocessed input, the rules as published, matchering, the network without its fit,
without the second network and without its gate, the chain fitted to the target, and estimators by
name."""


def _add_arguments(parser: argparse.ArgumentParser) -> None:
    add_corpus(parser)
    parser.add_argument(
        "--excerpt", type=float, metavar="SECONDS",
        help="read only the middle SECONDS of each voice or track (for large corpora)",
    )  # fmt: skip
    parser.add_argument("--sample-rate", type=int, required=True, help="in Hz, such as 24000")
    parser.add_argument(
        "--length", type=int, default=131072, help="samples per clip (default: %(default)s)"
    )
    parser.add_argument(
        "--pairs", type=int, default=100, help="pairs per case (default: %(default)s)"
    )
    add_seed(parser, 42)
    parser.add_argument(
        "--only", metavar="PREFIX", help="keep voices or tracks whose names start with PREFIX"
    )
    parser.add_argument(
        "--methods", nargs="+", default=["input", "rules", "closed-form"], choices=METHODS,
        metavar="NAME",
        help="rows of the tables: %(choices)s (default: input rules closed-form)",
    )  # fmt: skip
    parser.add_argument(
        "--metrics", nargs="+", choices=Names("retone.metrics:METRICS"), metavar="NAME",
        help="columns of the tables: %(choices)s (default: those of DeepAFx-ST)",
    )  # fmt: skip
    parser.add_argument("--weights", type=Path, metavar="FILE", help="weights for the network rows")
    add_workers(parser)
    add_output(parser, "result file (JSON); an existing one is continued")


def _run(args: argparse.Namespace) -> int:
    from retone.lab.evaluate.result import table
    from retone.lab.evaluate.synthetic import CASES, evaluate
    from retone.metrics import METRICS, STYLE_METRICS
    from retone.terminal import progress_bar
    from retone.training.data.pairs import PairMaker

    corpus = corpus_of(args, args.sample_rate)
    maker = PairMaker(sample_rate=args.sample_rate, length=args.length, min_mean_square=1e-5)
    methods = [m for name in args.methods for m in _methods(name, args)]
    metrics = [METRICS.named(n) for n in args.metrics] if args.metrics else STYLE_METRICS
    with progress_bar() as progress:
        result = evaluate(
            corpus,
            maker,
            methods,
            pairs=args.pairs,
            seed=args.seed,
            path=args.output,
            metrics=metrics,
            about={"metrics": args.metrics} if args.metrics else None,
            workers=args.workers,
            progress=progress,
        )
    columns = [(m.name, m.direction) for m in metrics]
    for case in CASES:
        print(f"\n{case}, {corpus.name}, {args.sample_rate} Hz\n")
        print(table(result, case, columns))
    return 0


def _methods(name: str, args: argparse.Namespace) -> list[Any]:
    from retone.estimators.choose import FORMER_NAMES, estimator_named
    from retone.estimators.gate import packaged
    from retone.estimators.network import Network
    from retone.lab.evaluate.methods import Estimated, Input, Matchering, Oracle, published_rules
    from retone.losses import L1, MultiResolutionSTFT, WeightedSum

    weights = args.weights or args.kind
    match name:
        case "input":
            return [Input()]
        case "matchering":
            return [Matchering()]
        case "oracle":
            loss = WeightedSum((MultiResolutionSTFT(), L1()), (1.0, 100.0))
            return [Oracle(loss, estimator_named("closed-form"))]
        case "rules-published":
            return [published_rules()]
        case "rules":
            return [Estimated("RB-DSP", estimator_named("rules"), at_peak=True)]
        case "network-alone":
            return [Estimated("network alone", Network(weights=weights, fit_steps=0, level=None))]
        case "network-fitted":
            return [
                Estimated("network, fitted", Network(weights=weights, frames=None, caution=0.0))
            ]
        case "network" | "network-ungated":
            gated = name == "network" and packaged(str(weights)) is not None
            row = "network, gated" if gated else "network, ungated"
            return [Estimated(row, Network(weights=weights, caution=float(gated)))]
    name = FORMER_NAMES.get(name, name)
    estimator = estimator_named(name)
    return [
        Estimated(name, estimator),
        Estimated(f"{name}, half-way to the reference's loudness", estimator, 0.5),
    ]


VERBS = (Verb("synthetic", "match pairs with a known target, and measure", _add_arguments, _run),)
