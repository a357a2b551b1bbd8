"""The commands of `python -m retone.lab evaluate` that measure enhancement."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import Any

COMMANDS = ("enhance", "enhance-recordings", "enhance-response", "enhance-docs")
METHODS = ("input", "peq", "paper", "improved-peq", "improved", "oracle")
NAMES = {
    "input": "Input",
    "peq": "PEQ",
    "paper": "DEQ paper mode",
    "improved-peq": "PEQ improved",
    "improved": "DEQ improved",
}


def add_parsers(what: Any) -> None:
    """Add the commands to `python -m retone.lab evaluate`'s."""
    enhance = what.add_parser("enhance", help="damage clean speech, undo it blindly, measure")
    _add_corpus(enhance)
    enhance.add_argument("--pairs", type=int, default=100, help="pairs per case (default: 100)")
    enhance.add_argument(
        "--methods", nargs="+", default=["input", "improved"], choices=METHODS, help="rows"
    )
    for name in ("peq", "paper", "improved-peq", "improved"):
        enhance.add_argument(
            f"--{name}", type=Path, metavar="WEIGHTS", help=f"weights of the row '{NAMES[name]}'"
        )
    enhance.add_argument(
        "--case", choices=("improved", "paper"), help="only the damage of this recipe"
    )
    enhance.add_argument(
        "--quality", nargs="+", default=[], choices=("dnsmos", "nisqa"), help="also predict quality"
    )
    real = what.add_parser("enhance-recordings", help="real recordings before and after")
    real.add_argument("folder", type=Path, metavar="FOLDER", help="recordings, or a manifest.csv")
    real.add_argument("--only", default="", metavar="PREFIX", help="keep sources that begin so")
    real.add_argument("--split", default="test", help="part of a manifest (default: test)")
    real.add_argument("--name", help="what the page calls these recordings")
    real.add_argument("--most", type=int, metavar="N", help="the first N files only")
    real.add_argument("--weights", type=Path, help="instead of those that ship")
    real.add_argument("--quality", nargs="+", default=["dnsmos"], choices=("dnsmos", "nisqa"))
    _add_running(real)
    response = what.add_parser("enhance-response", help="Figure 1 over many clips")
    _add_corpus(response)
    response.add_argument("--clips", type=int, default=100)
    response.add_argument("--pictures", type=Path, metavar="DIR", help="write the plots there")
    what.add_parser("enhance-docs", help="turn docs/results into docs/enhancement.md")


def _add_corpus(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--corpus", action="append", required=True, metavar="NAME=FOLDER", help="where clips are"
    )
    parser.add_argument("--split", default="test", choices=("train", "val", "test"))
    parser.add_argument("--only", metavar="PREFIX", help="keep voices whose name begins so")
    parser.add_argument("--seed", type=int, default=42)
    parser.add_argument("--cache", type=Path, help="where resampled audio is kept")
    _add_running(parser)


def _add_running(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--workers", type=int, default=1, help="processes")
    parser.add_argument("-o", "--output", type=Path, help="result file (JSON); resumed if there")


def run(args: argparse.Namespace) -> int:
    """One of ``COMMANDS``."""
    match args.what:
        case "enhance":
            return _enhance(args)
        case "enhance-recordings":
            return _recordings(args)
        case "enhance-response":
            return _response(args)
    return _docs()


def _corpus(args: argparse.Namespace, rate: int) -> Any:
    from dataclasses import replace

    from retone.errors import DataError
    from retone.training.data.opening import open_corpora

    corpus = open_corpora(args.corpus, rate, args.cache, "speech", need=(args.split,))[args.split]
    if args.only:
        kept = tuple(t for t in corpus.tracks if t.group.startswith(args.only))
        if not kept:
            raise DataError(
                f"{corpus.name}: no voice begins with '{args.only}'; it has "
                f"{', '.join(t.group for t in corpus.tracks[:5])}, ..."
            )
        corpus = replace(corpus, name=f"{corpus.name}/{args.only}*", tracks=kept)
    return corpus


def _enhance(args: argparse.Namespace) -> int:
    from retone.lab.evaluate import enhance
    from retone.lab.evaluate.enhance_page import quality_table, table_i, verdicts
    from retone.terminal import progress_bar

    cases = enhance.makers()
    if args.case:
        kept = list(cases)[("improved", "paper").index(args.case)]
        cases = {kept: cases[kept]}
    corpus = _corpus(args, next(iter(cases.values())).sample_rate)
    methods = [_method(name, args) for name in args.methods]
    with progress_bar() as progress:
        result = enhance.evaluate(
            corpus, methods, pairs=args.pairs, seed=args.seed, cases=cases, quality=args.quality,
            path=args.output, workers=args.workers, progress=progress,
        )  # fmt: skip
    for case in cases:
        print(f"\n{case}, {corpus.name}, {args.pairs} pairs\n\nat the target's loudness:\n")
        print(table_i(result, case, matched=True))
        print("\nraw:\n")
        print(table_i(result, case, matched=False))
        print()
        for line in verdicts(result, case, methods[-1].name if len(methods) > 1 else ""):
            print(line)
        if args.quality:
            print("\n" + quality_table(result, case))
    return 0


def _method(name: str, args: argparse.Namespace) -> Any:
    from retone.errors import SettingError
    from retone.estimators.blind import Blind
    from retone.lab.evaluate.enhance import FittedChain
    from retone.lab.evaluate.methods import Estimated, Input
    from retone.training.recipes.diffdeq import diffdeq_improved

    if name == "input":
        return Input()
    if name == "oracle":
        return FittedChain(diffdeq_improved().loss)
    weights = getattr(args, name.replace("-", "_"))
    if weights is None and name != "improved":
        raise SettingError(f"row '{NAMES[name]}': give its weights, --{name} FILE.")
    blind = Blind(weights=weights)
    # What the improved recipes learn has no level of its own: it stays at the input's loudness.
    return Estimated(NAMES[name], blind, 1.0 if name.startswith("improved") else 0.0)


def _recordings(args: argparse.Namespace) -> int:
    from retone.estimators.blind import Blind
    from retone.lab.evaluate import recordings
    from retone.terminal import progress_bar

    files = recordings.find(args.folder, only=args.only, split=args.split)[: args.most]
    name = args.name or (args.only or args.folder.name)
    with progress_bar() as progress:
        result = recordings.evaluate(
            files, Blind(weights=args.weights), name=name, quality=args.quality,
            path=args.output, workers=args.workers, progress=progress,
        )  # fmt: skip
    print(recordings.summary(result))
    return 0


def _response(args: argparse.Namespace) -> int:
    from retone.audio import write_text_atomic
    from retone.lab.evaluate import response
    from retone.terminal import progress_bar
    from retone.training.recipes.diffdeq import diffdeq_paper

    corpus = _corpus(args, diffdeq_paper().pairs.sample_rate)
    with progress_bar() as progress:
        result = response.evaluate(
            corpus, clips=args.clips, seed=args.seed, path=args.output, workers=args.workers,
            progress=progress,
        )  # fmt: skip
    print(response.section(result))
    if args.pictures:
        args.pictures.mkdir(parents=True, exist_ok=True)
        plots = {"enhance_response_error": response.error_plot(result)}
        plots["enhance_response_clip"] = response.clip_plot(corpus, 0, args.seed)
        for name, plot in plots.items():
            write_text_atomic(
                args.pictures / f"{name}.svg", plot.render(standalone=True), force=True
            )
    return 0


def _docs() -> int:
    from retone.audio import write_text_atomic
    from retone.lab.evaluate import recordings, response
    from retone.lab.evaluate.distributions import plot
    from retone.lab.evaluate.enhance_page import page
    from retone.lab.evaluate.result import Result

    docs = Path("docs")

    def found(pattern: str) -> Sequence[Result]:
        return [Result.load(f) for f in sorted((docs / "results").glob(pattern))]

    tables = found("enhance_table_*.json")
    pictures = {}
    for number, result in enumerate(tables, start=1):
        for case_number, case in enumerate(result.names("case"), start=1):
            if result.question.get("quality"):
                name = f"enhance_quality_{number}_{case_number}.svg"
                picture = plot(result, case).render(standalone=True)
                write_text_atomic(docs / "pictures" / name, picture, force=True)
                title = f"Predicted quality, {result.question['corpus']}, {case}"
                pictures[title] = f"pictures/{name}"
    sections = [recordings.summary(r) for r in found("enhance_recordings_*.json")]
    for result in found("enhance_response_*.json"):
        sections.append(response.section(result))
        for name in ("enhance_response_error", "enhance_response_clip"):
            if (docs / "pictures" / f"{name}.svg").is_file():
                sections.append(f"![Figure 1: {name}](pictures/{name}.svg)")
    write_text_atomic(docs / "enhancement.md", page(tables, pictures, sections), force=True)
    print(docs / "enhancement.md")
    return 0
