"""Rows of audio through the biquad loops: blocks, tables, states, and the choice of layout.

Audio is passed as a pair (float32 array, float64 array), one of them empty, so that everything but
the copying in and out is compiled once for both.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from retone.compiled import njit
from retone.kernels.section_io import prefetch_states, read_block, write_block
from retone.kernels.section_loops import (
    across_backward,
    across_forward,
    inner,
    put_section,
    scratch,
    skewed_backward,
    skewed_forward,
)
from retone.kernels.vector import (
    flush_denormals,
    restore_denormals,
)

CHECKPOINT = 512  # samples between checkpoints: the signals of a block fit the L2 cache
# With this many rows or more, eight lanes across rows beat one row at a time.
_MIN_LANE_ROWS_FORWARD = 5
_MIN_LANE_ROWS_BACKWARD = 4
_RAMP = 16  # a pass of eight sections ends 14 samples late, rounded up to whole lanes


@inner
def _lag(sections: int) -> int:
    """Samples by which the last pass of a skewed cascade ends late."""
    return 2 * ((sections - 1) % 8)


@inner
def _place(k: int, row: int, sections: int, skewed: bool) -> Any:
    """The vector of a table, and the lane in it, that hold section k of a row."""
    if not skewed:
        return k, row
    first = k - k % 8
    return k // 8, 8 - min(8, sections - first) + k % 8  # every pass uses the last lanes


@inner
def _tables(sos: Any, rows_per_set: int, row: int, last: int, skewed: bool) -> Any:
    """Forward and backward coefficients and the layout, in the format of the loops."""
    sections = sos.shape[1]
    forward, backward = scratch(40 * sections), scratch(40 * sections)
    layout = scratch(24 * sections)
    forward[:] = 0.0
    backward[:] = 0.0
    layout[:] = 0.0
    for r in range(row, last + 1):
        for k in range(sections):
            vector, lane = _place(k, r - row, sections, skewed)
            put_section(sos, r // rows_per_set, k, forward, backward, 40 * vector + lane)
    if skewed:
        for p in range((sections + 7) // 8):
            count = min(8, sections - 8 * p)
            for lane in range(8):
                k = lane - (8 - count)
                layout[24 * p + lane] = -2.0 * k if k >= 0 else -1e18  # no section: never active
            layout[24 * p + 8 + 8 - count] = 1.0
            layout[24 * p + 16 + 7] = 1.0
    return forward, backward, layout


@inner
def _states(
    flat: Any, rows: Any, block: int, row: int, last: int, skewed: bool, to_rows: bool
) -> None:
    """Copy states [R, blocks, S, 2] of one block to lanes, or with ``to_rows`` back."""
    sections = rows.shape[2]
    if not to_rows:
        flat[:] = 0.0
    for r in range(row, last + 1):
        for k in range(sections):
            vector, lane = _place(k, r - row, sections, skewed)
            for i in range(2):
                at = 16 * vector + 8 * i + lane
                if to_rows:
                    rows[r, block, k, i] = flat[at]
                else:
                    flat[at] = rows[r, block, k, i]


@inner
def _cascade(
    io: Any,
    xs: Any,
    ys: Any,
    record: bool,
    samples: int,
    table: Any,
    state: Any,
    layout: Any,
    sections: int,
) -> None:
    """One skewed row, in place on io, its output ``_lag`` late; pass p records to xs[p], ys[p]."""
    for p in range((sections + 7) // 8):
        if p > 0:
            for i in range(samples):
                io[i] = io[i + 14]
        count = min(8, sections - 8 * p)
        skewed_forward(
            io, xs[p * record], ys[p * record], record, samples, table, state, layout, p, count
        )


@inner
def _forward(
    x: Any,
    sos: Any,
    rows_per_set: int,
    state: Any,
    y: Any,
    state_out: Any,
    checkpoints: Any,
    row: int,
    last: int,
    skewed: bool,
) -> None:
    sections, total = sos.shape[1], max(x[0].shape[1], x[1].shape[1])
    table, _, layout = _tables(sos, rows_per_set, row, last, skewed)
    flat, lag = scratch(16 * sections), _lag(sections)
    _states(flat, state, np.int64(0), row, last, skewed, False)
    store_checkpoints = checkpoints.shape[1] > 0
    block = 4 * CHECKPOINT if skewed and not store_checkpoints else CHECKPOINT
    ahead = CHECKPOINT
    signal = scratch(block + _RAMP if skewed else 8 * block)
    unused = signal.reshape(1, signal.size)
    for start in range(0, total, block):
        samples = min(block, total - start)
        if store_checkpoints:
            _states(flat, checkpoints, start // block, row, last, skewed, True)
        read_block(signal, np.int64(0), x, row, last, start, samples, ahead, skewed)
        if skewed:
            _cascade(signal, unused, unused, False, samples, table, flat, layout, sections)
        else:
            across_forward(signal, samples, np.int64(0), table, flat, sections)
        write_block(signal, lag, y, row, last, start, samples, ahead, skewed)
    _states(flat, state_out, np.int64(0), row, last, skewed, True)


@inner
def _across_block(
    gradient: Any, signal: Any, samples: int, table: Any, flow: Any, sums: Any, sections: int
) -> None:
    for s in range(sections - 1, -1, -1):
        across_backward(gradient, signal, samples, 8 * CHECKPOINT, table, flow, sums, s)


@inner
def _skewed_block(
    gradient: Any,
    xs: Any,
    ys: Any,
    samples: int,
    table: Any,
    flow: Any,
    sums: Any,
    layout: Any,
    sections: int,
) -> None:
    passes = (sections + 7) // 8
    for p in range(passes - 1, -1, -1):
        if p < passes - 1:
            for i in range(samples - 1, -1, -1):
                gradient[i + 14] = gradient[i]
        count = min(8, sections - 8 * p)
        skewed_backward(gradient, xs[p], ys[p], samples, table, flow, sums, layout, p, count)


@inner
def _backward(
    gy: Any,
    x: Any,
    sos: Any,
    rows_per_set: int,
    checkpoints: Any,
    gs: Any,
    gx: Any,
    gc: Any,
    row: int,
    last: int,
    skewed: bool,
) -> None:
    sections, total = sos.shape[1], max(x[0].shape[1], x[1].shape[1])
    table, table_back, layout = _tables(sos, rows_per_set, row, last, skewed)
    flat, flow, sums = scratch(16 * sections), scratch(16 * sections), scratch(40 * sections)
    _states(flow, gs, np.int64(0), row, last, skewed, False)
    sums[:] = 0.0
    hop, lag = 8 * CHECKPOINT, _lag(sections)
    signal = scratch(CHECKPOINT + _RAMP if skewed else hop * (sections + 1))
    gradient = scratch(CHECKPOINT + _RAMP if skewed else hop)
    ahead = -CHECKPOINT
    passes = (sections + 7) // 8 if skewed else 0
    record_size = 8 * (CHECKPOINT + _RAMP)
    xs = scratch(passes * record_size).reshape(passes, record_size)
    ys = scratch(passes * record_size).reshape(passes, record_size)
    for block in range(checkpoints.shape[1] - 1, -1, -1):
        start = block * CHECKPOINT
        samples = min(CHECKPOINT, total - start)
        _states(flat, checkpoints, block, row, last, skewed, False)
        if block > 0:
            prefetch_states(checkpoints, row, last, block - 1)
        read_block(signal, np.int64(0), x, row, last, start, samples, ahead, skewed)
        read_block(gradient, lag, gy, row, last, start, samples, ahead, skewed)
        if skewed:
            _cascade(signal, xs, ys, True, samples, table, flat, layout, sections)
            _skewed_block(gradient, xs, ys, samples, table_back, flow, sums, layout, sections)
        else:
            across_forward(signal, samples, hop, table, flat, sections)
            _across_block(gradient, signal, samples, table_back, flow, sums, sections)
        write_block(gradient, np.int64(0), gx, row, last, start, samples, ahead, skewed)
    _states(flow, gs, np.int64(0), row, last, skewed, True)
    for r in range(row, last + 1):
        for k in range(sections):
            vector, lane = _place(k, r - row, sections, skewed)
            for i in range(5):
                total_gradient = sums[40 * vector + 8 * i + lane]
                gc[r, k, i] = total_gradient if i < 3 else -total_gradient


@njit(nogil=True, cache=True)
def forward_rows(
    x: Any,
    sos: Any,
    rows_per_set: int,
    state: Any,
    y: Any,
    state_out: Any,
    checkpoints: Any,
    row: int,
    stop: int,
) -> None:
    """``sections_forward`` for rows row..stop-1.

    Args:
        x, y: pairs of [R, T] as in the module docstring; y may be a pair of empty arrays.
        sos: [K, S, 5].
        rows_per_set: rows per set of coefficients.
        state, state_out: [R, 1, S, 2].
        checkpoints: [R, blocks, S, 2] to be filled; blocks may be 0.
        row, stop: the rows.
    """
    mode = flush_denormals()
    while row < stop:
        skewed = stop - row < _MIN_LANE_ROWS_FORWARD
        last = row if skewed else min(row + 8, stop) - 1
        _forward(x, sos, rows_per_set, state, y, state_out, checkpoints, row, last, skewed)
        row = last + 1
    restore_denormals(mode)


@njit(nogil=True, cache=True)
def backward_rows(
    gy: Any,
    x: Any,
    sos: Any,
    rows_per_set: int,
    checkpoints: Any,
    gs: Any,
    gx: Any,
    gc: Any,
    row: int,
    stop: int,
) -> None:
    """``sections_backward`` for rows row..stop-1.

    Args:
        gy, x, gx: pairs of [R, T].
        sos: [K, S, 5].
        rows_per_set: rows per set of coefficients.
        checkpoints: [R, blocks, S, 2], from ``forward_rows``.
        gs: [R, 1, S, 2], in: gradient on the final states; out: on the initial states.
        gc: [R, S, 5], gradient on the coefficients, row by row.
        row, stop: the rows.
    """
    mode = flush_denormals()
    while row < stop:
        skewed = stop - row < _MIN_LANE_ROWS_BACKWARD
        last = row if skewed else min(row + 8, stop) - 1
        _backward(gy, x, sos, rows_per_set, checkpoints, gs, gx, gc, row, last, skewed)
        row = last + 1
    restore_denormals(mode)
