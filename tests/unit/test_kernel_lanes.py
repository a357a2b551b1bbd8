"""Vector lanes: log2 and exp2, rows to lanes and back, scratch memory, prefetching."""

from __future__ import annotations

from typing import Any

import numba
import numpy as np
import pytest

from retone.kernels import lane_memory, lanes


def test_log2_and_exp2_are_accurate_and_equal_in_lanes_and_scalars() -> None:
    @numba.njit
    def both(x: Any, logs: Any, powers: Any, log1: Any, power1: Any) -> None:
        for i in range(0, x.size, 8):
            v = lanes.log2_as(x, lane_memory.load8(x, i))
            lane_memory.store8(logs, i, v)
            lane_memory.store8(powers, i, lanes.exp2_as(x, v * lanes.splat8(3.1)))
        for i in range(x.size):
            log1[i] = lanes.log2_as(x, x[i])
            power1[i] = lanes.exp2_as(x, log1[i] * 3.1)

    x = 10 ** np.random.default_rng(0).uniform(-12, 6, 8000)
    x[:4] = 1.0, 1e-12, 2.0, np.nextafter(1.0, 0.0)
    logs, powers, log1, power1 = (np.empty_like(x) for _ in range(4))
    both(x, logs, powers, log1, power1)
    np.testing.assert_array_equal(logs, log1)
    np.testing.assert_array_equal(powers, power1)
    np.testing.assert_allclose(logs, np.log2(x), rtol=1e-13, atol=1e-15)
    np.testing.assert_allclose(powers, np.exp2(logs * 3.1), rtol=1e-13)
    assert logs[0] == 0.0 and powers[0] == 1.0


def test_float32_samples_get_the_short_log2_and_exp2_and_float64_the_exact_ones() -> None:
    @numba.njit
    def both(like: Any, x: Any, logs: Any, powers: Any) -> None:
        for i in range(0, x.size, 8):
            v = lanes.log2_as(like, lane_memory.load8(x, i))
            lane_memory.store8(logs, i, v)
            lane_memory.store8(powers, i, lanes.exp2_as(like, v * lanes.splat8(0.3)))

    x = 10 ** np.random.default_rng(0).uniform(-12, 6, 8000)
    x[:4] = 1.0, 1e-12, 2.0, np.nextafter(1.0, 0.0)
    for kind, error in ((np.float32, 6e-9), (np.float64, 1e-13)):
        logs, powers = np.empty_like(x), np.empty_like(x)
        both(np.empty(0, kind), x, logs, powers)
        np.testing.assert_allclose(logs, np.log2(x), rtol=1e-13, atol=error)
        np.testing.assert_allclose(powers, np.exp2(logs * 0.3), rtol=error)


@pytest.mark.parametrize("kind", [np.float32, np.float64])
def test_eight_rows_survive_a_round_trip_through_lanes(kind: Any) -> None:
    @numba.njit
    def round_trip(x: Any, index: Any, flat: Any, y: Any) -> None:
        lane_memory.lanes_in8(x, index, 11, 2, flat, 8)
        lane_memory.lanes_out8(flat, 8, y, index, 11, 2)

    x = np.arange(12 * 11).astype(kind)
    index = np.array([0, 1, 3, 4, 7, 9, 10, 11])
    flat, y = np.zeros(8 + 64), np.zeros_like(x)
    round_trip(x, index, flat, y)
    part = x.reshape(12, 11)[index, 2:10]
    np.testing.assert_array_equal(flat[8:].reshape(8, 8), part.T)
    np.testing.assert_array_equal(y.reshape(12, 11)[index, 2:10], part)
    assert np.count_nonzero(y) == np.count_nonzero(part)


def test_tiles_start_at_cache_lines() -> None:
    work = lane_memory.tiles(5, 520)
    assert work.shape[0] == 5 and work.shape[1] >= 520 and work.flags.c_contiguous
    assert all(row.ctypes.data % 64 == 0 for row in work)


def test_any_index_can_be_prefetched() -> None:
    @numba.njit
    def fetch(x: Any, at: int) -> None:
        lane_memory.prefetch(x, at)

    x = np.arange(8.0)
    for at in (0, 7, 8, 10**9, -(10**9)):  # a block before the first one, and after the last
        fetch(x, at)
    assert x.tolist() == list(range(8))
