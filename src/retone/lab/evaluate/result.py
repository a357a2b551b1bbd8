"""Results of evaluations: rows of measurements with provenance, and tables of them.

A result file is JSON: provenance, the question, and one row per (pair, case, method) with
its metrics. Means carry 95 % intervals from a bootstrap over sources, because pairs cut from one
voice or track are not independent.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from retone.errors import DataError
from retone.files.atomic import write_text_atomic

BOOTSTRAPS = 2000
ROUNDING = 1e-3
"""Errors this share apart count as equal."""
MADE_BY = ("command", "commit", "date")
"""What the provenance says of a method that was measured later than the others."""
FORMER_NAMES = {
    "faithful": "full-match",
    "joint": "embedding minus neutral",
    "damage by bands that turn no phase": "degraded by phase-transparent bands",
    "damage by the paper's bands": "degraded by the paper's bands",
}
"""Parts of the names of methods and cases in older result files."""


def current_name(name: str) -> str:
    """The name of a method or case, with parts of older names replaced."""
    for old, new in FORMER_NAMES.items():
        name = re.sub(rf"\b{old}\b", new, name)
    return name


@dataclass(frozen=True)
class Row:
    """One pair through one method. ``group`` is the voice or track the pair was cut from."""

    item: int
    group: str
    case: str
    method: str
    values: dict[str, float]


@dataclass
class Result:
    """All rows of an evaluation, in the order they were measured."""

    question: dict[str, Any]
    provenance: dict[str, Any]
    rows: list[Row] = field(default_factory=list)

    def save(self, path: Path) -> None:
        """Write JSON atomically; an existing file is replaced."""
        rows = [[r.item, r.group, r.case, r.method, r.values] for r in self.rows]
        text = json.dumps(
            {
                "retone_result": 1,
                "question": self.question,
                "provenance": self.provenance,
                "rows": rows,
            },
            allow_nan=True,
        )
        write_text_atomic(path, text, force=True)

    @staticmethod
    def load(path: Path) -> Result:
        """Read what ``save`` wrote.

        Raises:
            DataError: the file is damaged or something else.
        """
        try:
            data = json.loads(path.read_text())
            rows = [
                Row(item, group, current_name(case), current_name(method), values)
                for item, group, case, method, values in data["rows"]
            ]
            return Result(data["question"], data["provenance"], rows)
        except (OSError, ValueError, KeyError, TypeError) as e:
            raise DataError(
                f"{path} is not a result file of python -m retone.lab evaluate ({e})."
            ) from e

    @staticmethod
    def resumed(
        question: dict[str, Any],
        provenance: dict[str, Any],
        path: Path | None,
        methods: Sequence[str] = (),
    ) -> Result:
        """A new result, with the rows of the file ``path`` if it answers the same question.

        If ``methods`` names what is measured now, the file's own provenance stays, and each method
        that it lacks has an entry there: command, commit and date.
        """
        result = Result(question, provenance)
        if path is not None and path.exists():
            old = Result.load(path)
            if old.question == question:
                result.rows = old.rows
                if methods and old.rows:
                    later = {key: provenance.get(key) for key in MADE_BY}
                    new = [m for m in methods if m not in old.names("method")]
                    result.provenance = {**old.provenance, **dict.fromkeys(new, later)}
        return result

    def names(self, what: str) -> list[str]:
        """The cases or methods that occur, in order of first appearance."""
        return list(dict.fromkeys(getattr(r, what) for r in self.rows))

    def values(self, case: str, method: str, metric: str) -> dict[int, tuple[str, float]]:
        """Item -> (group, value) of one cell; missing values are left out."""
        return {
            r.item: (r.group, r.values[metric])
            for r in self.rows
            if r.case == case
            and r.method == method
            and metric in r.values
            and math.isfinite(r.values[metric])
        }


def interval(values: Iterable[tuple[str, float]], seed: int = 0) -> tuple[float, float, float]:
    """Mean and 95 % interval of values that come in groups.

    The bootstrap draws groups, then uses all values of each drawn group.

    Returns:
        (mean, low, high); NaN when there is nothing.
    """
    by_group: dict[str, list[float]] = {}
    for group, value in values:
        by_group.setdefault(group, []).append(value)
    if not by_group:
        return math.nan, math.nan, math.nan
    sums = np.array([sum(v) for v in by_group.values()])
    counts = np.array([len(v) for v in by_group.values()])
    pick = np.random.default_rng(seed).integers(len(sums), size=(BOOTSTRAPS, len(sums)))
    means = sums[pick].sum(1) / counts[pick].sum(1)
    low, high = np.quantile(means, [0.025, 0.975])
    return float(sums.sum() / counts.sum()), float(low), float(high)


def table(
    result: Result, case: str, metrics: Sequence[tuple[str, str]], *, baseline: str = "Input"
) -> str:
    """A Markdown table of one case: mean, interval, and the ratio to the baseline's mean.

    Args:
        metrics: (name, direction) with direction ``"lower"``, ``"higher"`` or ``"zero"``; the
            best method of each column is bold, not counting rows called oracle.
        baseline: the method that ratios refer to.
    """
    methods = [m for m in result.names("method") if result.values(case, m, metrics[0][0])]
    cells: dict[str, dict[str, tuple[float, float, float]]] = {
        m: {name: interval(result.values(case, m, name).values()) for name, _ in metrics}
        for m in methods
    }
    contenders = [m for m in methods if "oracle" not in m.lower()]
    lines = [
        "| method | " + " | ".join(name for name, _ in metrics) + " |",
        "|---|" + "---|" * len(metrics),
    ]
    best = {}
    for name, direction in metrics:
        sign = -1.0 if direction == "higher" else 1.0
        best[name] = min(
            contenders,
            key=lambda m, n=name, s=sign: _order(cells[m][n][0], s),  # type: ignore[misc]
            default="",
        )
    for m in methods:
        parts = []
        for name, direction in metrics:
            mean, low, high = cells[m][name]
            text = f"{_short(mean)} [{_short(low)}, {_short(high)}]"
            base = cells.get(baseline, {}).get(name, (math.nan,))[0]
            if m != baseline and direction != "higher" and base:
                text += f" x{mean / base:.2f}"
            parts.append(f"**{text}**" if best[name] == m else text)
        lines.append(f"| {m} | " + " | ".join(parts) + " |")
    groups = {r.group for r in result.rows if r.case == case}
    items = {r.item for r in result.rows if r.case == case}
    lines.append("")
    lines.append(
        f"{len(items)} pairs from {len(groups)} voices or tracks; mean [95 % interval], "
        f"x = ratio to {baseline}."
    )
    return "\n".join(lines)


def page(results: Sequence[Result]) -> str:
    """A documentation page with all tables of evaluations."""
    from retone.metrics import METRICS, STYLE_METRICS

    lines = [
        "# How close the match is",
        "",
        "Generated by `python -m retone.lab evaluate render-docs` from",
        "`docs/results/closeness_*.json`.",
        "",
        "Each pair is one clip processed two ways: one result is the input, the other the target.",
        "The reference is another passage with the target's processing, of the same voice (or",
        "track) or of another one. Errors are between a method's output and the target: lower is",
        "better, except for PESQ. The best of a column is bold. Numbers are means with 95 %",
        "intervals from a bootstrap over voices; x is the ratio to the input's own error.",
        "*network, gated* makes the share of its change that the evidence supports",
        "([How much to do](estimators.md#how-much-to-do)), as `match` does at strength 0, and its",
        "share of level of the difference in level; `match` sets the loudness itself.",
        "It and *network, ungated* are fitted to the predictions of both networks,",
        "*network, fitted* to those of one. The other rows make the whole change.",
        "",
        *(f"- **{m.name}**{f' ({m.unit})' if m.unit else ''}: {m.help}" for m in STYLE_METRICS),
        "",
    ]
    directions = {m.name: m.direction for m in METRICS.values()}
    for result in results:
        q = result.question
        lines += [
            f"## {q['corpus']}, {q['sample_rate']} Hz, {q['length']} samples"
            + (", with the chain fitted to the target" if _has_oracle(result) else ""),
            "",
            f"{q['pairs']} pairs per case, seed {q['seed']}, retone {result.provenance['retone']}, "
            f"{result.provenance['date']}{rows_measured_later(result)}.",
        ]
        readers = only_corpus(result)
        apart = 0 < len(readers.rows) < len(result.rows) and not _has_oracle(result)
        for case in result.names("case"):
            present = [r.values for r in result.rows if r.case == case]
            columns = [(m.name, directions[m.name]) for m in STYLE_METRICS
                       if any(m.name in v for v in present)]  # fmt: skip
            lines += ["", f"### Reference: {case}", "", table(result, case, columns)]
            lines += ["", made_worse(result, case, "stft")]
            if apart:
                lines += ["", f"#### Only the readers of VCTK, reference: {case}", ""]
                lines += [table(readers, case, columns), "", made_worse(readers, case, "stft")]
        lines.append("")
    return "\n".join(lines)


def rows_measured_later(result: Result) -> str:
    """The rows that were measured on a later day, and when."""
    later: dict[str, list[str]] = {}
    for name, made in result.provenance.items():
        if isinstance(made, dict) and made["date"] != result.provenance["date"]:
            later.setdefault(made["date"], []).append(name)
    return "".join(f" ({'; '.join(names)}: {date})" for date, names in later.items())


def only_corpus(result: Result, corpus: str = "vctk") -> Result:
    """The rows of one corpus among several: DeepAFx-ST's unseen voices are those of VCTK."""
    rows = [row for row in result.rows if row.group.startswith(f"{corpus}/")]
    return Result(result.question, result.provenance, rows)


def made_worse(result: Result, case: str, metric: str, baseline: str = "Input") -> str:
    """On how many pairs each method's error is larger than the baseline's: means hide that.

    Errors within ``ROUNDING`` of it are of results that were left alone.
    """
    base = result.values(case, baseline, metric)
    counts = []
    for method in result.names("method"):
        own = result.values(case, method, metric)
        both = [i for i in own if i in base]
        if method != baseline and both:
            worse = sum(own[i][1] > base[i][1] * (1 + ROUNDING) for i in both)
            counts.append(f"{method} {worse} of {len(both)}")
    return (
        f"Pairs whose {metric} error is more than {100 * ROUNDING:g} % above {baseline}'s own: "
        f"{'; '.join(counts)}."
    )


def _has_oracle(result: Result) -> bool:
    return any("oracle" in name for name in result.names("method"))


def _order(value: float, sign: float) -> float:
    return math.inf if math.isnan(value) else sign * abs(value) if sign > 0 else sign * value


def _short(value: float) -> str:
    if math.isnan(value):
        return "-"
    return f"{value:.0f}" if abs(value) >= 100 else f"{value:.3g}"
