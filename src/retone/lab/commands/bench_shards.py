"""``bench shards``: memory and disk of a training from more than the disk holds."""

from __future__ import annotations

import argparse
from pathlib import Path

from retone.lab.commands.corpora import add_number
from retone.lab.commands.verbs import Verb


def _add_shards(parser: argparse.ArgumentParser) -> None:
    for option, default, what in (
        ("--gigabytes", 200, "size of the simulated corpus"),
        ("--shard-megabytes", 500, "size of a shard"),
        ("--cache-gigabytes", 3, "limit of the cache"),
        ("--windows", 6, "windows of pairs, each from four shards"),
        ("--pairs", 32, "pairs made in each window"),
        ("--steps", 2, "training steps after that"),
    ):
        add_number(parser, option, default, what)
    parser.add_argument("--output", type=Path, metavar="JSON", help="file for the record")


def _shards(args: argparse.Namespace) -> int:
    import json
    import sys
    import tempfile

    from retone.files.atomic import write_text_atomic
    from retone.lab.bench.shards import RECIPE, Plan, measure_shards, text
    from retone.training.recipes.table import recipe_named

    sizes = round(args.gigabytes * 1e9), round(args.shard_megabytes * 1e6)
    plan = Plan(*sizes, sample_rate=recipe_named(RECIPE).pairs.sample_rate)
    with tempfile.TemporaryDirectory(prefix="retone-shards-") as folder:
        found = measure_shards(
            plan, Path(folder), cache_bytes=round(args.cache_gigabytes * 1e9),
            windows=args.windows, pairs=args.pairs, steps=args.steps,
            say=lambda line: print(line, file=sys.stderr, flush=True),
        )  # fmt: skip
    print(text(found))
    if args.output:
        write_text_atomic(args.output, json.dumps(found, indent=1) + "\n", force=True)
    return 0


VERBS = (Verb("shards", "a corpus larger than the disk: memory and cache", _add_shards, _shards),)
