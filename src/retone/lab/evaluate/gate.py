"""Train the gate of a network: which share of its change is best, from what the network knows.

Pairs with a known target are rendered with nine combinations of shares of tone and dynamics. The
gate is trained on the interpolated errors of its shares: the mean logarithm of the ratio to the
input's own error, where a ratio above 1 counts more than once, so that few pairs get worse.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from retone.estimators.base import shift_thresholds
from retone.estimators.gate import FARTHEST, Gate, Shares, blended
from retone.estimators.network import Network
from retone.files.atomic import write_text_atomic
from retone.lab.evaluate.methods import excerpt
from retone.lab.evaluate.synthetic import CASES
from retone.metrics import METRICS
from retone.process.stream import render_whole
from retone.progress import Phase, Progress, silent
from retone.training.data.corpora import Corpus
from retone.training.data.pairs import Pair, PairMaker
from retone.units import db_to_gain

STEPS = (0.0, 0.5, 1.0)
"""Shares that are rendered; errors between them are interpolated."""
WEIGHTS = {"stft": 1.0, "msd": 0.2, "rms": 0.15, "lufs": 0.15}
"""Metrics in the loss and their weights."""
FLOOR = 0.05
"""Errors have this share of the mean error added, so that tiny ones do not dominate the loss."""
WORSE_WEIGHT = 1.0
HIDDEN, DECAY, ITERATIONS, LEARNING_RATE, START = 8, 0.1, 400, 0.02, 1.5
FOLDS = 6
Row = dict[str, Any]


def measure_pairs(
    corpus: Corpus,
    maker: PairMaker,
    network: Network,
    *,
    pairs: int,
    seed: int,
    path: Path,
    progress: Progress = silent,
) -> list[Row]:
    """Evidence and errors for pairs of each case; what the file has is not measured again.

    Each row holds ``case``, ``pair``, ``group``, ``evidence``, and ``errors``: metric -> one row
    for each share of tone, one column for each share of dynamics.
    """
    rows: list[Row] = json.loads(path.read_text()) if path.exists() else []
    done = {(row["case"], row["pair"]) for row in rows}
    phase = Phase("measuring pairs", "pairs")
    for i in range(pairs):
        for case, cross in CASES.items():
            if (case, i) not in done:
                pair = maker.for_evaluation(cross_source=cross).make(corpus, i, seed)
                about = {"case": case, "pair": i, "group": pair.group}
                rows.append(about | measured(pair, network, maker.sample_rate))
        if i % 10 == 9 or i == pairs - 1:
            write_text_atomic(path, json.dumps(rows), force=True)
        progress(phase, i + 1, pairs)
    return rows


def measured(pair: Pair, network: Network, rate: int) -> Row:
    """The network's evidence for a pair, and the errors at all combinations of shares."""
    source, gain_db = excerpt(pair.input, rate)
    reference, reference_gain_db = excerpt(pair.reference, rate)
    estimate, evidence = network.answer(source, [reference], locks={})
    table = estimate.effect.params
    whole, _ = shift_thresholds(table, estimate.setting, -gain_db)
    errors: dict[str, list[list[float]]] = {name: [] for name in WEIGHTS}
    for tone in STEPS:
        for row in errors.values():
            row.append([])
        for dynamics in STEPS:
            setting = blended(table, whole, Shares(tone, dynamics))
            out = render_whole(estimate.effect, pair.input[None], rate, setting)[0]
            out = out * np.float32(db_to_gain(dynamics * (gain_db - reference_gain_db)))
            for name, row in errors.items():
                row[-1].append(abs(float(METRICS[name](out, pair.target, rate))))
    return {"evidence": evidence, "errors": errors}


def fit_gate(rows: Sequence[Row]) -> Gate:
    """A gate trained on all rows."""
    names = tuple(rows[0]["evidence"])
    values = np.array([[row["evidence"][n] for n in names] for row in rows])
    mean, scale = values.mean(axis=0), values.std(axis=0) + 1e-9
    z = torch.tensor(np.clip((values - mean) / scale, -FARTHEST, FARTHEST)).float()
    errors = {name: errors_of(rows, name).float() for name in WEIGHTS}
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        inner, outer = nn.Linear(len(names), HIDDEN), nn.Linear(HIDDEN, len(Shares._fields))
    with torch.no_grad():
        outer.weight.mul_(0.1)
        outer.bias.fill_(START)
    weights = [*inner.parameters(), *outer.parameters()]
    optimizer = torch.optim.AdamW(weights, lr=LEARNING_RATE, weight_decay=DECAY)
    for _ in range(ITERATIONS):
        optimizer.zero_grad()
        shares = torch.sigmoid(outer(torch.tanh(inner(z))))
        loss(errors, shares).backward()
        optimizer.step()
    matrices = [
        np.column_stack([layer.weight.detach().numpy(), layer.bias.detach().numpy()])
        for layer in (inner, outer)
    ]
    return Gate(names, mean, scale, *matrices)


def loss(errors: Mapping[str, Tensor], shares: Tensor) -> Tensor:
    """Mean logarithm of the ratio to the input's error; positive ones count again."""
    total = torch.zeros(())
    for name, weight in WEIGHTS.items():
        grid = errors[name]
        floor = FLOOR * grid[:, 0, 0].mean()
        ratio = torch.log((interpolated(grid, shares) + floor) / (grid[:, 0, 0] + floor))
        total = total + weight * (ratio + WORSE_WEIGHT * ratio.relu()).mean()
    return total


def errors_of(rows: Sequence[Row], metric: str) -> Tensor:
    """Errors [N, tone, dynamics]."""
    return torch.tensor(np.array([row["errors"][metric] for row in rows]))


def interpolated(grid: Tensor, shares: Tensor) -> Tensor:
    """Errors [N] at shares [N, 2], bilinear in a grid [N, K, K]."""
    at = shares * (len(STEPS) - 1)
    low = at.floor().clamp(0, len(STEPS) - 2).long()
    (u, v), rows = (at - low).unbind(1), torch.arange(len(grid))

    def corner(i: int, j: int) -> Tensor:
        return grid[rows, low[:, 0] + i, low[:, 1] + j]

    return (1 - v) * ((1 - u) * corner(0, 0) + u * corner(1, 0)) + v * (
        (1 - u) * corner(0, 1) + u * corner(1, 1)
    )


def cross_validated(rows: Sequence[Row]) -> Tensor:
    """Shares [N, 2] that gates give which never saw the voice or track of a row."""
    groups = sorted({row["group"] for row in rows})
    order = np.random.default_rng(0).permutation(len(groups))
    fold = {groups[g]: k % FOLDS for k, g in enumerate(order)}
    shares = torch.ones(len(rows), 2)
    for k in range(FOLDS):
        kept = [row for row in rows if fold[row["group"]] != k]
        if not kept:
            continue
        gate = fit_gate(kept)
        for i, row in enumerate(rows):
            if fold[row["group"]] == k:
                shares[i] = torch.tensor(gate.shares(row["evidence"]))
    return shares


def summary(rows: Sequence[Row], shares: Tensor) -> dict[str, dict[str, float]]:
    """By case: ratios of mean errors to the input's, and the share of pairs worse in STFT."""
    found = {}
    for case in CASES:
        kept = torch.tensor([row["case"] == case for row in rows])
        if not kept.any():
            continue
        numbers = {}
        for name in WEIGHTS:
            grid = errors_of(rows, name)[kept]
            errors = interpolated(grid, shares[kept].double())
            numbers[name] = float(errors.mean() / grid[:, 0, 0].mean())
            if name == "stft":
                numbers["worse"] = float((errors > grid[:, 0, 0]).double().mean())
        tone, dynamics = shares[kept].mean(0).tolist()
        found[case] = {"pairs": int(kept.sum()), **numbers, "tone": tone, "dynamics": dynamics}
    return found
