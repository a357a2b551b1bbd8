"""Train a recipe: `retone train compact_speech --corpus debian-speech=FOLDER --run runs/speech`.

The run folder holds the recipe, a log and the weights; the same command goes on with a run that
was interrupted. Several processes: `torchrun --nproc-per-node 2 -m retone train ...`.
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
        help="a corpus and where it lies (repeatable); 'retone corpus list' names them",
    )
    parser.add_argument("--cache", type=Path, metavar="DIR", help="where resampled audio is kept")
    parser.add_argument("--run", dest="folder", type=Path, metavar="DIR", help="run folder")
    parser.add_argument(
        "--set", action="append", default=[], metavar="PATH=VALUE", help="change a recipe's field"
    )
    parser.add_argument(
        "--plugin", metavar="SOURCE", help="PATH.vst3 or FILE.py:NAME, for the plugin_ recipes"
    )
    parser.add_argument(
        "--plugin-set", action="append", default=[], metavar="NAME=VALUE",
        help="hold a switch or a parameter of the plug-in (repeatable)",
    )  # fmt: skip
    parser.add_argument("--device", default="cpu", help="cpu, cuda or a torch device name")
    parser.add_argument("--threads", type=int, default=None, help="threads for mathematics")
    parser.add_argument("--workers", type=int, default=1, help="processes that make pairs")
    parser.add_argument("--warm-start", type=Path, metavar="WEIGHTS", help="begin from weights")
    parser.add_argument("--stop-after", type=float, metavar="MINUTES", help="save and stop then")
    parser.add_argument(
        "--cpu-minutes",
        type=float,
        metavar="MINUTES",
        help="save and stop once the run has used so much CPU time (with --workers 0)",
    )


def run(args: argparse.Namespace) -> int:
    import torch

    from retone.cli.corpus import open_corpora
    from retone.cli.progress import progress_bar
    from retone.errors import SettingError
    from retone.recipes.config import fingerprint, override
    from retone.recipes.frames import FRAME_RECIPES
    from retone.recipes.table import PLUGIN_RECIPES, RECIPES, recipe_named
    from retone.train import train

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
    recipe = override(recipe_named(args.recipe, plugin), args.set)
    if not args.corpus:
        raise SettingError(f"train {recipe.name}: name a corpus, --corpus NAME=FOLDER.")
    if args.threads:
        torch.set_num_threads(args.threads)
    folder = args.folder or Path("runs") / f"{recipe.name}-{fingerprint(recipe)}"
    corpora = open_corpora(args.corpus, recipe.pairs.sample_rate, args.cache, recipe.kind)
    print(f"run folder {folder}", flush=True)
    with progress_bar("train", "step") as progress:
        best = train(
            recipe,
            corpora,
            folder,
            device=args.device,
            workers=args.workers,
            warm_start=args.warm_start,
            stop_after_s=args.stop_after * 60 if args.stop_after else None,
            stop_at_cpu_s=args.cpu_minutes * 60 if args.cpu_minutes else None,
            report=lambda row: _say(_line(row)),
            progress=progress,
        )
    if best.is_file():
        print(f"best weights {best}")
    else:
        print("stopped before the first validation; the same command goes on")
    return 0


def _run_frames(args: argparse.Namespace) -> int:
    """A recipe of frames: it renders no effect, so it has a loop of its own."""
    import torch

    from retone.cli.corpus import open_corpora
    from retone.errors import SettingError
    from retone.recipes.config import fingerprint, override
    from retone.recipes.frames import FRAME_RECIPES
    from retone.train_frames import train_frames

    recipe = override(FRAME_RECIPES[args.recipe](), args.set)
    if not args.corpus:
        raise SettingError(f"train {recipe.name}: name a corpus, --corpus NAME=FOLDER.")
    if args.threads:
        torch.set_num_threads(args.threads)
    folder = args.folder or Path("runs") / f"{recipe.name}-{fingerprint(recipe)}"
    corpora = open_corpora(args.corpus, recipe.scenes.sample_rate, args.cache, recipe.kind)
    print(f"run folder {folder}", flush=True)
    best = train_frames(
        recipe,
        corpora,
        folder,
        warm_start=args.warm_start,
        stop_after_s=args.stop_after * 60 if args.stop_after else None,
        report=lambda row: _say(_line(row)),
    )
    if best.is_file():
        print(f"best weights {best}")
    else:
        print("stopped before the first validation; the same command goes on")
    return 0


def _line(row: dict[str, Any]) -> str:
    """A log row for people."""
    if "note" in row:
        return f"note: {row['note']}"
    if "validation" in row:
        scores = "  ".join(f"{k} {v:.4g}" for k, v in row["validation"].items())
        return f"step {row['step']:>7}  validation  {scores}"
    line = f"step {row['step']:>7}  loss {row['loss']:.4f}  {row['examples_per_s']:.1f} examples/s"
    return line + (f"  {row['eta_s'] / 3600:.1f} h left" if "eta_s" in row else "")


def _say(line: str) -> None:
    """Print above the bar where there is one."""
    if sys.stderr.isatty():
        from tqdm import tqdm

        tqdm.write(line, file=sys.stdout)
        sys.stdout.flush()
    else:
        print(line, flush=True)
