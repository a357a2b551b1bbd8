"""How long work says how far it is."""

from __future__ import annotations

from collections.abc import Callable

Progress = Callable[[float, float], None]
"""Called with (done, total), in any one unit."""


def silent(done: float, total: float) -> None:
    """A progress that tells nobody."""
