"""Progress callbacks, phase by phase."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True)
class Phase:
    """One phase of a longer task, measured in one unit.

    Args:
        name: shown to users, such as ``"rendering"``; also what ``str`` gives.
        unit: what is counted, such as ``"s"`` (seconds of audio) or ``"files"``.
    """

    name: str
    unit: str

    def __str__(self) -> str:
        return self.name


ANALYSING = Phase("analysing", "recordings")
ESTIMATING = Phase("finding settings", "steps")
MEASURING = Phase("measuring", "s")
RENDERING = Phase("rendering", "s")
READING = Phase("reading", "s")
TRAINING = Phase("training", "steps")


class Progress(Protocol):
    """A progress callback."""

    def __call__(self, phase: Phase, done: float, total: float, /) -> None:
        """Report that ``done`` of ``total`` units of a phase are complete."""
        ...


def silent(phase: Phase, done: float, total: float, /) -> None:
    """No-op progress callback."""
