"""A progress line for anything that takes longer than a second."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager

from retone.progress import Progress, silent

DELAY_S = 1.0
EVERY_S = 0.1
_WIDTH = 30


@contextmanager
def progress_bar(what: str, unit: str) -> Iterator[Progress]:
    """A line on stderr that appears after a second, and only on a terminal.

    Yields a callable taking (done, total) in ``unit``. The line is gone at the end.
    """
    if not sys.stderr.isatty():
        yield silent
        return
    started = time.monotonic()
    shown = [started + DELAY_S - EVERY_S, 0.0]  # when last, and how wide

    def show(done: float, total: float) -> None:
        now = time.monotonic()
        if now - shown[0] < EVERY_S:
            return
        line = progress_line(what, unit, done, total, now - started)
        sys.stderr.write(f"\r{line:{int(shown[1])}}")
        sys.stderr.flush()
        shown[:] = now, len(line)

    try:
        yield show
    finally:
        if shown[1]:
            sys.stderr.write(f"\r{'':{int(shown[1])}}\r")
            sys.stderr.flush()


def progress_line(what: str, unit: str, done: float, total: float, elapsed_s: float) -> str:
    """``matching [#####-----] 12 of 24 s, 3 s left``."""
    share = min(max(done / total, 0.0), 1.0) if total > 0 else 0.0
    bar = "#" * round(share * _WIDTH)
    left = f", {elapsed_s * (1 - share) / share:.0f} s left" if 0 < share < 1 else ""
    return f"{what} [{bar:-<{_WIDTH}}] {done:.0f} of {total:.0f} {unit}{left}"
