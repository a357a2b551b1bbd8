"""The training benchmark: stages add up to steps, and steps train what they say."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from retone.lab.bench.result import Report
from retone.lab.bench.tables import report_text
from retone.lab.bench.timing import spread
from retone.lab.bench.training import (
    STAGES,
    Step,
    noise_corpus,
    straightforward_loss,
    training_section,
)
from retone.lab.commands.bench import KINDS
from retone.losses import L1, MultiResolutionSTFT, WeightedSum
from retone.training.recipes.record import override
from retone.training.recipes.table import recipe_named

LENGTH = 24576
SMALL = {"compact": "compact_smoke", "exact": "deepafx_smoke", "published": "deepafx_smoke"}


def test_the_straightforward_loss_is_the_recipes_loss() -> None:
    distance, _ = straightforward_loss()
    torch.manual_seed(0)
    a, b = (0.1 * torch.randn(2, 1, 40000) for _ in range(2))
    ours = WeightedSum((MultiResolutionSTFT(), L1()), (1.0, 100.0))
    assert float(distance(a, b)) == pytest.approx(float(ours(a, b, 24000)), rel=1e-3)


def test_a_step_learns_and_its_stages_fill_it(tmp_path: Path) -> None:
    recipe = override(recipe_named("compact_smoke"), [f"pairs.length={LENGTH}"])
    step = Step(recipe, noise_corpus(tmp_path, recipe.pairs.sample_rate, LENGTH, 0))
    before = [p.detach().clone() for p in step.model.parameters()]
    assert np.isfinite(step()) and np.isfinite(step())
    changed = [not torch.equal(a, b) for a, b in zip(before, step.model.parameters(), strict=True)]
    assert all(changed)
    assert set(step.spent) == set(STAGES)
    assert all(len(times) == 2 and min(times) >= 0 for times in step.spent.values())
    assert next(step.numbers) == 2 * recipe.batch_size  # every example was a fresh one


def test_the_section_is_per_example(tmp_path: Path) -> None:
    section = training_section(
        length=LENGTH, rounds=2, seed=0, say=lambda text: None, recipes=SMALL
    )
    assert len(section.rows) == 3
    for row in section.rows:
        assert row.ok, row.status
        stages = sum(row.figures[f"{stage}_s"] or 0.0 for stage in STAGES)
        assert 0.5 * min(row.cpu_s) < stages < 1.5 * max(row.cpu_s)
        assert row.figures["examples_rate"] == pytest.approx(1 / spread(row.cpu_s).median)
    report = Report("training", {"threads": 2}, {"threads": 2}, [section])
    text = report_text(report)
    assert "2 threads used" in text and "examples per CPU second" in text
    path = tmp_path / "r.json"
    report.save(path)
    assert Report.load(path).section("training").rows[0].cpu_s == section.rows[0].cpu_s
    assert "training" in KINDS
