"""Kernel results come from a buffer pool that never reuses memory still referenced."""

from __future__ import annotations

import gc
import threading

import numpy as np
import pytest
import torch

from retone.kernels import pool

LARGE = (3, pool.MIN_BYTES // 8)


@pytest.fixture(autouse=True)
def _empty_pool(monkeypatch):
    monkeypatch.setattr(pool, "_free", {})


def test_live_results_never_share_memory():
    held = [pool.empty(LARGE, np.float32) for _ in range(4)]
    for i, array in enumerate(held):
        array[:] = i
    assert [float(a.min()) for a in held] == [float(a.max()) for a in held] == [0.0, 1.0, 2.0, 3.0]


def test_views_and_tensors_keep_their_memory():
    view = pool.empty(LARGE, np.float32).reshape(-1)[7:]
    tensor = torch.from_numpy(pool.empty(LARGE, np.float32))[None]
    view[:], tensor[:] = 1.0, 2.0
    gc.collect()
    for _ in range(3):
        pool.empty(LARGE, np.float32)[:] = 9.0
    assert view.max() == 1.0 and float(tensor.max()) == 2.0


def test_released_memory_is_reused():
    first = pool.empty(LARGE, np.float32)
    place = first.ctypes.data
    del first
    again = pool.empty((LARGE[1], LARGE[0]), np.float32)
    assert again.ctypes.data == place
    assert (
        again.shape == (LARGE[1], LARGE[0]) and again.flags.c_contiguous and again.flags.writeable
    )


def test_the_pool_stays_within_its_limit():
    held = [pool.empty((pool.MAX_KEPT_BYTES // 16,), np.float32) for _ in range(9)]
    held.clear()
    gc.collect()
    assert 0 < sum(r.size for r in pool._free.values()) <= pool.MAX_KEPT_BYTES


def test_other_sizes_evict_free_buffers():
    pool.empty(LARGE, np.float32)
    assert len(pool._free) == 1
    held = pool.empty((4, *LARGE), np.float32)
    assert not pool._free
    del held


def test_small_results_are_not_pooled():
    pool.empty((4, 5), np.float32)
    assert not pool._free


def test_threads_never_share_memory():
    wrong = []

    def work(value: float) -> None:
        for _ in range(200):
            array = pool.empty(LARGE, np.float32)
            array[:] = value
            if array.min() != value or array.max() != value:
                wrong.append(value)

    threads = [threading.Thread(target=work, args=(float(i),)) for i in range(4)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    assert not wrong


def test_the_pool_can_be_cleared():
    pool.empty(LARGE, np.float32)
    assert pool._free
    pool.clear()
    assert not pool._free
