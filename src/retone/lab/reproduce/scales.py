"""Sizes of a reproduction. A scale changes numbers of things, never what is done."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

from retone.nets.efficientnet import EfficientNetConfig
from retone.nets.proxy import TcnSizes
from retone.training.recipes.recipe import Recipe


@dataclass(frozen=True)
class Scale:
    """Sizes; None keeps the recipe's own, which is the paper's.

    Args:
        name: tiny, small or paper.
        steps, proxy_steps: training steps of a system and of a proxy.
        batch, length: examples of a step, and samples of an example, in training.
        validation: validation pairs; validations are made at half and at the end of a run.
        width: factor on the networks' channels.
        pairs: pairs of Tables 1, 2 and I and of the figures with NISQA.
        eval_length, music_length: samples of a clip in Tables 1 to 4, at 24 kHz and at 44.1 kHz.
        trials: trials of each pair of styles in Table 3.
        probes, epochs: clips per style (train, validation, test) and epochs in Table 4.
        bench: batch, samples and rounds in Table 5, whose networks keep the paper's widths.
        clips: clips of Figure 1 and recordings of Figure 5.
    """

    name: str
    steps: int | None
    proxy_steps: int | None
    batch: int | None
    length: int | None
    validation: int | None
    width: float
    pairs: int
    eval_length: int
    music_length: int
    trials: int
    probes: tuple[int, int, int]
    epochs: int
    bench: tuple[int, int, int]
    clips: int

    def sized(self, recipe: Recipe) -> Recipe:
        """A recipe with this scale's sizes."""
        changes: dict[str, Any] = {}
        proxy = recipe.name.startswith("proxy_")
        steps = self.proxy_steps if proxy else self.steps
        if steps:
            changes |= {"steps": steps, "validate_every": max(1, steps // 2)}
        if self.batch:
            changes["batch_size"] = self.batch
        if self.validation:
            changes["validation_pairs"] = self.validation
        if self.length:
            changes["pairs"] = replace(recipe.pairs, length=self.length)
        if self.width < 1:
            changes |= self._narrow(recipe)
        return replace(recipe, **changes)

    def _narrow(self, recipe: Recipe) -> dict[str, Any]:
        changes: dict[str, Any] = {}
        network, gradient = recipe.network, recipe.gradient
        if hasattr(network, "encoder"):
            narrow = EfficientNetConfig(width=1.1 * self.width, depth=1.2 * self.width)
            changes["network"] = replace(network, encoder=narrow)
        elif hasattr(network, "gru"):
            channels = max(8, round(self.width * network.channels))
            changes["network"] = replace(network, channels=channels, gru=channels)
        if isinstance(sizes := getattr(gradient, "sizes", None), TcnSizes):
            channels = max(4, round(self.width * sizes.channels))
            changes["gradient"] = replace(gradient, sizes=replace(sizes, channels=channels))  # type: ignore[type-var]
        return changes


SCALES = {
    s.name: s
    for s in (
        Scale(
            "tiny", steps=4, proxy_steps=6, batch=2, length=32768, validation=2, width=0.25,
            pairs=2, eval_length=65536, music_length=131072, trials=1, probes=(1, 1, 1),
            epochs=20, bench=(2, 32768, 1), clips=4,
        ),
        Scale(
            "small", steps=3000, proxy_steps=6000, batch=None, length=65536, validation=40,
            width=0.5, pairs=100, eval_length=131072, music_length=262144, trials=4,
            probes=(60, 20, 20), epochs=400, bench=(6, 131072, 1), clips=40,
        ),
        Scale(
            "paper", steps=None, proxy_steps=None, batch=None, length=None, validation=None,
            width=1.0, pairs=1000, eval_length=131072, music_length=262144, trials=10,
            probes=(60, 20, 20), epochs=400, bench=(6, 131072, 10), clips=100,
        ),
    )
}  # fmt: skip
