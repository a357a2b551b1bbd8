"""Ray as the engine: the same tasks and outcomes on a cluster, or on one started here.

A task is one recording. Ray starts a process per processor and keeps it between tasks, so models
load once per process. A task whose process or node is lost is given to another one. Only a few
tasks per processor of the cluster are in flight, as many as it has at that moment.
"""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Iterator
from typing import Any

from retone.batch import work
from retone.batch.job import Engine
from retone.batch.pool import Ready
from retone.batch.rows import Outcome, Recipe, Task
from retone.errors import AudioError, MissingExtraError, SettingError

PER_PROCESSOR = 3
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
    try:
        import ray
    except ImportError:
        raise MissingExtraError("working on a cluster", "ray", "cluster") from None
    if workers is not None and (address or os.environ.get("RAY_ADDRESS")):
        raise SettingError(
            "a number of workers is for a cluster that is started here; a running cluster uses all "
            "its processors. Leave it out."
        )

    def run(
        recipe: Recipe, tasks: Iterator[Task | Ready[Outcome]], *, in_order: bool
    ) -> Iterator[Outcome]:
        own = not ray.is_initialized()
        if own:
            _connect(ray, address, workers)
        try:
            yield from _outcomes(ray, recipe, tasks, in_order)
        finally:
            if own:
                ray.shutdown()

    return run


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
    ray: Any, recipe: Recipe, tasks: Iterator[Task | Ready[Outcome]], in_order: bool
) -> Iterator[Outcome]:
    remote = ray.remote(num_cpus=1, max_retries=RETRIES)(run_remote)
    shared = ray.put(recipe)
    pending: dict[Any, Task | Ready[Outcome]] = {}
    limit, looked, more = PER_PROCESSOR, 0.0, True
    while more or pending:
        if time.monotonic() - looked > _LOOK_S:
            processors = int(ray.cluster_resources().get("CPU", 1))
            limit, looked = PER_PROCESSOR * max(1, processors), time.monotonic()
        while more and len(pending) < limit:
            task = next(tasks, None)
            if task is None:
                more = False
            elif not isinstance(task, Ready):
                pending[remote.remote(shared, _everywhere(task))] = task
            elif pending and in_order:
                pending[object()] = task
            else:
                yield task.value
        for reference in _finished(ray, pending, in_order):
            task = pending.pop(reference)
            if isinstance(task, Ready):
                yield task.value
                continue
            try:
                yield ray.get(reference)
            except ray.exceptions.RayError:
                yield work.died(task)


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


def run_remote(recipe: Recipe, task: Task) -> Outcome:
    """Process a task in a process of the cluster, which keeps its worker between tasks."""
    global _started
    from retone.batch.pool import one_thread
    from retone.batch.rows import text_of

    key = text_of({"verb": recipe.verb, "options": recipe.options, "stamp": recipe.stamp})
    if _started != key:
        one_thread()
        work.start(recipe)
        _started = key
    return work.run(task)
