"""Table 4: can a linear layer tell the five styles apart from a frozen embedding?

One linear layer and cross-entropy; AdamW (1e-3), batches of 16, 400 epochs, the rate divided by
ten at 80 and 95 %, the gradient's norm clipped at 200, the epoch of the best validation F1 kept.
60 clips a style to train, 20 to choose the epoch, 20 to test, from recordings of their own.
Embeddings are scaled to length 1. Every encoder gets clips at its own sample rate; the published
program used 24 kHz for all, which made the rows of OpenL3 and CDPAM worse.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from retone.lab.evaluate.encoders import Encoder
from retone.lab.evaluate.result import Result, Row
from retone.lab.published import TABLE_4
from retone.progress import Phase, Progress, silent
from retone.training.data.processing import normalise
from retone.training.data.styles import StyleSet
from retone.training.provenance import provenance

COUNTS = {"train": 60, "val": 20, "test": 20}
ORDER = ("telephone", "bright", "warm", "broadcast", "neutral")


@dataclass(frozen=True)
class ProbeRules:
    """How a probe is trained."""

    epochs: int = 400
    batch_size: int = 16
    learning_rate: float = 1e-3
    milestones: tuple[float, ...] = (0.8, 0.95)
    clip_norm: float = 200.0


def evaluate(
    styles: StyleSet,
    encoders: Sequence[Encoder],
    *,
    kind: str,
    seeds: Sequence[int] = (0, 1, 2),
    counts: dict[str, int] | None = None,
    rules: ProbeRules = ProbeRules(),
    progress: Progress = silent,
) -> Result:
    """Train a probe on every encoder's embeddings of the same clips.

    Args:
        styles: examples.
        encoders: rows.
        kind: ``"speech"`` or ``"music"``, for the page.
        seeds: random seeds for the probe's weights and batches; one row each.
        counts: clips per style and subset; None takes the paper's.
        rules: how the probe is trained.
    """
    counts = counts or COUNTS
    question = {
        "what": "probes", "kind": kind, "corpus": styles.corpus.name,
        "corpus_sha256": styles.corpus.sha256, "sample_rate": styles.sample_rate,
        "length": styles.length, "styles": list(styles.styles), "style_seed": styles.seed,
        "counts": counts, "epochs": rules.epochs, "apart": styles.apart,
    }  # fmt: skip
    result = Result(question, provenance())
    sets: dict[str, dict[str, tuple[Tensor, Tensor]]] = {e.name: {} for e in encoders}
    total, done = sum(counts.values()) * len(styles.styles), 0
    for subset, count in counts.items():
        rows: dict[str, list[np.ndarray]] = {e.name: [] for e in encoders}
        labels = []
        for number, style in enumerate(styles.styles):
            for index in range(count):
                clip = normalise(styles.example(subset, style, index).audio)
                for encoder in encoders:
                    rows[encoder.name].append(encoder.embed(clip, styles.sample_rate))
                labels.append(number)
                done += 1
                progress(Phase("analysing", "clips"), done, total)
        for name, found in rows.items():
            x = nn.functional.normalize(torch.from_numpy(np.stack(found)).float(), dim=1)
            sets[name][subset] = (x, torch.tensor(labels))
    for encoder in encoders:
        for seed in seeds:
            scores = probe(sets[encoder.name], len(styles.styles), seed, rules)
            values = dict(zip([f"f1_{s}" for s in styles.styles], scores, strict=True))
            values["f1"] = float(np.mean(scores))
            values["dimensions"] = float(sets[encoder.name]["train"][0].shape[1])
            result.rows.append(Row(seed, encoder.name, kind, encoder.name, values))
    return result


def probe(
    sets: dict[str, tuple[Tensor, Tensor]], classes: int, seed: int, rules: ProbeRules
) -> list[float]:
    """F1 of each class on the test set, at the epoch of the best validation F1.

    Args:
        sets: subset -> embeddings [N, D] and class numbers [N], for train, val and test.
    """
    generator = torch.Generator().manual_seed(seed)
    x, y = sets["train"]
    layer = nn.Linear(x.shape[1], classes)
    bound = 1 / math.sqrt(x.shape[1])
    with torch.no_grad():
        for p in layer.parameters():
            p.copy_((torch.rand(p.shape, generator=generator) * 2 - 1) * bound)
    optimizer = torch.optim.AdamW(layer.parameters(), lr=rules.learning_rate)
    schedule = torch.optim.lr_scheduler.MultiStepLR(
        optimizer, [int(m * rules.epochs) for m in rules.milestones], 0.1
    )
    best, kept = -1.0, [0.0] * classes
    for _ in range(rules.epochs):
        order = torch.randperm(len(x), generator=generator)
        for start in range(0, len(x), rules.batch_size):
            pick = order[start : start + rules.batch_size]
            loss = nn.functional.cross_entropy(layer(x[pick]), y[pick])
            optimizer.zero_grad()
            loss.backward()
            nn.utils.clip_grad_norm_(layer.parameters(), rules.clip_norm)
            optimizer.step()
        schedule.step()
        with torch.no_grad():
            score = float(np.mean(f1(layer(sets["val"][0]).argmax(1), sets["val"][1], classes)))
            if score > best:
                best = score
                kept = f1(layer(sets["test"][0]).argmax(1), sets["test"][1], classes)
    return kept


def f1(predicted: Tensor, truth: Tensor, classes: int) -> list[float]:
    """F1 of each class: ``2 TP / (2 TP + FP + FN)``; 0 where there is nothing to find."""
    out = []
    for k in range(classes):
        hit = float(((predicted == k) & (truth == k)).sum())
        wrong = float(((predicted == k) != (truth == k)).sum())
        out.append(2 * hit / (2 * hit + wrong) if hit + wrong else 0.0)
    return out


def table(result: Result) -> str:
    """A Markdown table: F1 by style (mean over seeds) and average, and the paper's rows."""
    styles = result.question["styles"]
    order = [s for name in ORDER for s in styles if s.startswith(name)]
    lines = [
        "| features | dimensions | " + " | ".join(order) + " | average (spread over seeds) |",
        "|---|---|" + "---|" * (len(order) + 1),
    ]
    for name in result.names("method"):
        rows: list[dict[str, Any]] = [r.values for r in result.rows if r.method == name]
        cells = [f"{np.mean([v[f'f1_{s}'] for v in rows]):.2f}" for s in order]
        mean = [v["f1"] for v in rows]
        lines.append(
            f"| {name} | {rows[0]['dimensions']:.0f} | " + " | ".join(cells)
            + f" | {np.mean(mean):.3f} ({min(mean):.3f} to {max(mean):.3f}) |"
        )  # fmt: skip
    group = TABLE_4.group_of(str(result.question["kind"]))
    for name, values in TABLE_4.numbers(group.name).items():
        cells = [f"{v:.2f}" for v in values]
        lines.append(f"| *paper: {name}, other recordings* | | " + " | ".join(cells) + " |")
    return "\n".join(lines)
