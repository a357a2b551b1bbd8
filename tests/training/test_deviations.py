"""The papers' recipes are the papers', or say where they are not."""

from __future__ import annotations

import dataclasses
from functools import reduce
from pathlib import Path

import pytest

from retone.training.recipes.deviations import deviations, stated
from retone.training.recipes.strategies import NAMES
from retone.training.recipes.table import RECIPES, recipe_named

PAPERS = [
    n
    for n in RECIPES
    if n.startswith(("deepafx_", "diffdeq_", "proxy_"))
    and not any(word in n for word in ("smoke", "improved", "compact"))
]


@pytest.mark.parametrize("name", PAPERS)
def test_what_the_paper_states_is_in_the_recipe(name: str) -> None:
    recipe = recipe_named(name)
    for path, value in stated(name).items():
        assert reduce(getattr, path.split("."), recipe) == value, path


@pytest.mark.parametrize("name", PAPERS)
def test_each_recipe_of_the_papers_lists_its_deviations(name: str) -> None:
    found = deviations(name)
    assert found and len({d.what for d in found}) == len(found)
    for d in found:
        assert d.published and d.here and "|" not in "".join(d)


def test_retones_own_recipes_have_none() -> None:
    assert not deviations("compact_speech") and not deviations("diffdeq_improved")


def test_the_rows_of_the_papers_differ_in_nothing_but_the_strategy() -> None:
    """SPSA's learning rate, which the paper lowers, is the one exception."""
    for family in ("deepafx_{}_speech", "deepafx_{}_music", "compact_{}_speech"):
        recipes = {}
        for strategy in NAMES:
            name = family.format(strategy)
            if name not in RECIPES:
                special = {"exact": "deepafx_exact_speech"}
                name = special.get(strategy, family.format("").replace("__", "_"))
                if "music" in family and strategy == "exact":
                    continue
            recipes[strategy] = recipe_named(name)
        first = recipes["frequency_sampled"]
        for strategy, recipe in recipes.items():
            changes = {"name": first.name, "gradient": first.gradient}
            if strategy == "spsa" and family.startswith("deepafx"):
                assert recipe.optimizer.learning_rate == 1e-5
                changes["optimizer"] = first.optimizer
            assert dataclasses.replace(recipe, **changes) == first, strategy


def test_a_recipe_of_the_papers_is_at_home_in_this_module() -> None:
    """No module but ``deviations`` keeps a list of differences of its own."""
    folder = Path(__file__).parents[2] / "src/retone/training/recipes"
    for name in ("deepafx.py", "strategies.py", "diffdeq.py"):
        assert "Differences to the paper:" not in (folder / name).read_text()
