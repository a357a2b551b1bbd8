"""What a second process gains on this machine, without retone in it.

Two processors are not always twice one: they may share a core, caches, memory or a host with
others. The same fixed work runs in one process and in two at once.
"""

from __future__ import annotations

import subprocess
import sys
from typing import Any

from retone.lab.bench.launch import BenchmarkError, environment

WORK = {
    "arithmetic": "total = 0\nfor i in range(12_000_000):\n    total += i * i % 7",
    "memory": "for _ in range(60):\n    np.multiply(a, 0.5, out=b)",
}
"""Plain Python, and arrays of 64 MB that no cache holds."""
_CODE = """
import sys, time
import numpy as np
a, b = np.ones(8_000_000), np.zeros(8_000_000)
work = compile({work!r}, "work", "exec")
print("ready", flush=True)
sys.stdin.readline()
began = time.perf_counter()
exec(work)
print(time.perf_counter() - began, flush=True)
"""


def second_process(kind: str) -> float:
    """How many times as much two processes do as one, in the same time; 2 is ideal."""
    one, two = _slowest(kind, 1), _slowest(kind, 2)
    return 2 * one / two


def _slowest(kind: str, count: int) -> float:
    """Seconds of the slowest of several processes that begin together."""
    running: list[subprocess.Popen[Any]] = [
        subprocess.Popen(
            [sys.executable, "-c", _CODE.format(work=WORK[kind])], env=environment(), text=True,
            stdin=subprocess.PIPE, stdout=subprocess.PIPE,
        )
        for _ in range(count)
    ]  # fmt: skip
    for process in running:
        process.stdout.readline()  # type: ignore[union-attr]
    for process in running:
        process.stdin.write("go\n")  # type: ignore[union-attr]
        process.stdin.flush()  # type: ignore[union-attr]
    times = [process.communicate()[0] for process in running]
    if any(process.returncode for process in running):
        raise BenchmarkError("a process that measures the machine failed.")
    return max(float(text) for text in times)
