"""``evaluate strategies``, ``gradients`` and ``proxy``: differentiation strategies."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path
from typing import Any

from retone.lab.commands.corpora import (
    add_corpus,
    add_number,
    add_output,
    add_seed,
    add_workers,
    corpus_of,
)
from retone.lab.commands.verbs import Verb

STRATEGIES = (
    "exact", "frequency_sampled", "spsa", "spsa_improved", "np", "np_fh", "ctcn1", "ctcn2",
)  # fmt: skip
"""Strategies that are trained; np_hh is np with the effect at inference."""


def _add_strategies(strategies: argparse.ArgumentParser) -> None:
    strategies.add_argument(
        "runs", nargs="+", metavar="RUN",
        help="run folders; NAME=RUN names a row, so that two runs of one strategy can be compared",
    )  # fmt: skip
    strategies.add_argument(
        "--best", action="store_true",
        help="render with the best weights of each run (default: its last ones)",
    )  # fmt: skip
    _add_measuring(strategies, pairs=100, seconds=5.5)


def _add_equal_budgets(budgets: argparse.ArgumentParser) -> None:
    budgets.add_argument(
        "--train", action="append", required=True, metavar="NAME=FOLDER",
        help="a corpus to train on, and its folder (repeatable)",
    )  # fmt: skip
    budgets.add_argument(
        "--runs", type=Path, required=True, metavar="DIR", help="folder for the run folders"
    )
    add_number(budgets, "--cpu-minutes", 1.0, "CPU time of each training", "N")
    proxies = "CPU time of each proxy, not counted; 0 leaves np, np_hh and np_fh out"
    add_number(budgets, "--proxy-minutes", 0.0, proxies, "N")
    budgets.add_argument(
        "--strategies", nargs="+", default=list(STRATEGIES), choices=STRATEGIES,
        metavar="NAME", help="strategies to train (default: all)",
    )  # fmt: skip
    _add_measuring(budgets, pairs=16, seconds=4.0)


def _add_gradients(gradients: argparse.ArgumentParser) -> None:
    _common(gradients, pairs=32)
    gradients.add_argument(
        "--recipe", default="compact_exact_speech",
        help="recipe with loss, effect and pairs (default: %(default)s)",
    )  # fmt: skip
    add_number(gradients, "--length", 49152, "samples per clip")
    gradients.add_argument(
        "--proxies", nargs="+", type=Path, metavar="FILE",
        help="weights of a proxy for each effect of the chain; adds the rows of proxies",
    )  # fmt: skip
    descend = "also descend along each gradient for S seconds of CPU time per pair"
    add_number(gradients, "--descend", 0.0, descend, "S")


def _add_proxy(proxy: argparse.ArgumentParser) -> None:
    proxy.add_argument("weights", type=Path, help="best.safetensors of a proxy_ recipe")
    _common(proxy, pairs=200)


def _common(parser: argparse.ArgumentParser, *, pairs: int) -> None:
    add_corpus(parser)
    add_number(parser, "--pairs", pairs, "number of pairs")
    add_seed(parser, 42)
    add_output(parser)


def _add_measuring(parser: argparse.ArgumentParser, *, pairs: int, seconds: float) -> None:
    _common(parser, pairs=pairs)
    parser.add_argument(
        "--rates", type=int, nargs="+", required=True, metavar="HZ",
        help="sample rates, such as 24000 44100",
    )  # fmt: skip
    add_number(parser, "--seconds", seconds, "length of a clip")
    parser.add_argument("--no-pesq", action="store_true", help="leave out the slowest column")
    add_workers(parser)


def _printed(measure: Callable[[argparse.Namespace], str]) -> Callable[[argparse.Namespace], int]:
    def run(args: argparse.Namespace) -> int:
        print(measure(args))
        return 0

    return run


def _strategies(args: argparse.Namespace) -> str:
    from retone.lab.evaluate.strategies import runs, text
    from retone.training.state import BEST, LAST

    named = [text.partition("=") if "=" in text else ("", "", text) for text in args.runs]
    folders, names = [Path(f) for *_, f in named], [n for n, *_ in named]
    return text(_measured(args, runs(folders, names, BEST if args.best else LAST), {}))


def _equal_budgets(args: argparse.Namespace) -> str:
    import sys

    from retone.lab.evaluate import equal_budgets
    from retone.lab.evaluate.strategies import runs
    from retone.training.data.splits import named_folders, open_splits
    from retone.training.provenance import commit

    commit()  # as it is now

    def say(line: str) -> None:
        print(line, file=sys.stderr, flush=True)

    recipe = equal_budgets.recipe_of("exact")
    corpora = open_splits(
        named_folders(args.train), sample_rate=recipe.pairs.sample_rate, cache=args.cache,
        kind="speech",
    )  # fmt: skip
    folders, left_out = equal_budgets.train_all(
        corpora, args.runs, args.strategies, cpu_minutes=args.cpu_minutes,
        proxy_minutes=args.proxy_minutes, say=say,
    )  # fmt: skip
    about = {
        "trained_on": corpora["train"].name, "training_corpus_sha256": corpora["train"].sha256,
        "left_out": left_out,
    }  # fmt: skip
    return equal_budgets.strategies_text(_measured(args, runs(folders), about))


def _strategies_docs(args: argparse.Namespace) -> str:
    from retone.files.atomic import write_text_atomic
    from retone.lab.commands.verbs import docs_folder
    from retone.lab.evaluate.equal_budgets import strategies_page

    docs = docs_folder()
    page = docs / "strategies.md"
    text = strategies_page(page.read_text(encoding="utf-8"), docs / "results")
    write_text_atomic(page, text, force=True)
    return str(page)


def _measured(args: argparse.Namespace, methods: list[Any], about: dict[str, Any]) -> list[Any]:
    """One result for each sample rate."""
    from retone.lab.evaluate.methods import Input
    from retone.lab.evaluate.strategies import facts
    from retone.lab.evaluate.synthetic import evaluate
    from retone.metrics import STYLE_METRICS
    from retone.terminal import progress_bar
    from retone.training.data.pairs import PairMaker
    from retone.training.provenance import provenance

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
                    about={"strategies": {m.name: facts(m) for m in methods}, **about},
                )
            )
    return results


def _gradients(args: argparse.Namespace) -> str:
    from dataclasses import replace

    from retone.lab.evaluate import equal_budgets, gradients
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
    parts, measured = [], {}
    for place in gradients.PLACES:
        with progress_bar(place) as progress:
            found = gradients.measure(
                recipe, chosen, corpus, items=args.pairs, place=place, seed=args.seed,
                progress=progress,
            )  # fmt: skip
        parts.append(gradients.text(place, found))
        measured[place] = found
    ends: list[Any] = []
    if args.descend > 0:
        from retone.lab.evaluate import descent

        with progress_bar() as progress:
            ends = descent.descend(
                recipe, chosen, corpus, items=args.pairs, seconds=args.descend, seed=args.seed,
                progress=progress,
            )  # fmt: skip
        parts.append(descent.text(ends, args.descend))
    if args.output:
        question = {
            "what": "gradients", "recipe": args.recipe, "length": args.length,
            "corpus": corpus.name, "corpus_sha256": corpus.sha256, "pairs": args.pairs,
            "seed": args.seed, "descend_s": args.descend, "proxies": bool(args.proxies),
        }  # fmt: skip
        equal_budgets.save_gradients(args.output, question, measured, ends)
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
    Verb(
        "equal-budgets", "train every strategy for the same time, and measure all of them",
        _add_equal_budgets, _printed(_equal_budgets),
    ),
    Verb(
        "strategies-docs", "write the tables of docs/strategies.md (in a clone of the repository)",
        lambda parser: None, _printed(_strategies_docs),
    ),
    Verb("proxy", "measure a proxy's error in dB", _add_proxy, _printed(_proxy)),
)  # fmt: skip
