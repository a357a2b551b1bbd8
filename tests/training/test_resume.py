"""A run that is stopped, interrupted or killed goes on as if it had not been."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tiny import SAMPLE_RATE, log_rows, losses, open_splits, tiny_recipe, validations, weights

from retone.errors import DataError
from retone.nets import checkpoint
from retone.nets.efficientnet import EfficientNetConfig
from retone.nets.siamese import SiameseConfig, SpectrogramConfig
from retone.training.loop import train


@pytest.fixture(scope="module")
def whole(corpora: dict[str, Any], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The run that nobody disturbed."""
    folder = tmp_path_factory.mktemp("whole")
    train(tiny_recipe(), corpora, folder, workers=0, log_every=1)
    return folder


def same_run(one: Path, other: Path) -> None:
    assert losses(one) == losses(other)
    assert validations(one) == validations(other)
    assert weights(one) == weights(other)
    assert weights(one, "best.safetensors") == weights(other, "best.safetensors")


def test_a_run_stopped_after_every_step_is_the_same_run(
    whole: Path, corpora: dict[str, Any], tmp_path: Path
) -> None:
    recipe = tiny_recipe()
    for _ in range(recipe.steps):
        train(recipe, corpora, tmp_path, workers=0, log_every=1, stop_after_s=0.0)
    assert [step for step, _ in losses(whole)] == list(range(1, recipe.steps + 1))
    same_run(whole, tmp_path)


def test_the_papers_network_goes_on_alike(corpora: dict[str, Any], tmp_path: Path) -> None:
    """Running statistics, and layers left out by chance, are part of the state."""
    encoder = EfficientNetConfig(width=0.25, depth=1.0, drop_connect=0.5)
    config = SiameseConfig(
        outputs=24,
        front_end=SpectrogramConfig(sample_rate=SAMPLE_RATE),
        encoder=encoder,
        embedding=16,
    )
    recipe = tiny_recipe(network=config, steps=3)
    train(recipe, corpora, tmp_path / "whole", workers=0, log_every=1)
    for _ in range(recipe.steps):
        train(recipe, corpora, tmp_path / "parts", workers=0, log_every=1, stop_after_s=0.0)
    same_run(tmp_path / "whole", tmp_path / "parts")


def test_a_worker_process_makes_the_same_run(
    whole: Path, corpora: dict[str, Any], tmp_path: Path
) -> None:
    train(tiny_recipe(), corpora, tmp_path, workers=1, log_every=1)
    same_run(whole, tmp_path)


def test_means_over_several_steps_survive_a_stop(corpora: dict[str, Any], tmp_path: Path) -> None:
    recipe = tiny_recipe(steps=4)
    train(recipe, corpora, tmp_path / "whole", workers=0, log_every=3)
    for _ in range(recipe.steps):
        train(recipe, corpora, tmp_path / "parts", workers=0, log_every=3, stop_after_s=0.0)
    assert losses(tmp_path / "whole") == losses(tmp_path / "parts")


def test_a_finished_run_stays_as_it_is(whole: Path, corpora: dict[str, Any]) -> None:
    before = weights(whole), losses(whole)
    assert train(tiny_recipe(), corpora, whole, workers=0) == whole / "best.safetensors"
    assert (weights(whole), losses(whole)) == before


def test_the_seed_decides(whole: Path, corpora: dict[str, Any], tmp_path: Path) -> None:
    train(tiny_recipe(seed=7), corpora, tmp_path, workers=0, log_every=1)
    assert losses(tmp_path) != losses(whole)


@pytest.fixture
def terminal() -> Iterator[None]:
    """Ctrl-C as at a terminal, also where the tests run in the background."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.usefixtures("terminal")
def test_ctrl_c_saves_and_stops(whole: Path, corpora: dict[str, Any], tmp_path: Path) -> None:
    def interrupt(row: dict[str, Any]) -> None:
        if row.get("step") == 3:
            os.kill(os.getpid(), signal.SIGINT)

    recipe = tiny_recipe()
    train(recipe, corpora, tmp_path, workers=0, log_every=1, report=interrupt)
    _, header = checkpoint.read(tmp_path / "last.safetensors")
    # A signal from within a step's log row is seen at the end of that step or of the next.
    assert header["state"]["step"] in (3, 4)
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    train(recipe, corpora, tmp_path, workers=0, log_every=1)
    same_run(whole, tmp_path)


def test_an_ignored_ctrl_c_stays_ignored(corpora: dict[str, Any], tmp_path: Path) -> None:
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        recipe = tiny_recipe(steps=2)
        interrupt = lambda row: os.kill(os.getpid(), signal.SIGINT)  # noqa: E731
        train(recipe, corpora, tmp_path, workers=0, log_every=1, report=interrupt)
        assert signal.getsignal(signal.SIGINT) is signal.SIG_IGN
    finally:
        signal.signal(signal.SIGINT, before)
    assert [step for step, _ in losses(tmp_path)] == [1, 2]


def test_another_recipe_does_not_go_on_with_a_run(whole: Path, corpora: dict[str, Any]) -> None:
    with pytest.raises(DataError, match=r"batch_size: 2, now 3.*warm start"):
        train(tiny_recipe(batch_size=3), corpora, whole, workers=0)


def test_a_run_from_before_a_field_existed_goes_on(corpora: dict[str, Any], tmp_path: Path) -> None:
    recipe = tiny_recipe()
    train(recipe, corpora, tmp_path, workers=0, stop_after_s=0.0)
    tensors, header = checkpoint.read(tmp_path / "last.safetensors")
    del header["recipe"]["precision"]
    checkpoint.write(tmp_path / "last.safetensors", tensors, header)
    train(recipe, corpora, tmp_path, workers=0, stop_after_s=0.0)
    assert checkpoint.read(tmp_path / "last.safetensors")[1]["state"]["step"] == 2
    changed = tiny_recipe(precision="bfloat16")
    with pytest.raises(DataError, match="precision: float32, now bfloat16"):
        train(changed, corpora, tmp_path, workers=0)


RUN = """
import sys, time
from pathlib import Path
import safetensors.torch
import torch
torch.set_num_threads(1)
sys.path.insert(0, {tests!r})
from tiny import open_splits, tiny_recipe
from retone.training.loop import train

real, slow = safetensors.torch.save_file, {slow!r}

def half_a_file(tensors, path, metadata=None):
    real(tensors, path, metadata=metadata)
    if slow and Path({folder!r}, "last.safetensors").exists():
        data = Path(path).read_bytes()
        Path(path).write_bytes(data[: len(data) // 2])
        Path({folder!r}, "writing").touch()
        time.sleep(60)

safetensors.torch.save_file = half_a_file
corpora = open_splits(Path({voices!r}), Path({cache!r}))
Path({folder!r}, "started").touch()
train(tiny_recipe(), corpora, Path({folder!r}), workers=0, log_every=1, save_every_s=0.0)
"""


def start(folder: Path, voices: Path, cache: Path, *, slow: bool) -> subprocess.Popen[bytes]:
    folder.mkdir(exist_ok=True)
    code = RUN.format(
        tests=str(Path(__file__).parent),
        slow=slow,
        folder=str(folder),
        voices=str(voices),
        cache=str(cache),
    )
    return subprocess.Popen([sys.executable, "-W", "ignore", "-c", code])


def wait_for(path: Path, process: subprocess.Popen[bytes]) -> None:
    while not path.exists():
        assert process.poll() is None, "the run ended by itself"
        time.sleep(0.01)


def test_killed_while_writing_a_state_and_at_a_random_moment(
    whole: Path, voices: Path, cache: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "run"
    process = start(folder, voices, cache, slow=True)
    wait_for(folder / "writing", process)
    process.kill()  # SIGKILL, with half of the second state on disk
    process.wait()
    assert list(folder.glob(".*.part")), "no half-written file: the test missed its moment"
    assert checkpoint.read(folder / "last.safetensors")[1]["state"]["step"] == 1

    (folder / "started").unlink()
    process = start(folder, voices, cache, slow=False)
    wait_for(folder / "started", process)
    time.sleep(random.Random(int(time.time())).uniform(0.0, 1.0))
    process.kill()
    process.wait()
    assert checkpoint.read(folder / "last.safetensors")[1]["state"]["step"] >= 1
    with (folder / "log.jsonl").open("a") as log:
        log.write('{"time": 1.0, "step": 6, "lo')  # torn in the middle of a row

    train(tiny_recipe(), open_splits(voices, cache), folder, workers=0, log_every=1)
    # Parts of this run were other processes, whose arrays lie at other addresses: mathematics
    # libraries may round differently there, so the curve is compared as numbers.
    assert [step for step, _ in losses(folder)] == [step for step, _ in losses(whole)]
    for (_, one), (_, other) in zip(losses(folder), losses(whole), strict=True):
        assert one == pytest.approx(other, rel=1e-4)
    assert not list(folder.glob(".*.part"))
    assert all("time" in row for row in log_rows(folder))
