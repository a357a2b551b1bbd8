"""Rows over threads for loops that call torch's transforms, and compiled sums in any order."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch

from retone.compiled import njit
from retone.kernels.rows import run_rows

loose_njit: Callable[..., Any] = njit(
    nogil=True, cache=True, fastmath={"contract", "nsz", "arcp", "reassoc"},
    error_model="numpy", boundscheck=False,
)  # fmt: skip
"""For float32 loops whose sums may be taken in any order; NaN and infinity keep their meaning."""


def on_rows(work: Callable[[int, int], None], rows: int) -> None:
    """Rows over as many threads as torch may use, each transform on one of them."""
    threads = torch.get_num_threads()

    def single(start: int, stop: int) -> None:
        torch.set_num_threads(1)  # of this thread; nested parallel FFTs only fight for the cores
        with torch.no_grad():
            work(start, stop)

    try:
        run_rows(single, rows, threads)
    finally:
        torch.set_num_threads(threads)
