"""Arguments and runs of ``evaluate realistic`` and ``evaluate probes``."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

ROWS = ("input", "rules", "closed-form", "faithful", "refined", "network")


def _common(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--corpus", action="append", required=True, metavar="NAME=FOLDER", help="where clips are"
    )
    parser.add_argument("--split", default="test", choices=("train", "val", "test"))
    parser.add_argument("--kind", default="speech", choices=("speech", "music"))
    parser.add_argument("--sample-rate", type=int, required=True, help="in Hz, e.g. 24000")
    parser.add_argument("--length", type=int, default=131072, help="samples per clip")
    parser.add_argument(
        "--excerpt", type=float, metavar="SECONDS",
        help="hear one excerpt of each voice or track instead of reading the whole corpus",
    )  # fmt: skip
    parser.add_argument(
        "--passage", type=float, default=12.0, metavar="SECONDS",
        help="recordings are cut into passages; no two styles share one",
    )  # fmt: skip
    parser.add_argument(
        "--apart", default="passages", choices=("passages", "voices"),
        help="what styles and subsets never share (voices or tracks: harder)",
    )  # fmt: skip
    parser.add_argument(
        "--without", action="append", default=[], metavar="PREFIX",
        help="leave out voices or tracks whose name begins so",
    )  # fmt: skip
    parser.add_argument(
        "--warm", default="warm", choices=("warm", "warm-published"),
        help="Warm as the paper says (highs lowered), or as its program does (highs raised)",
    )  # fmt: skip
    parser.add_argument("--cache", type=Path, help="where resampled audio is kept")
    parser.add_argument("-o", "--output", type=Path, help="result file (JSON)")
    parser.add_argument(
        "--weights", action="append", default=[], metavar="ROW=FILE",
        help="a network's row: AD=run/best.safetensors, SPSA=..., or a name such as speech",
    )  # fmt: skip


def add_realistic(parser: argparse.ArgumentParser) -> None:
    _common(parser)
    parser.add_argument("--trials", type=int, default=10, help="per ordered pair of styles")
    parser.add_argument("--seed", type=int, default=16)
    parser.add_argument("--rows", nargs="+", choices=(*ROWS, "oracle"),
                        default=["input", "rules", "closed-form", "faithful", "oracle"],
                        help="oracle: the untreated input with the reference's own settings"
                        )  # fmt: skip
    parser.add_argument("--workers", type=int, default=1, help="processes")
    parser.add_argument("--picture", type=Path, help="write the 5x5 matrix of --picture-row (SVG)")
    parser.add_argument("--picture-row", metavar="ROW", help="default: the last row")


def add_presets(parser: argparse.ArgumentParser) -> None:
    _common(parser)
    parser.add_argument("--presets", nargs="+", metavar="NAME", help="default: all of the kind")
    parser.add_argument("--count", type=int, default=20, help="passages for each preset")
    parser.add_argument("--seconds", type=float, default=8.0, help="length of a passage")
    parser.add_argument("--seed", type=int, default=7)
    parser.add_argument(
        "--estimators", nargs="+", default=["closed-form"], choices=ROWS[2:], help="rows"
    )


def run_presets(args: argparse.Namespace) -> int:
    from retone.estimators.choose import estimator_named
    from retone.lab.curated_presets import CURATED
    from retone.lab.evaluate.presets import evaluate
    from retone.lab.evaluate.style_page import preset_table
    from retone.terminal import progress_bar

    names = args.presets or [n for n, c in CURATED.items() if c.kind == args.kind]
    corpus = corpus_of(args)
    with progress_bar() as progress:
        result = evaluate(
            corpus, names, [estimator_named(n) for n in args.estimators], count=args.count,
            seconds=args.seconds, seed=args.seed, progress=progress,
        )  # fmt: skip
    if args.output:
        result.save(args.output)
    print(preset_table(result))
    return 0


def add_probes(parser: argparse.ArgumentParser) -> None:
    _common(parser)
    parser.add_argument(
        "--rows", nargs="+", default=["random-mel"], choices=("random-mel", "cdpam", "openl3"),
        help="published encoders; ours come by --weights",
    )  # fmt: skip
    parser.add_argument("--epochs", type=int, default=400)
    parser.add_argument(
        "--counts", type=int, nargs=3, default=(60, 20, 20), metavar=("TRAIN", "VAL", "TEST"),
        help="clips per style (default: 60 20 20)",
    )  # fmt: skip
    parser.add_argument("--seed", type=int, default=42)


def run_probes(args: argparse.Namespace) -> int:
    from retone.estimators.network import load
    from retone.lab.evaluate.encoders import Cdpam, OpenL3, OurEncoder, RandomMel
    from retone.lab.evaluate.probes import ProbeRules, evaluate, table
    from retone.nets.aligned import AlignedNet
    from retone.terminal import progress_bar

    known = {"random-mel": RandomMel(), "cdpam": Cdpam(), "openl3": OpenL3()}
    encoders: list[Any] = [known[name] for name in args.rows]
    for name, file in weights_of(args).items():
        if isinstance(load(file).network, AlignedNet):
            ordinary = "neutral" if args.kind == "speech" else "master-neutral"
            parts = ("summary", "features", "hidden", "embedding", "joint")
            encoders += [OurEncoder(f"{name}, {p}", file, p, ordinary) for p in parts]
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


def corpus_of(args: argparse.Namespace) -> Any:
    """The held-out recordings that the arguments name."""
    from dataclasses import replace

    from retone.training.data.opening import part_of_corpora

    corpus = part_of_corpora(args)
    for prefix in args.without:
        kept = tuple(t for t in corpus.tracks if not t.group.startswith(prefix))
        corpus = replace(corpus, name=f"{corpus.name} without {prefix}", tracks=kept)
    return corpus


def style_set(args: argparse.Namespace, seed: int) -> Any:
    """The examples that the arguments ask for."""
    from retone.effects import MATCH_CHAIN
    from retone.training.data.styles import FIVE, StyleSet

    names = tuple(args.warm if name == "warm" else name for name in FIVE)
    return StyleSet(
        corpus_of(args), MATCH_CHAIN, args.length, seed, names, args.passage, args.apart
    )


def weights_of(args: argparse.Namespace) -> dict[str, Path | str]:
    """``--weights`` as row name -> file."""
    from retone.errors import DataError

    found: dict[str, Path | str] = {}
    for text in args.weights:
        name, equals, file = text.partition("=")
        if not equals or not name:
            raise DataError(f"--weights {text}: expected ROW=FILE, as in AD=run/best.safetensors.")
        found[name] = file if file in ("speech", "music") else Path(file)
    return found


def run_realistic(args: argparse.Namespace) -> int:
    from retone.audio import write_text_atomic
    from retone.estimators.choose import estimator_named
    from retone.estimators.faithful import faithful
    from retone.estimators.network import Network
    from retone.lab.evaluate.methods import Estimated, Input, Target
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
        elif name == "rules":
            methods.append(Estimated("RB-DSP", estimator_named("rules"), at_peak=True))
        else:
            estimator = estimator_named(name)
            methods.append(Estimated(f"{name}, loudness matched", estimator, 1.0))
    for name, file in weights_of(args).items():
        network = Network(weights=file)
        methods.append(Estimated(name, network))
        methods.append(Estimated(f"{name}, loudness matched", network, 1.0))
        both = faithful(network)
        methods.append(Estimated(f"{name}, then faithful, loudness matched", both, 1.0))
    for name in ("NP-HH", "SPSA", "AD"):
        if name not in weights_of(args):
            print(f"row {name}: left out, no weights given (--weights {name}=FILE)")
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
