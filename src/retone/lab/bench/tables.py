"""Benchmarks as Markdown: the terminal's tables and the page in docs are the same text."""

from __future__ import annotations

import math
from collections.abc import Sequence

from retone.lab.bench.result import Report, Row, Section
from retone.lab.bench.timing import Spread, spread

INTRODUCTION = """# Benchmarks

Made by `python -m retone.lab bench render-docs` from the JSON files named below; do not edit by
hand. `python -m retone.lab bench effects`, `loss`, `training`, `strategies` and `match` measure
them again.

How it is measured: all methods of a table run in one process with one thread, warmed up, in
interleaved rounds of shuffled order. **CPU time** (of the whole process, helper threads included)
is the figure to compare: on a machine with other work, wall time also counts waiting for a core.
Times are medians with quartiles in brackets. Ratios are taken round by round before their median,
CPU time over CPU time: above 1 means slower than the first row. Distances are to float64
references. Every single time, the seeds and the settings are in the JSON.

The other libraries come with `pip install 'retone[peers]'`. torchlpc is built from source: add
`--no-build-isolation` (with setuptools and wheel installed), or pip fetches another torch for it.
"""


def seconds_text(value: float) -> str:
    """Seconds with three digits with a suitable unit: ``23.1 ms``, ``2.63 s``."""
    for unit, factor, limit in (("us", 1e6, 1e-3), ("ms", 1e3, 1.0)):
        if value < limit:
            return f"{_digits(value * factor)} {unit}"
    return f"{_digits(value)} s"


def _digits(value: float) -> str:
    """Three significant digits without an exponent; all digits before the decimal point."""
    if value <= 0:
        return "0"
    decimals = max(0, 2 - math.floor(math.log10(value)))
    return f"{value:.{min(decimals, 4)}f}"


def _time_cell(times: Sequence[float]) -> str:
    s = spread(times)
    return f"{seconds_text(s.median)} [{seconds_text(s.q1)}, {seconds_text(s.q3)}]"


def _ratio_cell(ratio: Spread | None) -> str:
    if ratio is None:
        return "-"
    return f"{_digits(ratio.median)} [{_digits(ratio.q1)}, {_digits(ratio.q3)}]"


def figure_text(key: str, figures: dict[str, float | None]) -> str:
    """A further column's cell; the suffix of the key gives the unit."""
    if key not in figures:
        return "-"
    value = figures[key]
    if value is None:
        return "reference"
    if key.endswith("_db"):
        return "exact" if value == -math.inf else f"{value:.1f}"
    if key.endswith(("_mib", "_found", "_minutes", "_count")):
        return f"{value:.0f}"
    if key.endswith("_s"):
        return seconds_text(value)
    if key.endswith("_rate"):
        return _digits(value)
    return f"{value:.1e}"


def section_table(section: Section) -> str:
    """A section as a Markdown table, with its notes."""
    shown = [(k, h) for k, h in section.figures if any(k in r.figures for r in section.rows)]
    heads = ["method", "CPU time", "wall time", f"CPU ratio to {section.baseline}"]
    if section.audio_s:
        heads.append("x real time (CPU)")
    heads += [heading for _, heading in shown] + ["remarks"]
    lines = [f"## {section.title}", "", _line(heads), "|" + "---|" * len(heads)]
    for row in section.rows:
        lines.append(_line(_cells(section, row, [key for key, _ in shown])))
    rounds = max((len(r.cpu_s) for r in section.rows), default=0)
    lines += ["", f"{rounds} rounds. " + " ".join(section.notes)]
    return "\n".join(lines) + "\n"


def _cells(section: Section, row: Row, keys: Sequence[str]) -> list[str]:
    versions = " ".join(f"{n} {v}" for n, v in row.versions.items())
    name = f"{row.method} ({versions})" if versions else row.method
    if not row.ok or not row.cpu_s:
        blanks = ["-"] * (3 + bool(section.audio_s) + len(keys))
        return [name, *blanks, row.status if not row.ok else "not timed"]
    cells = [
        name,
        _time_cell(row.cpu_s),
        _time_cell(row.wall_s),
        _ratio_cell(section.ratio(row.method)),
    ]
    if section.audio_s:
        cells.append(f"{section.audio_s / spread(row.cpu_s).median:.0f}")
    return [*cells, *(figure_text(key, row.figures) for key in keys), row.note]


def _line(cells: Sequence[str]) -> str:
    return "| " + " | ".join(cells) + " |"


def provenance_line(report: Report) -> str:
    """One sentence: machine, versions, date, load."""
    p = report.provenance
    libraries = ", ".join(f"{n} {v}" for n, v in p.get("libraries", {}).items())
    threads = "one thread" if p.get("threads", 1) == 1 else f"{p['threads']} threads"
    load = f"{p.get('load_average_start')} to {p.get('load_average_end')}"
    return (
        f"{p.get('processor')}, {p.get('cores')} cores ({p.get('machine')}), {threads} used; load "
        f"average {load}; Python {p.get('python')}, torch {p.get('torch')}, numpy "
        f"{p.get('numpy')}, {libraries}; retone {p.get('retone')}; {p.get('date')}."
    )


def report_text(report: Report) -> str:
    """All sections of a report and where they came from."""
    asked = ", ".join(f"{k} {v}" for k, v in report.question.items())
    tables = "\n".join(section_table(section) for section in report.sections)
    return f"{tables}\nMeasured on: {provenance_line(report)} Options: {asked}.\n"


def docs_page(reports: Sequence[tuple[str, Report]]) -> str:
    """The page in docs, from (file name, report) pairs."""
    parts = [INTRODUCTION]
    for name, report in reports:
        parts.append(f"{report_text(report)}Source: `{name}`.\n")
    return "\n".join(parts)
