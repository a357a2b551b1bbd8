"""All recipes by name."""

from __future__ import annotations

import difflib
from collections.abc import Callable

from retone.dsp.effect import Effect
from retone.errors import SettingError
from retone.training.recipes import compact, deepafx, diffdeq, strategies
from retone.training.recipes.frames import FRAME_RECIPES
from retone.training.recipes.plugin import PLUGIN_RECIPES
from retone.training.recipes.recipe import Recipe

RECIPES: dict[str, Callable[[], Recipe]] = {
    f.__name__: f
    for f in (
        compact.compact_smoke,
        compact.compact_speech,
        compact.compact_music,
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
        diffdeq.diffdeq_improved_both,
        *strategies.ALL,
    )
}


def recipe_named(name: str, plugin: Effect | None = None) -> Recipe:
    """The recipe of that name; those of ``PLUGIN_RECIPES`` need a plug-in.

    Raises:
        SettingError: unknown (the message gives the nearest name), or a plug-in is missing or not
            used by the recipe.
    """
    if name in PLUGIN_RECIPES:
        if plugin is None:
            raise SettingError(f"{name} needs a plug-in: name its file, such as PATH.vst3.")
        return PLUGIN_RECIPES[name](plugin)
    if plugin is not None:
        raise SettingError(f"{name} uses no plug-in; {', '.join(PLUGIN_RECIPES)} do.")
    if name not in RECIPES:
        every = [*RECIPES, *FRAME_RECIPES, *PLUGIN_RECIPES]
        near = difflib.get_close_matches(name, every, n=1)
        hint = f" Did you mean {near[0]}?" if near else ""
        raise SettingError(f"no recipe is called '{name}'.{hint} Known: {', '.join(every)}.")
    return RECIPES[name]()
