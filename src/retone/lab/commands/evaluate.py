"""Measure systems on recordings: the tables of the papers, with intervals.

evaluate synthetic --corpus NAME=FOLDER     Tables 1 and 2: pairs with a known target
evaluate realistic --corpus NAME=FOLDER     Table 3: five styles, other voices as reference
evaluate presets --corpus NAME=FOLDER       what presets do once, twice, to their own style
evaluate probes --corpus NAME=FOLDER        Table 4: what an encoder's embedding tells
evaluate enhance --corpus NAME=FOLDER       Diff-DEQ's Table I: damage undone without a
                                                   reference; --quality for its figures 3 to 5
evaluate enhance-recordings FOLDER          real recordings before and after, file by file
evaluate enhance-response --corpus ...      Figure 1: a dynamic against a static equaliser
evaluate enhance-docs                       their result files to docs/enhancement.md
evaluate strategies RUN RUN ...            training strategies beside each other
evaluate gradients --corpus NAME=FOLDER    each strategy's gradient against the exact one
evaluate proxy WEIGHTS                     a proxy's error in dB, by parameter regions
evaluate render-docs                        docs/results to docs/closeness.md, styles.md
"""

from __future__ import annotations

import argparse
from pathlib import Path

from retone.lab.commands import evaluate_enhance

METHODS = (
    "input", "rules", "matchering", "closed-form", "refined", "network-alone", "network", "oracle",
)  # fmt: skip


def add_arguments(parser: argparse.ArgumentParser) -> None:
    what = parser.add_subparsers(dest="what", metavar="WHAT", required=True)
    synthetic = what.add_parser("synthetic", help="degrade one clip two ways, match, measure")
    synthetic.add_argument(
        "--corpus", action="append", required=True, metavar="NAME=FOLDER", help="where clips are"
    )
    synthetic.add_argument("--split", default="test", choices=("train", "val", "test"))
    synthetic.add_argument("--kind", default="speech", choices=("speech", "music"))
    synthetic.add_argument(
        "--excerpt", type=float, metavar="SECONDS",
        help="hear the middle SECONDS of each voice or track only (large corpora)",
    )  # fmt: skip
    synthetic.add_argument("--sample-rate", type=int, required=True, help="in Hz, e.g. 24000")
    synthetic.add_argument("--length", type=int, default=131072, help="samples per clip")
    synthetic.add_argument("--pairs", type=int, default=100, help="pairs per case")
    synthetic.add_argument("--seed", type=int, default=42)
    synthetic.add_argument(
        "--only", metavar="PREFIX", help="keep voices or tracks whose name begins so"
    )
    synthetic.add_argument(
        "--methods", nargs="+", default=["input", "rules", "closed-form"], choices=METHODS
    )
    synthetic.add_argument("--weights", type=Path, help="of the network rows")
    synthetic.add_argument("--cache", type=Path, help="where resampled audio is kept")
    synthetic.add_argument("--workers", type=int, default=1, help="processes")
    synthetic.add_argument("-o", "--output", type=Path, help="result file (JSON); resumed if there")

    from retone.lab.commands import evaluate_strategies, evaluate_styles

    evaluate_strategies.add(what)
    evaluate_styles.add_realistic(
        what.add_parser("realistic", help="match five styles to each other, across voices")
    )
    evaluate_styles.add_presets(
        what.add_parser("presets", help="what presets change the first and the second time")
    )
    evaluate_styles.add_probes(
        what.add_parser("probes", help="tell styles apart from an encoder's embedding")
    )
    what.add_parser("render-docs", help="turn docs/results into pages")
    evaluate_enhance.add_parsers(what)


def run(args: argparse.Namespace) -> int:
    if args.what == "render-docs":
        return _render_docs()
    if args.what in ("strategies", "gradients", "proxy"):
        from retone.lab.commands import evaluate_strategies

        return evaluate_strategies.run(args)
    if args.what in ("realistic", "presets", "probes"):
        from retone.lab.commands import evaluate_styles

        return {
            "realistic": evaluate_styles.run_realistic,
            "presets": evaluate_styles.run_presets,
            "probes": evaluate_styles.run_probes,
        }[args.what](args)
    if args.what in evaluate_enhance.COMMANDS:
        return evaluate_enhance.run(args)
    from dataclasses import replace

    from retone.lab.evaluate.result import table
    from retone.lab.evaluate.synthetic import CASES, evaluate
    from retone.metrics import STYLE_METRICS
    from retone.terminal import progress_bar
    from retone.training.data.opening import part_of_corpora
    from retone.training.data.pairs import PairMaker

    corpus = part_of_corpora(args)
    if args.only:
        kept = tuple(t for t in corpus.tracks if t.group.startswith(args.only))
        corpus = replace(corpus, name=f"{corpus.name}/{args.only}*", tracks=kept)
    maker = PairMaker(sample_rate=args.sample_rate, length=args.length, min_mean_square=1e-5)
    methods = [m for name in args.methods for m in _methods(name, args)]
    with progress_bar() as progress:
        result = evaluate(
            corpus,
            maker,
            methods,
            pairs=args.pairs,
            seed=args.seed,
            path=args.output,
            workers=args.workers,
            progress=progress,
        )
    columns = [(m.name, m.direction) for m in STYLE_METRICS]
    for case in CASES:
        print(f"\n{case}, {corpus.name}, {args.sample_rate} Hz\n")
        print(table(result, case, columns))
    return 0


def _methods(name: str, args: argparse.Namespace) -> list:  # type: ignore[type-arg]
    from retone.estimators.choose import estimator_named
    from retone.lab.evaluate.methods import Estimated, Input, Matchering, Oracle
    from retone.losses import L1, MultiResolutionSTFT, WeightedSum

    match name:
        case "input":
            return [Input()]
        case "matchering":
            return [Matchering()]
        case "oracle":
            loss = WeightedSum((MultiResolutionSTFT(), L1()), (1.0, 100.0))
            return [Oracle(loss, estimator_named("closed-form"))]
        case "rules":
            return [Estimated("RB-DSP", estimator_named("rules"), at_peak=True)]
        case "network-alone":
            from retone.estimators.network import Network

            weights = args.weights or args.kind
            return [Estimated("network alone", Network(weights=weights, fit_steps=0, level=None))]
        case "network":
            estimator = estimator_named(name, weights=args.weights or args.kind)
            return [Estimated("network, fitted", estimator)]
        case _:
            estimator = estimator_named(name)
    return [
        Estimated(name, estimator),
        Estimated(f"{name}, half-way to the reference's loudness", estimator, 0.5),
    ]


def _render_docs() -> int:
    from retone.audio import write_text_atomic
    from retone.lab.evaluate.result import Result, page

    files = sorted(Path("docs/results").glob("closeness_*.json"))
    write_text_atomic("docs/closeness.md", page([Result.load(f) for f in files]), force=True)
    from retone.lab.evaluate.style_page import render_folder

    write_text_atomic("docs/styles.md", render_folder(Path("docs/results")), force=True)
    print("docs/closeness.md\ndocs/styles.md")
    return 0
