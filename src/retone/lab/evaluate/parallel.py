"""Many small measurements, in one process or several, in the order they were asked for."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from typing import Any, TypeVar

Answer = TypeVar("Answer")


def measured(
    jobs: Sequence[Any], measure: Callable[[Any], Answer], workers: int
) -> Iterator[Answer]:
    """``measure(job)`` of each job, one thread a process; all can be pickled."""
    if workers == 1:
        yield from map(measure, jobs)
        return
    with ProcessPoolExecutor(
        workers, mp_context=get_context("spawn"), initializer=one_thread
    ) as pool:
        yield from pool.map(measure, jobs)


def one_thread() -> None:
    """Mathematics in one thread: the processes are the parallelism."""
    import torch

    torch.set_num_threads(1)
