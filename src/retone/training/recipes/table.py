"""All recipes by name."""

from __future__ import annotations

import difflib
from collections.abc import Callable

from retone.dsp.effect import Effect
from retone.errors import SettingError
from retone.training.recipes import deepafx, diffdeq, strategies, style
from retone.training.recipes.config import Recipe
from retone.training.recipes.plugin import PLUGIN_RECIPES

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


def recipe_named(name: str, plugin: Effect | None = None) -> Recipe:
    """The recipe of that name; those of ``PLUGIN_RECIPES`` are for a plug-in.

    Raises:
        SettingError: unknown; the message lists the known ones, nearest first. Or a plug-in is
            missing or cannot be used.
    """
    if name in PLUGIN_RECIPES:
        if plugin is None:
            raise SettingError(f"{name}: say which plug-in, --plugin PATH.vst3.")
        return PLUGIN_RECIPES[name](plugin)
    if plugin is not None:
        raise SettingError(f"{name} drives no plug-in; {', '.join(PLUGIN_RECIPES)} do.")
    if name not in RECIPES:
        every = [*RECIPES, *PLUGIN_RECIPES]
        near = difflib.get_close_matches(name, every, n=1)
        hint = f" Did you mean {near[0]}?" if near else ""
        raise SettingError(f"no recipe is called '{name}'.{hint} Known: {', '.join(every)}.")
    return RECIPES[name]()
