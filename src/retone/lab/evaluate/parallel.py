"""Many small measurements in order: here, in processes, or on a Ray cluster."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any, TypeVar

Value = TypeVar("Value")
Workers = int | str
"""A number of processes, 1 for this one; or a Ray cluster: its address, or ``"ray"`` to start one
on this machine."""


def measured(
    jobs: Sequence[Any], measure: Callable[[Any], Value], workers: Workers
) -> Iterator[Value]:
    """``measure(job)`` for each job, with one thread per process; everything must be picklable."""
    if isinstance(workers, str):
        from retone.batch.cluster import each_on_cluster

        return each_on_cluster(measure, jobs, None if workers == "ray" else workers)
    from retone.batch.pool import each

    return each(measure, jobs, 0 if workers == 1 else workers, in_order=True)
