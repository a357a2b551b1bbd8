"""Diff-DEQ's Table I, and what its figures 3-5 show: clean clips damaged, then repaired blindly.

Every method gets the same damaged clip and no reference. Each number is given twice: of the output
as it comes (raw), and of the output at the target's loudness (matched), because level is what
nobody can know from the damaged clip alone and it decides half of the paper's rows.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from retone.effects import ENHANCE_CHAIN
from retone.lab.evaluate.jobs import measured
from retone.lab.evaluate.methods import Method, to_loudness
from retone.lab.evaluate.result import Result, Row
from retone.losses import Loss
from retone.metrics import ENHANCE_METRICS, LEVEL_FREE, METRICS, Metric
from retone.metrics.perceptual import dnsmos, nisqa
from retone.process.level import SPEECH_LUFS
from retone.progress import Phase, Progress, silent
from retone.training.data.corpora import Corpus
from retone.training.data.enhance_pairs import EnhanceMaker, EnhancePair
from retone.training.provenance import provenance
from retone.training.recipes.diffdeq import diffdeq_improved, diffdeq_paper, table_pairs

MATCHED = " (matched)"
"""Ending of a metric's name when the output was brought to the target's loudness first."""
QUALITY = {"dnsmos": dnsmos, "nisqa": nisqa}
TARGET = "Target"
"""Predicted quality is asked at one loudness, or it would reward mere level."""


def makers() -> dict[str, EnhanceMaker]:
    """Case -> the maker of its pairs: whose damage, always in full."""
    return {
        "damage by bands that turn no phase": table_pairs(diffdeq_improved()),
        "damage by the paper's bands": table_pairs(diffdeq_paper()),
    }


@dataclass(frozen=True)
class FittedChain:
    """`retone enhance`'s chain fitted to the true target: what its parameters can reach."""

    loss: Loss
    name: str = "oracle (chain fitted to the true target)"
    steps: int = 150
    learning_rate: float = 0.1

    def run(self, pair: EnhancePair, sample_rate: int) -> np.ndarray:
        table = ENHANCE_CHAIN.params
        start = table.to_unit(table.neutral(1)).clamp(0.02, 0.98)
        logits = torch.logit(start).requires_grad_()
        audio = torch.from_numpy(pair.input)[None, None]
        target = self.loss.prepare(torch.from_numpy(pair.target)[None, None])
        optimizer = torch.optim.Adam([logits], lr=self.learning_rate)
        best, kept = np.inf, pair.input
        for step in range(self.steps):
            for group in optimizer.param_groups:
                group["lr"] = self.learning_rate * (1 - step / self.steps)
            setting = table.to_physical(torch.sigmoid(logits))
            out = ENHANCE_CHAIN.render(audio, sample_rate, setting).audio
            loss = self.loss(out, target, sample_rate)
            if float(loss.detach()) < best:
                best, kept = float(loss.detach()), out.detach()[0, 0].numpy()
            optimizer.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            optimizer.step()
        return to_loudness(kept, pair.target, sample_rate, 1.0)


def evaluate(
    corpus: Corpus,
    methods: Sequence[Method],
    *,
    pairs: int,
    seed: int,
    cases: dict[str, EnhanceMaker] | None = None,
    quality: Sequence[str] = (),
    path: Path | None = None,
    metrics: Sequence[Metric] = ENHANCE_METRICS,
    workers: int = 1,
    progress: Progress = silent,
    made_from: Callable[[], dict[str, Any]] = provenance,
) -> Result:
    """Measure methods on seeded pairs of a corpus.

    Args:
        corpus: held-out voices.
        methods: rows of the table; the row ``Target`` holds the clean clips' predicted quality.
        pairs: pairs per case.
        seed: of the pairs.
        cases: name -> maker; `makers` if None.
        quality: ``"dnsmos"`` and ``"nisqa"``, predictors to ask about each output.
        path: result file; rows already there are not measured again, and it is saved as work
            goes on.
        metrics: columns; each that hears level is measured twice.
        workers: processes.
    """
    cases = makers() if cases is None else cases
    rate = next(iter(cases.values())).sample_rate
    question = {
        "what": "enhance",
        "corpus": corpus.name,
        "corpus_sha256": corpus.sha256,
        "sample_rate": rate,
        "length": next(iter(cases.values())).length,
        "pairs": pairs,
        "seed": seed,
        "quality": sorted(quality),
    }
    result = Result(question, made_from())
    if path is not None and path.exists():
        old = Result.load(path)
        if old.question == question:
            result.rows = old.rows
    have = {(r.item, r.case, r.method) for r in result.rows}
    names = tuple(m.name for m in metrics)  # the metrics themselves cannot go to a process
    jobs = []
    for case, maker in cases.items():
        for item in range(pairs):
            wanted = [m for m in methods if (item, case, m.name) not in have]
            target = bool(quality) and (item, case, TARGET) not in have
            if wanted or target:
                jobs.append((corpus, maker, case, item, seed, wanted, names, tuple(quality)))
    for number, rows in enumerate(measured(jobs, _measure, workers), start=1):
        result.rows += [r for r in rows if (r.item, r.case, r.method) not in have]
        progress(Phase("evaluating", "pairs"), number, len(jobs))
        if path is not None and (number % 5 == 0 or number == len(jobs)):
            result.save(path)
    order = [m.name for m in methods]
    result.rows.sort(key=lambda r: (list(cases).index(r.case), r.item, _place(order, r.method)))
    if path is not None:
        result.save(path)
    return result


def _place(order: list[str], name: str) -> int:
    return order.index(name) if name in order else len(order)


def _measure(job: tuple[Any, ...]) -> list[Row]:
    corpus, maker, case, item, seed, methods, names, quality = job
    pair = maker.make(corpus, item, seed)
    rate = maker.sample_rate
    rows = []
    for method in methods:
        estimate = np.asarray(method.run(pair, rate), dtype=np.float32)
        values = distances(estimate, pair.target, rate, names)
        values |= predicted(estimate, rate, quality)
        rows.append(Row(item, pair.group, case, method.name, values))
    if quality:
        rows.append(Row(item, pair.group, case, TARGET, predicted(pair.target, rate, quality)))
    return rows


def distances(
    estimate: np.ndarray, target: np.ndarray, rate: int, names: Sequence[str]
) -> dict[str, float]:
    """Metrics of an estimate [T] as it is and, under names that end in ``MATCHED``, at the
    target's loudness."""
    matched = to_loudness(estimate, target, rate, 1.0)
    found = {}
    for metric in METRICS:
        if metric.name in names:
            found[metric.name] = metric(estimate, target, rate)
            found[metric.name + MATCHED] = (
                found[metric.name] if metric.name in LEVEL_FREE else metric(matched, target, rate)
            )
    return found


def predicted(audio: np.ndarray, rate: int, predictors: Sequence[str]) -> dict[str, float]:
    """Predicted quality of audio [T] at -19 LUFS, as ``dnsmos.overall`` and so on."""
    from retone.audio import loudness_lufs
    from retone.units import db_to_gain

    lufs = float(loudness_lufs(audio[None].astype(np.float64), rate))
    if np.isfinite(lufs):
        audio = audio * np.float32(db_to_gain(SPEECH_LUFS - lufs))
    return {
        f"{name}.{what}": score.value
        for name in predictors
        for what, score in QUALITY[name](audio, rate).items()
    }
