"""Results of kernels come from memory that is used again, never while somebody still holds it."""

from __future__ import annotations

import gc
import threading

import numpy as np
import pytest
import torch

from retone.kernels import reused

LARGE = (3, reused.SMALLEST // 8)


@pytest.fixture(autouse=True)
def _nothing_kept(monkeypatch):
    monkeypatch.setattr(reused, "_kept", {})


def test_held_results_never_share_memory():
    held = [reused.empty(LARGE, np.float32) for _ in range(4)]
    for i, array in enumerate(held):
        array[:] = i
    assert [float(a.min()) for a in held] == [float(a.max()) for a in held] == [0.0, 1.0, 2.0, 3.0]


def test_a_view_keeps_its_memory_and_a_tensor_too():
    view = reused.empty(LARGE, np.float32).reshape(-1)[7:]
    tensor = torch.from_numpy(reused.empty(LARGE, np.float32))[None]
    view[:], tensor[:] = 1.0, 2.0
    gc.collect()
    for _ in range(3):
        reused.empty(LARGE, np.float32)[:] = 9.0
    assert view.max() == 1.0 and float(tensor.max()) == 2.0


def test_given_back_memory_is_lent_again():
    first = reused.empty(LARGE, np.float32)
    place = first.ctypes.data
    del first
    again = reused.empty((LARGE[1], LARGE[0]), np.float32)
    assert again.ctypes.data == place
    assert (
        again.shape == (LARGE[1], LARGE[0]) and again.flags.c_contiguous and again.flags.writeable
    )


def test_not_more_is_kept_than_said():
    held = [reused.empty((reused.MOST_KEPT // 16,), np.float32) for _ in range(9)]
    held.clear()
    gc.collect()
    assert 0 < sum(r.size for r in reused._kept.values()) <= reused.MOST_KEPT


def test_other_sizes_drive_out_what_is_kept():
    reused.empty(LARGE, np.float32)
    assert len(reused._kept) == 1
    held = reused.empty((4, *LARGE), np.float32)
    assert not reused._kept
    del held


def test_small_results_are_numpys_own():
    reused.empty((4, 5), np.float32)
    assert not reused._kept


def test_threads_do_not_get_the_same_memory():
    wrong = []

    def work(value: float) -> None:
        for _ in range(200):
            array = reused.empty(LARGE, np.float32)
            array[:] = value
            if array.min() != value or array.max() != value:
                wrong.append(value)

    threads = [threading.Thread(target=work, args=(float(i),)) for i in range(4)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    assert not wrong


def test_what_is_kept_can_be_forgotten():
    reused.empty(LARGE, np.float32)
    assert reused._kept
    reused.forget()
    assert not reused._kept
