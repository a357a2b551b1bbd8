"""Methods to time, and the packages they need; a missing package becomes a row that says so."""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from importlib import metadata
from typing import Any

from retone.errors import RetoneError
from retone.lab.bench.result import Row, Section
from retone.lab.bench.timing import interleaved

WARM_UP_CALLS = 2


@dataclass(frozen=True)
class Method:
    """One way to do a section's job.

    Args:
        name: what the table prints.
        build: prepares everything that is not to be timed and returns the call that is.
        packages: import name -> distribution name, beyond retone's own dependencies.
        figures: the call's result -> further columns (distance and the like).
        note: one line for the table.
    """

    name: str
    build: Callable[[], Callable[[], Any]]
    packages: dict[str, str] = field(default_factory=dict)
    figures: Callable[[Any], dict[str, float | None]] | None = None
    note: str = ""


def missing(packages: dict[str, str]) -> list[str]:
    """Distributions of ``packages`` that are not installed."""
    return [name for module, name in packages.items() if importlib.util.find_spec(module) is None]


def blank_row(method: Method) -> Row:
    """The row before measuring; its status names missing packages."""
    row = Row(method.name, note=method.note)
    absent = missing(method.packages)
    if absent:
        row.status = f"not installed: {', '.join(absent)} (pip install 'retone[peers]')"
        return row
    for name in method.packages.values():
        try:
            row.versions[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            row.versions[name] = "unknown"
    return row


def measure(
    section: Section,
    methods: Sequence[Method],
    *,
    rounds: int,
    seed: int,
    say: Callable[[str], None],
) -> Section:
    """Build, warm up and time methods in interleaved rounds; fills the section's rows.

    A method that is not installed or raises becomes a row that says so. retone's own errors in
    the baseline are raised: without it there is nothing to compare.
    """
    calls: dict[str, Callable[[], Any]] = {}
    for method in methods:
        row = blank_row(method)
        section.rows.append(row)
        if not row.ok:
            continue
        say(f"{section.name}: warming up {method.name}")
        try:
            call = method.build()
            result = call()
            if method.figures:
                row.figures = method.figures(result)
            del result
            for _ in range(WARM_UP_CALLS - 1):
                call()
        except Exception as e:  # whatever a peer raises, the others are still measured
            if method.name == section.baseline and isinstance(e, RetoneError):
                raise
            row.status = f"failed: {type(e).__name__}: {_first_line(e)}"
            continue
        calls[method.name] = call
    say(f"{section.name}: {rounds} rounds of {len(calls)} methods")
    times = interleaved(calls, rounds, seed)
    for row in section.rows:
        if row.method in times:
            row.wall_s, row.cpu_s = times[row.method].wall_s, times[row.method].cpu_s
    return section


def _first_line(error: Exception) -> str:
    lines = str(error).strip().splitlines()
    return lines[0][:120] if lines else ""


def to_stderr(text: str) -> None:
    """Print a line of progress to stderr."""
    print(f"  {text}", file=sys.stderr, flush=True)
