"""``evaluate enhance``, ``enhance-recordings`` and ``enhance-response``: enhancement."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from retone.lab.commands.corpora import (
    add_corpus,
    add_output,
    add_seed,
    add_workers,
    corpus_of,
)
from retone.lab.commands.verbs import DEVICE_NAMES, Verb

METHODS = ("input", "peq", "paper", "improved-peq", "improved", "oracle")
NAMES = {
    "input": "Input",
    "peq": "PEQ",
    "paper": "DEQ paper mode",
    "improved-peq": "PEQ improved",
    "improved": "DEQ improved",
}


def _add_enhance(enhance: argparse.ArgumentParser) -> None:
    _add_corpus(enhance)
    enhance.add_argument(
        "--pairs", type=int, default=100, help="pairs per case (default: %(default)s)"
    )
    enhance.add_argument(
        "--methods", nargs="+", default=["input", "improved"], choices=METHODS,
        help="rows of the tables (default: input improved)",
    )  # fmt: skip
    for name in ("peq", "paper", "improved-peq", "improved"):
        enhance.add_argument(
            f"--{name}", type=Path, metavar="WEIGHTS", help=f"weights for the row '{NAMES[name]}'"
        )
    enhance.add_argument(
        "--case", choices=("improved", "paper"), help="only the degradation of this recipe"
    )
    enhance.add_argument(
        "--quality", nargs="+", default=[], choices=("dnsmos", "nisqa"), help="also predict quality"
    )


def _add_recordings(real: argparse.ArgumentParser) -> None:
    real.add_argument(
        "folder", type=Path, metavar="FOLDER", help="folder of recordings, or with a manifest.csv"
    )
    real.add_argument(
        "--only", default="", metavar="PREFIX", help="keep sources whose names start with PREFIX"
    )
    real.add_argument(
        "--split", default="test", help="split of a manifest.csv (default: %(default)s)"
    )
    real.add_argument("--name", help="name of these recordings on the page")
    real.add_argument(
        "--one-per-voice", action="store_true", help="use the first file of each voice"
    )
    real.add_argument(
        "--devices", nargs="+", default=[], choices=DEVICE_NAMES, metavar="NAME",
        help="also enhance each file as it sounds through these: %(choices)s",
    )  # fmt: skip
    real.add_argument(
        "--max-files", "--most", type=int, metavar="N", help="use the first N files only"
    )
    real.add_argument(
        "--weights", type=Path, metavar="FILE", help="weights (default: those that ship)"
    )
    real.add_argument(
        "--quality", nargs="+", default=["dnsmos"], choices=("dnsmos", "nisqa"),
        help="predictors of quality (default: dnsmos)",
    )  # fmt: skip
    _add_running(real)


def _add_response(response: argparse.ArgumentParser) -> None:
    _add_corpus(response)
    response.add_argument(
        "--clips", type=int, default=100, help="number of clips (default: %(default)s)"
    )
    response.add_argument("--pictures", type=Path, metavar="DIR", help="folder for the plots")


def _add_corpus(parser: argparse.ArgumentParser) -> None:
    add_corpus(parser, kind=False)
    parser.add_argument(
        "--only", metavar="PREFIX", help="keep voices whose names start with PREFIX"
    )
    add_seed(parser, 42)
    _add_running(parser)


def _add_running(parser: argparse.ArgumentParser) -> None:
    add_workers(parser)
    add_output(parser, "result file (JSON); an existing one is continued")


def _enhance(args: argparse.Namespace) -> int:
    from retone.lab.evaluate import enhance
    from retone.lab.evaluate.enhance_page import quality_table, table_i, verdicts
    from retone.terminal import progress_bar

    cases = enhance.makers()
    if args.case:
        kept = list(cases)[("improved", "paper").index(args.case)]
        cases = {kept: cases[kept]}
    corpus = corpus_of(args, next(iter(cases.values())).sample_rate)
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
    from retone.lab.evaluate.enhance import FittedChain, network_alone
    from retone.lab.evaluate.methods import Estimated, Input
    from retone.training.recipes.diffdeq import diffdeq_improved

    if name == "input":
        return Input()
    if name == "oracle":
        return FittedChain(diffdeq_improved().loss)
    weights = getattr(args, name.replace("-", "_"))
    if weights is None and name != "improved":
        raise SettingError(f"row '{NAMES[name]}' needs weights: pass --{name} FILE.")
    estimator = network_alone(weights)
    # The improved recipes predict no level: their output is set to the input's loudness.
    return Estimated(NAMES[name], estimator, 1.0 if name.startswith("improved") else 0.0)


def _recordings(args: argparse.Namespace) -> int:
    from retone.estimators.reference_free import ReferenceFree
    from retone.lab.evaluate import recordings
    from retone.terminal import progress_bar

    files = recordings.find(
        args.folder, only=args.only, split=args.split, one_per_voice=args.one_per_voice
    )[: args.max_files]
    name = args.name or (args.only or args.folder.name)
    with progress_bar() as progress:
        result = recordings.evaluate(
            files, ReferenceFree(weights=args.weights), name=name, devices=args.devices,
            quality=args.quality, path=args.output, workers=args.workers, progress=progress,
        )  # fmt: skip
    print(recordings.summary(result))
    return 0


def _response(args: argparse.Namespace) -> int:
    from retone.files.atomic import write_text_atomic
    from retone.lab.evaluate import equalizer_response
    from retone.terminal import progress_bar
    from retone.training.recipes.diffdeq import diffdeq_paper

    corpus = corpus_of(args, diffdeq_paper().pairs.sample_rate)
    with progress_bar() as progress:
        result = equalizer_response.evaluate(
            corpus, clips=args.clips, seed=args.seed, path=args.output, workers=args.workers,
            progress=progress,
        )  # fmt: skip
    print(equalizer_response.section(result))
    if args.pictures:
        args.pictures.mkdir(parents=True, exist_ok=True)
        plots = {"enhance_response_error": equalizer_response.error_plot(result)}
        plots["enhance_response_clip"] = equalizer_response.clip_plot(corpus, 0, args.seed)
        for name, plot in plots.items():
            write_text_atomic(
                args.pictures / f"{name}.svg", plot.render(standalone=True), force=True
            )
    return 0


VERBS = (
    Verb("enhance", "restore degraded speech and measure", _add_enhance, _enhance),
    Verb(
        "enhance-recordings", "measure real recordings before and after", _add_recordings,
        _recordings,
    ),
    Verb("enhance-response", "Figure 1 over many clips", _add_response, _response),
)  # fmt: skip
