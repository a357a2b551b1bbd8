"""Turn runs' best weights into the file that ships, without the optimiser.

python scripts/ship_weights.py RUN/best.safetensors [OTHER/best.safetensors ...] \
    src/retone/weights/style_speech.safetensors

For several runs, each with a warm start from the previous one, the mean of their weights is used;
the recipe is that of the last run. Weights take 8 bits each, or with ``--scenes`` about 3.5 once
they are compressed as in a wheel (``retone.training.rounding``). ``--scenes`` names the folder
``scenes`` of a run with the same front end, and only reads it.
"""

from __future__ import annotations

import argparse
import shutil
import tempfile
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import torch

from retone.estimators.loading import network_config
from retone.nets import checkpoint
from retone.training import rounding
from retone.training.scene_pool import ScenePool


def mean_of(runs: list[dict[str, torch.Tensor]]) -> dict[str, torch.Tensor]:
    """Mean of every weight over runs of one network; integers are those of the last run."""
    mean = dict(runs[-1])
    for name, last in mean.items():
        if last.is_floating_point():
            mean[name] = torch.stack([run[name].double() for run in runs]).mean(0).to(last.dtype)
    return mean


def rounded(
    tensors: dict[str, torch.Tensor], recipe: dict[str, Any], args: argparse.Namespace
) -> dict[str, torch.Tensor]:
    """The tensors with as few bits as ``args.noise`` allows."""
    torch.manual_seed(1)
    network = network_config(recipe["network"], str(args.target)).build()
    checkpoint.load_module(network, checkpoint.network_tensors(tensors), args.target)
    network.eval()
    length = recipe.get("scenes", recipe.get("pairs"))["length"]
    with tempfile.TemporaryDirectory() as folder:  # a pool opens its files for writing
        copy = Path(shutil.copytree(args.scenes, Path(folder) / "scenes"))
        size = np.load(copy / "frames.npy", mmap_mode="r").shape[0]
        pool = ScenePool(copy, size, network.config.front_end, length)
        pairs = rounding.scene_pairs(pool, args.batches)
        layers = rounding.measure_layers(network, pairs, args.probed)
    return rounding.packed(tensors, layers, args.noise)


def main(args: argparse.Namespace) -> None:
    read = [checkpoint.read(source) for source in args.source]
    header = read[-1][1]
    for path, (_, other) in zip(args.source, read, strict=True):
        if other["recipe"]["network"] != header["recipe"]["network"]:
            raise SystemExit(f"{path} is of another network than {args.source[-1]}")
    mean = mean_of([tensors for tensors, _ in read])
    model = {n: t for n, t in mean.items() if n.startswith("model.")}
    count = sum(t.numel() for t in model.values())
    kept = rounded(model, header["recipe"], args) if args.scenes else checkpoint.quantised(model)
    state = header["state"]
    checkpoint.write(args.target, kept, {"recipe": header["recipe"], "state": state})
    data = args.target.read_bytes()
    wheel = len(zlib.compress(data)) / 1e6
    print(f"{args.target}: {count / 1e6:.2f} M numbers, {len(data) / 1e6:.1f} MB, "
          f"{wheel:.2f} MB in a wheel, {state}")  # fmt: skip


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("source", type=Path, nargs="+")
    parser.add_argument("target", type=Path)
    parser.add_argument("--scenes", type=Path, help="folder 'scenes' of a run")
    parser.add_argument("--noise", type=float, default=2.5e-4, help="see rounding.rounded")
    parser.add_argument("--batches", type=int, default=150, help="of 16 pairs, for the inputs")
    parser.add_argument("--probed", type=int, default=40, help="of these, for the effects")
    main(parser.parse_args())
