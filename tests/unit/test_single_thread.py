"""The search for settings runs on one thread, and leaves the number of threads as it was."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator
from typing import Any

import pytest
import scipy.linalg  # noqa: F401 - SciPy has a BLAS of its own
import torch
from threadpoolctl import ThreadpoolController

from retone.process import decide
from retone.process.single_thread import single_thread


def counts() -> tuple[int, set[int]]:
    """Threads of torch and of every BLAS."""
    blas = ThreadpoolController().select(user_api="blas").info()
    return torch.get_num_threads(), {each["num_threads"] for each in blas}


@pytest.fixture(autouse=True)
def two_threads() -> Iterator[None]:
    """Two threads, whatever the machine has."""
    torch.get_num_threads()  # torch sets its own number when it is first asked
    with ThreadpoolController().limit(limits=2):
        yield


def test_one_inside_and_as_before_outside() -> None:
    assert counts() == (2, {2})
    with single_thread():
        assert counts() == (1, {1})
        with single_thread():
            assert counts() == (1, {1})
        assert counts() == (1, {1})
    assert counts() == (2, {2})


def test_an_error_restores_it() -> None:
    with pytest.raises(ValueError), single_thread():
        raise ValueError
    assert counts() == (2, {2})


@pytest.mark.parametrize("first_leaves_first", [True, False])
def test_threads_that_overlap_restore_it(first_leaves_first: bool) -> None:
    entered, leave = threading.Event(), threading.Event()

    def second() -> None:
        with single_thread():
            entered.set()
            leave.wait()

    other = threading.Thread(target=second)
    with single_thread():
        other.start()
        entered.wait()
        assert counts() == (1, {1})
        if not first_leaves_first:
            leave.set()
            other.join()
    leave.set()
    other.join()
    assert counts() == (2, {2})
    with single_thread():
        assert counts() == (1, {1})
    assert counts() == (2, {2})


def test_settings_are_sought_on_one_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    seen = []

    def look(*args: Any) -> None:
        seen.append(counts())

    monkeypatch.setattr(decide, "_decide", look)
    monkeypatch.setattr(decide, "open_recording", lambda recording: contextlib.nullcontext())
    nothing: Any = None
    decide.decide(nothing, [], nothing, estimator=nothing)
    assert seen == [(1, {1})] and counts() == (2, {2})
