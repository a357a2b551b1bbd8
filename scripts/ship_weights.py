"""Turn runs' best weights into the file that ships: 8 bits per weight, without the optimiser.

python scripts/ship_weights.py RUN/best.safetensors [OTHER/best.safetensors ...] \
    src/retone/weights/style_speech.safetensors

For several runs, each with a warm start from the previous one, the mean of their weights is used;
the recipe is that of the last run.
"""

from __future__ import annotations

import sys
from pathlib import Path

import torch

from retone.nets import checkpoint


def mean_of(runs: list[dict[str, torch.Tensor]]) -> dict[str, torch.Tensor]:
    """Mean of every weight over runs of one network; integers are those of the last run."""
    mean = dict(runs[-1])
    for name, last in mean.items():
        if last.is_floating_point():
            mean[name] = torch.stack([run[name].double() for run in runs]).mean(0).to(last.dtype)
    return mean


def main(sources: list[Path], target: Path) -> None:
    read = [checkpoint.read(source) for source in sources]
    header = read[-1][1]
    for path, (_, other) in zip(sources, read, strict=True):
        if other["recipe"]["network"] != header["recipe"]["network"]:
            raise SystemExit(f"{path} is of another network than {sources[-1]}")
    mean = mean_of([tensors for tensors, _ in read])
    model = checkpoint.quantised({n: t for n, t in mean.items() if n.startswith("model.")})
    state = header["state"]
    checkpoint.write(target, model, {"recipe": header["recipe"], "state": state})
    size = target.stat().st_size / 1e6
    count = sum(t.numel() for t in model.values())
    print(f"{target}: {count / 1e6:.2f} M numbers, {size:.1f} MB, {state}")


if __name__ == "__main__":
    main([Path(p) for p in sys.argv[1:-1]], Path(sys.argv[-1]))
