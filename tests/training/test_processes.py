"""Two processes with batch b are one process with batch 2 b."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from tiny import losses, tiny_recipe, validations

from retone.nets import checkpoint
from retone.training.loop import train

TOLERANCE = 1e-5
"""Relative; the processes' mean of means sums in another order, in float32."""

RUN = """
import sys
from pathlib import Path
import torch
torch.set_num_threads(1)
sys.path.insert(0, sys.argv[1])
from tiny import open_splits, tiny_recipe
from retone.training.loop import train

voices, cache, folder = map(Path, sys.argv[2:])
recipe = tiny_recipe(steps=4, batch_size=2, validation_pairs=2)
train(recipe, open_splits(voices, cache), folder, workers=0, log_every=1)
torch.distributed.destroy_process_group()
"""


@pytest.mark.skipif(not torch.distributed.is_available(), reason="torch without distributed")
def test_two_processes_equal_one_with_twice_the_batch(
    corpora: dict[str, Any], voices: Path, cache: Path, tmp_path: Path
) -> None:
    script = tmp_path / "run.py"
    script.write_text(RUN)
    command = [
        sys.executable, "-W", "ignore", "-m", "torch.distributed.run", "--standalone",
        "--nproc-per-node", "2", str(script), str(Path(__file__).parent),
        str(voices), str(cache), str(tmp_path / "two"),
    ]  # fmt: skip
    done = subprocess.run(command, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr[-3000:]
    recipe = tiny_recipe(steps=4, batch_size=4, validation_pairs=2)
    train(recipe, corpora, tmp_path / "one", workers=0, log_every=1)

    one, two = losses(tmp_path / "one"), losses(tmp_path / "two")
    assert [s for s, _ in two] == [s for s, _ in one] == [1, 2, 3, 4]
    assert [v for _, v in two] == pytest.approx([v for _, v in one], rel=TOLERANCE)
    (_, a), (_, b) = validations(tmp_path / "one")[-1], validations(tmp_path / "two")[-1]
    assert b == pytest.approx(a, rel=1e-4)
    state = [checkpoint.read(tmp_path / n / "last.safetensors")[0] for n in ("one", "two")]
    for name, tensor in state[0].items():
        if name.startswith("model."):
            torch.testing.assert_close(state[1][name], tensor, rtol=1e-3, atol=1e-5)
