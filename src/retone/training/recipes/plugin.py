"""Recipes that learn to set a plug-in, whose gradient is estimated by SPSA.

The plug-in is an argument, because its parameters decide the network's width. It only has to
render: gradients are estimated (SPSA) or come from a proxy that imitates it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from retone.dsp.effect import Effect
from retone.training.gradients import NeuralProxy, Spsa
from retone.training.recipes import strategies
from retone.training.recipes.compact import compact_speech
from retone.training.recipes.diffdeq import MEL, _network, diffdeq_improved
from retone.training.recipes.recipe import Recipe

EDGE, INNER = 0.05, 0.3
"""Distance from the ends of its range at which a parameter may start: for one with a neutral value,
and for any other, so that a compressor whose threshold defaults to 0 dB acts and gets a gradient.
"""
EPSILON = 5e-3
"""Larger than for retone's own effects: plug-ins round their parameters."""


def _start(effect: Effect) -> tuple[float, ...]:
    table = effect.params
    units = table.to_unit(table.defaults(1))[0]
    edges = [INNER if p.neutral is None else EDGE for p in table]
    return tuple(min(max(float(u), e), 1 - e) for u, e in zip(units, edges, strict=True))


def plugin_speech(effect: Effect) -> Recipe:
    """The compact network sets a plug-in to a reference, trained by SPSA."""
    r = compact_speech()
    return replace(
        r,
        name="plugin_speech",
        effect=effect,
        network=replace(r.network, outputs=len(effect.params), initial=_start(effect)),
        gradient=Spsa(epsilon=EPSILON, directions=2),
        batch_size=8,
        steps=20_000,
    )


def plugin_music(effect: Effect) -> Recipe:
    """The compact network sets a plug-in, trained on music."""
    return replace(plugin_speech(effect), name="plugin_music", kind="music")


def plugin_enhance(effect: Effect) -> Recipe:
    """Diff-DEQ's network sets a plug-in without a reference, trained by SPSA."""
    return replace(
        diffdeq_improved(),
        name="plugin_enhance",
        effect=effect,
        network=_network(effect, MEL),
        gradient=Spsa(epsilon=EPSILON, directions=2),
        batch_size=8,
        steps=20_000,
    )


def plugin_proxy(effect: Effect) -> Recipe:
    """A network that learns to imitate a plug-in, for plugin_np_fh_speech."""
    return replace(strategies.proxy(effect, compact=True), name="plugin_proxy")


def plugin_np_fh_speech(effect: Effect) -> Recipe:
    """The plug-in runs forward, its proxy backward (runs/plugin_proxy/best.safetensors)."""
    files = ("runs/plugin_proxy/best.safetensors",)
    gradient = NeuralProxy("np_fh", files, strategies.COMPACT)
    return replace(plugin_speech(effect), name="plugin_np_fh_speech", gradient=gradient)


PLUGIN_RECIPES: dict[str, Callable[[Effect], Recipe]] = {
    f.__name__: f
    for f in (plugin_speech, plugin_music, plugin_enhance, plugin_proxy, plugin_np_fh_speech)
}
