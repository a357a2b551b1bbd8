"""Peak memory of a function call, as counted by the operating system."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

from retone.kernels import pool

_STATUS = Path("/proc/self/status")
_CLEAR = Path("/proc/self/clear_refs")


def _status_kib(key: str) -> int:
    for line in _STATUS.read_text().splitlines():
        if line.startswith(key + ":"):
            return int(line.split()[1])
    raise OSError(f"no {key} in {_STATUS}")


def peak_bytes() -> int:
    """Peak memory of this process since it started or since the last reset.

    On Linux from the process's own high-water mark: ``ru_maxrss`` starts at the size of the
    process that started this one.
    """
    try:
        return _status_kib("VmHWM") * 1024
    except OSError:
        import resource

        unit = 1 if sys.platform == "darwin" else 1024
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit


def peak_growth_mib(work: Callable[[], object]) -> float:
    """MiB that ``work`` adds at its peak to the process's memory before the call.

    Where the high-water mark cannot be reset (outside Linux) it is the growth of the mark since
    the start, which is too small if an earlier call used more.
    """
    pool.clear()  # release kernel buffers, so that reused memory counts for this call
    before = peak_bytes()
    try:
        _CLEAR.write_text("5")
        before = _status_kib("VmRSS") * 1024
    except OSError:
        pass
    work()
    return max(0, peak_bytes() - before) / 2**20
