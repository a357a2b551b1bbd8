"""DeepAFx-ST's Table 5 on this machine: the cost of each differentiation strategy."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

from retone.lab.bench.methods import WARM_UP_CALLS, Method, measure
from retone.lab.bench.result import Section
from retone.lab.bench.training import Step, noise_corpus
from retone.training.recipes.recipe import Recipe
from retone.training.recipes.strategies import NAMES
from retone.training.recipes.table import RECIPES, recipe_named

INFERENCE_S = 5.0
WORDS = tuple(name for name in NAMES if name != "exact")


def recipe_names(family: str) -> dict[str, str]:
    """Row -> recipe, for ``"compact"`` or ``"deepafx"``."""
    names = {}
    for word in ("exact", *WORDS):
        name = f"{family}_{word}_speech"
        names[word] = name if name in RECIPES else f"{family}_speech"
    return names


def strategies_section(
    *, family: str, batch: int, length: int, rounds: int, seed: int, say: Callable[[str], None]
) -> Section:
    """Measure a training step and inference of every strategy, with untrained weights.

    Args:
        family: recipe family, ``"compact"`` or ``"deepafx"``.
        batch, length: examples of a step, samples of an example.
        rounds, seed, say: as in ``equalizer_section``.
    """
    recipes = {row: _sized(recipe_named(name), batch, length)
               for row, name in recipe_names(family).items()}  # fmt: skip
    (rate,) = {r.pairs.sample_rate for r in recipes.values()}
    section = Section(
        "strategies",
        f"Differentiation strategies, {family} recipes: a training step per example of {length} "
        f"samples at {rate} Hz (pairs, forward, backward, Adam), batch {batch}",
        baseline="exact",
        audio_s=length / rate,
        figures=[
            ("effect_s", "of it effect, forward"),
            ("backward_s", "of it backward"),
            ("inference_rate", "x real time at inference, network included"),
            ("effect_network_count", "weights in the effect's place"),
        ],
        notes=[
            f"Inference analyses and renders {INFERENCE_S:g} s, batch 1, CPU time. NP-HH trains as "
            "NP does. Weights are untrained, which does not affect the times; np, np_hh and np_fh "
            "also need trained proxies."
        ],
    )
    steps: dict[str, Step] = {}
    with tempfile.TemporaryDirectory(prefix="retone-bench-") as folder:
        corpus = noise_corpus(Path(folder), rate, length, seed)

        def method(row: str, recipe: Recipe) -> Method:
            def build() -> Step:
                steps[row] = Step(recipe, corpus)
                return steps[row]

            c = recipe.gradient.contract
            note = f"{c.training_forward} / {c.training_backward} / {c.inference}; " + (
                "settings can be read" if c.readable else "nothing to read"
            )
            return Method(row, build, note=note)

        measure(section, [method(*item) for item in recipes.items()], rounds=rounds, seed=seed,
                say=say)  # fmt: skip
    for row in section.rows:
        step = steps.get(row.method)
        if not row.ok or step is None:
            continue
        row.wall_s = [t / batch for t in row.wall_s]
        row.cpu_s = [t / batch for t in row.cpu_s]
        for stage in ("effect", "backward"):
            row.figures[f"{stage}_s"] = float(np.median(step.spent[stage][WARM_UP_CALLS:])) / batch
        row.figures["inference_rate"] = INFERENCE_S / _inference_s(step)
        networks = step.model.effect_networks
        count = sum(p.numel() for p in networks.parameters()) if networks is not None else 0
        row.figures["effect_network_count"] = float(count)
    return section


def _sized(recipe: Recipe, batch: int, length: int) -> Recipe:
    return replace(recipe, batch_size=batch, pairs=replace(recipe.pairs, length=length))


@torch.no_grad()
def _inference_s(step: Step) -> float:
    """CPU seconds to analyse two recordings and render one, the lowest of three runs."""
    step.model.eval()
    size = round(INFERENCE_S * step.recipe.pairs.sample_rate)
    audio = 0.1 * torch.randn(1, size, generator=torch.Generator().manual_seed(0))
    times = []
    for _ in range(3):
        began = time.process_time()
        step.recipe.infer(step.model, audio, step.model(audio, audio))
        times.append(time.process_time() - began)
    return min(times)
