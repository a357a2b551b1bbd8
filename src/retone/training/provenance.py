"""Provenance of a result: versions, processor and date, without names of users or hosts."""

from __future__ import annotations

import platform
import time
from typing import Any


def provenance() -> dict[str, Any]:
    """Versions of retone and its main dependencies, processor, and date."""
    import numpy
    import torch

    import retone

    return {
        "retone": retone.__version__,
        "python": platform.python_version(),
        "torch": torch.__version__,
        "numpy": numpy.__version__,
        "machine": platform.machine(),
        "processor": _processor(),
        "threads": torch.get_num_threads(),
        "cuda": torch.cuda.get_device_name(0) if torch.cuda.is_available() else None,
        "date": time.strftime("%Y-%m-%d", time.gmtime()),
    }


def _processor() -> str:
    try:
        with open("/proc/cpuinfo") as handle:  # noqa: PTH123 - not a data file
            for line in handle:
                if line.startswith("model name"):
                    return line.split(":", 1)[1].strip()
    except OSError:
        pass
    return platform.processor() or "unknown"
