"""Analyse a listening test: screening, estimates with intervals, tables and figures."""

from __future__ import annotations

import csv
import io
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from retone.errors import no_formula
from retone.report.svg import Axis, Plot, ticks
from retone.studio.listening.prepare import read_study
from retone.studio.listening.results import COLUMNS, Row, read_results
from retone.studio.listening.screening import by_listener, screened
from retone.studio.listening.statistics import Estimate, binomial_p, bootstrap, differences


@dataclass(frozen=True)
class Line:
    """One line of a result: a system, or a system against another one."""

    system: str
    other: str
    role: str
    estimate: Estimate
    p: float | None = None


@dataclass(frozen=True)
class Analysis:
    """The outcome of a test.

    Args:
        study: the content of ``study.json``.
        rows: answers of all listeners, those left out included.
        left_out: listener -> why.
        lines: the result by system (MUSHRA, ACR) or by pair (AB, ABX).
        contrasts: pairs of systems, the difference of their scores.
    """

    study: Mapping[str, Any]
    rows: Sequence[Row]
    left_out: Mapping[str, str]
    lines: tuple[Line, ...]
    contrasts: tuple[Line, ...] = ()

    @property
    def listeners(self) -> int:
        """Listeners that count."""
        return len(by_listener(self.rows)) - len(self.left_out)

    def line(self, system: str, other: str = "") -> Line:
        """The line of a system, or of a pair."""
        return next(x for x in self.lines if (x.system, x.other) == (system, other))


def analyse(study: Mapping[str, Any], rows: Sequence[Row]) -> Analysis:
    """Screen listeners and estimate what the test asks.

    MUSHRA and ACR: mean scores. AB: share of preferences for the first of each pair, a tie counting
    half. ABX: share of right answers with the exact binomial p against guessing. Attention checks
    count for screening only.
    """
    design = study["design"]
    left_out = screened(study, rows)
    kept = [r for r in rows if r.listener not in left_out and r.kind == "rate"]
    if design in ("mushra", "acr"):
        lines, contrasts = _scores(kept)
    else:
        lines, contrasts = _pairs(design, kept), ()
    return Analysis(study, rows, left_out, lines, contrasts)


def _scores(rows: Sequence[Row]) -> tuple[tuple[Line, ...], tuple[Line, ...]]:
    roles = {r.system: r.role for r in rows}
    listeners = by_listener(rows)
    lines = [
        Line(system, "", role, bootstrap([
            np.array([r.score for r in own if r.system == system and r.score is not None])
            for own in listeners.values()
        ]))
        for system, role in roles.items()
    ]  # fmt: skip
    lines.sort(key=lambda x: -x.estimate.value)
    table: dict[str, dict[str, dict[str, float]]] = {}
    for r in rows:
        if r.score is not None:
            table.setdefault(r.listener, {}).setdefault(r.item, {})[r.system] = r.score
    names = [x.system for x in lines]
    contrasts = tuple(
        Line(a, b, "", differences(table, a, b))
        for i, a in enumerate(names)
        for b in names[i + 1 :]
    )
    return tuple(lines), contrasts


def _pairs(design: str, rows: Sequence[Row]) -> tuple[Line, ...]:
    found = []
    for a, b in dict.fromkeys((r.system, r.other) for r in rows):
        own = by_listener([r for r in rows if (r.system, r.other) == (a, b)])
        if design == "abx":
            right = [[float(bool(r.correct)) for r in answers] for answers in own.values()]
            count = sum(map(len, right))
            p = binomial_p(round(sum(map(sum, right))), count)
            found.append(Line(a, b, "", bootstrap([np.array(x) for x in right]), p))
        else:
            value = {a: 1.0, b: 0.0}
            share = [np.array([value.get(r.choice, 0.5) for r in x]) for x in own.values()]
            found.append(Line(a, b, "", bootstrap(share)))
    return tuple(found)


def analyse_folder(folder: Path) -> Analysis:
    """Analyse the results that lie in a test's folder.

    Raises:
        DataError: the folder holds no test or no results, or a file is damaged.
    """
    study = read_study(folder)
    return analyse(study, read_results(folder, study))


def files_of(found: Analysis) -> dict[str, str]:
    """Texts of ``analysis.json``, ``analysis.csv``, ``answers.csv`` and ``analysis.svg``."""
    lines = [*found.lines, *found.contrasts]
    content = {
        "study": found.study["id"],
        "title": found.study["title"],
        "design": found.study["design"],
        "listeners": found.listeners,
        "left_out": dict(found.left_out),
        "estimates": [_described(x) for x in found.lines],
        "differences": [_described(x) for x in found.contrasts],
    }
    table = [["system", "other", "value", "low", "high", "listeners", "answers", "p"]]
    table += [
        [x.system, x.other, *(f"{v:.4f}" for v in (e.value, e.low, e.high)), str(e.listeners),
         str(e.answers), "" if x.p is None else f"{x.p:.3g}"]
        for x in lines
        for e in [x.estimate]
    ]  # fmt: skip
    own = [f for f in COLUMNS if f in Row.__dataclass_fields__]
    answers = [[*own, "left_out"]]
    for r in found.rows:
        values = asdict(r)
        answers.append(
            [*("" if values[c] is None else str(values[c]) for c in own),
             found.left_out.get(r.listener, "")]
        )  # fmt: skip
    return {
        "analysis.json": json.dumps(content, indent=1) + "\n",
        "analysis.csv": _csv(table),
        "answers.csv": _csv(answers),
        "analysis.svg": figure(found).render(standalone=True),
    }


def _described(x: Line) -> dict[str, Any]:
    e = {
        k: None if isinstance(v, float) and math.isnan(v) else v
        for k, v in asdict(x.estimate).items()
    }
    return {"system": x.system, "other": x.other, "role": x.role, **e, "p": x.p}


_NUMBERS = ("value", "low", "high", "p", "score")
"""Columns that may begin with a minus."""


def _csv(table: Sequence[Sequence[str]]) -> str:
    out = io.StringIO()
    head, *rows = table
    numbers = [i for i, name in enumerate(head) if name in _NUMBERS]
    csv.writer(out, lineterminator="\n").writerows(
        [head, *([c if i in numbers else no_formula(c) for i, c in enumerate(r)] for r in rows)]
    )
    return out.getvalue()


def figure(found: Analysis) -> Plot:
    """Each system or pair with its interval."""
    design = found.study["design"]
    low, high, title = {
        "mushra": (0.0, 100.0, "Score (0 to 100)"),
        "acr": (1.0, 5.0, "Mean opinion score (1 to 5)"),
        "ab": (0.0, 1.0, "Share that prefers the first"),
        "abx": (0.0, 1.0, "Share of right answers"),
    }[design]
    count = max(len(found.lines), 1)
    names = [x.system if not x.other else f"{x.system} / {x.other}" for x in found.lines]
    about = f"{found.study['title']}: 95 % intervals, {found.listeners} listeners"
    plot = Plot(
        "analysis", about, max(360.0, 60 + 110.0 * count), 360,
        Axis(0.0, float(count), ticks=tuple((i + 0.5, n[:18]) for i, n in enumerate(names))),
        Axis(low, high, title, ticks=ticks(low, high, 5)), top=30,
    )  # fmt: skip
    if design in ("ab", "abx"):
        plot.rule(y=0.5)
    for i, x in enumerate(found.lines):
        css = {"reference": "reference", "anchor": "before"}.get(x.role, "after")
        e = x.estimate
        if math.isnan(e.value):
            continue
        at = i + 0.5
        plot.line(np.array([at, at]), np.array([e.low, e.high]), css)
        for end in (e.low, e.high):
            plot.line(np.array([at - 0.08, at + 0.08]), np.array([end, end]), css)
        plot.dot(at, e.value, css)
    plot.note(0.0, high, about, dy=-10)
    return plot
