"""A progress bar for anything that takes longer than a second."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager

from retone.progress import Progress


@contextmanager
def progress_bar(what: str, unit: str) -> Iterator[Progress]:
    """A bar on stderr that appears after a second, and only on a terminal.

    Yields a callable taking (done, total) in ``unit``.
    """
    if not sys.stderr.isatty():
        yield lambda done, total: None
        return
    from tqdm import tqdm

    with tqdm(desc=what, unit=unit, delay=1.0, leave=False, unit_scale=True) as bar:

        def show(done: float, total: float) -> None:
            bar.total = total
            bar.update(done - bar.n)

        yield show
