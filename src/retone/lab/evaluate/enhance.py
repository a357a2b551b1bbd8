"""Diff-DEQ's Table I and figures 3 to 5: clean clips degraded, then restored without a reference.

Every method gets the same degraded clip and no reference. Each number is given twice: for the
output as it is (raw), and at the target's loudness (matched), because the level cannot be known
from the degraded clip alone and dominates half of the paper's rows.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from retone.effects import ENHANCE_CHAIN
from retone.estimators.reference_free import ReferenceFree
from retone.lab.evaluate.methods import Method, fitted_to_target, to_loudness
from retone.lab.evaluate.parallel import Workers, measured
from retone.lab.evaluate.result import Result, Row
from retone.losses import Loss
from retone.metrics import ENHANCE_METRICS, LEVEL_FREE, METRICS, Metric
from retone.metrics.perceptual import dnsmos, nisqa
from retone.process.level import SPEECH_LUFS
from retone.progress import Phase, Progress, silent
from retone.training.data.corpora import Corpus
from retone.training.data.enhance_pairs import EnhanceMaker, EnhancePair
from retone.training.provenance import provenance
from retone.training.recipes.diffdeq import diffdeq_improved, diffdeq_paper, scoring_pairs

MATCHED = " (matched)"
"""Suffix of a metric's name if the output was first matched to the target's loudness."""
QUALITY = {"dnsmos": dnsmos, "nisqa": nisqa}
TARGET = "Target"
CAUTION_DB = 1.5


def makers() -> dict[str, EnhanceMaker]:
    """Case -> the maker of its pairs, which are always fully degraded."""
    return {
        "degraded by phase-transparent bands": scoring_pairs(diffdeq_improved()),
        "degraded by the paper's bands": scoring_pairs(diffdeq_paper()),
    }


def network_alone(weights: Path | None) -> ReferenceFree:
    """What a network can do, as the paper measures it: without ``enhance``'s expanders, and with
    less of its caution, since these clips are all degraded."""
    return ReferenceFree(weights=weights, caution_db=CAUTION_DB, expansion=0.0)


@dataclass(frozen=True)
class FittedChain:
    """The chain of `retone enhance` fitted to the true target: an upper bound."""

    loss: Loss
    name: str = "oracle (chain fitted to the true target)"
    steps: int = 150
    learning_rate: float = 0.1

    def run(self, pair: EnhancePair, sample_rate: int) -> np.ndarray:
        table = ENHANCE_CHAIN.params
        start = table.to_unit(table.neutral(1)).clamp(0.02, 0.98)
        kept = fitted_to_target(
            ENHANCE_CHAIN, start, pair, sample_rate, self.loss,
            steps=self.steps, learning_rate=self.learning_rate,
        )  # fmt: skip
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
    workers: Workers = 1,
    progress: Progress = silent,
    made_from: Callable[[], dict[str, Any]] = provenance,
    about: Mapping[str, Any] | None = None,
) -> Result:
    """Measure methods on seeded pairs of a corpus.

    Args:
        corpus: held-out voices.
        methods: rows of the table; the row ``Target`` holds the clean clips' predicted quality.
        pairs: pairs per case.
        seed: random seed of the pairs.
        cases: name -> maker; `makers` if None.
        quality: predictors of quality for each output: ``"dnsmos"``, ``"nisqa"``.
        path: result file; rows in it are not measured again; it is saved regularly.
        metrics: columns; those that depend on level are measured twice.
        workers: processes, or a Ray cluster; see ``parallel``.
        about: further entries of the question.
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
        **(about or {}),
    }
    result = Result.resumed(question, made_from(), path)
    have = {(r.item, r.case, r.method) for r in result.rows}
    names = tuple(m.name for m in metrics)  # metrics cannot be pickled
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
    result.rows.sort(key=lambda r: (list(cases).index(r.case), r.item, _position(order, r.method)))
    if path is not None:
        result.save(path)
    return result


def _position(order: list[str], name: str) -> int:
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
    for metric in METRICS.values():
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
