"""Tables 1 and 2: pairs made by processing one clip two ways, so that the target is known."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from retone.lab.evaluate.methods import Method
from retone.lab.evaluate.parallel import Workers, measured
from retone.lab.evaluate.result import Result, Row
from retone.metrics import METRICS, STYLE_METRICS, Metric
from retone.progress import Phase, Progress, silent
from retone.training.data.corpora import Corpus
from retone.training.data.pairs import PairMaker
from retone.training.provenance import provenance

CASES = {"same source": False, "another source": True}
"""Case -> whether the reference is another voice or track."""


def evaluate(
    corpus: Corpus,
    maker: PairMaker,
    methods: Sequence[Method],
    *,
    pairs: int,
    seed: int,
    path: Path | None = None,
    metrics: Sequence[Metric] = STYLE_METRICS,
    workers: Workers = 1,
    progress: Progress = silent,
    made_from: Callable[[], dict[str, Any]] = provenance,
    cases: Sequence[str] = tuple(CASES),
    about: Mapping[str, Any] | None = None,
) -> Result:
    """Measure methods on seeded pairs of a corpus.

    Args:
        corpus: held-out voices or tracks.
        maker: the generator; augmentation is switched off, as in the paper.
        methods: rows of the table.
        pairs: pairs per case.
        seed: of the pairs.
        path: result file; rows in it are not measured again; it is saved regularly.
        metrics: columns.
        workers: processes, or a Ray cluster; see ``parallel``.
        cases: which kinds of reference.
        about: further entries of the question.
    """
    question = {
        "what": "synthetic",
        "corpus": corpus.name,
        "corpus_sha256": corpus.sha256,
        "sample_rate": maker.sample_rate,
        "length": maker.length,
        "pairs": pairs,
        "seed": seed,
        **(about or {}),
    }
    result = Result.resumed(question, made_from(), path, [m.name for m in methods])
    have = {(r.item, r.case, r.method) for r in result.rows}
    names = tuple(m.name for m in metrics)  # metrics cannot be pickled
    jobs = []
    for case in cases:
        case_maker = maker.for_evaluation(cross_source=CASES[case])
        for item in range(pairs):
            wanted = [m for m in methods if (item, case, m.name) not in have]
            if wanted:
                jobs.append((corpus, case_maker, case, item, seed, wanted, names))
    for number, rows in enumerate(measured(jobs, _measure, workers), start=1):
        result.rows += rows
        progress(Phase("evaluating", "pairs"), number, len(jobs))
        if path is not None and (number % 10 == 0 or number == len(jobs)):
            result.save(path)
    order = [m.name for m in methods]
    result.rows.sort(key=lambda r: (r.case, r.item, _position(order, r.method)))
    return result


def _position(order: list[str], name: str) -> int:
    return order.index(name) if name in order else len(order)


def _measure(job: tuple[Any, ...]) -> list[Row]:
    corpus, maker, case, item, seed, methods, names = job
    metrics = [m for m in METRICS.values() if m.name in names]
    pair = maker.make(corpus, item, seed)
    rows = []
    for method in methods:
        estimate = method.run(pair, maker.sample_rate)
        values = {m.name: m(estimate, pair.target, maker.sample_rate) for m in metrics}
        rows.append(Row(item, pair.group, case, method.name, values))
    return rows
