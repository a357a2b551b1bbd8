"""Load and store eight lanes: consecutive samples, or one sample from each of eight rows.

A kernel that works on eight rows of a batch needs their simultaneous samples next to each other.
``lanes_in8`` and ``lanes_out8`` transpose blocks of eight by eight in the type of the audio, which
for float32 halves the work.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic
from numpy.typing import NDArray

from retone.kernels.lanes import LANES, lanes

_DOUBLE = ir.DoubleType()
_INT = ir.IntType(64)
_LINE = 64  # bytes of a cache line
_SPREAD = 1024  # bytes
LINE_SAMPLES = _LINE // 4
"""float32 samples in a cache line."""


def tiles(rows: int, numbers: int) -> NDArray[np.float64]:
    """Scratch rows of at least ``numbers`` float64, each aligned to a cache line.

    Neighbouring rows are offset by a quarter of a 4096-byte page (modulo the page). Processors
    assume that a load depends on an earlier store if the addresses agree modulo a page, so a
    kernel that walks several rows in parallel would otherwise wait for its own stores.
    """
    width = -(-numbers * 8 // 4096) * 4096 + _SPREAD
    buffer = np.zeros(rows * width // 8 + _LINE // 8)
    skip = -buffer.ctypes.data % _LINE // 8
    return buffer[skip : skip + rows * width // 8].reshape(rows, width // 8)


def _address(context: Any, builder: Any, kind: Any, array: Any, index: Any) -> tuple[Any, int]:
    """Pointer to 8 consecutive numbers of a contiguous 1-D array, and their alignment in bytes."""
    data = cgutils.create_struct_proxy(kind)(context, builder, array).data
    element = ir.DoubleType() if kind.dtype == types.float64 else ir.FloatType()
    pointer = builder.bitcast(
        builder.gep(data, [index]), ir.VectorType(element, LANES).as_pointer()
    )
    return pointer, kind.dtype.bitwidth // 8


def _emit_load(context: Any, builder: Any, kind: Any, array: Any, index: Any) -> Any:
    pointer, align = _address(context, builder, kind, array, index)
    value = builder.load(pointer, align=align)
    if kind.dtype == types.float64:
        return value
    return builder.fpext(value, ir.VectorType(_DOUBLE, LANES))


def _emit_store(context: Any, builder: Any, kind: Any, array: Any, index: Any, v: Any) -> None:
    pointer, align = _address(context, builder, kind, array, index)
    if kind.dtype != types.float64:
        v = builder.fptrunc(v, ir.VectorType(ir.FloatType(), LANES))
    builder.store(v, pointer, align=align)


@intrinsic
def load8(typingctx, array, index):  # type: ignore[no-untyped-def]
    """``array[index : index + 8]`` of a contiguous 1-D float array, unchecked, as float64."""

    def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        return _emit_load(context, builder, sig.args[0], *args)

    return lanes(array, types.intp), codegen


@intrinsic
def store8(typingctx, array, index, value):  # type: ignore[no-untyped-def]
    """``array[index : index + 8] = value``, unchecked, rounded to the array's type."""

    def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        _emit_store(context, builder, sig.args[0], *args)
        return context.get_dummy_value()

    return types.void(array, types.intp, lanes), codegen


_F32_STAGES = (
    # interleave neighbours, then pairs, then halves: each is one instruction on x86
    ((1, [0, 8, 1, 9, 4, 12, 5, 13], [2, 10, 3, 11, 6, 14, 7, 15])),
    ((2, [0, 1, 8, 9, 4, 5, 12, 13], [2, 3, 10, 11, 6, 7, 14, 15])),
    ((4, [0, 1, 2, 3, 8, 9, 10, 11], [4, 5, 6, 7, 12, 13, 14, 15])),
)


def _shuffled(builder: Any, a: Any, b: Any, order: list[int]) -> Any:
    return builder.shuffle_vector(a, b, ir.Constant(ir.VectorType(ir.IntType(32), LANES), order))


def transposed(builder: Any, rows: list[Any]) -> list[Any]:
    """Transpose eight vectors of eight numbers, keeping their type."""
    if rows[0].type.element == _DOUBLE:
        rows = list(rows)
        for gap in (1, 2, 4):  # swap the off-diagonal blocks of size gap
            low = [j if not j & gap else LANES + j - gap for j in range(LANES)]
            high = [j + gap if not j & gap else LANES + j for j in range(LANES)]
            for i in range(LANES):
                if not i & gap:
                    a, b = rows[i], rows[i + gap]
                    rows[i] = _shuffled(builder, a, b, low)
                    rows[i + gap] = _shuffled(builder, a, b, high)
        return rows
    # each stage permutes the columns; the return restores their order
    for gap, low, high in _F32_STAGES:
        after: list[Any] = [None] * LANES
        for i in range(LANES):
            if not i & gap:
                after[i] = _shuffled(builder, rows[i], rows[i + gap], low)
                after[i + gap] = _shuffled(builder, rows[i], rows[i + gap], high)
        rows = after
    # row i now holds the column whose number is i with bits 0 and 1 swapped
    return [rows[(i & 4) | (i & 1) << 1 | (i & 2) >> 1] for i in range(LANES)]


def _row_pointers(
    context: Any, builder: Any, sig: Any, array: Any, kind: Any, index: Any, stride: Any, at: Any
) -> list[Any]:
    """Addresses of ``array[index[j] * stride + at]``, j = 0 ... 7."""
    numbers = cgutils.create_struct_proxy(sig)(context, builder, index).data
    places = []
    for j in range(LANES):
        row = builder.load(builder.gep(numbers, [ir.Constant(_INT, j)]))
        offset = builder.add(builder.mul(row, stride), at)
        places.append(_address(context, builder, kind, array, offset))
    return places


@intrinsic
def lanes_in8(typingctx, source, index, stride, at, out, place):  # type: ignore[no-untyped-def]
    """``out[place + 8 n + j] = source[index[j] * stride + at + n]`` for n, j = 0 ... 7."""

    def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        array, rows, step, first, flat, start = args
        pointers = _row_pointers(
            context, builder, sig.args[1], array, sig.args[0], rows, step, first
        )
        values = [builder.load(pointer, align=align) for pointer, align in pointers]
        for n, column in enumerate(transposed(builder, values)):
            if column.type.element != _DOUBLE:
                column = builder.fpext(column, ir.VectorType(_DOUBLE, LANES))
            to = builder.add(start, ir.Constant(_INT, n * LANES))
            _emit_store(context, builder, sig.args[4], flat, to, column)
        return context.get_dummy_value()

    word = types.intp
    return types.void(source, index, word, word, out, word), codegen


@intrinsic
def lanes_out8(typingctx, flat, place, out, index, stride, at):  # type: ignore[no-untyped-def]
    """Inverse of ``lanes_in8``: ``out[index[j] * stride + at + n] = flat[place + 8 n + j]``."""

    def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        source, start, array, rows, step, first = args
        values = []
        for n in range(LANES):
            here = builder.add(start, ir.Constant(_INT, n * LANES))
            value = _emit_load(context, builder, sig.args[0], source, here)
            if sig.args[2].dtype != types.float64:
                value = builder.fptrunc(value, ir.VectorType(ir.FloatType(), LANES))
            values.append(value)
        pointers = _row_pointers(
            context, builder, sig.args[3], array, sig.args[2], rows, step, first
        )
        for (pointer, align), row in zip(pointers, transposed(builder, values), strict=True):
            builder.store(row, pointer, align=align)
        return context.get_dummy_value()

    word = types.intp
    return types.void(flat, word, out, index, word, word), codegen


@intrinsic
def prefetch(typingctx, array, index):  # type: ignore[no-untyped-def]
    """Prefetch the cache line of ``array[index]`` into L2; any index is safe."""

    def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        data = cgutils.create_struct_proxy(sig.args[0])(context, builder, args[0]).data
        emit_prefetch(builder, builder.gep(data, [args[1]]))
        return context.get_dummy_value()

    return types.void(array, types.intp), codegen


def emit_prefetch(builder: Any, pointer: Any) -> None:
    """Emit the prefetch instruction."""
    word = ir.IntType(32)
    place = builder.bitcast(pointer, ir.IntType(8).as_pointer())
    kind = ir.FunctionType(ir.VoidType(), [place.type, word, word, word])
    function = cgutils.get_or_insert_function(builder.module, kind, "llvm.prefetch.p0")
    builder.call(function, [place, word(0), word(2), word(1)])  # read, L2, data cache
