"""Interleaved timing, and the statistics that tables print."""

from __future__ import annotations

import gc
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np


@dataclass
class Times:
    """Wall and CPU seconds of every timed call, in order of rounds.

    CPU time is that of the whole process, helper threads included. On a machine with other
    work it is the figure to trust: it does not count waiting for a free core.
    """

    wall_s: list[float] = field(default_factory=list)
    cpu_s: list[float] = field(default_factory=list)


@dataclass(frozen=True)
class Spread:
    """Median and quartiles."""

    median: float
    q1: float
    q3: float


def spread(values: Sequence[float]) -> Spread:
    """Median and inter-quartile range, quartiles by linear interpolation.

    Args:
        values: at least one number.
    """
    q1, median, q3 = np.quantile(np.asarray(values, dtype=np.float64), [0.25, 0.5, 0.75])
    return Spread(float(median), float(q1), float(q3))


def paired_ratio(numerator: Sequence[float], denominator: Sequence[float]) -> Spread:
    """Spread of the ratios round by round, which cancels drift over the run.

    Args:
        numerator, denominator: seconds, one per round, equally many.
    """
    pairs = zip(numerator, denominator, strict=True)
    return spread([a / b for a, b in pairs])


def interleaved(
    calls: Mapping[str, Callable[[], object]],
    rounds: int,
    seed: int,
    *,
    wall: Callable[[], float] = time.perf_counter,
    cpu: Callable[[], float] = time.process_time,
) -> dict[str, Times]:
    """Time every call once per round, in an order that is shuffled for every round.

    Args:
        calls: name -> call to time, already warmed up.
        rounds: how often, >= 1.
        seed: random seed of the shuffling.
        wall, cpu: clocks in seconds.

    Returns:
        name -> its times, one per round.
    """
    rng = np.random.default_rng(seed)
    names = list(calls)
    times = {name: Times() for name in names}
    enabled = gc.isenabled()
    try:
        for _ in range(rounds):
            gc.collect()
            gc.disable()
            for index in rng.permutation(len(names)):
                name = names[index]
                wall_start, cpu_start = wall(), cpu()
                result = calls[name]()
                cpu_end, wall_end = cpu(), wall()
                del result
                times[name].wall_s.append(wall_end - wall_start)
                times[name].cpu_s.append(cpu_end - cpu_start)
    finally:
        if enabled:
            gc.enable()
    return times
