"""How far the predictions of two files of weights for one network are apart.

python scripts/compare_weights.py BEFORE.safetensors AFTER.safetensors --scenes RUN/validation \
    [-o docs/results/rounding.json]

For networks that predict frames: root mean square of the change and of the error before, in dB,
over values weighted as in training. For others: of the change of logits, and of their spread
between pairs. For both: of the change and the error of standardised statistics. An output file that
exists keeps what it says about other weights.
"""

from __future__ import annotations

import argparse
import json
import shutil
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import torch

from retone.estimators.loading import network_config
from retone.files.atomic import write_text_atomic
from retone.nets import checkpoint
from retone.nets.frames import DB, FrameNet
from retone.training import rounding
from retone.training.provenance import provenance
from retone.training.scene_pool import FramePair, ScenePool

BATCHES, SEED = 8, 9


def network_of(path: Path) -> tuple[Any, int]:
    """The network of a file, and the length of its training clips in samples."""
    tensors, header = checkpoint.read(path)
    recipe = header["recipe"]
    network = network_config(recipe["network"], str(path)).build()
    checkpoint.load_module(network, checkpoint.network_tensors(tensors), path)
    return network.eval(), recipe.get("scenes", recipe.get("pairs"))["length"]


def predictions(network: Any, pair: FramePair) -> tuple[torch.Tensor, torch.Tensor]:
    """Last frames in dB, or the first settings' logits; and expected statistics."""
    if isinstance(network, FrameNet):
        last = network.predict(pair.source, pair.reference)[-1]
        return DB * last.frames, last.expected.mean
    start = network.start.expand(len(pair.cross), -1)
    change, expected = network._revise(pair.source, pair.source, pair.reference, start)
    return start + change, expected.mean


@torch.no_grad()
def compared(before: Any, after: Any, pool: ScenePool) -> dict[str, float]:
    sums: dict[str, list[float]] = {}
    frames = isinstance(before, FrameNet)
    for pair in rounding.scene_pairs(pool, BATCHES, SEED):
        (old, stats), (new, new_stats) = (predictions(n, pair) for n in (before, after))
        weight = pair.target.weight if frames else torch.ones_like(old)
        known = DB * pair.target.frames if frames else old.mean(0)
        wanted = before.standardized(pair.target.summary)
        what = "frames_db" if frames else "logits"
        for name, miss, share in (
            (f"{what}_change", new - old, weight),
            (f"{what}_error" if frames else f"{what}_spread", known - old, weight),
            ("statistics_change", new_stats - stats, torch.ones_like(stats)),
            ("statistics_error", wanted - stats, torch.ones_like(stats)),
        ):
            sums.setdefault(name, []).append(float((miss.square() * share).sum() / share.sum()))
    return {name: float(np.sqrt(np.mean(values))) for name, values in sums.items()}


def main(args: argparse.Namespace) -> None:
    (before, length), (after, _) = network_of(args.before), network_of(args.after)
    with tempfile.TemporaryDirectory() as folder:  # a pool opens its files for writing
        copy = Path(shutil.copytree(args.scenes, Path(folder) / "scenes"))
        size = np.load(copy / "frames.npy", mmap_mode="r").shape[0]
        found = compared(before, after, ScenePool(copy, size, before.config.front_end, length))
    print(args.after.name, ", ".join(f"{k} {v:.4f}" for k, v in found.items()))
    if args.output:
        known = json.loads(args.output.read_text()) if args.output.exists() else {"networks": {}}
        known["networks"][args.after.stem] = found
        known["provenance"] = provenance()
        known["question"] = {"pairs": BATCHES * rounding.BATCH, "seed": SEED}
        write_text_atomic(args.output, json.dumps(known, indent=1) + "\n", force=True)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("before", type=Path)
    parser.add_argument("after", type=Path)
    parser.add_argument("--scenes", type=Path, required=True, help="a run's folder 'validation'")
    parser.add_argument("-o", "--output", type=Path, metavar="JSON")
    main(parser.parse_args())
