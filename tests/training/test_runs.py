"""What a run leaves in its folder, and the command line that starts it."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
import torch
from tiny import SAMPLE_RATE, log_rows, tiny_recipe, validations

from retone.cli.main import main
from retone.estimators.loading import load
from retone.training.log import write_examples
from retone.training.loop import train
from retone.training.recipes.record import describe, fingerprint
from retone.training.validation import Validation

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def run(corpora: dict[str, Any], tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("run")
    train(tiny_recipe(steps=4, validation_pairs=4), corpora, folder, workers=0, log_every=2)
    return folder


def test_the_record_says_what_the_run_is(run: Path, corpora: dict[str, Any]) -> None:
    recipe = tiny_recipe(steps=4, validation_pairs=4)
    record = json.loads((run / "recipe.json").read_text())
    assert record == {"recipe": describe(recipe), "fingerprint": fingerprint(recipe)}
    facts = json.loads((run / "provenance.json").read_text())
    assert facts["corpora"]["train"]["sha256"] == corpora["train"].sha256
    assert facts["corpora"]["val"]["speakers_or_tracks"] == len(corpora["val"].tracks)
    assert str(Path.home()) not in (run / "provenance.json").read_text()


def test_the_best_weights_are_those_of_the_best_validation(run: Path) -> None:
    from retone.nets import checkpoint

    best = min(validations(run), key=lambda row: row[1]["loss"])
    _, header = checkpoint.read(run / "best.safetensors")
    assert header["state"]["step"] == best[0]
    assert header["state"]["validation"] == best[1]


def test_examples_are_what_the_best_weights_make(run: Path, corpora: dict[str, Any]) -> None:
    recipe = tiny_recipe(steps=4, validation_pairs=4)
    names = {f"{i}_{n}.flac" for i in (1, 2, 3) for n in ("input", "reference", "target", "output")}
    assert {p.name for p in (run / "examples").iterdir()} == names
    validation = Validation.of(recipe, corpora["val"])
    heard = validation.examples(load(run / "best.safetensors").network, CPU)
    assert len(heard) == 3
    for number, signals in enumerate(heard, start=1):
        peak = max(1.0, max(np.abs(s).max() for s in signals.values()) * 1.0001)
        for name, signal in signals.items():
            audio, rate = soundfile.read(run / "examples" / f"{number}_{name}.flac")
            assert rate == SAMPLE_RATE
            assert np.abs(audio - signal / peak).max() < 1e-6


def test_examples_over_full_scale_share_one_gain(tmp_path: Path) -> None:
    signals = {"input": np.array([0.5, -0.25]), "output": np.array([2.0, -1.0])}
    write_examples(tmp_path / "e", SAMPLE_RATE, [signals])
    a = soundfile.read(tmp_path / "e" / "1_input.flac")[0]
    b = soundfile.read(tmp_path / "e" / "1_output.flac")[0]
    assert b == pytest.approx(4 * a, abs=1e-6) and np.abs(b).max() < 1.0
    assert b == pytest.approx([1.0, -0.5], abs=1e-3)


def test_validation_is_the_same_every_time(corpora: dict[str, Any]) -> None:
    recipe = tiny_recipe(validation_pairs=3)
    torch.manual_seed(0)
    network = recipe.network.build()
    one, other = (Validation.of(recipe, corpora["val"]) for _ in range(2))
    for a, b in zip(one.batches, other.batches, strict=True):
        assert all(torch.equal(x, y) for x, y in zip(a, b, strict=True))
    assert sum(len(b[0]) for b in one.batches) == 3
    first = one.run(network, CPU)
    torch.manual_seed(99)
    np.random.seed(99)  # noqa: NPY002 - global state must not matter
    assert other.run(network, CPU) == first == one.run(network, CPU)
    assert network.training
    assert set(first) == {"loss", "l1", "stft", "msd", "sce", "rms", "lufs"}


def test_validation_scores_are_ratios_to_the_input(corpora: dict[str, Any]) -> None:
    """An effect that changes nothing scores 1 on everything."""
    from dataclasses import replace

    from retone.effects import Gain

    class Neutral(torch.nn.Module):
        def forward(self, source: torch.Tensor, reference: torch.Tensor) -> torch.Tensor:
            gain = Gain()
            unit = gain.params.to_unit(gain.params.setting({}))
            return unit.float().expand(source.shape[0], -1)

    recipe = replace(tiny_recipe(), effect=Gain())
    scores = Validation.of(recipe, corpora["val"]).run(Neutral(), CPU)
    assert {k: v for k, v in scores.items() if k not in ("loss", "l1")} == pytest.approx(
        dict.fromkeys(("stft", "msd", "sce", "rms", "lufs"), 1.0), rel=1e-4
    )


def test_curves_are_written_where_tensorboard_is(run: Path) -> None:
    accumulator = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    events = accumulator.EventAccumulator(str(run / "tensorboard"))
    events.Reload()
    curve = [(e.step, e.value) for e in events.Scalars("training/loss")]
    rows = [(r["step"], r["loss"]) for r in log_rows(run) if "loss" in r]
    assert [s for s, _ in curve] == [s for s, _ in rows]
    assert [v for _, v in curve] == pytest.approx([v for _, v in rows], rel=1e-6)
    assert len(events.Scalars("validation/stft")) == len(validations(run))


def test_without_tensorboard_there_is_one_note(
    corpora: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", None)
    recipe = tiny_recipe(steps=2)
    for _ in range(2):
        train(recipe, corpora, tmp_path, workers=0, stop_after_s=0.0)
    said = [row["note"] for row in log_rows(tmp_path) if "tensorboard" in str(row).lower()]
    assert len(said) == 1 and "pip install 'retone[train]'" in said[0]
    assert not (tmp_path / "tensorboard").exists()


def test_progress_counts_the_steps_of_this_call(corpora: dict[str, Any], tmp_path: Path) -> None:
    recipe, told = tiny_recipe(steps=3), []
    train(recipe, corpora, tmp_path, workers=0, stop_after_s=0.0)
    train(recipe, corpora, tmp_path, workers=0, progress=lambda phase, *p: told.append(p))
    assert told == [(1, 2), (2, 2)]


@pytest.mark.parametrize("recipe", ["compact_smoke", "deepafx_smoke"])
def test_command_line(
    recipe: str, voices: Path, cache: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "run"
    command = [
        "train", recipe, "--corpus", f"folder={voices}", "--cache", str(cache), "--run",
        str(folder), "--workers", "0", "--set", "pairs.length=24576", "--set", "steps=2",
        "--set", "validate_every=1",
    ]  # fmt: skip
    assert main(command) == 0
    said = capsys.readouterr().out
    assert "step       2  loss" in said and "validation  loss" in said
    assert f"best weights {folder / 'best.safetensors'}" in said
    assert load(folder / "best.safetensors").length == 24576
    assert main([*command, "--set", "seed=1"]) == 2
    assert "seed: 42, now 1" in capsys.readouterr().err


def test_command_line_refuses_with_help(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["train", "compact_smoke"]) == 2
    assert "--corpus NAME=FOLDER" in capsys.readouterr().err
    assert main(["train", "list"]) == 0
    assert "deepafx_speech" in capsys.readouterr().out
