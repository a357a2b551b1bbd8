"""Reports on strategies, from tiny runs through the real commands' functions."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from tiny import SAMPLE_RATE, tiny_recipe

from retone.effects import MATCH_CHAIN
from retone.errors import DataError
from retone.lab.bench import strategies as bench
from retone.lab.bench.result import Report
from retone.lab.bench.tables import report_text
from retone.lab.evaluate import descent, gradients, proxy, strategies
from retone.lab.main import main
from retone.nets.aligned import AlignedNetConfig
from retone.nets.proxy import TcnSizes
from retone.training.gradients import EndToEnd, Exact, FrequencySampled, NeuralProxy, Spsa
from retone.training.recipes.record import describe
from retone.training.recipes.strategies import proxy as proxy_recipe
from retone.training.state import RunState, save_state

SIZES = TcnSizes(channels=4, kernel=5, dilations=(1, 8))


def once(**changes: Any) -> Any:
    """The tiny recipe with a network that answers once."""
    recipe = tiny_recipe(**changes)
    n = recipe.network
    network = AlignedNetConfig(
        outputs=n.outputs, front_end=n.front_end, content=n.content, key=n.key, trunk=n.trunk,
        hidden=n.hidden, initial=n.initial,
    )  # fmt: skip
    return replace(recipe, network=network)


def write_run(folder: Path, gradient: Any) -> Path:
    """An untrained run, as ``retone train`` leaves it."""
    folder.mkdir()
    recipe = once(gradient=gradient)
    torch.manual_seed(0)
    state = RunState(step=5, best=1.0, cpu_s=90.0)
    save_state(folder / "last.safetensors", recipe, recipe.build(pretrained=False), None, state)
    return folder


@pytest.fixture
def run_folders(tmp_path: Path) -> list[Path]:
    return [
        write_run(tmp_path / "exact", Exact()),
        write_run(tmp_path / "np", NeuralProxy("np", sizes=SIZES)),
        write_run(tmp_path / "c", EndToEnd("ctcn1", False, SIZES)),
    ]


def test_strategies_are_compared_at_every_rate(
    run_folders: list[Path], voices: Path, cache: Path, tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    words = ["evaluate", "strategies", *map(str, run_folders), "--corpus", f"folder={voices}"]
    words += ["--cache", str(cache), "--kind", "speech", "--split", "train", "--pairs", "1"]
    words += ["--rates", "24000", "16000", "--seconds", "0.6", "-o", str(tmp_path / "s.json")]
    assert main(words) == 0
    out = capsys.readouterr().out
    for row in (
        "| exact | the effect | its exact adjoint | the effect | yes | 1.5 min | 5 | 10 |",
        "| np | frozen networks | autograd of the networks | frozen networks | yes |",
        "| np_hh | frozen networks | autograd of the networks | the effect | yes |",
        "| ctcn1 | trained networks | autograd of the networks | trained networks | no |",
        "published speech, 24 kHz (LibriTTS)",
        "here, 16000 Hz",
    ):
        assert row in out
    assert (tmp_path / "s_24000.json").is_file() and (tmp_path / "s_16000.json").is_file()
    with pytest.raises(DataError, match="same strategy: exact"):
        strategies.runs([run_folders[0], run_folders[0]])
    with pytest.raises(DataError, match="unknown to this version"):
        strategies.gradient_of({"type": "Magic"}, "x")


def test_descriptions_come_back() -> None:
    proxies = NeuralProxy("np", ("a", "b"), SIZES)
    end = EndToEnd("ctcn2", True, SIZES)
    for gradient in (Exact(), FrequencySampled(), Spsa.paper(), proxies, end):
        assert strategies.gradient_of(describe(gradient), "x") == gradient


def test_gradients_are_held_against_the_exact_ones(corpora: dict[str, Any]) -> None:
    recipe = tiny_recipe()
    recipe = replace(recipe, pairs=replace(recipe.pairs, length=4096))
    found = gradients.measure(
        recipe, [Exact(), Spsa("full", directions=32), Spsa.paper()], corpora["train"],
        items=2, place="anywhere", seed=1,
    )  # fmt: skip
    exact, full, paper = found
    assert min(exact.cosine) > 1 - 1e-6 and exact.length == pytest.approx([1.0] * 2, rel=1e-4)
    assert max(exact.wrong_signs) == 0
    assert min(full.cosine) > 0.99 and np.mean(paper.cosine) < 0.9
    parts = gradients.parameter_parts(MATCH_CHAIN.params)
    assert sorted(i for index in parts.values() for i in index) == list(range(24))
    text = gradients.text("anywhere", found)
    assert text.count("\n| ") == 4 and "threshold, ratio, knee" in text


def test_descent_by_the_exact_gradient_goes_down(
    corpora: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    recipe = tiny_recipe()
    recipe = replace(recipe, pairs=replace(recipe.pairs, length=4096))
    clock = iter(range(10**6))  # a step takes one second
    monkeypatch.setattr(descent.time, "process_time", lambda: float(next(clock)))
    (exact,) = descent.descend(recipe, [Exact()], corpora["train"], items=2, seconds=40, seed=1)
    assert exact.steps == (40, 40) and np.mean(exact.left) < 0.8
    text = descent.text([exact], 40)
    assert "| exact | 0." in text and "2 pairs" in text


def test_proxy_errors_are_in_db(corpora: dict[str, Any], tmp_path: Path) -> None:
    recipe = proxy_recipe(MATCH_CHAIN.members[1], compact=True)
    recipe = replace(
        recipe, pairs=replace(recipe.pairs, length=24576), gradient=EndToEnd("proxy", True, SIZES)
    )
    network = recipe.build()
    save_state(tmp_path / "p.safetensors", recipe, network, None, RunState(step=7, best=1.0))
    found = proxy.measure(tmp_path / "p.safetensors", corpora["train"], items=6, seed=1)
    assert found.unit.shape == (len(found.signal_db), 6) and np.isfinite(found.band_db).all()
    text = proxy.text(found)
    assert "7 steps" in text and "| threshold_db (-100 to 0 dB) |" in text
    assert "makeup" not in text  # outside the network
    with pytest.raises(DataError, match="is no proxy"):
        proxy.measure(
            write_run(tmp_path / "e", Exact()) / "last.safetensors", corpora["train"], items=1,
            seed=1,
        )  # fmt: skip


def test_a_perfect_proxy_has_no_error(
    corpora: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    recipe = proxy_recipe(MATCH_CHAIN.members[1], compact=True)
    recipe = replace(
        recipe, pairs=replace(recipe.pairs, length=24576), gradient=EndToEnd("proxy", True, SIZES)
    )
    save_state(tmp_path / "p.safetensors", recipe, recipe.build(), None, RunState(step=7, best=1.0))

    def effect_itself(self, effect, audio, rate, unit, networks):  # type: ignore[no-untyped-def]
        return 2 * torch.tanh(Exact().infer(effect, audio, rate, unit) / 2)

    monkeypatch.setattr(EndToEnd, "infer", effect_itself)
    found = proxy.measure(tmp_path / "p.safetensors", corpora["train"], items=3, seed=1)
    assert found.signal_db.max() < -80 and found.band_db.max() < 0.01
    assert found.idle_db.max() > 0.1


def test_every_strategy_is_timed(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(bench, "INFERENCE_S", 0.5)
    known = {
        "compact_spsa_speech": Spsa.paper(),
        "compact_ctcn1_speech": EndToEnd("c", sizes=SIZES),
    }
    monkeypatch.setattr(bench, "WORDS", ("spsa", "ctcn1"))
    monkeypatch.setattr(bench, "recipe_named", lambda name: once(gradient=known.get(name, Exact())))
    section = bench.strategies_section(
        family="compact", batch=1, length=8192, rounds=1, seed=0, say=lambda text: None
    )
    assert [r.method for r in section.rows] == ["exact", "spsa", "ctcn1"]
    assert all(r.ok for r in section.rows), [r.status for r in section.rows]
    assert section.row("ctcn1").figures["effect_network_count"] == sum(
        p.numel() for p in EndToEnd("c", sizes=SIZES).build(MATCH_CHAIN).parameters()
    )
    assert all((r.figures["inference_rate"] or math.nan) > 0 for r in section.rows)
    text = report_text(Report("strategies", {}, {}, [section]))
    assert "nothing to read" in text and "settings can be read" in text
    assert SAMPLE_RATE == 24000


def test_every_strategys_recipe_is_timed() -> None:
    from retone.training.recipes.table import RECIPES

    for family in ("compact", "deepafx"):
        names = bench.recipe_names(family)
        assert set(names.values()) <= set(RECIPES) and len(set(names.values())) == 9
