"""A job: plan, ledger, engine and tables together."""

from __future__ import annotations

import functools
import hashlib
import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice
from typing import Any, Protocol

from retone import __version__
from retone.batch import storage, work
from retone.batch.at_work import AtWork, Mark
from retone.batch.ledger import FOLDER, Ledger, sweep
from retone.batch.plan import Plan
from retone.batch.pool import Ready, each
from retone.batch.rows import Outcome, Recipe, Row, Task, text_of
from retone.errors import OVERWRITE, AudioError, RetoneError
from retone.progress import Phase, Progress, silent

PROCESSING = Phase("processing", "min")
_FILES = ("to", "preset", "settings", "weights")


class Engine(Protocol):
    """What works on tasks: processes here, or a cluster."""

    def __call__(
        self,
        recipe: Recipe,
        tasks: Iterator[Task | Ready[Outcome]],
        *,
        in_order: bool,
        at_work: Callable[[Iterable[Mark]], None],
    ) -> Iterator[Outcome]:
        """Outcomes of tasks, taking only a bounded number of tasks ahead.

        ``at_work`` is called now and then with how far the tasks are that are not finished.
        """
        ...


@dataclass
class Totals:
    """What became of a job's rows.

    Args:
        rows: how many there are.
        done, same, failed: how many were processed, were done before, or have no output.
        errors: number of the row -> one sentence.
        problems: sentences about the job's own files.
        audio_s: seconds of audio processed.
        cpu_s: processor time of the workers.
    """

    rows: int = 0
    done: int = 0
    same: int = 0
    failed: int = 0
    errors: dict[int, str] = field(default_factory=dict)
    problems: list[str] = field(default_factory=list)
    audio_s: float = 0.0
    cpu_s: float = 0.0


@dataclass
class Job:
    """One run over many recordings.

    Args:
        plan: the recordings.
        recipe: what is done with each.
        folder: where the results go, a path or URL; empty to write nothing.
        engine: where the work is done.
        force: replace files that retone did not write there.
        ledger: name of the ledger's file.
    """

    plan: Plan
    recipe: Recipe
    folder: str
    engine: Engine
    force: bool = False
    ledger: str = "ledger"
    totals: Totals = field(default_factory=Totals)
    _shared_recipe: str = ""
    _sizes: dict[str, int] | None = None

    def run(self, progress: Progress = silent, *, in_order: bool = False) -> Iterator[Outcome]:
        """Process the rows; yields an outcome for each, in order if asked for.

        Raises:
            AudioError: another job works in the folder, or it cannot be written to.
        """
        self.totals = Totals(rows=len(self.plan.rows))
        meter = _Meter(self.plan.rows, progress)
        if not self.folder or self.refused():
            tasks = self._unrecorded()
            outcomes = self.engine(self.recipe, tasks, in_order=in_order, at_work=meter.at_work)
            yield from self._counted(outcomes, meter)
            return
        with Ledger(self.folder, self.ledger) as ledger:
            self._ledger = ledger
            if ledger.interrupted and not ledger.remote:
                sweep(self.folder, self._names())
            try:
                tasks = self._tasks(ledger)
                outcomes = self.engine(self.recipe, tasks, in_order=in_order, at_work=meter.at_work)
                for outcome in self._counted(outcomes, meter):
                    self._remember(ledger, outcome)
                    yield outcome
            except RetoneError:  # as by an engine that cannot work
                if not any(self._size(name) is not None for name in self._names()):
                    ledger.withdraw()
                raise
            finally:
                if not ledger.remote:
                    sweep(self.folder, self._names())
            self._end(ledger)

    def refused(self) -> bool:
        """Whether no row can be worked on; the folder then stays as it is."""
        unknown = self._is_new()
        return all(self._problem(row, unknown=unknown) for row in self.plan.rows)

    def claim(self, *names: str) -> None:
        """Refuse to replace files of the folder that are not retone's.

        Args:
            names: of files that the job writes besides its outputs.

        Raises:
            AudioError: one exists, nothing of the folder is retone's, and ``force`` is not set.
        """
        for name in names if self._is_new() else ():
            target = storage.join(self.folder, name)
            if storage.size_of(target) is not None:
                fix = "" if self.recipe.verb == "inspect" else f", or {OVERWRITE}"
                raise AudioError(
                    f"{target} exists and is not retone's. Choose another folder{fix}."
                )

    def _is_new(self) -> bool:
        """Whether what the folder holds is not retone's and may not be replaced."""
        if self.force or not self.folder or storage.is_url(self.folder):
            return False
        return storage.size_of(storage.join(self.folder, f"{FOLDER}/{self.ledger}.jsonl")) is None

    def _problem(self, row: Row, *, unknown: bool) -> str:
        """Why a row cannot be worked on, or "".

        Args:
            row: the row.
            unknown: files of its outputs' names are not retone's.
        """
        if row.problem or not unknown:
            return row.problem
        exists = next((n for n in self._outputs(row) if self._size(n) is not None), None)
        if exists is None:
            return ""
        return (
            f"{row.input}: {exists} exists in the folder of the results and is not retone's. "
            f"Choose another folder, or {OVERWRITE}."
        )

    def _remember(self, ledger: Ledger, outcome: Outcome) -> None:
        if outcome.failed:
            return
        if outcome.status == "same":
            record = ledger.known(outcome.output)
            assert record is not None
            if [list(s) for s in outcome.sources] == record["sources"]:
                return
            outcome.values = record["values"]  # read again and found equal: only states are new
            outcome.files = {name: (size, c) for name, (size, c) in record["files"].items()}
        ledger.finish(outcome, self._recipe_of(self.plan.rows[outcome.number]))

    def _end(self, ledger: Ledger) -> None:
        try:
            ledger.close()
        except RetoneError as error:
            self.totals.problems.append(str(error))

    def records(self) -> Iterator[tuple[str, str, Mapping[str, Any] | None, str]]:
        """Input, output, measurements and error of every row, in order; after ``run``."""
        ledger = getattr(self, "_ledger", None)
        for number, row in enumerate(self.plan.rows):
            error = self.totals.errors.get(number, "")
            known = None if error or ledger is None else ledger.known(row.output)
            yield row.input, row.output, known["values"] if known else None, error

    def _counted(self, outcomes: Iterator[Outcome], meter: _Meter) -> Iterator[Outcome]:
        totals = self.totals
        for outcome in outcomes:
            if outcome.failed:
                totals.failed += 1
                totals.errors[outcome.number] = outcome.error
            elif outcome.status == "same":
                totals.same += 1
            else:
                totals.done += 1
                totals.audio_s += float(outcome.values.get("duration_s") or 0.0)
            totals.cpu_s += outcome.cpu_s
            meter.passed(self.plan.rows[outcome.number], outcome)
            yield outcome

    def _unrecorded(self) -> Iterator[Task | Ready[Outcome]]:
        unknown = self._is_new()
        for number, row in enumerate(self.plan.rows):
            problem = self._problem(row, unknown=unknown)
            if problem:
                yield Ready(_refused(number, row, problem))
            else:
                yield Task(number, row, "", self.recipe.options_of(row))

    def _tasks(self, ledger: Ledger) -> Iterator[Task | Ready[Outcome]]:
        self._sizes = self._listed() if ledger.remote else None
        self._states: dict[str, str] = {}
        rows = enumerate(self.plan.rows)
        while block := list(islice(rows, ledger.block)):
            items = [self._item(number, row, ledger) for number, row in block]
            new = [i.row.output for i in items if isinstance(i, Task)]
            try:
                ledger.begin(new)
            except RetoneError as error:
                items = [
                    Ready(_refused(i.number, i.row, str(error))) if isinstance(i, Task) else i
                    for i in items
                ]
            yield from items

    def _item(self, number: int, row: Row, ledger: Ledger) -> Task | Ready[Outcome]:
        """A row as a task, or as an outcome where there is nothing to do."""
        if row.problem:
            return Ready(_refused(number, row, row.problem))
        options = self.recipe.options_of(row)
        record = ledger.known(row.output)
        own = ledger.was_begun(row.output)
        if record is not None:
            files = record["files"]
            sizes = {name: self._size(name) for name in files}
            missing = [name for name, size in sizes.items() if size is None]
            changed = [n for n, s in sizes.items() if s is not None and s != files[n][0]]
            if changed and not (self.force or own):
                problem = (
                    f"{row.input}: {changed[0]} was changed after retone wrote it. Move it away, "
                    f"or {OVERWRITE}."
                )
                return Ready(_refused(number, row, problem))
            known = [content for _, content in record["sources"]]
            if not missing and not changed and record["recipe"] == self._recipe_of(row):
                if self._unchanged(row, options, record["sources"]):
                    return Ready(_same(number, row, record))
                return Task(number, row, self.folder, options, replace=True, known=known)
            return Task(number, row, self.folder, options, replace=True)
        problem = self._problem(row, unknown=not (self.force or own))
        if problem:
            return Ready(_refused(number, row, problem))
        return Task(number, row, self.folder, options, replace=self.force or own)

    def _outputs(self, row: Row) -> Sequence[str]:
        if self.recipe.verb == "inspect":
            return ()
        endings = ["", work.SETTINGS_ENDING]
        if self.recipe.report:
            endings.append(work.REPORT_ENDING)
        return [row.output + ending for ending in endings]

    def _names(self) -> Iterator[str]:
        for row in self.plan.rows:
            yield from self._outputs(row)

    def _unchanged(
        self, row: Row, options: Mapping[str, Any], known: Sequence[Sequence[str]]
    ) -> bool:
        """Whether every file that was read is in the state it was read in."""
        names = [row.input, *work.sources(options)]
        if len(names) != len(known):
            return False
        for name, (state, content) in zip(names, known, strict=True):
            now = row.state if name == row.input and row.state else self._state(name)
            if not state or not content or state != now:
                return False
        return True

    def _state(self, name: str) -> str:
        if name not in self._states:
            try:
                found = storage.state(name)
            except (OSError, RetoneError):
                found = ""
            if len(self._states) > 4096:  # inputs come once, references often
                self._states.clear()
            self._states[name] = found
        return self._states[name]

    def _listed(self) -> dict[str, int]:
        """Sizes of all files in the store's folder, from one listing."""
        files = storage.found_in(self.folder)
        return {name: int(info.get("size") or 0) for name, info in files.items()}

    def _size(self, name: str) -> int | None:
        if self._sizes is not None:
            return self._sizes.get(name)
        return storage.size_of(storage.join(self.folder, name))

    def _recipe_of(self, row: Row) -> str:
        """Hash of what is done with a row: everything but the content of files."""
        own = row.options if row.options else None
        if own is None and self._shared_recipe:
            return self._shared_recipe
        options = self.recipe.options_of(row)
        for name in _FILES:
            value = options.get(name)
            if isinstance(value, list):
                options[name] = len(value)
            elif value and next(work.sources({name: value}), None) is not None:
                options[name] = "file"
        text = text_of(
            {
                "retone": __version__, "verb": self.recipe.verb, "options": options,
                "report": self.recipe.report, "stamp": self.recipe.stamp,
            }
        )  # fmt: skip
        found = hashlib.blake2b(text.encode("ascii"), digest_size=8).hexdigest()
        if own is None:
            self._shared_recipe = found
        return found


class _Meter:
    """Progress in minutes of audio, which are estimated from sizes until they are known."""

    def __init__(self, rows: Sequence[Row], progress: Progress) -> None:
        self.rows, self.progress = rows, progress
        self.left = float(sum(_bytes(row) for row in rows if not row.problem))
        self.done_s = self.done_bytes = 0.0
        self.over = bytearray(len(rows))
        self.marks: dict[int, Mark] = {}

    def passed(self, row: Row, outcome: Outcome) -> None:
        """Count a row."""
        self.over[outcome.number] = True
        if row.problem:
            return
        self.left -= _bytes(row)
        if outcome.status != "done":
            return
        self.done_bytes += _bytes(row)
        self.done_s += float(outcome.values.get("duration_s") or 0.0)
        self._show()

    def at_work(self, marks: Iterable[Mark]) -> None:
        """Take note of how far the rows are that are not finished."""
        known = {mark[0]: mark for mark in marks if mark[0] < len(self.rows)}
        if known != self.marks:
            self.marks = known
            self._show()

    def _show(self) -> None:
        marks = [mark for mark in self.marks.values() if not self.over[mark[0]]]
        part = sum(_bytes(self.rows[number]) for number, _, _ in marks)
        known_s = self.done_s + sum(total_s for _, _, total_s in marks)
        if known_s:
            done_s = self.done_s + sum(done_s for _, done_s, _ in marks)
            total_s = known_s * (1 + max(self.left - part, 0.0) / (self.done_bytes + part))
            self.progress(PROCESSING, done_s / 60, total_s / 60)


def _bytes(row: Row) -> int:
    return row.size or 1


def local_engine(workers: int) -> Engine:
    """An engine of processes on this machine; 0 works in this process."""

    def run(
        recipe: Recipe,
        tasks: Iterator[Task | Ready[Outcome]],
        *,
        in_order: bool,
        at_work: Callable[[Iterable[Mark]], None],
    ) -> Iterator[Outcome]:
        if workers == 0:
            start = functools.partial(work.start, recipe, lambda *mark: at_work([mark]))
            return each(work.run, tasks, 0, start=start)
        marks = AtWork(workers)
        return each(
            work.run, tasks, workers,
            start=functools.partial(work.start, recipe, marks.note), died=work.died,
            in_order=in_order, waiting=lambda: at_work(marks.read()),
        )  # fmt: skip

    return run


def default_workers() -> int:
    """One worker per processor that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _refused(number: int, row: Row, problem: str) -> Outcome:
    return work.fail(Outcome(number, row.input, row.output), problem)


def _same(number: int, row: Row, record: Mapping[str, Any]) -> Outcome:
    return Outcome(
        number, row.input, row.output, "same",
        values=dict(record["values"]),
        sources=[(state, content) for state, content in record["sources"]],
        files={name: (size, content) for name, (size, content) in record["files"].items()},
    )  # fmt: skip
