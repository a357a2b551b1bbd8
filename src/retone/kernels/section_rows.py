"""Rows of audio through the biquad loops: blocks, tables, states, and the choice of layout.

Audio comes as a pair (float32 array, float64 array) of which one is empty, so that everything but
the copying in and out is compiled once for both. numba's cache on disk notices changes in this
file only: after an edit of the loops or of ``vector`` touch this one.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from retone.compiled import njit
from retone.kernels.section_copies import read_block, states_soon, write_block
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

CHECKPOINT = 512  # samples between two kept states; a block's signals then fit the L2 cache
# From so many rows on, eight lanes across rows beat one row after the other.
_FEWEST_FORWARD = 5
_FEWEST_BACKWARD = 4
_RAMP = 16  # a pass of eight sections ends 14 samples late


@inner
def _lag(sections: int) -> int:
    """Samples by which the last pass of a skewed cascade ends late."""
    return 2 * ((sections - 1) % 8)


@inner
def _place(k: int, row: int, sections: int, skewed: bool) -> Any:
    """Which vector of a table, and which lane of it, section k of a row is in."""
    if not skewed:
        return k, row
    first = k - k % 8
    return k // 8, 8 - min(8, sections - first) + k % 8  # every pass fills the last lanes


@inner
def _tables(sos: Any, share: int, row: int, last: int, skewed: bool) -> Any:
    """Forward and backward coefficients and the layout, as the loops want them."""
    sections = sos.shape[1]
    forward, backward = scratch(40 * sections), scratch(40 * sections)
    layout = scratch(24 * sections)
    forward[:] = 0.0
    backward[:] = 0.0
    layout[:] = 0.0
    for r in range(row, last + 1):
        for k in range(sections):
            vector, lane = _place(k, r - row, sections, skewed)
            put_section(sos, r // share, k, forward, backward, 40 * vector + lane)
    if skewed:
        for p in range((sections + 7) // 8):
            count = min(8, sections - 8 * p)
            for lane in range(8):
                k = lane - (8 - count)
                layout[24 * p + lane] = -2.0 * k if k >= 0 else -1e18  # no section: never its turn
            layout[24 * p + 8 + 8 - count] = 1.0
            layout[24 * p + 16 + 7] = 1.0
    return forward, backward, layout


@inner
def _states(
    flat: Any, rows: Any, block: int, row: int, last: int, skewed: bool, keep: bool
) -> None:
    """Copy states [R, blocks, S, 2] of one block to lanes, or (keep) back."""
    sections = rows.shape[2]
    if not keep:
        flat[:] = 0.0
    for r in range(row, last + 1):
        for k in range(sections):
            vector, lane = _place(k, r - row, sections, skewed)
            for i in range(2):
                at = 16 * vector + 8 * i + lane
                if keep:
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
    """One skewed row, in place on io, the output ``_lag`` late; pass p records to xs[p], ys[p]."""
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
    share: int,
    state: Any,
    y: Any,
    state_out: Any,
    points: Any,
    row: int,
    last: int,
    skewed: bool,
) -> None:
    sections, total = sos.shape[1], max(x[0].shape[1], x[1].shape[1])
    table, _, layout = _tables(sos, share, row, last, skewed)
    flat, lag = scratch(16 * sections), _lag(sections)
    _states(flat, state, np.int64(0), row, last, skewed, False)
    keeps = points.shape[1] > 0
    block = 4 * CHECKPOINT if skewed and not keeps else CHECKPOINT
    ahead = CHECKPOINT
    signal = scratch(block + _RAMP if skewed else 8 * block)
    unused = signal.reshape(1, signal.size)
    for start in range(0, total, block):
        samples = min(block, total - start)
        if keeps:
            _states(flat, points, start // block, row, last, skewed, True)
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
    share: int,
    points: Any,
    gs: Any,
    gx: Any,
    gc: Any,
    row: int,
    last: int,
    skewed: bool,
) -> None:
    sections, total = sos.shape[1], max(x[0].shape[1], x[1].shape[1])
    table, table_back, layout = _tables(sos, share, row, last, skewed)
    flat, flow, sums = scratch(16 * sections), scratch(16 * sections), scratch(40 * sections)
    _states(flow, gs, np.int64(0), row, last, skewed, False)
    sums[:] = 0.0
    hop, lag = 8 * CHECKPOINT, _lag(sections)
    signal = scratch(CHECKPOINT + _RAMP if skewed else hop * (sections + 1))
    gradient = scratch(CHECKPOINT + _RAMP if skewed else hop)
    ahead = -CHECKPOINT
    passes = (sections + 7) // 8 if skewed else 0
    step_room = 8 * (CHECKPOINT + _RAMP)
    xs = scratch(passes * step_room).reshape(passes, step_room)
    ys = scratch(passes * step_room).reshape(passes, step_room)
    for block in range(points.shape[1] - 1, -1, -1):
        start = block * CHECKPOINT
        samples = min(CHECKPOINT, total - start)
        _states(flat, points, block, row, last, skewed, False)
        if block > 0:
            states_soon(points, row, last, block - 1)
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
    share: int,
    state: Any,
    y: Any,
    state_out: Any,
    points: Any,
    row: int,
    stop: int,
) -> None:
    """``sections_forward`` for rows row..stop-1.

    Args:
        x, y: pairs of [R, T], see above; y may be a pair of empty arrays.
        sos: [K, S, 5].
        share: rows per set of coefficients.
        state, state_out: [R, 1, S, 2].
        points: [R, blocks, S, 2] to be filled, or no blocks.
        row, stop: the rows.
    """
    mode = flush_denormals()
    while row < stop:
        skewed = stop - row < _FEWEST_FORWARD
        last = row if skewed else min(row + 8, stop) - 1
        _forward(x, sos, share, state, y, state_out, points, row, last, skewed)
        row = last + 1
    restore_denormals(mode)


@njit(nogil=True, cache=True)
def backward_rows(
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
    """``sections_backward`` for rows row..stop-1.

    Args:
        gy, x, gx: pairs of [R, T].
        sos: [K, S, 5].
        share: rows per set of coefficients.
        points: [R, blocks, S, 2], from ``forward_rows``.
        gs: [R, 1, S, 2], in: gradient of the last states, out: of the first.
        gc: [R, S, 5], gradient of the coefficients, row by row.
        row, stop: the rows.
    """
    mode = flush_denormals()
    while row < stop:
        skewed = stop - row < _FEWEST_BACKWARD
        last = row if skewed else min(row + 8, stop) - 1
        _backward(gy, x, sos, share, points, gs, gx, gc, row, last, skewed)
        row = last + 1
    restore_denormals(mode)
