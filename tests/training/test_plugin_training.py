"""Learning to drive foreign code: the loss falls, and what the code does wrong costs no run."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from tiny import log_rows, tiny_recipe, validations

from retone.effects.plugin import Plugin
from retone.errors import PluginError, SettingError
from retone.nets import checkpoint
from retone.plugins import host, host_of
from retone.training.loop import train
from retone.training.recipes.plugin import PLUGIN_RECIPES, plugin_speech
from retone.training.recipes.recipe import Recipe
from retone.training.recipes.record import describe
from retone.training.recipes.table import recipe_named
from retone.training.validation import Validation

ZOO = Path(__file__).resolve().parents[1] / "plugin_zoo.py"


def plugin_recipe(effect: Plugin, **changes: Any) -> Recipe:
    tiny = tiny_recipe()
    recipe = plugin_speech(effect)
    network = replace(tiny.network, outputs=len(effect.params), initial=recipe.network.initial)
    return replace(tiny, effect=effect, network=network, gradient=recipe.gradient, **changes)


def test_every_recipe_takes_a_plugin_and_only_they_do() -> None:
    effect = Plugin.open(f"{ZOO}:tone")
    for name in PLUGIN_RECIPES:
        recipe = recipe_named(name, effect)
        assert recipe.name == name and describe(recipe)["effect"]["type"] == "plugin"
        with pytest.raises(SettingError, match="needs a plug-in"):
            recipe_named(name)
    with pytest.raises(SettingError, match="uses no plug-in; plugin_speech"):
        recipe_named("compact_speech", effect)


def test_the_loss_falls(corpora: dict[str, Any], tmp_path: Path) -> None:
    """Below that of the untrained network, which leaves the plug-in at its defaults."""
    effect = Plugin.open(f"{ZOO}:tone", on_failure="skip")
    recipe = plugin_recipe(
        effect,
        optimizer=replace(tiny_recipe().optimizer, learning_rate=2e-3),
        batch_size=8,
        steps=40,
        scored_passes=0,
        expectation_weight=0.0,  # what is learnt is learnt through the plug-in
        validation_pairs=8,
        validate_every=20,
    )
    untrained = Validation.of(recipe, corpora["val"]).run(recipe.build(), torch.device("cpu"))
    train(recipe, corpora, tmp_path, workers=0)
    (_, end) = validations(tmp_path)[-1]
    assert end["loss"] < 0.97 * untrained["loss"]


def test_a_plugin_that_crashes_at_times_costs_notes(
    corpora: dict[str, Any], tmp_path: Path
) -> None:
    effect = Plugin.open(f"{ZOO}:crashes_at_times", on_failure="skip")
    folder = tmp_path / "run"
    train(plugin_recipe(effect, steps=2, validate_every=2), corpora, folder, workers=0)
    rows = log_rows(folder)
    assert [r for r in rows if "SIGSEGV" in r.get("note", "")]
    assert [r["step"] for r in rows if "loss" in r] == [2]
    assert all(abs(r["loss"]) < 1e6 for r in rows if "loss" in r)


def test_one_that_always_crashes_ends_the_run_with_its_state_saved(
    corpora: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(host, "MOST_FAILURES", 8)
    effect = Plugin.open(f"{ZOO}:crashes", on_failure="skip")
    host_of(effect.source).failures_in_a_row = 0
    with pytest.raises(PluginError, match="crashed .SIGSEGV.*8th time in a row"):
        train(plugin_recipe(effect), corpora, tmp_path, workers=0)
    _, header = checkpoint.read(tmp_path / "last.safetensors")
    assert header["state"]["step"] == 1  # two items a step, two passes
