"""Train a network: `retone train compact_speech --corpus debian-speech=FOLDER --run runs/speech`.

The run folder holds the recipe, a log and the weights; the same command resumes an interrupted
run. Several processes: `torchrun --nproc-per-node 2 -m retone train ... --folder runs/speech`
(torchrun takes --run for one of its own options).
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("recipe", metavar="RECIPE", help="a recipe's name, or 'list'")
    parser.add_argument(
        "--corpus",
        action="append",
        default=[],
        metavar="NAME=FOLDER",
        help="a corpus and its folder (repeatable); 'retone corpus list' names them",
    )
    parser.add_argument(
        "--shards", metavar="URL",
        help="train from shards that 'retone corpus index' has indexed: a path, s3://..., ...",
    )  # fmt: skip
    parser.add_argument(
        "--shard-cache-gb", type=float, default=20.0, metavar="GB",
        help="most disk space for shards, per machine (default: %(default)s)",
    )  # fmt: skip
    parser.add_argument(
        "--cache", type=Path, metavar="DIR", help="cache directory for resampled audio"
    )
    parser.add_argument(
        "--run",
        "--folder",
        dest="folder",
        type=Path,
        metavar="DIR",
        help="run folder (default: runs/RECIPE-...)",
    )
    parser.add_argument(
        "--set",
        action="append",
        default=[],
        metavar="PATH=VALUE",
        help="change a field of the recipe (repeatable)",
    )
    parser.add_argument(
        "--plugin", metavar="SOURCE", help="PATH.vst3 or FILE.py:NAME, for the plugin_ recipes"
    )
    parser.add_argument(
        "--plugin-set", action="append", default=[], metavar="NAME=VALUE",
        help="fix a switch or parameter of the plug-in (repeatable)",
    )  # fmt: skip
    parser.add_argument(
        "--device", default="cpu", help="cpu, cuda or a torch device name (default: cpu)"
    )
    parser.add_argument("--threads", type=int, default=None, help="CPU threads for torch")
    parser.add_argument(
        "--workers", type=int, default=1, help="processes that prepare training pairs (default: 1)"
    )
    parser.add_argument("--warm-start", type=Path, metavar="WEIGHTS", help="initial weights")
    parser.add_argument(
        "--stop-after", type=float, metavar="MINUTES", help="stop after this time, saving the state"
    )
    parser.add_argument(
        "--minutes",
        type=float,
        metavar="N",
        help="length of the run in minutes instead of the recipe's steps (frames_ recipes only)",
    )
    parser.add_argument(
        "--cpu-minutes",
        type=float,
        metavar="MINUTES",
        help="stop after this CPU time, saving the state (with --workers 0)",
    )


def run(args: argparse.Namespace) -> int:
    from retone.errors import SettingError
    from retone.terminal import progress_bar
    from retone.training.loop import train
    from retone.training.recipes.frames import FRAME_RECIPES
    from retone.training.recipes.record import override
    from retone.training.recipes.table import PLUGIN_RECIPES, RECIPES, recipe_named

    if args.recipe == "list":
        every: dict[str, Any] = {**RECIPES, **FRAME_RECIPES, **PLUGIN_RECIPES}
        for name, make in every.items():
            print(f"{name:32} {(make.__doc__ or '').strip().splitlines()[0]}")
        return 0
    if args.recipe in FRAME_RECIPES:
        return _run_frames(args)
    plugin = None
    if args.plugin:
        from retone.cli.match import opened_plugin

        plugin = opened_plugin(args, on_failure="skip")
    if args.minutes:
        raise SettingError(
            f"train {args.recipe}: --minutes is for the frames_ recipes. Use --set steps=N, or "
            "--stop-after to stop early."
        )
    recipe = override(recipe_named(args.recipe, plugin), args.set)
    folder, corpora = _opened(args, recipe, recipe.pairs.sample_rate)
    with progress_bar() as progress:
        best = train(
            recipe,
            corpora,
            folder,
            device=args.device,
            workers=args.workers,
            warm_start=args.warm_start,
            stop_after_s=args.stop_after * 60 if args.stop_after else None,
            stop_at_cpu_s=args.cpu_minutes * 60 if args.cpu_minutes else None,
            report=lambda row: progress.print(_line(row)),
            progress=progress,
        )
    return _print_best(best)


def _run_frames(args: argparse.Namespace) -> int:
    """Run a recipe that predicts frames: no effect is rendered, so it has its own loop."""
    from retone.errors import SettingError
    from retone.terminal import progress_bar
    from retone.training.frames_loop import train_frames
    from retone.training.recipes.frames import FRAME_RECIPES
    from retone.training.recipes.record import override

    if args.cpu_minutes:
        raise SettingError(f"train {args.recipe}: --cpu-minutes is not supported. Leave it out.")
    if args.plugin or args.plugin_set:
        raise SettingError(f"train {args.recipe}: it sets no plug-in. Leave out --plugin.")
    recipe = override(FRAME_RECIPES[args.recipe](), args.set)
    folder, corpora = _opened(args, recipe, recipe.scenes.sample_rate)
    with progress_bar() as progress:
        best = train_frames(
            recipe,
            corpora,
            folder,
            device=args.device,
            workers=args.workers,
            budget_s=args.minutes * 60 if args.minutes else None,
            warm_start=args.warm_start,
            stop_after_s=args.stop_after * 60 if args.stop_after else None,
            report=lambda row: progress.print(_line(row)),
            progress=progress,
        )
    return _print_best(best)


def _opened(args: argparse.Namespace, recipe: Any, sample_rate: int) -> tuple[Path, dict[str, Any]]:
    """The run folder and the corpora's splits."""
    import torch

    from retone.errors import SettingError
    from retone.files.atomic import protect
    from retone.training.data.splits import named_folders, open_splits
    from retone.training.recipes.record import fingerprint

    if not args.corpus and not args.shards:
        raise SettingError(f"train {recipe.name}: name a corpus, --corpus NAME=FOLDER.")
    if args.threads:
        torch.set_num_threads(args.threads)
    folder = args.folder or Path("runs") / f"{recipe.name}-{fingerprint(recipe)}"
    if args.warm_start:
        written = [folder / "best.safetensors", folder / "last.safetensors"]
        protect({args.warm_start: "the initial weights"}, written)
    if args.shards:
        corpora = _streamed(args, recipe, sample_rate)
    else:
        corpora = open_splits(
            named_folders(args.corpus),
            sample_rate=sample_rate,
            cache=args.cache,
            kind=recipe.kind,
            progress=lambda line: print(line, file=sys.stderr),
        )
    print(f"run folder {folder}", flush=True)
    return folder, corpora


def _streamed(args: argparse.Namespace, recipe: Any, sample_rate: int) -> dict[str, Any]:
    """The splits of shards."""
    from retone.errors import SettingError
    from retone.training.data.shards import open_shards
    from retone.training.data.splits import default_cache

    if args.corpus:
        raise SettingError("--shards and --corpus: choose one of them.")
    cache = (args.cache or default_cache()) / "shards"
    splits = open_shards(
        args.shards, cache=cache, max_bytes=round(args.shard_cache_gb * 1e9), kind=recipe.kind,
        seed=recipe.seed,
    )  # fmt: skip
    for name in ("train", "val"):
        found = splits[name]
        if not found.tracks:
            raise SettingError(f"--shards {args.shards}: no speaker in its {name} split.")
        if found.sample_rate != sample_rate:
            raise SettingError(
                f"--shards {args.shards}: indexed for {found.sample_rate} Hz, {recipe.name} needs "
                f"{sample_rate} Hz. Index them again at that rate."
            )
    return dict(splits)


def _print_best(best: Path) -> int:
    if best.is_file():
        print(f"best weights {best}")
    else:
        print("stopped before the first validation; run the same command again to resume")
    return 0


def _line(row: dict[str, Any]) -> str:
    """A log row as one line of text."""
    if "note" in row:
        return f"note: {row['note']}"
    if "validation" in row:
        scores = "  ".join(f"{k} {v:.4g}" for k, v in row["validation"].items())
        return f"step {row['step']:>7}  validation  {scores}"
    return (
        f"step {row['step']:>7}  loss {row['loss']:.4f}  {row['examples_per_s']:.1f} examples/s  "
        f"{row['eta_s'] / 3600:.1f} h left"
    )
