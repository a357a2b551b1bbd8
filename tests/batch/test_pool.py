"""Worker processes: order, bounds, and processes that die."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator

import pytest

from retone.batch.pool import PER_WORKER, Ready, each


def slow_first(number: int) -> int:
    time.sleep(0.2 if number == 0 else 0.0)
    return number * number


def deadly(number: int) -> int:
    if number in (3, 8):
        os.kill(os.getpid(), signal.SIGKILL if hasattr(signal, "SIGKILL") else signal.SIGTERM)
    return number


def died(number: int) -> int:
    return -number


def threads(number: int) -> int:
    import torch

    return torch.get_num_threads()


def test_in_order_and_bounded() -> None:
    taken = []

    def numbers() -> Iterator[int | Ready[int]]:
        for i in range(20):
            taken.append(i)
            yield Ready(i * i) if i % 5 == 4 else i

    seen = []
    for value in each(slow_first, numbers(), 2, in_order=True):
        seen.append(value)
        assert len(taken) - len(seen) < 2 * PER_WORKER + 1
    assert seen == [i * i for i in range(20)]


@pytest.mark.parametrize("in_order", [False, True])
def test_a_death_loses_only_its_own_item(in_order: bool) -> None:
    found = list(each(deadly, range(12), 2, died=died, in_order=in_order))
    assert sorted(found) == sorted([-3, -8, *(i for i in range(12) if i not in (3, 8))])
    if in_order:
        assert [abs(i) for i in found] == list(range(12))


@pytest.mark.parametrize("in_order", [False, True])
def test_who_waits_is_told(in_order: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("retone.batch.pool._LOOK_S", 0.02)
    times: list[float] = []
    found = each(
        slow_first, range(3), 2, in_order=in_order, waiting=lambda: times.append(time.monotonic())
    )
    assert sorted(found) == [0, 1, 4] and len(times) > 2


def test_no_process_and_many_give_the_same() -> None:
    assert list(each(slow_first, range(5), 0)) == list(each(slow_first, range(5), 1, in_order=True))


def test_one_thread_per_process_and_none_outlives_the_pool() -> None:
    import multiprocessing

    assert list(each(threads, range(2), 1)) == [1, 1]
    running = each(slow_first, range(100), 1)
    next(running)
    running.close()
    assert not multiprocessing.active_children()
