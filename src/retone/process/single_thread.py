"""One thread for linear algebra and for torch's own operations, where arrays are small.

The search for settings solves hundreds of small systems and runs thousands of operations on short
tensors. Sharing each between threads costs more than it saves: the threads of OpenBLAS and OpenMP
wait in a busy loop, which takes processor time from everything else.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager

from threadpoolctl import ThreadpoolController

_blas = threading.Lock()


@contextmanager
def single_thread() -> Iterator[None]:
    """Run with one thread of OpenMP (torch) and of BLAS.

    Threads of OpenMP are counted for each thread that calls it, those of BLAS for the whole
    process: the first user limits them until it leaves.
    """
    libraries = ThreadpoolController()
    first = _blas.acquire(blocking=False)
    kinds = ["openmp", "blas"] if first else ["openmp"]
    try:
        with libraries.select(user_api=kinds).limit(limits=1):
            yield
    finally:
        if first:
            _blas.release()
