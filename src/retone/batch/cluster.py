"""Ray as the engine: the same tasks and outcomes on a cluster, or on one started here.

A task is one recording. Ray starts a process per processor and keeps it between tasks, so models
load once per process. A task whose process or node is lost is given to another one. Only a few
tasks per processor of the cluster are in flight, as many as it has at that moment.
"""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

from retone.batch import work
from retone.batch.at_work import Mark
from retone.batch.job import Engine
from retone.batch.pool import Ready
from retone.batch.rows import Outcome, Recipe, Task
from retone.errors import AudioError, MissingExtraError, SettingError

Item = TypeVar("Item")
Value = TypeVar("Value")
PER_PROCESSOR = 3
LONG = 16 << 20
"""Bytes from which on a recording's progress is told before it is finished."""
RETRIES = 4
"""How often a task is given to another process after one was lost."""
_LOOK_S = 2.0


def ray_engine(address: str | None = None, workers: int | None = None) -> Engine:
    """An engine that works on a Ray cluster.

    Args:
        address: of a running cluster, such as ``"ray://head:10001"`` or ``"auto"``; None takes the
            one in the environment variable ``RAY_ADDRESS``, or starts one on this machine.
        workers: processors of a cluster that is started here; None for all.

    Raises:
        MissingExtraError: Ray is not installed.
        AudioError: the cluster cannot be reached.
    """
    ray = _ray()
    if workers is not None and (address or os.environ.get("RAY_ADDRESS")):
        raise SettingError(
            "a number of workers is for a cluster that is started here; a running cluster uses all "
            "its processors. Leave it out."
        )

    def run(
        recipe: Recipe,
        tasks: Iterator[Task | Ready[Outcome]],
        *,
        in_order: bool,
        at_work: Callable[[Iterable[Mark]], None],
    ) -> Iterator[Outcome]:
        with _connected(ray, address, workers):
            yield from _outcomes(ray, recipe, tasks, in_order, at_work)

    return run


def each_on_cluster(
    function: Callable[[Item], Value], items: Iterable[Item], address: str | None = None
) -> Iterator[Value]:
    """``function(item)`` for each item on a Ray cluster, in order; see ``pool.each``.

    Args:
        function: picklable, as items and results are.
        items: what to work on; only a few per processor are taken ahead.
        address: as of ``ray_engine``.

    Raises:
        MissingExtraError: Ray is not installed.
        AudioError: the cluster cannot be reached.
    """
    ray = _ray()
    with _connected(ray, address, None):
        remote = ray.remote(num_cpus=1, max_retries=RETRIES)(_with_one_thread)
        yield from _each(ray, lambda item: remote.remote(function, item), iter(items), True)


def _with_one_thread(function: Callable[[Item], Value], item: Item) -> Value:
    from retone.batch.pool import one_thread

    one_thread()
    return function(item)


def _ray() -> Any:
    try:
        import ray
    except ImportError:
        raise MissingExtraError("working on a cluster", "ray", "cluster") from None
    return ray


@contextmanager
def _connected(ray: Any, address: str | None, workers: int | None) -> Iterator[None]:
    """A connection to a cluster, ended here if it was begun here."""
    own = not ray.is_initialized()
    if own:
        _connect(ray, address, workers)
    try:
        yield
    finally:
        if own:
            ray.shutdown()


def _connect(ray: Any, address: str | None, workers: int | None) -> None:
    how: dict[str, Any] = {"logging_level": logging.ERROR, "log_to_driver": False}
    if address or os.environ.get("RAY_ADDRESS"):
        how["address"] = address or os.environ["RAY_ADDRESS"]
    else:
        how |= {"address": "local", "include_dashboard": False, "num_cpus": workers}
    try:
        ray.init(**how)
    except (ConnectionError, RuntimeError, ValueError) as error:
        where = how["address"]
        why = " ".join(str(error).split()).rstrip(".")
        raise AudioError(f"the Ray cluster at {where} cannot be reached: {why}.") from None


def _outcomes(
    ray: Any,
    recipe: Recipe,
    tasks: Iterator[Task | Ready[Outcome]],
    in_order: bool,
    at_work: Callable[[Iterable[Mark]], None],
) -> Iterator[Outcome]:
    remote = ray.remote(num_cpus=1, max_retries=RETRIES)(run_remote)
    shared = ray.put(recipe)
    board = _Board(ray)

    def submit(task: Task) -> Any:
        notes = board.open() if not 0 < task.row.size < LONG else None
        return remote.remote(shared, _everywhere(task), notes)

    def meanwhile() -> None:
        at_work(board.read())

    for outcome in _each(ray, submit, tasks, in_order, work.died, meanwhile):
        board.forget(outcome.number)
        yield outcome


def _each(
    ray: Any,
    submit: Callable[[Item], Any],
    items: Iterator[Item | Ready[Value]],
    in_order: bool,
    died: Callable[[Item], Value] | None = None,
    meanwhile: Callable[[], None] = lambda: None,
) -> Iterator[Value]:
    """Results of items, of which only a few per processor are on the cluster at a time."""
    pending: dict[Any, Any] = {}
    limit, looked, more = PER_PROCESSOR, 0.0, True
    while more or pending:
        if time.monotonic() - looked > _LOOK_S:
            processors = int(ray.cluster_resources().get("CPU", 1))
            limit, looked = PER_PROCESSOR * max(1, processors), time.monotonic()
        while more and len(pending) < limit:
            item: Any = next(items, None)
            if item is None:
                more = False
            elif not isinstance(item, Ready):
                pending[submit(item)] = item
            elif pending and in_order:
                pending[object()] = item
            else:
                yield item.value
        meanwhile()
        for reference in _finished(ray, pending, in_order):
            item = pending.pop(reference)
            if isinstance(item, Ready):
                yield item.value
                continue
            try:
                value = ray.get(reference)
            except ray.exceptions.RayError:
                if died is None:
                    raise
                value = died(item)
            yield value


class Notes:
    """How far the long recordings at work are; one process of the cluster keeps this."""

    def __init__(self) -> None:
        self.marks: dict[int, Mark] = {}

    def note(self, number: int, done_s: float, total_s: float) -> None:
        """Called by the process that works on a row."""
        self.marks[number] = (number, done_s, total_s)

    def read(self) -> list[Mark]:
        """The last mark of each row, once."""
        found, self.marks = list(self.marks.values()), {}
        return found


class _Board:
    """The job's side of ``Notes``; it begins with the first long recording and may be lost."""

    def __init__(self, ray: Any) -> None:
        self._ray, self._notes, self._asked = ray, None, None
        self._marks: dict[int, Mark] = {}

    def open(self) -> tuple[Any, float]:
        """The notes, for a process to write to, and how many seconds apart."""
        if self._notes is None:
            self._notes = self._ray.remote(num_cpus=0)(Notes).remote()
        return self._notes, _LOOK_S

    def forget(self, number: int) -> None:
        """A row is finished."""
        self._marks.pop(number, None)

    def read(self) -> Iterable[Mark]:
        """What is known by now, without waiting for an answer."""
        if self._notes is None:
            return ()
        try:
            if self._asked is None:
                self._asked = self._notes.read.remote()
            elif self._ray.wait([self._asked], timeout=0)[0]:
                answer, self._asked = self._ray.get(self._asked), None
                self._marks |= {mark[0]: mark for mark in answer}
        except self._ray.exceptions.RayError:  # its node was lost; another begins with a later row
            self._notes = self._asked = None
        return list(self._marks.values())


def _finished(ray: Any, pending: dict[Any, Any], in_order: bool) -> list[Any]:
    if not pending:
        return []
    waiting = [next(iter(pending))] if in_order else list(pending)
    if isinstance(pending[waiting[0]], Ready):
        return waiting[:1]
    return list(ray.wait(waiting, num_returns=1, timeout=_LOOK_S)[0])


def _everywhere(task: Task) -> Task:
    """A task with absolute paths, which other processes may look up from other folders."""
    from dataclasses import replace

    from retone.batch.storage import is_url

    def whole(name: str) -> str:
        return name if not name or is_url(name) else os.path.abspath(name)

    options = dict(task.options)
    if options.get("to"):
        options["to"] = [whole(name) for name in options["to"]]
    for name in ("preset", "settings", "weights"):
        if options.get(name) and os.path.isfile(options[name]):
            options[name] = whole(options[name])
    row = replace(task.row, input=whole(task.row.input))
    return replace(task, row=row, folder=whole(task.folder), options=options)


_started = ""


def run_remote(recipe: Recipe, task: Task, notes: tuple[Any, float] | None = None) -> Outcome:
    """Process a task in a process of the cluster, which keeps its worker between tasks."""
    global _started, _notes, _noted
    _notes, _noted = notes, time.monotonic()
    from retone.batch.pool import one_thread
    from retone.batch.rows import text_of

    key = text_of({"verb": recipe.verb, "options": recipe.options, "stamp": recipe.stamp})
    if _started != key:
        one_thread()
        work.start(recipe, _note)
        _started = key
    return work.run(task)


_notes: tuple[Any, float] | None = None
_noted = 0.0


def _note(number: int, done_s: float, total_s: float) -> None:
    """Send a mark, if the last one was sent some time ago."""
    global _noted
    if _notes is not None and time.monotonic() - _noted > _notes[1]:
        _noted = time.monotonic()
        _notes[0].note.remote(number, done_s, total_s)
