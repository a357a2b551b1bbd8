"""A recipe whose steps take milliseconds; also imported by the processes that tests start."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

from retone.losses import L1, MultiResolutionSTFT, WeightedSum
from retone.nets import checkpoint
from retone.nets.frontend import FrontEndConfig
from retone.nets.iterative import IterativeNetConfig
from retone.training.data.corpora import open_corpus
from retone.training.recipes.compact import compact_smoke
from retone.training.recipes.recipe import Recipe

SAMPLE_RATE = 24000


def tiny_recipe(**changes: Any) -> Recipe:
    """Eight steps of two short pairs through a narrow network and the whole effect chain."""
    smoke = compact_smoke()
    recipe = replace(
        smoke,
        name="tiny",
        pairs=replace(smoke.pairs, length=12288),
        network=IterativeNetConfig(
            outputs=smoke.network.outputs,
            front_end=FrontEndConfig(sample_rate=SAMPLE_RATE, window=1024, hop=512, mels=24),
            content=12,
            key=8,
            trunk=16,
            hidden=24,
            initial=smoke.network.initial,
            passes=2,
        ),
        loss=WeightedSum((MultiResolutionSTFT((128, 512)), L1()), (1.0, 25.0)),
        optimizer=replace(smoke.optimizer, learning_rate=3e-3, warmup_steps=2),
        batch_size=2,
        steps=8,
        validation_pairs=2,
        validate_every=4,
    )
    return replace(recipe, **changes)


def open_splits(folder: Path, cache: Path) -> dict[str, Any]:
    corpus = open_corpus("folder", folder, sample_rate=SAMPLE_RATE, cache=cache)
    return {name: corpus.split(name) for name in ("train", "val", "test")}


def log_rows(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (folder / "log.jsonl").read_text().splitlines()]


def contents(folder: Path) -> dict[str, bytes]:
    """Every file of a folder, by path."""
    return {str(p.relative_to(folder)): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


def losses(folder: Path) -> list[tuple[int, float]]:
    """(step, training loss) of a run."""
    return [(r["step"], r["loss"]) for r in log_rows(folder) if "loss" in r]


def validations(folder: Path) -> list[tuple[int, dict[str, float]]]:
    return [(r["step"], r["validation"]) for r in log_rows(folder) if "validation" in r]


def weights(folder: Path, name: str = "last.safetensors") -> dict[str, bytes]:
    """Every tensor of a state, weights and optimiser's, as bytes."""
    tensors, _ = checkpoint.read(folder / name)
    return {n: t.numpy().tobytes() for n, t in tensors.items()}
