"""The values that planner, engines, ledger and tables exchange: rows, tasks and outcomes."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

SUFFIXES = {"match": "matched", "enhance": "enhanced", "apply": "applied", "inspect": "inspected"}
"""What a job can do with each recording."""


@dataclass(frozen=True, slots=True)
class Row:
    """One recording of a job.

    Args:
        input: its path or URL.
        output: name of the output below the job's folder, with ``/`` between folders. It is the
            row's identity, also where no audio is written.
        size: bytes of the input, 0 if unknown.
        state: of the input when it was listed (``storage.state``), if the listing told.
        options: options of this row alone.
        problem: why it cannot be processed, one sentence; empty if it can.
    """

    input: str
    output: str
    size: int = 0
    state: str = ""
    options: Mapping[str, Any] | None = None
    problem: str = ""


@dataclass(frozen=True)
class Recipe:
    """What a job does with every row.

    Args:
        verb: ``"match"``, ``"enhance"``, ``"apply"`` or ``"inspect"``.
        options: arguments of the function of that name, as JSON values; ``to`` is a list of paths
            or URLs; ``format``, ``bit_depth`` and ``sample_rate`` describe the output.
        report: also write a report next to each output.
        prepare: called once in each worker process, such as to allow a plug-in.
        estimator: makes the estimator, once in each worker process; None leaves it to ``options``.
        stamp: describes ``prepare`` and ``estimator``, so that a change of them is noticed.
    """

    verb: str
    options: Mapping[str, Any] = field(default_factory=dict)
    report: bool = True
    prepare: Callable[[], object] | None = None
    estimator: Callable[[], Any] | None = None
    stamp: str = ""

    def options_of(self, row: Row) -> dict[str, Any]:
        """The options that apply to a row: its own replace those of the job."""
        own = dict(row.options or {})
        found = {**self.options, **own}
        for one, other in (("to", "preset"), ("preset", "to")):
            if one in own and other not in own:
                found.pop(other, None)
        return found


@dataclass(frozen=True, slots=True)
class Task:
    """A row on its way to a worker.

    Args:
        number: of the row in the plan.
        row: what to process.
        folder: where outputs go, a path or URL; empty for none.
        options: all options of the row.
        replace: existing outputs may be replaced.
        known: contents of the files read when these outputs were made, in the order of
            ``work.sources``; equal contents need no work.
    """

    number: int
    row: Row
    folder: str
    options: Mapping[str, Any]
    replace: bool = False
    known: Sequence[str] | None = None


@dataclass(slots=True)
class Outcome:
    """What became of a row.

    Args:
        number, input, output: of the row.
        status: ``"done"``, ``"same"`` (outputs exist already) or ``"failed"``.
        error: one sentence if it failed.
        values: measurements for the table.
        sources: (state, content) of every file that was read; see ``storage``.
        files: name below the job's folder -> (bytes, content) of every file that was written.
        cpu_s: processor time in seconds.
    """

    number: int
    input: str
    output: str
    status: str = "done"
    error: str = ""
    values: dict[str, Any] = field(default_factory=dict)
    sources: list[tuple[str, str]] = field(default_factory=list)
    files: dict[str, tuple[int, str]] = field(default_factory=dict)
    cpu_s: float = 0.0

    @property
    def failed(self) -> bool:
        """Whether there is no output."""
        return self.status == "failed"

    def to_json(self) -> str:
        """One line of JSON: what the ledger remembers."""
        return json.dumps(
            {
                "output": self.output, "input": self.input, "sources": self.sources,
                "files": self.files, "values": self.values,
            },
            separators=(",", ":"),
        )  # fmt: skip


def text_of(options: Mapping[str, Any]) -> str:
    """Options as text that is equal for equal options, whatever their order."""
    return json.dumps(options, sort_keys=True, separators=(",", ":"), default=str)
