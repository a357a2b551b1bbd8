"""Many small measurements in one process or several, in order."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from typing import Any, TypeVar

Value = TypeVar("Value")


def measured(jobs: Sequence[Any], measure: Callable[[Any], Value], workers: int) -> Iterator[Value]:
    """``measure(job)`` for each job, with one thread per process; everything must be picklable."""
    if workers == 1:
        yield from map(measure, jobs)
        return
    with ProcessPoolExecutor(
        workers, mp_context=get_context("spawn"), initializer=one_thread
    ) as pool:
        yield from pool.map(measure, jobs)


def one_thread() -> None:
    """One torch thread per process, since the processes run in parallel."""
    import torch

    torch.set_num_threads(1)
