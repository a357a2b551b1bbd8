"""Split work over rows: contiguous chunks on a persistent thread pool; checked arrays of rows.

The core runs without the GIL, so plain threads work in parallel.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np

from retone.errors import ShapeError

_pools: dict[int, ThreadPoolExecutor] = {}
_lock = threading.Lock()


def _pool(workers: int) -> ThreadPoolExecutor:
    with _lock:
        if workers not in _pools:
            _pools[workers] = ThreadPoolExecutor(workers, thread_name_prefix="retone-rows")
        return _pools[workers]


def _reset_after_fork() -> None:
    """A forked child inherits the pools but not their threads."""
    global _lock
    _lock = threading.Lock()
    _pools.clear()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_reset_after_fork)


def row_chunks(rows: int, threads: int, multiple: int = 1) -> list[tuple[int, int]]:
    """Split ``rows`` into at most ``threads`` contiguous chunks of near-equal size.

    Args:
        rows: number of rows, >= 0.
        threads: maximum number of chunks; values below 1 count as 1.
        multiple: every chunk but the last starts and ends at a multiple of this, which keeps
            SIMD lanes full.

    Returns:
        Pairs (start, stop), in order, none empty; an empty list for no rows.
    """
    units = -(-rows // multiple)
    count = max(1, min(threads, units))
    edges = [min(rows, (i * units // count) * multiple) for i in range(count)] + [rows]
    return [(a, b) for a, b in zip(edges, edges[1:], strict=False) if b > a]


def run_rows(
    work: Callable[[int, int], None], rows: int, threads: int = 1, multiple: int = 1
) -> None:
    """Call ``work(start, stop)`` over all rows, on up to ``threads`` threads.

    Args:
        work: handles rows start..stop-1. It must write only to those rows and must not call
            ``run_rows`` itself; it runs in parallel only if it releases the GIL.
        rows: number of rows, >= 0.
        threads: 1 calls ``work`` once in this thread; more hands contiguous chunks to a
            persistent thread pool. The calling thread takes the first chunk.
        multiple: chunk edges fall on multiples of this (see ``row_chunks``).

    Raises:
        Exception: the first exception of ``work``, after every chunk has ended.
    """
    chunks = row_chunks(rows, threads, multiple)
    if not chunks:
        return
    if len(chunks) == 1:
        work(*chunks[0])
        return
    pool = _pool(len(chunks) - 1)
    futures = [pool.submit(work, start, stop) for start, stop in chunks[1:]]
    try:
        work(*chunks[0])
    finally:
        errors = [future.exception() for future in futures]  # waits for every chunk
    for error in errors:
        if error is not None:
            raise error


def run_fft_rows(work: Callable[[int, int], None], rows: int) -> None:
    """``run_rows`` for work that calls torch's FFT, on as many threads as torch may use.

    Each FFT runs on a single thread.
    """
    import torch

    threads = torch.get_num_threads()

    def single(start: int, stop: int) -> None:
        torch.set_num_threads(1)  # for this thread: nested parallel FFTs compete for the cores
        with torch.no_grad():
            work(start, stop)

    try:
        run_rows(single, rows, threads)
    finally:
        torch.set_num_threads(threads)


def doubles(value: Any, shape: tuple[int, ...], where: str) -> Any:
    """The array as contiguous float64, or a ``ShapeError`` if it has another shape."""
    if value.shape != shape:
        raise ShapeError(f"{where}: expected {list(shape)}, got {list(value.shape)}.")
    return np.ascontiguousarray(value, np.float64)
