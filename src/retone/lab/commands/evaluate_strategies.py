"""``evaluate strategies``, ``gradients`` and ``proxy``: differentiation strategies."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path
from typing import Any

from retone.lab.commands.corpora import (
    add_corpus,
    add_output,
    add_seed,
    add_workers,
    corpus_of,
)
from retone.lab.commands.verbs import Verb


def _add_strategies(strategies: argparse.ArgumentParser) -> None:
    strategies.add_argument(
        "runs", nargs="+", metavar="RUN",
        help="run folders; NAME=RUN names a row, so that two runs of one strategy can be compared",
    )  # fmt: skip
    strategies.add_argument(
        "--best", action="store_true",
        help="render with the best weights of each run (default: its last ones)",
    )  # fmt: skip
    _common(strategies, pairs=100)
    strategies.add_argument(
        "--rates", type=int, nargs="+", required=True, metavar="HZ",
        help="sample rates, such as 24000 44100",
    )  # fmt: skip
    strategies.add_argument(
        "--seconds", type=float, default=5.5, help="length of a clip (default: %(default)s)"
    )
    strategies.add_argument("--no-pesq", action="store_true", help="leave out the slowest column")
    add_workers(strategies)


def _add_gradients(gradients: argparse.ArgumentParser) -> None:
    _common(gradients, pairs=32)
    gradients.add_argument(
        "--recipe", default="compact_exact_speech",
        help="recipe with loss, effect and pairs (default: %(default)s)",
    )  # fmt: skip
    gradients.add_argument(
        "--length", type=int, default=49152, help="samples per clip (default: %(default)s)"
    )
    gradients.add_argument(
        "--proxies", nargs="+", type=Path, metavar="FILE",
        help="weights of a proxy for each effect of the chain; adds the rows of proxies",
    )  # fmt: skip
    gradients.add_argument(
        "--descend", type=float, default=0.0, metavar="S",
        help="also descend along each gradient for S seconds of CPU time per pair",
    )  # fmt: skip


def _add_proxy(proxy: argparse.ArgumentParser) -> None:
    proxy.add_argument("weights", type=Path, help="best.safetensors of a proxy_ recipe")
    _common(proxy, pairs=200)


def _common(parser: argparse.ArgumentParser, *, pairs: int) -> None:
    add_corpus(parser)
    parser.add_argument(
        "--pairs", type=int, default=pairs, help="number of pairs (default: %(default)s)"
    )
    add_seed(parser, 42)
    add_output(parser)


def _printed(measure: Callable[[argparse.Namespace], str]) -> Callable[[argparse.Namespace], int]:
    def run(args: argparse.Namespace) -> int:
        print(measure(args))
        return 0

    return run


def _strategies(args: argparse.Namespace) -> str:
    from retone.lab.evaluate.methods import Input
    from retone.lab.evaluate.strategies import facts, runs, text
    from retone.lab.evaluate.synthetic import evaluate
    from retone.metrics import STYLE_METRICS
    from retone.terminal import progress_bar
    from retone.training.data.pairs import PairMaker
    from retone.training.provenance import provenance
    from retone.training.state import BEST, LAST

    named = [text.partition("=") if "=" in text else ("", "", text) for text in args.runs]
    methods = runs(
        [Path(f) for *_, f in named], [n for n, *_ in named], BEST if args.best else LAST
    )
    rows: list[Any] = [Input(), *methods]
    metrics = [m for m in STYLE_METRICS if not (args.no_pesq and m.name == "pesq")]
    results = []
    for rate in args.rates:
        path = args.output and args.output.with_name(f"{args.output.stem}_{rate}.json")
        maker = PairMaker(sample_rate=rate, length=round(args.seconds * rate), min_mean_square=1e-5)
        with progress_bar(f"at {rate} Hz") as progress:
            results.append(
                evaluate(
                    corpus_of(args, rate),
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
    names = ("exact", "frequency_sampled", "spsa", "spsa_improved")
    chosen: list[Any] = [known[name] for name in names]
    chosen.append(Spsa("spsa, 32 directions", directions=32))
    if args.proxies:
        files = tuple(str(f) for f in args.proxies)
        chosen += [NeuralProxy(mode, files, COMPACT) for mode in ("np", "np_fh")]
    corpus = corpus_of(args, recipe.pairs.sample_rate)
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
            args.weights, corpus_of(args, rate), items=args.pairs, seed=args.seed, progress=progress
        )
    return proxy.text(found)


VERBS = (
    Verb(
        "strategies", "compare run folders of training strategies: contracts, budgets, errors",
        _add_strategies, _printed(_strategies),
    ),
    Verb(
        "gradients", "compare each strategy's gradient with the exact one, and its cost",
        _add_gradients, _printed(_gradients),
    ),
    Verb("proxy", "measure a proxy's error in dB", _add_proxy, _printed(_proxy)),
)  # fmt: skip
