"""Trainings on a budget of CPU time: equal, kept when complete, and not compared when stopped."""

from __future__ import annotations

import itertools
import json
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from tiny import tiny_recipe

from retone.errors import DataError
from retone.lab.evaluate import equal_budgets
from retone.nets import checkpoint
from retone.training import loop
from retone.training.state import LAST

RESULTS = Path(__file__).parents[2] / "docs/results"


@pytest.mark.parametrize(("budget_s", "steps"), [(0.2, 1), (2.4, 2), (2.6, 3)])
def test_a_run_stops_at_the_step_nearest_to_its_budget(
    corpora: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, budget_s: float, steps: int
) -> None:
    ticks = itertools.count()
    clock = SimpleNamespace(process_time=lambda: float(next(ticks)), monotonic=time.monotonic)
    monkeypatch.setattr(loop, "time", clock)  # each step takes a second
    loop.train(tiny_recipe(steps=9), corpora, tmp_path, workers=0, stop_at_cpu_s=budget_s)
    state = checkpoint.read(tmp_path / LAST)[1]["state"]
    assert state["step"] == steps and state["cpu_s"] == steps
    assert equal_budgets._has_had(tmp_path, budget_s / 60)
    assert not equal_budgets._has_had(tmp_path, (steps + 1) / 60)


def test_a_stopped_training_is_not_compared(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def stopped(recipe: Any, *args: Any, **options: Any) -> None:
        """As after Ctrl-C before the first step."""

    monkeypatch.setattr(equal_budgets, "train", stopped)
    with pytest.raises(DataError, match="the same call goes on"):
        equal_budgets.train_all(
            {}, tmp_path, ["exact"], cpu_minutes=1.0, proxy_minutes=0.0, say=lambda text: None
        )


def test_published_rows_have_one_network_and_equal_budgets() -> None:
    for file in RESULTS.glob("strategies_*.json"):
        known = json.loads(file.read_text())["question"]["strategies"].values()
        budgets = [f["cpu_minutes"] for f in known]
        assert max(budgets) / min(budgets) <= 1.02 and len({f["weights"] for f in known}) == 1
