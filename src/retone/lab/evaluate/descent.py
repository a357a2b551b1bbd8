"""Settings found by gradient descent with each strategy in equal CPU time.

For one pair at a time, Adam moves unit parameters from the untrained network's start towards the
pair's own target, with each strategy for the same CPU time. The settings are then rendered by the
effect itself, whatever the strategy. No network is trained: this tests the gradient alone.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch

from retone.lab.evaluate.result import interval
from retone.progress import Phase, Progress, silent
from retone.training.data.corpora import Corpus
from retone.training.gradients import Exact, Gradient
from retone.training.recipes.recipe import Recipe

LEARNING_RATE = 0.15
EDGE = 0.02


@dataclass(frozen=True)
class Descent:
    """One strategy: per item, loss relative to the unprocessed input's, and number of steps."""

    name: str
    groups: tuple[str, ...]
    left: tuple[float, ...]
    steps: tuple[int, ...]


def descend(
    recipe: Recipe,
    strategies: Sequence[Gradient],
    corpus: Corpus,
    *,
    items: int,
    seconds: float,
    seed: int,
    progress: Progress = silent,
) -> list[Descent]:
    """Descend on ``items`` pairs of a corpus, for ``seconds`` of CPU time per pair and strategy.

    Raises:
        DataError: a strategy's proxies are missing.
    """
    effect, rate = recipe.effect, recipe.pairs.sample_rate
    maker = recipe.pairs.for_validation(corpus)
    start = torch.tensor(recipe.network.initial).clamp(EDGE, 1 - EDGE)
    built = {s.name: s.build(effect) for s in strategies}
    found: dict[str, list[tuple[str, float, int]]] = {s.name: [] for s in strategies}
    for i in range(items):
        pair = maker.make(corpus, i, seed)
        audio, target = (torch.from_numpy(x)[None, None] for x in (pair.input, pair.target))
        prepared = recipe.loss.prepare(target)
        unprocessed = float(recipe.loss(audio, prepared, rate))
        for s in strategies:
            torch.manual_seed(seed + i)
            logits = torch.logit(start)[None].clone().requires_grad_()
            optimizer = torch.optim.Adam([logits], lr=LEARNING_RATE)
            began, steps, spent = time.process_time(), 0, 0.0
            while spent < seconds:
                optimizer.param_groups[0]["lr"] = LEARNING_RATE * (1 - spent / seconds)
                unit = torch.sigmoid(logits)
                out = s.train(effect, audio, rate, unit, built[s.name])
                optimizer.zero_grad()
                recipe.loss(out, prepared, rate).backward()
                if bool(logits.grad.isfinite().all()):  # type: ignore[union-attr]
                    optimizer.step()
                steps, spent = steps + 1, time.process_time() - began
            with torch.no_grad():
                out = Exact().infer(effect, audio, rate, torch.sigmoid(logits))
                left = float(recipe.loss(out, prepared, rate)) / unprocessed
            found[s.name].append((pair.group, left, steps))
        progress(Phase("descending", "pairs"), i + 1, items)
    return [
        Descent(name, *(tuple(column) for column in zip(*rows, strict=True)))  # type: ignore[arg-type]
        for name, rows in found.items()
    ]


def text(found: Sequence[Descent], seconds: float) -> str:
    """A Markdown table, best first."""
    lines = [
        f"{seconds:g} s of CPU time for each pair and strategy:",
        "",
        "| strategy | remaining loss, effect's own output | steps |",
        "|---|---|---|",
    ]
    for d in sorted(found, key=lambda d: float(np.mean(d.left))):
        mean, low, high = interval(zip(d.groups, d.left, strict=True))
        lines.append(f"| {d.name} | {mean:.2f} [{low:.2f}, {high:.2f}] | {np.mean(d.steps):.0f} |")
    groups = set(found[0].groups)
    lines += ["", f"{len(found[0].left)} pairs of {len(groups)} voices or tracks; the loss of the "
              "unprocessed input is 1; mean [95 % interval over voices]."]  # fmt: skip
    return "\n".join(lines)
