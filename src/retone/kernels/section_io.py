"""Audio in and out of the biquad loops: rows to lanes and back, with prefetching.

Audio is passed as a pair (float32 array, float64 array), one of them empty.
"""

from __future__ import annotations

from typing import Any

from retone.kernels.lane_memory import LINE_SAMPLES
from retone.kernels.section_loops import inner
from retone.kernels.vector import load, load_row, prefetch_row, store, store_row, tile_in, tile_out


@inner
def _prefetch_rows(x: Any, row: int, last: int, column: int) -> None:
    """Prefetch one cache line of every row for the next block."""
    if column % LINE_SAMPLES == 0 and 0 <= column < x.shape[1]:
        for r in range(row, last + 1):
            prefetch_row(x, r, column)


@inner
def _read_as(
    flat: Any,
    at: int,
    x: Any,
    row: int,
    last: int,
    start: int,
    samples: int,
    ahead: int,
    skewed: bool,
) -> None:
    whole = samples - samples % 8
    if skewed:
        for i in range(0, whole, 8):
            store(flat, at + i, load_row(x, row, start + i))
        for i in range(whole, samples):
            flat[at + i] = x[row, start + i]
        return
    for i in range(0, whole, 8):
        tile_in(flat, 8 * i, x, row, last, start + i)
        _prefetch_rows(x, row, last, start + i + ahead)
    for i in range(whole, samples):
        for lane in range(8):
            flat[8 * i + lane] = x[min(row + lane, last), start + i]


@inner
def _write_as(
    flat: Any,
    at: int,
    y: Any,
    row: int,
    last: int,
    start: int,
    samples: int,
    ahead: int,
    skewed: bool,
) -> None:
    whole = samples - samples % 8
    if skewed:
        for i in range(0, whole, 8):
            store_row(y, row, start + i, load(flat, at + i))
        for i in range(whole, samples):
            y[row, start + i] = flat[at + i]
        return
    for i in range(0, whole, 8):
        tile_out(flat, 8 * i, y, row, last, start + i)
        _prefetch_rows(y, row, last, start + i + ahead)
    for i in range(whole, samples):
        for lane in range(last - row + 1):
            y[row + lane, start + i] = flat[8 * i + lane]


@inner
def read_block(
    flat: Any,
    at: int,
    x: Any,
    row: int,
    last: int,
    start: int,
    samples: int,
    ahead: int,
    skewed: bool,
) -> None:
    """Copy rows row..last to ``flat``: sample-major, or (skewed) one row to ``flat[at:]``.

    Prefetches the samples ``ahead`` of those that are read.
    """
    if x[0].shape[1] > 0:
        _read_as(flat, at, x[0], row, last, start, samples, ahead, skewed)
    else:
        _read_as(flat, at, x[1], row, last, start, samples, ahead, skewed)


@inner
def write_block(
    flat: Any,
    at: int,
    y: Any,
    row: int,
    last: int,
    start: int,
    samples: int,
    ahead: int,
    skewed: bool,
) -> None:
    if y[0].shape[1] > 0:
        _write_as(flat, at, y[0], row, last, start, samples, ahead, skewed)
    elif y[1].shape[1] > 0:
        _write_as(flat, at, y[1], row, last, start, samples, ahead, skewed)


@inner
def prefetch_states(checkpoints: Any, row: int, last: int, block: int) -> None:
    """Prefetch the checkpoints, [R, blocks, S, 2], at the start of a block."""
    width = checkpoints.shape[2] * checkpoints.shape[3]
    flat = checkpoints.reshape(checkpoints.shape[0], checkpoints.shape[1] * width)
    first = block * width
    for r in range(row, last + 1):
        for i in range(first, first + width, 8):
            prefetch_row(flat, r, i)
        prefetch_row(flat, r, first + width - 1)
