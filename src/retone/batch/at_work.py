"""How far the recordings at work are: written by worker processes, read by the job."""

from __future__ import annotations

import multiprocessing
from collections.abc import Callable, Iterator
from multiprocessing.sharedctypes import RawArray

from retone.progress import MEASURING, READING, RENDERING, Phase, Progress

Mark = tuple[int, float, float]
"""Number of a row, seconds of audio done, and seconds in all."""
Note = Callable[[int, float, float], None]
"""Called with a mark's three values."""


class AtWork:
    """Marks in memory that worker processes share; each writes its own.

    There is no lock, because a process may be killed while it holds one: a mark that is read while
    it is written is wrong for a moment.

    Args:
        workers: number of processes.
    """

    def __init__(self, workers: int) -> None:
        self.count = max(1, workers)
        self._marks = RawArray("d", 3 * self.count)

    def note(self, number: int, done_s: float, total_s: float) -> None:
        """Called in a worker process."""
        own = multiprocessing.current_process().name.rpartition("-")[2]
        place = 3 * (int(own) % self.count if own.isdigit() else 0)
        self._marks[place : place + 3] = (number + 1, done_s, total_s)

    def read(self) -> Iterator[Mark]:
        """The last mark of each process; perhaps of a row that is finished."""
        values = list(self._marks)
        for place in range(0, len(values), 3):
            number, done_s, total_s = values[place : place + 3]
            if number >= 1:
                yield int(number) - 1, done_s, total_s


def progress_of(number: int, note: Note) -> Progress:
    """Progress within one row as marks: measuring and rendering are half of the work each."""
    parts = {READING: (0.0, 1.0), MEASURING: (0.0, 0.5), RENDERING: (0.5, 1.0)}

    def progress(phase: Phase, done: float, total: float, /) -> None:
        if phase in parts and total > 0:
            start, end = parts[phase]
            note(number, total * start + (end - start) * min(done, total), total)

    return progress
