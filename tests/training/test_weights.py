"""Weights are read only when they are whole and ours; everything else is refused with a reason."""

from __future__ import annotations

import ast
import json
import os
import pickle
import signal
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from tiny import contents, tiny_recipe

from retone.audio import Clip
from retone.errors import DataError
from retone.estimators.base import Excerpt
from retone.estimators.loading import load
from retone.estimators.network import Network
from retone.nets import checkpoint
from retone.training.frames_loop import train_frames
from retone.training.log import one_run, run_folder
from retone.training.loop import train
from retone.training.model import Model
from retone.training.recipes.deepafx import deepafx_smoke
from retone.training.recipes.frames import frames_speech
from retone.training.recipes.recipe import Recipe
from retone.training.recipes.table import RECIPES, recipe_named
from retone.training.state import RunState, load_state, save_state


def weights_of(recipe: Recipe, path: Path) -> Path:
    torch.manual_seed(0)
    save_state(path, recipe, Model(recipe.network.build()), None, RunState(step=0, best=1.0))
    return path


@pytest.fixture
def own(tmp_path: Path) -> Path:
    return weights_of(tiny_recipe(), tmp_path / "own.safetensors")


def rewritten(path: Path, change: Callable[[dict[str, Any]], None]) -> Path:
    tensors, header = checkpoint.read(path)
    change(header)
    checkpoint.write(path, tensors, header)
    return path


@pytest.mark.parametrize("make", [tiny_recipe, deepafx_smoke])
def test_either_network_comes_back_from_its_weights(
    make: Callable[[], Recipe], tmp_path: Path
) -> None:
    recipe = make()
    path = weights_of(recipe, tmp_path / "w.safetensors")
    torch.manual_seed(0)
    original = recipe.network.build().eval()
    loaded = load(path)
    assert loaded.network.config == recipe.network
    assert loaded.effect == recipe.effect and loaded.length == recipe.pairs.length
    audio = 0.1 * torch.randn(2, 24000)
    with torch.no_grad():
        got, wanted = (
            recipe.predict(n, audio, audio.flip(0), lambda unit: audio * unit[:, :1]).units[-1]
            for n in (loaded.network, original)
        )
    assert torch.equal(got, wanted)
    excerpts = [
        Excerpt(torch.from_numpy(Clip(a[None].numpy(), 24000).samples[0]), 24000) for a in audio
    ]
    setting = Network(weights=path).estimate(excerpts[0], [excerpts[1]], locks={}).setting
    assert set(setting) == {p.name for p in recipe.effect.params}


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def noise(path: Path) -> None:
    path.write_bytes(bytes(range(256)) * 40)


def empty(path: Path) -> None:
    path.write_bytes(b"")


def foreign(path: Path) -> None:
    from safetensors.torch import save_file

    save_file({"a": torch.zeros(3)}, path)


def torch_pickle(path: Path) -> None:
    torch.save({"a": torch.zeros(3)}, path)


def plain_pickle(path: Path) -> None:
    path.write_bytes(pickle.dumps({"a": 1}))


def not_json(path: Path) -> None:
    from safetensors.torch import save_file

    save_file({"a": torch.zeros(3)}, path, metadata={"retone": "{"})


def a_list(path: Path) -> None:
    from safetensors.torch import save_file

    save_file({"a": torch.zeros(3)}, path, metadata={"retone": "[1]"})


@pytest.mark.parametrize(
    ("spoil", "reason"),
    [
        (cut, "not a readable safetensors file"),
        (noise, "not a readable safetensors file"),
        (empty, "not a readable safetensors file"),
        (foreign, "not written by retone"),
        (torch_pickle, "is a pickle"),
        (plain_pickle, "is a pickle"),
        (not_json, "not valid JSON"),
        (a_list, "not an object"),
    ],
)
def test_a_spoilt_file_is_refused(own: Path, spoil: Callable[[Path], None], reason: str) -> None:
    spoil(own)
    with pytest.raises(DataError, match=reason):
        load(own)


def test_a_missing_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no weights at"):
        load(tmp_path / "none.safetensors")


def test_a_file_is_whole_or_the_one_before(own: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A write that fails half-way leaves the old state and no rubbish."""
    before = own.read_bytes()

    def full_disk(tensors: Any, path: Path, metadata: Any = None) -> None:
        Path(path).write_bytes(b"half")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("safetensors.torch.save_file", full_disk)
    with pytest.raises(DataError, match="No space left"):
        checkpoint.write(own, {"a": torch.zeros(2)}, {})
    assert own.read_bytes() == before
    assert [p.name for p in own.parent.iterdir()] == [own.name]


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda h: h.pop("recipe"), "header has no recipe"),
        (lambda h: h["recipe"].pop("pairs"), "header has no recipe"),
        (lambda h: h["recipe"]["network"].update(type="Oracle"), "'Oracle', which this version"),
        (lambda h: h["recipe"]["network"].update(wings=2), r"unknown settings \['wings'\]"),
        (lambda h: h["recipe"]["network"].pop("outputs"), "cannot be rebuilt"),
        (lambda h: h["recipe"]["network"].update(content="many"), "cannot be built"),
        (lambda h: h["recipe"]["network"].update(trunk=17), "misshapen"),
    ],
    ids=["no recipe", "no pairs", "foreign type", "extra", "lacking", "mistyped", "other size"],
)
def test_a_header_of_another_network_is_refused(
    own: Path, change: Callable[[dict[str, Any]], None], reason: str
) -> None:
    with pytest.raises(DataError, match=reason):
        load(rewritten(own, change))


def test_warm_start_takes_fitting_weights_only(
    own: Path, corpora: dict[str, Any], tmp_path: Path
) -> None:
    recipe = tiny_recipe(name="second", steps=1)
    run = tmp_path / "warm"
    train(recipe, corpora, run, workers=0, warm_start=own)
    assert (run / "last.safetensors").is_file()
    other = weights_of(deepafx_smoke(), tmp_path / "other.safetensors")
    with pytest.raises(DataError, match="made for another network"):
        train(recipe, corpora, tmp_path / "not", workers=0, warm_start=other)


@pytest.mark.parametrize("kind", ["missing", "damaged", "other"])
@pytest.mark.parametrize("there", [False, True])
def test_a_refused_run_leaves_nothing(
    corpora: dict[str, Any], tmp_path: Path, kind: str, there: bool
) -> None:
    weights = tmp_path / "weights.safetensors"
    if kind == "other":
        weights_of(deepafx_smoke(), weights)
    elif kind == "damaged":
        weights.write_bytes(b"no weights")
    folder = tmp_path / "runs" / "new"
    if there:
        folder.mkdir(parents=True)
        (folder / "notes.txt").write_text("mine")
    with pytest.raises(DataError):
        train(tiny_recipe(steps=1), corpora, folder, workers=0, warm_start=weights)
    left = sorted(p.name for p in folder.iterdir()) if folder.exists() else None
    assert left == (["notes.txt"] if there else None)
    assert there or not folder.parent.exists()


def test_a_refused_run_leaves_an_earlier_one_as_it_was(
    corpora: dict[str, Any], tmp_path: Path
) -> None:
    train(tiny_recipe(steps=1), corpora, tmp_path, workers=0)
    with (tmp_path / "log.jsonl").open("a") as log:
        log.write('{"step": 5, "loss": 1.0}\n')  # after the saved step: the run was killed
    before = contents(tmp_path)
    silent = replace(corpora["val"], tracks=())
    with pytest.raises(DataError):
        train(tiny_recipe(steps=1), {**corpora, "val": silent}, tmp_path, workers=0)
    assert contents(tmp_path) == before


def test_a_run_that_cannot_make_pairs_leaves_nothing(tmp_path: Path) -> None:
    with pytest.raises(DataError), run_folder(tmp_path / "a" / "b"):
        (tmp_path / "a" / "b" / "scenes").mkdir()
        (tmp_path / "a" / "b" / "scenes" / "0.npy").touch()
        (tmp_path / "a" / "b" / "log.jsonl").touch()
        raise DataError("no pairs")
    assert not list(tmp_path.iterdir())
    with pytest.raises(KeyboardInterrupt), run_folder(tmp_path / "a"):
        raise KeyboardInterrupt  # what was made so far helps the next start
    assert (tmp_path / "a").is_dir()


@pytest.mark.skipif(not hasattr(os, "fork"), reason="where folders can be locked")
def test_two_runs_in_one_folder_refuse_each_other(corpora: dict[str, Any], tmp_path: Path) -> None:
    folder = tmp_path / "a" / "run"
    with one_run(folder):
        with pytest.raises(DataError, match="another run is working there"):
            train(tiny_recipe(steps=1), corpora, folder, workers=0)
        with pytest.raises(DataError, match="another run is working there"):
            train_frames(frames_speech(), corpora, folder)
        assert not list(folder.iterdir())
    with one_run(folder):
        pass
    with pytest.raises(DataError, match="no pairs"), one_run(tmp_path / "b" / "run"):
        raise DataError("no pairs")
    assert not (tmp_path / "b").exists()


@pytest.mark.skipif(not hasattr(os, "fork"), reason="where folders can be locked")
def test_a_worker_that_outlives_its_killed_run_keeps_no_lock(tmp_path: Path) -> None:
    code = (
        "import os, signal, sys\n"
        "from pathlib import Path\n"
        "from retone.training.log import one_run\n"
        "with one_run(Path(sys.argv[1])):\n"
        "    if os.fork():\n"
        "        signal.pause()\n"
        "    print(os.getpid(), flush=True)\n"
        "    signal.pause()\n"
    )
    words = [sys.executable, "-c", code, str(tmp_path)]
    with subprocess.Popen(words, stdout=subprocess.PIPE, text=True) as run:
        assert run.stdout is not None
        worker = int(run.stdout.readline())
        try:
            with pytest.raises(DataError), one_run(tmp_path):
                pass
            run.kill()
            run.wait()
            with one_run(tmp_path):
                pass
        finally:
            os.kill(worker, signal.SIGKILL)


def test_weights_without_a_training_state_are_not_resumed(own: Path, tmp_path: Path) -> None:
    own.rename(tmp_path / "last.safetensors")
    recipe = tiny_recipe()
    model = recipe.build()
    with pytest.raises(DataError, match="no training state.*warm start"):
        load_state(recipe, model, torch.optim.Adam(model.parameters()), tmp_path)


def test_nothing_in_the_package_unpickles(repository: Path) -> None:
    """No ``torch.load``, ``pickle``, ``numpy.load(allow_pickle)``, ``eval`` or the like."""
    modules = {"pickle", "cPickle", "dill", "cloudpickle", "joblib", "marshal", "shelve"}
    wrong = []
    for file in sorted((repository / "src").rglob("*.py")):
        if file.name in ("reaper.py", "legacy_torch.py"):
            continue  # one runs scripts it has just written; the other's reader knows only tensors
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            names: list[str] = []
            if isinstance(node, ast.Import):
                names = [a.name.split(".")[0] for a in node.names]
            elif isinstance(node, ast.ImportFrom):
                names = [(node.module or "").split(".")[0]]
                if node.module == "torch" and any(a.name == "load" for a in node.names):
                    names.append("pickle")
            elif isinstance(node, ast.Call):
                called = ast.unparse(node.func)
                unsafe = {k.arg: ast.unparse(k.value) for k in node.keywords}
                if called in ("torch.load", "eval", "exec", "torch.jit.load", "torch.hub.load"):
                    names = ["pickle"]
                if unsafe.get("allow_pickle", "False") != "False":
                    names = ["pickle"]
            if modules & set(names):
                wrong.append(f"{file.relative_to(repository)}:{node.lineno}")
    assert not wrong, "\n".join(wrong)


@pytest.mark.parametrize("name", RECIPES)
def test_every_recipe_can_be_written_and_rebuilt(name: str) -> None:
    from retone.effects.spec import effect_from_spec
    from retone.estimators.loading import network_config
    from retone.training.recipes.record import describe

    recipe = recipe_named(name)
    stored = json.loads(json.dumps(describe(recipe)))
    assert network_config(stored["network"], name) == recipe.network
    assert effect_from_spec(stored["effect"], 1.0, where=name) == recipe.effect


def test_shipped_weights_in_bytes_are_near_the_trained_ones(tmp_path: Path) -> None:
    torch.manual_seed(0)
    tensors = {
        "wide": torch.randn(64, 80, 3) * torch.logspace(-3, 3, 64)[:, None, None],
        "nothing": torch.zeros(70, 70),
        "bias": torch.randn(512),
    }
    path = tmp_path / "bytes.safetensors"
    checkpoint.write(path, checkpoint.quantised(tensors), {"note": "x"})
    read, _ = checkpoint.read(path)
    assert set(read) == set(tensors)
    for name, tensor in tensors.items():
        rows = tensor.flatten(1) if tensor.dim() > 1 else tensor[None]
        step = rows.abs().amax(1, keepdim=True) / 127
        off = (read[name].float().reshape(rows.shape) - rows).abs()
        assert bool((off <= 0.501 * step + 1e-12).all()), name
    assert path.stat().st_size < 0.3 * 4 * sum(t.numel() for t in tensors.values()) + 4096
