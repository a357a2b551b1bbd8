"""The commands ``evaluate strategies``, ``gradients`` and ``proxy``: differentiation strategies."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any


def add(what: Any) -> None:
    """Add the three parsers."""
    strategies = what.add_parser(
        "strategies", help="run folders of training strategies: contracts, budgets, errors"
    )
    strategies.add_argument("runs", type=Path, nargs="+", metavar="RUN", help="run folders")
    _common(strategies, pairs=100)
    strategies.add_argument(
        "--rates", type=int, nargs="+", required=True, metavar="HZ", help="e.g. 24000 44100"
    )
    strategies.add_argument("--seconds", type=float, default=5.5, help="length of a clip")
    strategies.add_argument("--no-pesq", action="store_true", help="leave out the slowest column")
    strategies.add_argument("--workers", type=int, default=1, help="processes")
    gradients = what.add_parser(
        "gradients", help="each strategy's gradient against the exact one, and its cost"
    )
    _common(gradients, pairs=32)
    gradients.add_argument(
        "--recipe", default="compact_exact_speech", help="loss, effect and pairs"
    )
    gradients.add_argument("--length", type=int, default=49152, help="samples per clip")
    gradients.add_argument(
        "--proxies", nargs="+", type=Path, metavar="FILE",
        help="weights of a proxy for each effect of the chain; without, no row of proxies",
    )  # fmt: skip
    gradients.add_argument(
        "--descend", type=float, default=0.0, metavar="S",
        help="also descend along each gradient for so many CPU seconds a pair",
    )  # fmt: skip
    proxy = what.add_parser("proxy", help="a proxy's error in dB, by parameter regions")
    proxy.add_argument("weights", type=Path, help="best.safetensors of a proxy_ recipe")
    _common(proxy, pairs=200)


def _common(parser: argparse.ArgumentParser, *, pairs: int) -> None:
    parser.add_argument(
        "--corpus", action="append", required=True, metavar="NAME=FOLDER", help="where clips are"
    )
    parser.add_argument("--split", default="test", choices=("train", "val", "test"))
    parser.add_argument("--kind", default="speech", choices=("speech", "music"))
    parser.add_argument("--pairs", type=int, default=pairs, help="default %(default)s")
    parser.add_argument("--seed", type=int, default=42)
    parser.add_argument("--cache", type=Path, help="where resampled audio is kept")
    parser.add_argument("-o", "--output", type=Path, help="where the record goes (JSON)")


def run(args: argparse.Namespace) -> int:
    print({"strategies": _strategies, "gradients": _gradients, "proxy": _proxy}[args.what](args))
    return 0


def _corpus(args: argparse.Namespace, rate: int) -> Any:
    from retone.training.data.opening import open_corpora

    return open_corpora(args.corpus, rate, args.cache, args.kind, need=(args.split,))[args.split]


def _strategies(args: argparse.Namespace) -> str:
    from retone.lab.evaluate.methods import Input
    from retone.lab.evaluate.strategies import facts, runs, text
    from retone.lab.evaluate.synthetic import evaluate
    from retone.metrics import STYLE_METRICS
    from retone.terminal import progress_bar
    from retone.training.data.pairs import PairMaker
    from retone.training.provenance import provenance

    methods = runs(args.runs)
    rows: list[Any] = [Input(), *methods]
    metrics = [m for m in STYLE_METRICS if not (args.no_pesq and m.name == "pesq")]
    results = []
    for rate in args.rates:
        path = args.output and args.output.with_name(f"{args.output.stem}_{rate}.json")
        maker = PairMaker(sample_rate=rate, length=round(args.seconds * rate), min_mean_square=1e-5)
        with progress_bar(f"at {rate} Hz") as progress:
            results.append(
                evaluate(
                    _corpus(args, rate),
                    maker,
                    rows,
                    pairs=args.pairs,
                    seed=args.seed,
                    path=path,
                    metrics=metrics,
                    workers=args.workers,
                    progress=progress,
                    made_from=provenance,
                    cases=("same source",),
                    about={"strategies": {m.name: facts(m) for m in methods}},
                )
            )
    return text(results)


def _gradients(args: argparse.Namespace) -> str:
    from dataclasses import replace

    from retone.lab.evaluate import gradients
    from retone.terminal import progress_bar
    from retone.training.gradients import NeuralProxy, Spsa
    from retone.training.recipes.strategies import COMPACT, strategies
    from retone.training.recipes.table import recipe_named

    recipe = recipe_named(args.recipe)
    recipe = replace(recipe, pairs=replace(recipe.pairs, length=args.length))
    known = strategies(recipe.effect, compact=args.recipe.startswith("compact"))  # type: ignore[arg-type]
    words = ("exact", "frequency_sampled", "spsa", "spsa_improved")
    chosen: list[Any] = [known[w] for w in words]
    chosen.append(Spsa("spsa, 32 directions", directions=32))
    if args.proxies:
        files = tuple(str(f) for f in args.proxies)
        chosen += [NeuralProxy(mode, files, COMPACT) for mode in ("np", "np-fh")]
    corpus = _corpus(args, recipe.pairs.sample_rate)
    parts = []
    for place in gradients.PLACES:
        with progress_bar(place) as progress:
            found = gradients.measure(
                recipe, chosen, corpus, items=args.pairs, place=place, seed=args.seed,
                progress=progress,
            )  # fmt: skip
        parts.append(gradients.text(place, found))
    if args.descend > 0:
        from retone.lab.evaluate import descent

        with progress_bar() as progress:
            ends = descent.descend(
                recipe, chosen, corpus, items=args.pairs, seconds=args.descend, seed=args.seed,
                progress=progress,
            )  # fmt: skip
        parts.append(descent.text(ends, args.descend))
    return "\n\n".join(parts)


def _proxy(args: argparse.Namespace) -> str:
    from retone.errors import DataError
    from retone.lab.evaluate import proxy
    from retone.nets import checkpoint
    from retone.terminal import progress_bar

    _, header = checkpoint.read(args.weights)
    rate = header.get("recipe", {}).get("pairs", {}).get("sample_rate")
    if not isinstance(rate, int):
        raise DataError(f"{args.weights} is no proxy: expected weights of a proxy_ recipe.")
    with progress_bar() as progress:
        found = proxy.measure(
            args.weights, _corpus(args, rate), items=args.pairs, seed=args.seed, progress=progress
        )
    return proxy.text(found)
