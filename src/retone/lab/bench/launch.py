"""Runs benchmark work in fresh processes with one thread each. Imports nothing heavy.

Thread counts must be in the environment before the numerical libraries are imported, so nothing
is measured in the process that the user started.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from retone.errors import RetoneError

ONE_THREAD = {
    name: "1"
    for name in (
        "OMP_NUM_THREADS",
        "OPENBLAS_NUM_THREADS",
        "MKL_NUM_THREADS",
        "NUMBA_NUM_THREADS",
        "NUMEXPR_NUM_THREADS",
        "VECLIB_MAXIMUM_THREADS",
    )
}
STEADY_MEMORY = {"MALLOC_MMAP_THRESHOLD_": "131072", "MALLOC_TRIM_THRESHOLD_": "131072"}
"""Makes glibc return freed blocks, so that memory figures count only memory in use."""


class BenchmarkError(RetoneError):
    """A measuring process ended without a result."""


def environment(**extra: str) -> dict[str, str]:
    """This process's environment with one thread for everything."""
    return {**os.environ, **ONE_THREAD, **extra}


def run_worker(
    job: str, arguments: Mapping[str, Any], *, extra: Mapping[str, str] | None = None
) -> Any:
    """Run a job of ``retone.lab.bench.worker`` in a fresh process; progress goes to stderr.

    Args:
        job: a name in the worker's table.
        arguments: the job's keyword arguments, as JSON can hold them.
        extra: further environment variables.

    Returns:
        What the job returned, through JSON.

    Raises:
        BenchmarkError: the process failed; it has printed its own message.
    """
    with tempfile.TemporaryDirectory(prefix="retone-bench-") as folder:
        result = Path(folder) / "result.json"
        command = [
            sys.executable, "-W", "ignore", "-m", "retone.lab.bench.worker",
            job, json.dumps(dict(arguments)), str(result),
        ]  # fmt: skip
        code = subprocess.run(command, env=environment(**(extra or {})), check=False).returncode
        if code == 2:
            raise BenchmarkError(f"{job}: stopped for the reason above.")
        if code or not result.exists():
            raise BenchmarkError(
                f"{job}: the measuring process ended with code {code} and no result. "
                "See its message above; too little memory is a common cause."
            )
        return json.loads(result.read_text())


def measured_command(command: Sequence[str]) -> dict[str, float]:
    """Run a command with one thread and report what the system counted for it.

    Returns:
        ``wall_s``, ``cpu_s`` and ``peak_mib`` (largest resident size). This process should be
        small: Linux counts the size of the starting process as the least peak of the started.

    Raises:
        BenchmarkError: the command failed.
    """
    start = time.perf_counter()
    child = subprocess.Popen(list(command), env=environment(), stdout=subprocess.DEVNULL)
    _, status, usage = os.wait4(child.pid, 0)
    wall = time.perf_counter() - start
    child.returncode = os.waitstatus_to_exitcode(status)
    if child.returncode:
        raise BenchmarkError(f"{Path(command[0]).name} ended with code {child.returncode}.")
    unit = 1 if sys.platform == "darwin" else 1024
    return {
        "wall_s": wall,
        "cpu_s": usage.ru_utime + usage.ru_stime,
        "peak_mib": usage.ru_maxrss * unit / 2**20,
    }
