"""How close each strategy's gradient is to the exact one, and the cost of a step."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from retone.dsp.effect import Effect
from retone.dsp.param import ParamTable, Role
from retone.lab.evaluate.result import interval
from retone.losses import Loss
from retone.progress import Phase, Progress, silent
from retone.training.data.corpora import Corpus
from retone.training.gradients import Exact, Gradient, Spsa
from retone.training.recipes.recipe import Recipe

PLACES = {"start": 0.02, "anywhere": 0.3}
"""Settings at which gradients are computed: near the untrained network's, or anywhere; the numbers
are widths of uniform draws, as fractions of each parameter's range."""
AVERAGED = 16
EDGE = 0.02


@dataclass(frozen=True)
class Measured:
    """One strategy's gradients against the exact ones: tuples over items.

    ``cosine`` and ``averaged`` [items]: of one step's gradient, and of the mean over as many steps
    as draw ``AVERAGED`` directions at the same settings (the same for deterministic strategies);
    ``length``: norm over the exact norm; ``wrong_signs``: fraction of parameters with the wrong
    sign; ``cpu_s`` per item, forward and backward.
    """

    name: str
    groups: tuple[str, ...]
    cosine: tuple[float, ...]
    averaged: tuple[float, ...]
    length: tuple[float, ...]
    wrong_signs: tuple[float, ...]
    by_part: dict[str, tuple[float, ...]]
    cpu_s: float


def measure(
    recipe: Recipe,
    strategies: Sequence[Gradient],
    corpus: Corpus,
    *,
    items: int,
    place: str,
    seed: int,
    progress: Progress = silent,
) -> list[Measured]:
    """Gradients of a recipe's loss in its unit parameters, on pairs of a corpus.

    Args:
        recipe: loss, effect, pairs; ``network.initial`` is ``"start"``.
        strategies: each builds its networks from its own weights.
        place: a key of ``PLACES``.

    Raises:
        DataError: a strategy's proxies are missing.
    """
    effect, rate = recipe.effect, recipe.pairs.sample_rate
    maker = recipe.pairs.for_validation(corpus)
    table = effect.params
    start = torch.tensor(getattr(recipe.network, "initial", (0.5,) * len(table)))
    built = {s.name: s.build(effect) for s in strategies}
    rows: dict[str, list[tuple[Tensor, Tensor]]] = {s.name: [] for s in strategies}
    exact: list[Tensor] = []
    spent = dict.fromkeys(rows, 0.0)
    groups = []
    draw = torch.Generator().manual_seed(seed)
    for i in range(items):
        pair = maker.make(corpus, i, seed)
        groups.append(pair.group)
        audio, target = (torch.from_numpy(x)[None, None] for x in (pair.input, pair.target))
        spread = PLACES[place]
        middle = start if place == "start" else torch.full((len(table),), 0.5)
        wide = 0.5 if place == "anywhere" else spread
        noise = 2 * torch.rand(len(table), generator=draw) - 1
        unit = (middle + wide * noise).clamp(EDGE, 1 - EDGE)[None]
        exact.append(_gradient(Exact(), effect, audio, target, rate, unit, recipe.loss, None)[0])
        for s in strategies:
            torch.manual_seed(seed + i)
            began = time.process_time()
            one = _gradient(s, effect, audio, target, rate, unit, recipe.loss, built[s.name])
            spent[s.name] += time.process_time() - began
            many = one
            if isinstance(s, Spsa):
                again = [
                    _gradient(s, effect, audio, target, rate, unit, recipe.loss, None)
                    for _ in range(AVERAGED // s.directions - 1)
                ]
                many = torch.stack([one, *again]).mean(0)
            rows[s.name].append((one[0], many[0]))
        progress(Phase("measuring gradients", "items"), i + 1, items)
    parts = parameter_parts(table)
    out = []
    for s in strategies:
        pairs = list(zip(rows[s.name], exact, strict=True))
        out.append(
            Measured(
                s.name,
                tuple(groups),
                tuple(_cosine(one, e) for (one, _), e in pairs),
                tuple(_cosine(many, e) for (_, many), e in pairs),
                tuple(float(one.norm() / e.norm()) for (one, _), e in pairs),
                tuple(float((one * e < 0).float().mean()) for (one, _), e in pairs),
                {
                    name: tuple(_cosine(one[index], e[index]) for (one, _), e in pairs)
                    for name, index in parts.items()
                },
                spent[s.name] / items,
            )
        )
    return out


def parameter_parts(table: ParamTable) -> dict[str, list[int]]:
    """Parameters by their roles: gains, frequencies, Q, thresholds and slopes, times."""
    kinds: dict[str, tuple[Role, ...]] = {
        "gains": ("gain", "makeup"),
        "frequencies": ("frequency",),
        "Q": ("q",),
        "threshold, ratio, knee": ("threshold", "ratio", "knee"),
        "attack, release": ("time",),
    }
    found = {k: [i for i, p in enumerate(table) if p.role in roles] for k, roles in kinds.items()}
    return {k: v for k, v in found.items() if v}


def text(place: str, measured: Sequence[Measured]) -> str:
    """A Markdown table."""
    parts = list(measured[0].by_part)
    heads = [
        "strategy", "cosine to exact", f"of {AVERAGED} directions", "length", "wrong signs",
        *parts, "CPU per item",
    ]  # fmt: skip
    lines = [
        f"Settings: {place}.",
        "",
        "| " + " | ".join(heads) + " |",
        "|" + "---|" * len(heads),
    ]
    for m in measured:
        cells = [
            m.name,
            _interval(m.groups, m.cosine),
            f"{np.mean(m.averaged):.3f}",
            f"{np.median(m.length):.2f}",
            f"{100 * np.mean(m.wrong_signs):.0f} %",
            *(f"{np.nanmean(m.by_part[p]):.2f}" if np.isfinite(m.by_part[p]).any() else "-"
              for p in parts),
            f"{1000 * m.cpu_s:.0f} ms",
        ]  # fmt: skip
        lines.append("| " + " | ".join(cells) + " |")
    lines += ["", f"{len(measured[0].cosine)} items of {len(set(measured[0].groups))} voices or "
              "tracks; cosines are means with 95 % intervals over voices, length is the median of "
              "the norm over the exact norm."]  # fmt: skip
    return "\n".join(lines)


def _gradient(
    strategy: Gradient,
    effect: Effect,
    audio: Tensor,
    target: Tensor,
    rate: float,
    unit: Tensor,
    loss: Loss,
    networks: nn.Module | None,
) -> Tensor:
    """d loss / d unit, [1, P] float64."""
    own = unit.clone().requires_grad_()
    out = strategy.train(effect, audio, rate, own, networks)
    loss(out, target, rate).backward()
    assert own.grad is not None
    return own.grad.double()


def _cosine(a: Tensor, b: Tensor) -> float:
    size = float(a.norm() * b.norm())
    return float(a @ b) / size if size > 0 else float("nan")


def _interval(groups: Sequence[str], values: Sequence[float]) -> str:
    mean, low, high = interval(zip(groups, values, strict=True))
    return f"{mean:.3f} [{low:.3f}, {high:.3f}]"
