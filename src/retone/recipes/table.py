"""All recipes by name."""

from __future__ import annotations

import difflib
from collections.abc import Callable

from retone.errors import SettingError
from retone.recipes import deepafx, diffdeq, strategies, style
from retone.recipes.config import Recipe

RECIPES: dict[str, Callable[[], Recipe]] = {
    f.__name__: f
    for f in (
        style.compact_smoke,
        style.compact_speech,
        style.compact_music,
        deepafx.deepafx_smoke,
        deepafx.deepafx_speech,
        deepafx.deepafx_music,
        deepafx.deepafx_exact_speech,
        deepafx.deepafx_reference_speech,
        diffdeq.diffdeq_smoke,
        diffdeq.diffdeq_paper,
        diffdeq.diffdeq_peq,
        diffdeq.diffdeq_improved,
        diffdeq.diffdeq_improved_peq,
        *strategies.ALL,
    )
}


def recipe_named(name: str) -> Recipe:
    """The recipe of that name.

    Raises:
        SettingError: unknown; the message lists the known ones, nearest first.
    """
    if name not in RECIPES:
        near = difflib.get_close_matches(name, RECIPES, n=1)
        hint = f" Did you mean {near[0]}?" if near else ""
        raise SettingError(f"no recipe is called '{name}'.{hint} Known: {', '.join(RECIPES)}.")
    return RECIPES[name]()
