"""Cascades of second-order sections on numpy arrays: forward, and the exact adjoint.

The recursion is float64 whatever the audio's type; float32 audio is rounded once, at the output.
Processing in blocks with the state carried over, alone or in a batch, on one thread or several,
gives the same bits. Denormals count as zero inside the kernels (below 2.3e-308, for float32
audio below 1.2e-38): the tail of a filter would otherwise stay in them, at a large cost.
"""

from __future__ import annotations

from typing import Any, Literal, overload

import numpy as np
from numba import njit
from numpy.typing import NDArray

from retone.errors import SettingError, ShapeError, expect
from retone.kernels.rows import run_rows
from retone.kernels.section_loops import (
    across_backward,
    across_forward,
    put_section,
    scratch,
    skewed_backward,
    skewed_forward,
)
from retone.kernels.vector import (
    EIGHT,
    SIXTEEN,
    flush_denormals,
    restore_denormals,
    tile_in,
    tile_out,
)

CHECKPOINT = 256  # samples between two kept states; a block's signals then fit the L2 cache
_FEWEST_ACROSS = 4  # from so many rows on, eight lanes across rows beat one row after the other


@njit(nogil=True, cache=True)
def _read_rows(flat: Any, x: Any, row: int, last: int, start: int, samples: int) -> None:
    whole = samples - samples % 8
    for i in range(0, whole, 8):
        tile_in(flat, 8 * i, x, row, last, start + i)
    for i in range(whole, samples):
        for lane in range(8):
            flat[8 * i + lane] = x[min(row + lane, last), start + i]


@njit(nogil=True, cache=True)
def _write_rows(flat: Any, y: Any, row: int, last: int, start: int, samples: int) -> None:
    whole = samples - samples % 8
    for i in range(0, whole, 8):
        tile_out(flat, 8 * i, y, row, last, start + i)
    for i in range(whole, samples):
        for lane in range(last - row + 1):
            y[row + lane, start + i] = flat[8 * i + lane]


@njit(nogil=True, cache=True)
def _across_tables(sos: Any, share: int, row: int, last: int) -> Any:
    sections = sos.shape[1]
    forward, backward = scratch(40 * sections), scratch(40 * sections)
    for s in range(sections):
        for lane in range(8):
            section = sos[min(row + lane, last) // share, s]
            values = (section[0], section[1], section[2], section[3], section[4])
            put_section(values, forward[40 * s :], backward[40 * s :], lane, 8)
    return forward, backward


@njit(nogil=True, cache=True)
def _across_states(rows: Any, row: int, last: int) -> Any:
    """Lane-major copy of [R, S, 2] states."""
    sections = rows.shape[1]
    flat = scratch(16 * sections)
    for s in range(sections):
        for lane in range(8):
            flat[16 * s + lane] = rows[min(row + lane, last), s, 0]
            flat[16 * s + 8 + lane] = rows[min(row + lane, last), s, 1]
    return flat


@njit(nogil=True, cache=True)
def _keep_states(flat: Any, rows: Any, row: int, last: int) -> None:
    for s in range(rows.shape[1]):
        for lane in range(last - row + 1):
            rows[row + lane, s, 0] = flat[16 * s + lane]
            rows[row + lane, s, 1] = flat[16 * s + 8 + lane]


@njit(nogil=True, cache=True)
def _across_rows_forward(
    x: Any,
    sos: Any,
    share: int,
    state: Any,
    y: Any,
    state_out: Any,
    points: Any,
    row: int,
    last: int,
) -> None:
    sections, total = sos.shape[1], x.shape[1]
    table, _ = _across_tables(sos, share, row, last)
    flat = _across_states(state, row, last)
    signal = scratch(8 * CHECKPOINT)
    for start in range(0, total, CHECKPOINT):
        samples = min(CHECKPOINT, total - start)
        if points.shape[1] > 0:
            _keep_states(flat, points[:, start // CHECKPOINT], row, last)
        _read_rows(signal, x, row, last, start, samples)
        across_forward(signal, samples, 0, table, flat, sections)
        if y.shape[1] > 0:
            _write_rows(signal, y, row, last, start, samples)
    _keep_states(flat, state_out, row, last)


@njit(nogil=True, cache=True)
def _across_rows_backward(
    gy: Any,
    x: Any,
    sos: Any,
    share: int,
    points: Any,
    gs: Any,
    gx: Any,
    gc: Any,
    row: int,
    last: int,
) -> None:
    """``gs`` [R, S, 2] holds the gradient of the last state and leaves as that of the first."""
    sections, total = sos.shape[1], x.shape[1]
    table, table_back = _across_tables(sos, share, row, last)
    flat_gs = _across_states(gs, row, last)
    sums = scratch(40 * sections)
    sums[:] = 0.0
    hop = 8 * CHECKPOINT
    signal, gradient = scratch((sections + 1) * hop), scratch(hop)
    for block in range(points.shape[1] - 1, -1, -1):
        start = block * CHECKPOINT
        samples = min(CHECKPOINT, total - start)
        flat = _across_states(points[:, block], row, last)
        _read_rows(signal, x, row, last, start, samples)
        across_forward(signal, samples, hop, table, flat, sections)
        _read_rows(gradient, gy, row, last, start, samples)
        for s in range(sections - 1, -1, -1):
            across_backward(gradient, signal, samples, hop, table_back, flat_gs, sums, s)
        _write_rows(gradient, gx, row, last, start, samples)
    _keep_states(flat_gs, gs, row, last)
    for lane in range(last - row + 1):
        for s in range(sections):
            for i in range(5):
                total_gradient = sums[40 * s + 8 * i + lane]
                gc[row + lane, s, i] = total_gradient if i < 3 else -total_gradient


@njit(nogil=True, cache=True)
def _lane(k: int, sections: int, size: int) -> int:
    """Lane of section k within its group of ``size``; every pass fills the last lanes."""
    first = k - k % size
    return size - min(size, sections - first) + k % size


@njit(nogil=True, cache=True)
def _skewed_tables(sos: Any, share: int, row: int, lanes: Any, group: Any) -> Any:
    """Tables and layouts (see ``skewed_forward``), one after the other for every pass."""
    width, size = len(lanes), len(group)
    sections = sos.shape[1]
    passes = (sections + size - 1) // size
    forward, backward = scratch(5 * width * passes), scratch(5 * width * passes)
    layout = scratch(3 * width * passes)
    forward[:] = 0.0
    backward[:] = 0.0
    layout[:] = 0.0
    for p in range(passes):
        layout[3 * width * p : 3 * width * p + width] = -1e18  # no section: never its turn
    for g in range(width // size):
        for k in range(sections):
            p, lane = k // size, g * size + _lane(k, sections, size)
            section = sos[(row + g) // share, k]
            values = (section[0], section[1], section[2], section[3], section[4])
            at = 5 * width * p
            put_section(values, forward[at:], backward[at:], lane, width)
            at = 3 * width * p
            layout[at + lane] = -2.0 * (k % size)
            layout[at + width + lane] = 1.0 if k % size == 0 else 0.0
            layout[at + 2 * width + g * size + size - 1] = 1.0
    return forward, backward, layout


@njit(nogil=True, cache=True)
def _skewed_states(rows: Any, row: int, flat: Any, keep: bool, lanes: Any, group: Any) -> None:
    """Copy [R, S, 2] states to lanes, or (keep) back."""
    width, size = len(lanes), len(group)
    sections = rows.shape[1]
    for g in range(width // size):
        for k in range(sections):
            at = 2 * width * (k // size) + g * size + _lane(k, sections, size)
            for i in range(2):
                if keep:
                    rows[row + g, k, i] = flat[at + i * width]
                else:
                    flat[at + i * width] = rows[row + g, k, i]


@njit(nogil=True, cache=True)
def _skewed_cascade(
    io: Any,
    xs: Any,
    ys: Any,
    record: bool,
    samples: int,
    table: Any,
    state: Any,
    layout: Any,
    sections: int,
    lanes: Any,
    group: Any,
) -> None:
    """All passes in place on io; with ``record``, pass p's signals go to xs, ys."""
    width, size = len(lanes), len(group)
    groups = width // size
    for p in range((sections + size - 1) // size):
        count = min(size, sections - p * size)
        at = p * width * (CHECKPOINT + 2 * size) if record else 0
        skewed_forward(
            io,
            xs,
            ys,
            at,
            width if record else 0,
            samples,
            table[5 * width * p :],
            state[2 * width * p :],
            layout[3 * width * p :],
            count,
            lanes,
            group,
        )
        lag = 2 * (count - 1) * groups
        if lag > 0:
            for i in range(samples * groups):
                io[i] = io[i + lag]


@njit(nogil=True, cache=True)
def _skewed_rows_forward(
    x: Any,
    sos: Any,
    share: int,
    state: Any,
    y: Any,
    state_out: Any,
    points: Any,
    row: int,
    lanes: Any,
    group: Any,
) -> None:
    sections, total = sos.shape[1], x.shape[1]
    width, size = len(lanes), len(group)
    groups = width // size
    table, _, layout = _skewed_tables(sos, share, row, lanes, group)
    flat = scratch(2 * width * ((sections + size - 1) // size))
    flat[:] = 0.0
    _skewed_states(state, row, flat, False, lanes, group)
    block = CHECKPOINT if points.shape[1] > 0 else 4 * CHECKPOINT
    io, unused = scratch((block + 2 * size) * groups), scratch(width)
    for start in range(0, total, block):
        samples = min(block, total - start)
        if points.shape[1] > 0:
            _skewed_states(points[:, start // block], row, flat, True, lanes, group)
        for g in range(groups):
            for i in range(samples):
                io[i * groups + g] = x[row + g, start + i]
        _skewed_cascade(
            io, unused, unused, False, samples, table, flat, layout, sections, lanes, group
        )
        if y.shape[1] > 0:
            for g in range(groups):
                for i in range(samples):
                    y[row + g, start + i] = io[i * groups + g]
    _skewed_states(state_out, row, flat, True, lanes, group)


@njit(nogil=True, cache=True)
def _skewed_rows_backward(
    gy: Any,
    x: Any,
    sos: Any,
    share: int,
    points: Any,
    gs: Any,
    gx: Any,
    gc: Any,
    row: int,
    lanes: Any,
    group: Any,
) -> None:
    sections, total = sos.shape[1], x.shape[1]
    width, size = len(lanes), len(group)
    groups, passes = width // size, (sections + size - 1) // size
    table, table_back, layout = _skewed_tables(sos, share, row, lanes, group)
    flat, flat_gs = scratch(2 * width * passes), scratch(2 * width * passes)
    sums = scratch(5 * width * passes)
    flat[:] = 0.0
    flat_gs[:] = 0.0
    sums[:] = 0.0
    _skewed_states(gs, row, flat_gs, False, lanes, group)
    room = CHECKPOINT + 2 * size
    io, xs, ys = (
        scratch(room * groups),
        scratch(room * width * passes),
        scratch(room * width * passes),
    )
    for block in range(points.shape[1] - 1, -1, -1):
        start = block * CHECKPOINT
        samples = min(CHECKPOINT, total - start)
        _skewed_states(points[:, block], row, flat, False, lanes, group)
        for g in range(groups):
            for i in range(samples):
                io[i * groups + g] = x[row + g, start + i]
        _skewed_cascade(io, xs, ys, True, samples, table, flat, layout, sections, lanes, group)
        for g in range(groups):
            for i in range(samples):
                io[i * groups + g] = gy[row + g, start + i]
        for p in range(passes - 1, -1, -1):
            count = min(size, sections - p * size)
            lag = 2 * (count - 1) * groups
            if lag > 0:
                for i in range(samples * groups - 1, -1, -1):
                    io[i + lag] = io[i]
            at = p * width * room
            skewed_backward(
                io,
                xs,
                ys,
                at,
                samples,
                table_back[5 * width * p :],
                flat_gs[2 * width * p :],
                sums[5 * width * p :],
                layout[3 * width * p :],
                count,
                lanes,
                group,
            )
            for g in range(groups):
                lane = at + (g + 1) * size - count
                for i in range(samples):
                    io[i * groups + g] = xs[lane + i * width]
        for g in range(groups):
            for i in range(samples):
                gx[row + g, start + i] = io[i * groups + g]
    _skewed_states(gs, row, flat_gs, True, lanes, group)
    for g in range(groups):
        for k in range(sections):
            lane = 5 * width * (k // size) + g * size + _lane(k, sections, size)
            for i in range(5):
                gc[row + g, k, i] = sums[lane + i * width] if i < 3 else -sums[lane + i * width]


@njit(nogil=True, cache=True)
def _forward(
    x: Any,
    sos: Any,
    share: int,
    state: Any,
    y: Any,
    state_out: Any,
    points: Any,
    row: int,
    stop: int,
) -> None:
    mode = flush_denormals()
    while row < stop:
        left = stop - row
        if left >= _FEWEST_ACROSS:
            last = min(row + 8, stop) - 1
            _across_rows_forward(x, sos, share, state, y, state_out, points, row, last)
            row = last + 1
        elif sos.shape[1] > 8:
            _skewed_rows_forward(x, sos, share, state, y, state_out, points, row, SIXTEEN, SIXTEEN)
            row += 1
        elif left >= 2:
            _skewed_rows_forward(x, sos, share, state, y, state_out, points, row, SIXTEEN, EIGHT)
            row += 2
        else:
            _skewed_rows_forward(x, sos, share, state, y, state_out, points, row, EIGHT, EIGHT)
            row += 1
    restore_denormals(mode)


@njit(nogil=True, cache=True)
def _backward(
    gy: Any,
    x: Any,
    sos: Any,
    share: int,
    points: Any,
    gs: Any,
    gx: Any,
    gc: Any,
    row: int,
    stop: int,
) -> None:
    mode = flush_denormals()
    while row < stop:
        left = stop - row
        if left >= _FEWEST_ACROSS:
            last = min(row + 8, stop) - 1
            _across_rows_backward(gy, x, sos, share, points, gs, gx, gc, row, last)
            row = last + 1
        elif sos.shape[1] > 8:
            _skewed_rows_backward(gy, x, sos, share, points, gs, gx, gc, row, SIXTEEN, SIXTEEN)
            row += 1
        elif left >= 2:
            _skewed_rows_backward(gy, x, sos, share, points, gs, gx, gc, row, SIXTEEN, EIGHT)
            row += 2
        else:
            _skewed_rows_backward(gy, x, sos, share, points, gs, gx, gc, row, EIGHT, EIGHT)
            row += 1
    restore_denormals(mode)


def _checked(x: Any, sos: Any, state: Any, where: str) -> tuple[Any, Any, Any, dict[str, int]]:
    if x.dtype not in (np.float32, np.float64):
        raise SettingError(
            f"{where}: x is {x.dtype}, expected float32 or float64. Convert it with astype."
        )
    size = expect(x, "R T", f"{where}: x")
    size |= expect(sos, "K S coefficients", f"{where}: sos", coefficients=5)
    expect(state, "R S states", f"{where}: state", R=size["R"], S=size["S"], states=2)
    if size["K"] < 1 or size["R"] % size["K"] or size["S"] < 1:
        raise ShapeError(
            f"{where}: {size['R']} rows, {size['K']} sets of {size['S']} sections: expected at "
            "least one section, and rows a multiple of the sets."
        )
    sos = np.ascontiguousarray(sos, np.float64)
    return np.ascontiguousarray(x), sos, np.ascontiguousarray(state, np.float64), size


def _edge(rows: int, threads: int) -> int:
    """Where threads may split the rows: keep the lanes full if every thread still gets work."""
    return 8 if rows >= 8 * threads else 2 if rows >= 2 * threads else 1


Array = NDArray[Any]


@overload
def sections_forward(
    x: Array, sos: Array, state: Array, threads: int = 1, checkpoints: Literal[False] = False
) -> tuple[Array, Array]: ...
@overload
def sections_forward(
    x: Array, sos: Array, state: Array, threads: int = 1, *, checkpoints: Literal[True]
) -> tuple[Array, Array, Array]: ...
def sections_forward(
    x: Array, sos: Array, state: Array, threads: int = 1, checkpoints: bool = False
) -> tuple[Array, ...]:
    """Filter every row by a cascade of second-order sections, in transposed direct form II.

    y[n] = b0 x[n] + s1; s1 = b1 x[n] - a1 y[n] + s2; s2 = b2 x[n] - a2 y[n] in every section,
    computed in float64 as ``section_loops`` describes. State means the same as ``zi`` of
    scipy.signal.sosfilt.

    Args:
        x: audio [R, T], float32 or float64.
        sos: coefficients b0 b1 b2 a1 a2 (a0 = 1) [K, S, 5]; row r takes set r // (R // K).
        state: states before the first sample [R, S, 2].
        threads: rows are split over so many threads; the result doesn't depend on it.
        checkpoints: also return the states ``sections_backward`` starts its blocks from.

    Returns:
        Filtered audio [R, T] of x's type; states after the last sample [R, S, 2], float64; and,
        if asked for, states before every 256th sample [R, ceil(T / 256), S, 2].

    Raises:
        ShapeError: the sizes do not fit together.
        SettingError: x is neither float32 nor float64.
    """
    x, sos, state, size = _checked(x, sos, state, "sections_forward")
    rows, total, sections = size["R"], size["T"], size["S"]
    y, state_out = np.empty_like(x), np.empty_like(state)
    blocks = -(-total // CHECKPOINT) if checkpoints else 0
    points = np.empty((rows, blocks, sections, 2))
    share = rows // size["K"]

    def work(start: int, stop: int) -> None:
        _forward(x, sos, share, state, y, state_out, points, start, stop)

    run_rows(work, rows, threads, _edge(rows, threads))
    return (y, state_out, points) if checkpoints else (y, state_out)


def sections_backward(
    grad_y: Array,
    x: Array,
    sos: Array,
    state: Array,
    grad_state_out: Array,
    threads: int = 1,
    checkpoints: Array | None = None,
) -> tuple[Array, Array, Array]:
    """Gradients of ``sections_forward`` by its exact adjoint, run backward in time.

    The sections' signals are not kept: they are computed again, 256 samples at a time, from
    states kept on the way forward.

    Args:
        grad_y: gradient of the filtered audio [R, T].
        x, sos, state: what ``sections_forward`` was given.
        grad_state_out: gradient of the last states [R, S, 2].
        threads: as in ``sections_forward``.
        checkpoints: its third result; None runs it once more.

    Returns:
        Gradients of x [R, T] in x's type, of sos [K, S, 5] summed over the rows that share a
        set, and of state [R, S, 2], the last two float64.

    Raises:
        ShapeError: the sizes do not fit together.
        SettingError: x is neither float32 nor float64.
    """
    where = "sections_backward"
    x, sos, state, size = _checked(x, sos, state, where)
    rows, total, sections = size["R"], size["T"], size["S"]
    expect(grad_y, "R T", f"{where}: grad_y", R=rows, T=total)
    expect(grad_state_out, "R S states", f"{where}: grad_state_out", R=rows, S=sections, states=2)
    grad_y = np.ascontiguousarray(grad_y, x.dtype)
    share = rows // size["K"]
    grad_state = np.array(grad_state_out, np.float64, order="C")
    grad_x, grad_rows = np.empty_like(x), np.empty((rows, sections, 5))
    blocks = -(-total // CHECKPOINT)
    if checkpoints is not None:
        expect(
            checkpoints, "R blocks S states", f"{where}: checkpoints",
            R=rows, blocks=blocks, S=sections, states=2,
        )  # fmt: skip
        points = np.ascontiguousarray(checkpoints, np.float64)
    else:
        points = np.empty((rows, blocks, sections, 2))
    no_audio, last_state = np.empty((rows, 0), x.dtype), np.empty_like(state)

    def work(start: int, stop: int) -> None:
        if checkpoints is None:
            _forward(x, sos, share, state, no_audio, last_state, points, start, stop)
        _backward(grad_y, x, sos, share, points, grad_state, grad_x, grad_rows, start, stop)

    run_rows(work, rows, threads, _edge(rows, threads))
    grad_sos = grad_rows.reshape(size["K"], share, sections, 5).sum(axis=1)
    return grad_x, grad_sos, grad_state
