"""A function over many items in worker processes: bounded, in order if asked for, crash-proof."""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from multiprocessing.connection import wait as wait_for
from multiprocessing.synchronize import Event
from typing import Any, Generic, TypeVar

from retone.errors import SettingError

Item = TypeVar("Item")
Value = TypeVar("Value")


class Ready(Generic[Value]):
    """An item whose result is known already; it keeps its place in the order."""

    def __init__(self, value: Value) -> None:
        self.value = value


GUARD = (
    "A script that asks for processes needs 'if __name__ == \"__main__\":' around what it does: "
    "each process imports it again."
)
_LOOK_S = 0.5
PER_WORKER = 3
"""Items in flight per worker: one at work, the others on their way."""


def each(
    function: Callable[[Item], Value],
    items: Iterable[Item | Ready[Value]],
    workers: int,
    *,
    start: Callable[[], None] | None = None,
    died: Callable[[Item], Value] | None = None,
    in_order: bool = False,
    waiting: Callable[[], None] | None = None,
) -> Iterator[Value]:
    """``function(item)`` for each item, in processes with one thread each.

    At most ``PER_WORKER`` items per worker are taken from ``items`` before their results are taken.
    Where a process dies, the items in flight are tried again one by one, so that only the item that
    ends a process is lost.

    Args:
        function: picklable, as items and results are.
        items: what to work on; taken as needed.
        workers: number of processes; 0 works in this one.
        start: called once in each process before its first item.
        died: the result for an item whose process ended; None raises ``BrokenProcessPool``.
        in_order: results in the order of the items, else as they come.
        waiting: called again and again while results are waited for.

    Raises:
        SettingError: no process could begin, as for a script without a guard.
    """
    if workers:
        require_guard()
    if workers == 0:
        if start is not None:
            start()
        for given in items:
            yield given.value if isinstance(given, Ready) else function(given)
        return
    source = iter(items)
    pool: _Pool | None = None
    pending: dict[Future[Value], Any] = {}
    more = True
    try:
        while more or pending:
            while more and len(pending) < PER_WORKER * workers:
                new: Any = next(source, None)
                if new is None:
                    more = False
                elif not isinstance(new, Ready):
                    pool = pool or _Pool(workers, start)
                    pending[pool.submit(function, new)] = new
                elif pending and in_order:
                    pending[_known(new.value)] = new  # type: ignore[assignment]
                else:
                    yield new.value
            wanted = [next(iter(pending))] if in_order and pending else list(pending)
            pause = None if waiting is None else _LOOK_S
            while not (ready := wait(wanted, pause, FIRST_COMPLETED).done) and wanted:
                if waiting is not None:
                    waiting()
            if any(isinstance(f.exception(), BrokenProcessPool) for f in ready):
                unguarded = pool is not None and pool.never_began()
                if pool is not None:
                    pool.end(stop=True)
                pool = None
                if unguarded:
                    raise SettingError(f"the processes end before they begin. {GUARD}")
                yield from _one_by_one(function, pending, start, died)
                pending.clear()
                continue
            for future in ready:
                del pending[future]
                yield future.result()
        if pool is not None:
            pool.end()
            pool = None
    finally:
        if pool is not None:
            pool.end(stop=True)


def _known(value: Value) -> Future[Value]:
    future: Future[Value] = Future()
    future.set_result(value)
    return future


def _one_by_one(
    function: Callable[[Item], Value],
    pending: dict[Future[Value], Item],
    start: Callable[[], None] | None,
    died: Callable[[Item], Value] | None,
) -> Iterator[Value]:
    """The items that were in flight when a process died, each with a process to itself."""
    pool: _Pool | None = None
    try:
        for future, item in pending.items():
            if future.done() and not isinstance(future.exception(), BrokenProcessPool):
                yield future.result()
                continue
            pool = pool or _Pool(1, start)
            try:
                yield pool.submit(function, item).result()
            except BrokenProcessPool:
                pool.end(stop=True)
                pool = None
                if died is None:
                    raise
                yield died(item)
    finally:
        if pool is not None:
            pool.end(stop=True)


class _Pool:
    """Processes that end with their pool."""

    def __init__(self, workers: int, start: Callable[[], None] | None) -> None:
        context = multiprocessing.get_context("spawn")
        self._began = context.Event()
        self._own: dict[int, Any] = {}
        self._pool = ProcessPoolExecutor(
            workers,
            mp_context=context,
            initializer=start_process,
            initargs=(start, self._began),
        )

    def submit(self, function: Callable[[Item], Value], item: Item) -> Future[Value]:
        """Give an item to the next free process; after a death, the answer is a broken future."""
        try:
            future = self._pool.submit(function, item)
            self._own.update(self._pool._processes)
            return future
        except BrokenProcessPool as error:
            future = Future()
            future.set_exception(error)
            return future

    def never_began(self) -> bool:
        """Whether every process ended by itself before it could work: an error in what Python
        imports again in it, which is the script that asked for processes."""
        if self._began.is_set():
            return False
        for process in self._own.values():
            process.join(10)
        return any((process.exitcode or 0) > 0 for process in self._own.values())

    def end(self, *, stop: bool = False) -> None:
        """End the processes; ``stop`` does not wait for what they are doing."""
        own = list(self._own.values())
        self._pool.shutdown(wait=not stop, cancel_futures=True)
        for process in own if stop else ():
            process.terminate()
        for process in own if stop else ():
            process.join(10)


def require_guard() -> None:
    """Refuse to start processes from a script that Python imports again in one of them.

    Raises:
        SettingError: the script asks for processes while it is imported.
    """
    if getattr(multiprocessing.current_process(), "_inheriting", False):
        raise SettingError(GUARD)


def start_process(then: Callable[[], None] | None, began: Event | None = None) -> None:
    """Start of a worker process: one thread, no Ctrl-C of its own, and no life after its parent."""
    if began is not None:
        began.set()
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    parent = multiprocessing.parent_process()
    if parent is not None:
        threading.Thread(target=_end_with, args=(parent.sentinel,), daemon=True).start()
    one_thread()
    if then is not None:
        then()


def _end_with(sentinel: int) -> None:
    wait_for([sentinel])
    os._exit(1)


def one_thread() -> None:
    """One torch thread, since processes run in parallel."""
    import torch

    torch.set_num_threads(1)
