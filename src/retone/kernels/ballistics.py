"""Attack and release smoother, its exact adjoint, and the tile helpers of the row kernels.

    y[n] = y[n-1] + k (x[n] - y[n-1]),   k = k_attack if x[n] > y[n-1] else k_release

Written out, the two candidates are ``(1-k) y + k x``. If k_attack >= k_release, y[n] is
the larger of the two, otherwise the smaller, so the recursion needs no branch: one fused
multiply-add and one maximum per sample (the second case runs on the negated signal). Latency
limits a single row; with four rows or more, eight rows share the lanes of one vector.
"""

# mypy: disable-error-code="no-untyped-def, var-annotated, has-type, call-arg, arg-type, operator"
# numba infers the types of kernels; their arguments are flat arrays and vector lanes.

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from retone.compiled import njit
from retone.errors import ShapeError, expect
from retone.kernels import pool
from retone.kernels.jit import inner_njit
from retone.kernels.lane_memory import (
    LINE_SAMPLES,
    lanes_in8,
    lanes_out8,
    load8,
    prefetch,
    store8,
    tiles,
)
from retone.kernels.lanes import (
    LANES,
    fma,
    maximum,
    select_gt,
    splat8,
)
from retone.kernels.rows import run_rows

BLOCK = 64
"""Samples per tile and per checkpoint: a tile of eight rows stays in the first-level cache."""
MIN_LANE_ROWS = 4
"""With this many rows or more, eight lanes (some idle) beat one row at a time."""

Array = NDArray[Any]


@inner_njit
def lane_rows(first: int, stop: int, index: Array) -> int:
    """Fill ``index`` with the rows of the next lanes; returns how many are distinct.

    Lanes without a row repeat the last one: they compute and write the same numbers.
    """
    valid = min(LANES, stop - first)
    for j in range(LANES):
        index[j] = first + min(j, valid - 1)
    return valid


@inner_njit
def rows_to_lanes(x, index, stride, at, count, out, place) -> None:
    """Samples from ``at`` of eight rows ``stride`` apart go to ``out[place + n * 8 + row]``."""
    full = count - count % LANES
    for i in range(0, full, LANES):
        lanes_in8(x, index, stride, at + i, out, place + i * LANES)
    for j in range(LANES):
        base = index[j] * stride + at
        for i in range(full, count):
            out[place + i * LANES + j] = x[base + i]


@inner_njit
def lanes_to_rows(src, place, y, index, stride, at, count) -> None:
    """The inverse of ``rows_to_lanes``."""
    full = count - count % LANES
    for i in range(0, full, LANES):
        lanes_out8(src, place + i * LANES, y, index, stride, at + i)
    for j in range(LANES):
        base = index[j] * stride + at
        for i in range(full, count):
            y[base + i] = src[place + i * LANES + j]


@inner_njit
def prefetch_rows(x, index, stride, at) -> None:
    """Prefetch the block that starts at ``at``, for eight rows.

    Many short, separate streams defeat the hardware prefetcher.
    """
    for j in range(LANES):
        base = index[j] * stride + at
        for i in range(0, BLOCK, LINE_SAMPLES):
            prefetch(x, base + i)


@inner_njit
def _constants(k_attack: Array, k_release: Array, y0: Array, index: Array, out: Array) -> None:
    """Per lane: ka, 1-ka, kr, 1-kr, sign, y0; the sign turns the minimum into a maximum."""
    for j in range(LANES):
        ka, kr = k_attack[index[j]], k_release[index[j]]
        out[j] = ka
        out[8 + j] = 1.0 - ka
        out[16 + j] = kr
        out[24 + j] = 1.0 - kr
        out[32 + j] = 1.0 if ka >= kr else -1.0
        out[40 + j] = y0[index[j]]


@inner_njit
def _forward_lanes(x, length, index, constants, y, block_states, work) -> None:
    """Eight rows; fills ``y`` (unless empty) and the states before each block."""
    tile = work[1]
    ka, aa = load8(constants, 0), load8(constants, 8)
    kr, ar = load8(constants, 16), load8(constants, 24)
    sign = load8(constants, 32)
    z = load8(constants, 40) * sign
    blocks = 0
    for at in range(0, length, BLOCK):
        count = min(BLOCK, length - at)
        store8(block_states, blocks * LANES, z * sign)
        blocks += 1
        rows_to_lanes(x, index, length, at, count, tile, 0)
        for n in range(count):
            v = load8(tile, n * LANES) * sign
            z = maximum(fma(aa, z, ka * v), fma(ar, z, kr * v))
            store8(tile, n * LANES, z * sign)
        if y.size > 0:
            lanes_to_rows(tile, 0, y, index, length, at, count)
    store8(block_states, blocks * LANES, z * sign)


@inner_njit
def _forward_row(x, length, start, constants, y, block_states, work) -> None:
    """``_forward_lanes`` for one row: the same operations on scalars."""
    ka, aa, kr, ar = constants[0], constants[8], constants[16], constants[24]
    sign = constants[32]
    z = constants[40] * sign
    blocks = 0
    keep = y.size > 0
    for at in range(0, length, BLOCK):
        block_states[blocks] = z * sign
        blocks += 1
        for n in range(start + at, start + min(at + BLOCK, length)):
            v = x[n] * sign
            z = maximum(fma(aa, z, ka * v), fma(ar, z, kr * v))
            if keep:
                y[n] = z * sign
    block_states[blocks] = z * sign


@njit(nogil=True, cache=True, error_model="numpy")
def _forward(
    x, length, k_attack, k_release, y0, y, y_end, block_states, work, index, first, stop
) -> None:
    constants = work[4]
    blocks = -(-length // BLOCK)
    row = first
    while row < stop:
        if stop - row >= MIN_LANE_ROWS:
            valid = lane_rows(row, stop, index)
            _constants(k_attack, k_release, y0, index, constants)
            _forward_lanes(x, length, index, constants, y, block_states, work)
            for j in range(valid):
                y_end[row + j] = block_states[blocks * LANES + j]
            row += valid
        else:
            lane_rows(row, row + 1, index)
            _constants(k_attack, k_release, y0, index, constants)
            _forward_row(x, length, row * length, constants, y, block_states, work)
            y_end[row] = block_states[blocks]
            row += 1


@inner_njit
def _backward_lanes(gy, x, length, index, constants, block_states, gx, sums, work) -> None:
    """Adjoint of eight rows; ``sums`` gets the gradients of k_attack, k_release and y0."""
    tile, grads, past = work[1], work[2], work[3]
    ka, aa = load8(constants, 0), load8(constants, 8)
    kr, ar = load8(constants, 16), load8(constants, 24)
    sign = load8(constants, 32)
    none = splat8(0.0)
    carry, by_attack, by_release = none, none, none
    for block in range(-(-length // BLOCK) - 1, -1, -1):
        at = block * BLOCK
        count = min(BLOCK, length - at)
        rows_to_lanes(x, index, length, at, count, tile, 0)
        rows_to_lanes(gy, index, length, at, count, grads, 0)
        z = load8(block_states, block * LANES) * sign
        for n in range(count):
            store8(past, n * LANES, z * sign)
            v = load8(tile, n * LANES) * sign
            z = maximum(fma(aa, z, ka * v), fma(ar, z, kr * v))
        for n in range(count - 1, -1, -1):
            step = load8(tile, n * LANES) - load8(past, n * LANES)
            d = load8(grads, n * LANES) + carry
            by_k = d * step
            by_attack += select_gt(step, none, by_k, none)
            by_release += select_gt(step, none, none, by_k)
            store8(grads, n * LANES, select_gt(step, none, ka, kr) * d)
            carry = select_gt(step, none, aa, ar) * d
        lanes_to_rows(grads, 0, gx, index, length, at, count)
    store8(sums, 0, by_attack)
    store8(sums, 8, by_release)
    store8(sums, 16, carry)


@inner_njit
def _backward_row(gy, x, length, start, constants, block_states, gx, sums, work) -> None:
    ka, aa, kr, ar = constants[0], constants[8], constants[16], constants[24]
    sign = constants[32]
    past = work[0]
    carry, by_attack, by_release = 0.0, 0.0, 0.0
    for block in range(-(-length // BLOCK) - 1, -1, -1):
        at = start + block * BLOCK
        count = min(BLOCK, length - block * BLOCK)
        z = block_states[block] * sign
        for n in range(count):
            past[n] = z * sign
            v = x[at + n] * sign
            z = maximum(fma(aa, z, ka * v), fma(ar, z, kr * v))
        for n in range(count - 1, -1, -1):
            step = x[at + n] - past[n]
            d = gy[at + n] + carry
            by_k = d * step
            by_attack += select_gt(step, 0.0, by_k, 0.0)
            by_release += select_gt(step, 0.0, 0.0, by_k)
            gx[at + n] = select_gt(step, 0.0, ka, kr) * d
            carry = select_gt(step, 0.0, aa, ar) * d
    sums[0] = by_attack
    sums[8] = by_release
    sums[16] = carry


@njit(nogil=True, cache=True, error_model="numpy")
def _backward(
    gy,
    x,
    length,
    k_attack,
    k_release,
    y0,
    gx,
    nothing,
    sums_out,
    block_states,
    work,
    index,
    first,
    stop,
) -> None:
    constants, sums = work[4], work[5]
    row = first
    while row < stop:
        valid = 1
        if stop - row >= MIN_LANE_ROWS:
            valid = lane_rows(row, stop, index)
            _constants(k_attack, k_release, y0, index, constants)
            _forward_lanes(x, length, index, constants, nothing, block_states, work)
            _backward_lanes(gy, x, length, index, constants, block_states, gx, sums, work)
        else:
            lane_rows(row, row + 1, index)
            _constants(k_attack, k_release, y0, index, constants)
            _forward_row(x, length, row * length, constants, nothing, block_states, work)
            _backward_row(gy, x, length, row * length, constants, block_states, gx, sums, work)
        for j in range(valid):
            for i in range(3):
                sums_out[i, row + j] = sums[i * LANES + j]
        row += valid


def signal_like(value: Array, dtype: Any = None) -> Array:
    """Contiguous float32 or float64, the types kernels accept; other types become float64."""
    if dtype is None:
        dtype = value.dtype if value.dtype in (np.float32, np.float64) else np.float64
    return np.ascontiguousarray(value, dtype=dtype)


def _scratch(length: int) -> tuple[Array, Array, Array]:
    """Block states, tiles and lane indices: kernels allocate nothing."""
    block_states = np.zeros((-(-length // BLOCK) + 1) * LANES)
    return block_states, tiles(6, LANES * BLOCK), np.zeros(LANES, np.int64)


def _per_row(value: Array, rows: int, name: str) -> Array:
    if value.shape != (rows,):
        raise ShapeError(f"ballistics: expected {name} of shape [{rows}], got {value.shape}.")
    return np.ascontiguousarray(value, dtype=np.float64)


def ballistics_forward(
    x: Array,
    k_attack: Array,
    k_release: Array,
    y0: Array,
    threads: int = 1,
    y_end: Array | None = None,
) -> Array:
    """Smooth each row with one coefficient while rising and another while falling.

    Args:
        x: signals, [R, T], float32 or float64; the recursion runs in float64.
        k_attack: update coefficient where ``x[n] > y[n-1]``, [R], in 0...1.
        k_release: update coefficient elsewhere, [R], in 0...1.
        y0: the state before the first sample, [R].
        threads: maximum number of threads over rows.
        y_end: a float64 array [R] that receives the last state, the ``y0`` of the next block.

    Returns:
        The smoothed rows, [R, T], of ``x``'s type: bit-identical however the signal is cut, the
        rows are batched or the threads are set.

    Raises:
        ShapeError: if the shapes do not fit.
    """
    size = expect(x, "R T", "ballistics: x")
    rows, length = size["R"], size["T"]
    x = signal_like(x)
    k_attack = _per_row(k_attack, rows, "k_attack")
    k_release = _per_row(k_release, rows, "k_release")
    y0 = _per_row(y0, rows, "y0")
    y = pool.empty_like(x)
    ends = np.array(y0)
    xf, yf = x.reshape(-1), y.reshape(-1)

    def work(first: int, stop: int) -> None:
        _forward(xf, length, k_attack, k_release, y0, yf, ends, *_scratch(length), first, stop)

    if x.size:
        run_rows(work, rows, threads, LANES)
    if y_end is not None:
        y_end[:] = ends
    return y


def ballistics_backward(
    grad_y: Array, x: Array, k_attack: Array, k_release: Array, y0: Array, threads: int = 1
) -> tuple[Array, Array, Array, Array]:
    """Exact adjoint of ``ballistics_forward``, following the branches its float64 state took.

    The states are recomputed from ``x`` instead of read from a stored output: in float32 a settled
    output rounds to the input, and the branch would be lost.

    Args:
        grad_y: gradient on the output, [R, T].
        x: the input of the forward pass, [R, T], float32 or float64.
        k_attack: as in the forward pass, [R].
        k_release: as in the forward pass, [R].
        y0: as in the forward pass, [R].
        threads: maximum number of threads over rows.

    Returns:
        Gradients of x [R, T] (of ``x``'s type), k_attack [R], k_release [R], y0 [R] (float64).

    Raises:
        ShapeError: if the shapes do not fit.
    """
    size = expect(x, "R T", "ballistics: x")
    expect(grad_y, "R T", "ballistics: grad_y", **size)
    rows, length = size["R"], size["T"]
    x = signal_like(x)
    grad_y = signal_like(grad_y, x.dtype)
    k_attack = _per_row(k_attack, rows, "k_attack")
    k_release = _per_row(k_release, rows, "k_release")
    y0 = _per_row(y0, rows, "y0")
    gx, sums = pool.empty_like(x), np.zeros((3, rows))
    xf, gf, gxf = x.reshape(-1), grad_y.reshape(-1), gx.reshape(-1)
    nothing = np.empty(0, x.dtype)

    def work(first: int, stop: int) -> None:
        _backward(
            gf, xf, length, k_attack, k_release, y0, gxf, nothing, sums,
            *_scratch(length), first, stop,
        )  # fmt: skip

    if x.size:
        run_rows(work, rows, threads, LANES)
    return gx, sums[0], sums[1], sums[2]
