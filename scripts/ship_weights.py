"""Turn a run's best weights into the file that ships: 8 bits a number, without the optimiser.

python scripts/ship_weights.py RUN/best.safetensors src/retone/weights/style_speech.safetensors
"""

from __future__ import annotations

import sys
from pathlib import Path

from retone import checkpoint


def main(source: Path, target: Path) -> None:
    tensors, header = checkpoint.read(source)
    model = checkpoint.in_bytes({n: t for n, t in tensors.items() if n.startswith("model.")})
    state = header["state"]
    checkpoint.write(target, model, {"recipe": header["recipe"], "state": state})
    size = target.stat().st_size / 1e6
    count = sum(t.numel() for t in model.values())
    print(f"{target}: {count / 1e6:.2f} M numbers, {size:.1f} MB, {state}")


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
