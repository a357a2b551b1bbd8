"""Table 3: references by other speakers, with other songs, in the five production styles.

For each of the 25 ordered pairs of styles an input of the one is matched to a reference of the
other, and the output is compared with the *reference itself*, since there is no target. That
rewards copying the reference's spectrum and level with its content. The method ``Target`` shows the
error of an ideal style transfer: the pair's target is the input's unprocessed recording with the
reference's own settings.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from retone.lab.evaluate.methods import Method
from retone.lab.evaluate.parallel import Workers, measured
from retone.lab.evaluate.result import Result, Row, interval
from retone.lab.published import TABLE_3
from retone.metrics import METRICS
from retone.progress import Phase, Progress, silent
from retone.training.data.pairs import Pair
from retone.training.data.processing import Processing, normalise
from retone.training.data.styles import LEAD_SAMPLES, STYLES, Example, StyleSet, ordered_pairs
from retone.training.provenance import provenance

COLUMNS = ("msd", "sce", "rms_paper", "lufs", "rms")
"""MSD, SCE, RMS as the paper prints it (20 ln), LUFS; and RMS in dB."""
PER_STYLE = 60


def evaluate(
    styles: StyleSet,
    methods: Sequence[Method],
    *,
    kind: str,
    trials: int,
    seed: int,
    path: Path | None = None,
    workers: Workers = 1,
    progress: Progress = silent,
    about: Mapping[str, Any] | None = None,
) -> Result:
    """Measure methods on seeded pairs of styles.

    Args:
        styles: examples; those of its train subset are used, as the paper does.
        methods: rows of the table.
        kind: ``"speech"`` or ``"music"``, for the page.
        trials: pairs per ordered pair of styles.
        seed: random seed for the choice of examples.
        path: result file; rows in it are not measured again.
        workers: processes, or a Ray cluster; see ``parallel``.
        about: further entries of the question.
    """
    question = {
        "what": "realistic",
        "kind": kind,
        "corpus": styles.corpus.name,
        "corpus_sha256": styles.corpus.sha256,
        "sample_rate": styles.sample_rate,
        "length": styles.length,
        "styles": list(styles.styles),
        "trials": trials,
        "seed": seed,
        "style_seed": styles.seed,
        "apart": styles.apart,
        **(about or {}),
    }
    result = Result.resumed(question, provenance(), path, [m.name for m in methods])
    have = {(r.item, r.method) for r in result.rows}
    jobs = []
    for number, (a, b) in enumerate(ordered_pairs(styles.styles)):
        for trial in range(trials):
            item = number * trials + trial
            wanted = [m for m in methods if (item, m.name) not in have]
            if wanted:
                jobs.append((styles, a, b, item, seed, wanted))
    for number, rows in enumerate(measured(jobs, _measure, workers), start=1):
        result.rows += rows
        progress(Phase("evaluating", "pairs"), number, len(jobs))
        if path is not None and (number % 10 == 0 or number == len(jobs)):
            result.save(path)
    names = [m.name for m in methods]
    result.rows.sort(key=lambda r: (r.item, names.index(r.method) if r.method in names else 99))
    return result


def draw_pair(styles: StyleSet, a: str, b: str, item: int, seed: int) -> tuple[Example, Example]:
    """An input of style ``a`` and a reference of style ``b``, of different voices if possible."""
    rng = np.random.default_rng([seed, item])
    source = styles.example("train", a, int(rng.integers(PER_STYLE)))
    reference = styles.example("train", b, int(rng.integers(PER_STYLE)))
    for _ in range(20):
        if reference.group != source.group:
            break
        reference = styles.example("train", b, int(rng.integers(PER_STYLE)))
    return source, reference


def _measure(job: tuple[Any, ...]) -> list[Row]:
    styles, a, b, item, seed, methods = job
    source, reference = draw_pair(styles, a, b, item, seed)
    own, other = normalise(source.audio), normalise(reference.audio)
    styled = normalise(styles.in_style_of(source, reference))
    nothing = Processing()
    pair = Pair(own, other, styled, True, source.group, reference.group, 0, nothing, nothing, item,
                seed)  # fmt: skip
    metrics = [m for m in METRICS.values() if m.name in COLUMNS]
    rows = []
    for method in methods:
        out = method.run(pair, styles.sample_rate)[LEAD_SAMPLES:]
        values = {m.name: m(out, other[LEAD_SAMPLES:], styles.sample_rate) for m in metrics}
        rows.append(Row(item, source.group, f"{a} > {b}", method.name, values))
    return rows


def cell(result: Result, method: str, metric: str, case: str | None = None) -> list[float]:
    """Values of one method and metric, over all pairs of styles or in one."""
    return [v for _, v in _grouped(result, method, metric, case)]


def _grouped(
    result: Result, method: str, metric: str, case: str | None = None
) -> list[tuple[str, float]]:
    return [
        (r.group, r.values[metric])
        for r in result.rows
        if r.method == method and case in (None, r.case) and math.isfinite(r.values[metric])
    ]


def table(result: Result, columns: Sequence[str] = COLUMNS[:4]) -> str:
    """Means over everything with 95 % intervals, the ratio to Input, and the paper's ratios."""
    methods = result.names("method")
    means = {m: [interval(_grouped(result, m, c)) for c in columns] for m in methods}
    best = []
    for i in range(len(columns)):
        known = {m: row[i][0] for m, row in means.items() if math.isfinite(row[i][0])}
        best.append(min(known, key=known.__getitem__, default=""))
    lines = [
        "| method | " + " | ".join(columns) + " |",
        "|---|" + "---|" * len(columns),
    ]
    for m in methods:
        parts = []
        for i, (mean, low, high) in enumerate(means[m]):
            text = f"{mean:.3g} [{low:.3g}, {high:.3g}]"
            if m != "Input" and "Input" in means:
                text += f" x{mean / means['Input'][i][0]:.2f}"
            parts.append(f"**{text}**" if best[i] == m else text)
        lines.append(f"| {m} | " + " | ".join(parts) + " |")
    group = TABLE_3.group_of(
        str(result.question.get("kind", "speech"))
    )  # other recordings: ratios compare
    paper = TABLE_3.numbers(group.name)
    for name in [n for n in paper if n != "Input"]:
        ratios = " | ".join(
            f"x{v / w:.2f}" for v, w in zip(paper[name], paper["Input"], strict=True)
        )
        lines.append(f"| *paper: {name}, other recordings* | {ratios} |")
    return "\n".join(lines)


def matrix(result: Result, method: str, metric: str) -> np.ndarray:
    """Mean error [styles, styles], input by row, reference by column."""
    names = result.question["styles"]
    return np.array(
        [
            [np.mean(cell(result, method, metric, f"{a} > {b}") or [math.nan]) for b in names]
            for a in names
        ]
    )


def matrix_table(result: Result, method: str, metric: str) -> str:
    """The matrix as Markdown: error, and in brackets the ratio to Input's mean there."""
    names = [STYLES[n].label for n in result.question["styles"]]
    ours, own = matrix(result, method, metric), matrix(result, "Input", metric)
    lines = ["| input \\ reference | " + " | ".join(names) + " |", "|---|" + "---|" * len(names)]
    for i, name in enumerate(names):
        parts = [f"{ours[i, j]:.3g} (x{ours[i, j] / own[i, j]:.2f})" for j in range(len(names))]
        lines.append(f"| {name} | " + " | ".join(parts) + " |")
    return "\n".join(lines)
