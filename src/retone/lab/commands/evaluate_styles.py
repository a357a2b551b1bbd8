"""``evaluate realistic``, ``presets`` and ``probes``: the five styles and presets."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from retone.estimators.choose import Choices
from retone.lab.commands.corpora import add_corpus, add_output, add_seed, add_workers, corpus_of
from retone.lab.commands.verbs import Verb

ESTIMATORS = Choices(without=("auto",))
ROWS = Choices("input", "rules-published", "oracle", without=("auto",))


def _common(parser: argparse.ArgumentParser) -> None:
    add_corpus(parser)
    parser.add_argument("--sample-rate", type=int, required=True, help="in Hz, such as 24000")
    parser.add_argument(
        "--length", type=int, default=131072, help="samples per clip (default: %(default)s)"
    )
    parser.add_argument(
        "--excerpt", type=float, metavar="SECONDS",
        help="read only the middle SECONDS of each voice or track (for large corpora)",
    )  # fmt: skip
    parser.add_argument(
        "--passage", type=float, default=12.0, metavar="SECONDS",
        help="length of the passages that recordings are cut into; styles never share one "
        "(default: %(default)s)",
    )  # fmt: skip
    parser.add_argument(
        "--apart", default="passages", choices=("passages", "voices"),
        help="what styles and subsets never share; voices are harder (default: %(default)s)",
    )  # fmt: skip
    parser.add_argument(
        "--without", action="append", default=[], metavar="PREFIX",
        help="leave out voices or tracks whose names start with PREFIX (repeatable)",
    )  # fmt: skip
    parser.add_argument(
        "--warm", default="warm", choices=("warm", "warm-published"),
        help="Warm as in the paper (highs lowered) or in its program (highs raised); default: warm",
    )  # fmt: skip
    add_output(parser)
    parser.add_argument(
        "--weights", action="append", default=[], metavar="ROW=FILE",
        help="add a row with a network: AD=run/best.safetensors, or ours=speech as shipped",
    )  # fmt: skip


def _add_realistic(parser: argparse.ArgumentParser) -> None:
    _common(parser)
    parser.add_argument(
        "--trials", type=int, default=10,
        help="pairs for each ordered pair of styles (default: %(default)s)",
    )  # fmt: skip
    add_seed(parser, 16)
    parser.add_argument(
        "--rows", nargs="+", choices=ROWS, metavar="NAME",
        default=["input", "rules", "closed-form", "full-match", "oracle"],
        help="rows of the table: %(choices)s; oracle is the unprocessed input with the reference's "
        "own settings",
    )  # fmt: skip
    add_workers(parser)
    parser.add_argument(
        "--picture", type=Path, metavar="SVG", help="write the 5x5 matrix of --picture-row"
    )
    parser.add_argument(
        "--picture-row", metavar="ROW", help="row for --picture (default: the last one)"
    )


def _add_presets(parser: argparse.ArgumentParser) -> None:
    _common(parser)
    parser.add_argument(
        "--presets", nargs="+", metavar="NAME", help="names of presets (default: all of the kind)"
    )
    parser.add_argument(
        "--count", type=int, default=20, help="passages per preset (default: %(default)s)"
    )
    parser.add_argument(
        "--seconds", type=float, default=8.0, help="length of a passage (default: %(default)s)"
    )
    add_seed(parser, 7, "passages and styles")
    parser.add_argument(
        "--estimators", nargs="+", default=["closed-form"], choices=ESTIMATORS,
        metavar="NAME",
        help="estimators to measure: %(choices)s (default: closed-form)",
    )  # fmt: skip


def _run_presets(args: argparse.Namespace) -> int:
    from retone.estimators.choose import estimator_named
    from retone.lab.curated_presets import CURATED
    from retone.lab.evaluate.presets import evaluate
    from retone.lab.evaluate.style_page import preset_table
    from retone.terminal import progress_bar

    names = args.presets or [n for n, c in CURATED.items() if c.kind == args.kind]
    corpus = corpus_of(args, args.sample_rate)
    with progress_bar() as progress:
        result = evaluate(
            corpus, names, [estimator_named(n) for n in args.estimators], count=args.count,
            seconds=args.seconds, seed=args.seed, progress=progress,
        )  # fmt: skip
    if args.output:
        result.save(args.output)
    print(preset_table(result))
    return 0


def _add_probes(parser: argparse.ArgumentParser) -> None:
    _common(parser)
    parser.add_argument(
        "--rows", nargs="+", default=["random-mel"], choices=("random-mel", "cdpam", "openl3"),
        help="published encoders (default: random-mel); retone's own are added with --weights",
    )  # fmt: skip
    parser.add_argument(
        "--epochs", type=int, default=400, help="epochs of a probe (default: %(default)s)"
    )
    parser.add_argument(
        "--counts", type=int, nargs=3, default=(60, 20, 20), metavar=("TRAIN", "VAL", "TEST"),
        help="clips per style (default: 60 20 20)",
    )  # fmt: skip
    add_seed(parser, 42, "the examples")


def _run_probes(args: argparse.Namespace) -> int:
    from retone.estimators.loading import load
    from retone.lab.evaluate.encoders import Cdpam, OpenL3, OurEncoder, RandomMel
    from retone.lab.evaluate.probes import ProbeRules, evaluate, table
    from retone.nets.aligned import AlignedNet
    from retone.terminal import progress_bar

    known = {"random-mel": RandomMel(), "cdpam": Cdpam(), "openl3": OpenL3()}
    encoders: list[Any] = [known[name] for name in args.rows]
    for name, file in weights_of(args).items():
        if isinstance(load(file).network, AlignedNet):
            preset = "neutral" if args.kind == "speech" else "master-neutral"
            parts = ("summary", "features", "hidden", "embedding", "embedding minus neutral")
            encoders += [OurEncoder(f"{name}, {p}", file, p, preset) for p in parts]
        else:
            encoders.append(OurEncoder(name, file))
    counts = dict(zip(("train", "val", "test"), args.counts, strict=True))
    with progress_bar() as progress:
        result = evaluate(
            style_set(args, args.seed), encoders, kind=args.kind, counts=counts,
            rules=ProbeRules(epochs=args.epochs), progress=progress,
        )  # fmt: skip
    if args.output:
        result.save(args.output)
    print(table(result))
    return 0


def style_set(args: argparse.Namespace, seed: int) -> Any:
    """The styled examples that the options select."""
    from retone.effects import MATCH_CHAIN
    from retone.training.data.styles import FIVE, StyleSet

    names = tuple(args.warm if name == "warm" else name for name in FIVE)
    return StyleSet(
        corpus_of(args, args.sample_rate),
        MATCH_CHAIN,
        args.length,
        seed,
        names,
        args.passage,
        args.apart,
    )


def weights_of(args: argparse.Namespace) -> dict[str, Path | str]:
    """``--weights`` as row name -> file or name of shipped weights."""
    from retone.errors import DataError

    found: dict[str, Path | str] = {}
    for text in args.weights:
        name, equals, file = text.partition("=")
        if not equals or not name:
            raise DataError(f"--weights {text}: expected ROW=FILE, as in AD=run/best.safetensors.")
        found[name] = file if file in ("speech", "music") else Path(file)
    return found


def _run_realistic(args: argparse.Namespace) -> int:
    from retone.estimators.choose import FORMER_NAMES, estimator_named
    from retone.estimators.full_match import full_match
    from retone.estimators.network import Network
    from retone.files.atomic import write_text_atomic
    from retone.lab.evaluate.methods import Estimated, Input, Target, published_rules
    from retone.lab.evaluate.realistic import evaluate, table
    from retone.lab.evaluate.style_page import heat_map
    from retone.terminal import progress_bar

    methods: list[Any] = []
    for name in args.rows:
        if name == "input":
            methods.append(Input())
        elif name == "oracle":
            oracle = "oracle (the reference's own settings)"
            methods += [Target(oracle), Target(f"{oracle}, loudness matched", 1.0)]
        elif name == "rules-published":
            methods.append(published_rules())
        elif name == "rules":
            methods.append(Estimated("RB-DSP", estimator_named("rules"), at_peak=True))
        elif name == "network":
            gated = Network(weights=args.kind)
            methods.append(Estimated("network, gated, loudness matched", gated, 1.0))
        else:
            name = FORMER_NAMES.get(name, name)
            estimator = estimator_named(name)
            methods.append(Estimated(f"{name}, loudness matched", estimator, 1.0))
    for name, file in weights_of(args).items():
        network = Network(weights=file, caution=0.0)
        methods.append(Estimated(name, network))
        methods.append(Estimated(f"{name}, loudness matched", network, 1.0))
        both = full_match(network)
        methods.append(Estimated(f"{name}, then full-match, loudness matched", both, 1.0))
    for name in ("NP-HH", "SPSA", "AD"):
        if name not in weights_of(args):
            print(f"row {name} is left out: no weights (add --weights {name}=FILE)")
    styles = style_set(args, seed=42)
    with progress_bar() as progress:
        result = evaluate(
            styles, methods, kind=args.kind, trials=args.trials, seed=args.seed, path=args.output,
            workers=args.workers, progress=progress,
        )  # fmt: skip
    print(f"\n{styles.corpus.name}, {args.sample_rate} Hz, {args.trials} trials a pair\n")
    print(table(result))
    if args.picture:
        ours = [m for m in methods if not isinstance(m, Target)] or methods
        row = args.picture_row or ours[-1].name
        write_text_atomic(args.picture, heat_map(result, row), force=True)
    return 0


VERBS = (
    Verb("realistic", "match five styles across voices", _add_realistic, _run_realistic),
    Verb(
        "presets", "measure what presets change the first and the second time", _add_presets,
        _run_presets,
    ),
    Verb("probes", "tell styles apart from an encoder's embedding", _add_probes, _run_probes),
)  # fmt: skip
