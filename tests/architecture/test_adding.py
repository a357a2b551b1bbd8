"""The rows of "Adding one thing" that are an entry of retone's own, each tried by adding one.

Effects, metrics, losses, corpora, estimators and export targets come from other packages as well:
``tests/outside`` adds one of each.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass, replace
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from retone.cli import main as command_line
from retone.effects import Gain
from retone.lab.evaluate import encoders
from retone.training.data import styles
from retone.training.gradients import STRATEGIES, Contract
from retone.training.recipes import table

PAGE = Path(__file__).resolve().parents[2] / "docs" / "architecture.md"


def test_the_page_has_a_row_for_each_of_these() -> None:
    rows = [line.split("|")[1].strip() for line in PAGE.read_text().splitlines() if "|" in line]
    for kind in (
        "effect", "metric", "loss", "corpus", "estimator", "export target", "preset",
        "production style", "encoder to probe", "differentiation strategy", "recipe", "command",
    ):  # fmt: skip
        assert kind in rows, kind


def test_a_command(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    module = ModuleType("retone.cli.wave", "Wave to the user.")
    module.add_arguments = lambda parser: None  # type: ignore[attr-defined]

    def run(args: Any) -> int:
        print("hello")
        return 0

    module.run = run  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "retone.cli.wave", module)
    monkeypatch.setattr(command_line, "COMMANDS", (*command_line.COMMANDS, "wave"))
    assert command_line.main(["wave"]) == 0
    assert capsys.readouterr().out == "hello\n"


def test_a_production_style(monkeypatch: pytest.MonkeyPatch) -> None:
    mine = replace(styles.style_named("telephone"), name="mine", label="Mine")
    monkeypatch.setitem(styles.STYLES, "mine", mine)
    assert styles.style_named("mine").draw(np.random.default_rng(0))


def test_a_recipe(monkeypatch: pytest.MonkeyPatch) -> None:
    mine = replace(table.recipe_named("compact_smoke"), name="mine")
    monkeypatch.setitem(table.RECIPES, "mine", lambda: mine)
    assert table.recipe_named("mine") is mine


def test_an_encoder_to_probe() -> None:
    @dataclass(frozen=True)
    class Level:
        name: str = "level"

        def embed(self, audio: np.ndarray, sample_rate: int) -> np.ndarray:
            return np.array([np.sqrt(np.mean(audio**2))])

    encoder: encoders.Encoder = Level()
    assert encoder.embed(np.full(100, 0.5), 48000) == pytest.approx(0.5)


def test_a_differentiation_strategy(monkeypatch: pytest.MonkeyPatch) -> None:
    """Half the exact gradient, in a recipe and under its own name in weights files."""

    @dataclass(frozen=True)
    class Half:
        name: str = "half"

        @property
        def contract(self) -> Contract:
            return Contract("exact", "half", "exact")

        def build(self, effect: Any, *, pretrained: bool = True) -> None:
            return None

        def train(
            self, effect: Any, audio: Tensor, sample_rate: float, unit: Tensor, networks: Any = None
        ) -> Tensor:
            soft = 0.5 * unit + 0.5 * unit.detach()
            return effect.render(audio, sample_rate, effect.params.to_physical(soft)).audio

        infer = train

    monkeypatch.setitem(STRATEGIES, "Half", Half)
    recipe = replace(table.recipe_named("compact_smoke"), gradient=Half())
    assert recipe.gradient.name == "half"
    audio, grads = torch.ones(1, 1, 50), []
    for share in (1.0, 0.5):
        unit = torch.full((1, 1), 0.6, dtype=torch.float64, requires_grad=True)
        if share == 0.5:
            out = STRATEGIES["Half"]().train(Gain(), audio, 48000, unit)
        else:
            out = Gain().render(audio, 48000, Gain().params.to_physical(unit)).audio
        grads.append(float(torch.autograd.grad(out.sum(), unit)[0]))
    assert grads[1] == pytest.approx(0.5 * grads[0])
