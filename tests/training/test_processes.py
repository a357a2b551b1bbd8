"""Two processes with batch b are one process with batch 2 b, on one machine and on two."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from tiny import losses, tiny_recipe, validations

from retone.errors import SettingError
from retone.nets import checkpoint
from retone.training.frames_loop import train_frames
from retone.training.loop import train
from retone.training.recipes.frames import frames_speech
from retone.training.recipes.record import override
from retone.training.recipes.table import recipe_named

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
assert not torch.distributed.is_initialized()
"""


@pytest.mark.parametrize("device", ["gpu", "cuda:99", "cuda:-3"])
def test_a_device_that_is_not_there_is_named(
    corpora: dict[str, Any], tmp_path: Path, device: str
) -> None:
    folder = tmp_path / "run"
    for start, recipe in ((train, tiny_recipe()), (train_frames, frames_speech())):
        with pytest.raises(SettingError, match=f"device '{device}' cannot be used"):
            start(recipe, corpora, folder, device=device)
        assert not folder.exists()


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


DOCUMENTED = "torchrun --nproc-per-node 2 -m retone train"
SIZES = ("steps=4", "batch_size=2", "pairs.length=12288", "validation_pairs=3", "validate_every=2",
         "average=0.9", "optimizer.warmup_steps=0")  # fmt: skip


def documented_line(repository: Path) -> list[str]:
    """The command as docs/training.md has it."""
    page = (repository / "docs" / "training.md").read_text(encoding="utf-8")
    (line,) = [text for text in page.splitlines() if text.startswith(DOCUMENTED)]
    return line.split()


def launched(words: list[str], voices: Path, cache: Path, folder: Path) -> list[str]:
    """The documented words with this test's recordings, run folder and sizes."""
    torchrun = Path(sys.executable).parent / "torchrun"
    if not torchrun.is_file():
        pytest.skip("no torchrun beside this Python")
    known = {"torchrun": str(torchrun), "RECIPE": "compact_smoke", "runs/speech": str(folder),
             "NAME=FOLDER": f"folder={voices}"}  # fmt: skip
    words = [known.get(word, word) for word in words]
    assert str(folder) in words and f"folder={voices}" in words and "compact_smoke" in words
    return [*words, "--cache", str(cache), "--workers", "0", "--threads", "1",
            *(w for s in SIZES for w in ("--set", s))]  # fmt: skip


def finished(command: list[str]) -> subprocess.Popen[str]:
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def check(process: subprocess.Popen[str]) -> None:
    _, err = process.communicate(timeout=600)
    assert process.returncode == 0, err[-3000:]


@pytest.mark.skipif(not torch.distributed.is_available(), reason="torch without distributed")
def test_torchrun_as_documented_on_one_machine_and_on_two(
    voices: Path, corpora: dict[str, Any], cache: Path, tmp_path: Path, repository: Path
) -> None:
    """Two processes, two machines that stop and go on, and gradients accumulated in one process:
    the same losses, validations and weights. Only the first machine has a run folder."""
    line = documented_line(repository)
    check(finished(launched(line, voices, tmp_path / "cache", tmp_path / "two")))

    port = "29" + str(100 + os.getpid() % 900)
    for attempt, stop in enumerate((["--stop-after", "0"], [])):
        both = []
        for node in (0, 1):
            words = launched(line, voices, cache, tmp_path / f"node{node}")
            where = words.index("--nproc-per-node")
            words[where : where + 2] = [
                "--nproc-per-node", "1", "--nnodes", "2", "--node-rank", str(node),
                "--master-addr", "127.0.0.1", "--master-port", str(int(port) + attempt),
            ]  # fmt: skip
            both.append(finished([*words, *stop]))
        for process in both:
            check(process)
    assert not (tmp_path / "node1").exists()

    recipe = override(recipe_named("compact_smoke"), [*SIZES, "accumulate=2"])
    train(recipe, corpora, tmp_path / "one", workers=0)
    want = validations(tmp_path / "one")
    assert [s for s, _ in want] == [2, 4]
    state = checkpoint.read(tmp_path / "one" / "last.safetensors")[0]
    for name in ("two", "node0"):
        for (step, found), (_, right) in zip(validations(tmp_path / name), want, strict=True):
            assert found == pytest.approx(right, rel=1e-4), (name, step)
        other = checkpoint.read(tmp_path / name / "last.safetensors")[0]
        for key in (k for k in state if k.startswith(("model.", "average."))):
            torch.testing.assert_close(other[key], state[key], rtol=1e-3, atol=1e-5)
    assert any(k.startswith("average.") for k in state)


def test_many_processes_fill_one_cache(voices: Path, tmp_path: Path) -> None:
    """Each opens the corpus at the same time; one reads the files, the others wait for it."""
    words = [sys.executable, "-c", CACHE, str(voices), str(tmp_path / "cache")]
    for process in [finished(words) for _ in range(3)]:
        out, err = process.communicate(timeout=300)
        assert process.returncode == 0, err[-2000:]
        assert out.split()[-1] in ("filled", "found")
    made = [p for p in (tmp_path / "cache").iterdir() if p.is_dir()]
    assert len(made) == 1


CACHE = """
import sys
from pathlib import Path
from retone.training.data import corpora
fills = []
own = corpora._fill
corpora._fill = lambda *words: (fills.append(1), own(*words))[1]
corpora.open_corpus("folder", Path(sys.argv[1]), sample_rate=24000, cache=Path(sys.argv[2]))
print("filled" if fills else "found")
"""
