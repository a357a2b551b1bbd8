"""Spread rows over threads for work that calls torch's FFT."""

from __future__ import annotations

from collections.abc import Callable

import torch

from retone.kernels.rows import run_rows


def run_fft_rows(work: Callable[[int, int], None], rows: int) -> None:
    """Call ``work(start, stop)`` over all rows on as many threads as torch may use.

    Each FFT runs on a single thread.
    """
    threads = torch.get_num_threads()

    def single(start: int, stop: int) -> None:
        torch.set_num_threads(1)  # for this thread: nested parallel FFTs compete for the cores
        with torch.no_grad():
            work(start, stop)

    try:
        run_rows(single, rows, threads)
    finally:
        torch.set_num_threads(threads)
