"""Provenance of a result: command, commit, versions, machine and date, without private names."""

from __future__ import annotations

import functools
import os
import platform
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any


def provenance() -> dict[str, Any]:
    """Command, commit, versions of retone and its main dependencies, machine, and date."""
    import numpy
    import torch

    import retone

    return {
        "retone": retone.__version__,
        "command": command(),
        "commit": commit(),
        "python": platform.python_version(),
        "torch": torch.__version__,
        "numpy": numpy.__version__,
        "machine": platform.machine(),
        "processor": _processor(),
        "cores": os.cpu_count(),
        "threads": torch.get_num_threads(),
        "cuda": torch.cuda.get_device_name(0) if torch.cuda.is_available() else None,
        "date": time.strftime("%Y-%m-%d", time.gmtime()),
    }


def command(words: Sequence[str] | None = None) -> str:
    """The command line of this process, with the last part of each path only."""
    program, *rest = sys.argv if words is None else words
    name = Path(program).name
    if name == "__main__.py":
        parts = Path(program).parts
        inside = parts[parts.index("retone") : -1] if "retone" in parts else (name,)
        name = "python -m " + ".".join(inside)
    return " ".join([name, *(_without_folders(word) for word in rest)])


def _without_folders(word: str) -> str:
    head, equals, tail = word.rpartition("=")
    if os.sep in head:
        head = Path(head).name if Path(head).is_absolute() else head
    return head + equals + (Path(tail).name if os.sep in tail else tail)


@functools.cache  # of the source as it was loaded: the clone may change during a long run
def commit() -> str | None:
    """The commit of the source this process runs, with a plus sign if files of it were changed;
    None outside of a clone."""
    folder = Path(__file__).parent

    def git(*words: str) -> str:
        done = subprocess.run(
            ["git", "-C", str(folder), *words], capture_output=True, text=True, timeout=10,
            check=True,
        )  # fmt: skip
        return done.stdout.strip()

    try:
        if not git("ls-files", Path(__file__).name):
            return None  # installed into a folder inside another repository
        changed = git("status", "-s", "-uno", str(folder.parent))
        return git("rev-parse", "HEAD")[:12] + ("+" if changed else "")
    except (OSError, subprocess.SubprocessError):
        return None


def _processor() -> str:
    try:
        with open("/proc/cpuinfo") as handle:  # noqa: PTH123 - not a data file
            for line in handle:
                if line.startswith("model name"):
                    return line.split(":", 1)[1].strip()
    except OSError:
        pass
    return platform.processor() or "unknown"
