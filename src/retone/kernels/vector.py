"""Vectors of eight float64 inside numba: a value type and its operations.

numba leaves vectorisation to LLVM's loop vectoriser, which cannot see the parallelism of a
recursive filter. Here the lanes are explicit, and LLVM maps them to the registers of the
processor. Rounding is defined (``fma`` is always fused, nothing else is), so two kernels that
apply the same operations to a number give the same bits.
"""

from __future__ import annotations

from typing import Any

from llvmlite import ir
from numba.core import cgutils, types
from numba.extending import intrinsic as _numba_intrinsic
from numba.extending import models, register_model

from retone.kernels.lane_memory import emit_prefetch, transposed

intrinsic: Any = _numba_intrinsic  # its stub expects the caller to pass the typing context

LANES = 8  # one AVX-512 register, two of AVX2, four of NEON

_F64 = ir.DoubleType()
_I32 = ir.IntType(32)
_WIDE = ir.VectorType(_F64, LANES)


class Vector(types.Type):
    """numba type of a vector of float64 numbers."""

    def __init__(self) -> None:
        super().__init__(name=f"Vector(float64 x {LANES})")


vector = Vector()


@register_model(Vector)
class _VectorModel(models.PrimitiveModel):
    def __init__(self, dmm: Any, fe_type: Vector) -> None:
        super().__init__(dmm, fe_type, _WIDE)


def _shuffle(builder: Any, a: Any, b: Any, order: list[int]) -> Any:
    return builder.shuffle_vector(a, b, ir.Constant(ir.VectorType(_I32, len(order)), order))


def _splat(builder: Any, value: Any) -> Any:
    undefined = ir.Constant(_WIDE, ir.Undefined)
    one = builder.insert_element(undefined, value, _I32(0))
    return _shuffle(builder, one, undefined, [0] * LANES)


def _address(context: Any, builder: Any, array_type: Any, array: Any, index: Any) -> Any:
    """Pointer to an element of a C-contiguous array, without bounds check or wraparound."""
    view = context.make_array(array_type)(context, builder, array)
    offset = index[0]
    for i, axis_index in enumerate(index[1:], start=1):
        size = builder.extract_value(view.shape, i)
        offset = builder.add(builder.mul(offset, size), axis_index)
    return builder.gep(view.data, [offset])


def _load(builder: Any, pointer: Any, element: Any = _F64) -> Any:
    """Load float32 or float64 numbers as float64."""
    value = _load_raw(builder, pointer, element)
    return value if element == _F64 else builder.fpext(value, _WIDE)


def _load_raw(builder: Any, pointer: Any, element: Any) -> Any:
    place = builder.bitcast(pointer, ir.VectorType(element, LANES).as_pointer())
    return builder.load(place, align=4 if element == ir.FloatType() else 8)


def _store(builder: Any, value: Any, pointer: Any, element: Any = _F64) -> None:
    if element != _F64:
        value = builder.fptrunc(value, ir.VectorType(element, LANES))
    _store_raw(builder, value, pointer, element)


def _store_raw(builder: Any, value: Any, pointer: Any, element: Any) -> None:
    place = builder.bitcast(pointer, ir.VectorType(element, LANES).as_pointer())
    builder.store(value, place, align=4 if element == ir.FloatType() else 8)


@intrinsic
def load(typingctx: Any, array: Any, index: Any) -> Any:
    """load(array, index): consecutive numbers of a flat float64 array."""

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        return _load(builder, _address(context, builder, signature.args[0], args[0], [args[1]]))

    return vector(array, types.intp), codegen


@intrinsic
def store(typingctx: Any, array: Any, index: Any, value: Any) -> Any:
    """store(array, index, value): write a vector to a flat float64 array."""

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        place = _address(context, builder, signature.args[0], args[0], [args[1]])
        _store(builder, args[2], place)
        return context.get_dummy_value()

    return types.void(array, types.intp, vector), codegen


@intrinsic
def load_row(typingctx: Any, array: Any, row: Any, column: Any) -> Any:
    """load_row(array, row, column): consecutive numbers of one row, widened to float64."""

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        array_type = signature.args[0]
        place = _address(context, builder, array_type, args[0], list(args[1:]))
        return _load(builder, place, context.get_value_type(array_type.dtype))

    return vector(array, types.intp, types.intp), codegen


@intrinsic
def store_row(typingctx: Any, array: Any, row: Any, column: Any, value: Any) -> Any:
    """store_row(array, row, column, value): inverse of load_row, rounded to the array's type."""

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        array_type = signature.args[0]
        place = _address(context, builder, array_type, args[0], list(args[1:3]))
        _store(builder, args[3], place, context.get_value_type(array_type.dtype))
        return context.get_dummy_value()

    return types.void(array, types.intp, types.intp, vector), codegen


@intrinsic
def fma(typingctx: Any, a: Any, b: Any, c: Any) -> Any:
    """fma(a, b, c): a * b + c with one rounding; vectors or plain float64."""
    number = a if isinstance(a, Vector) else types.float64

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        kind = args[0].type
        suffix = "f64" if kind == _F64 else f"v{LANES}f64"
        function = cgutils.get_or_insert_function(
            builder.module, ir.FunctionType(kind, [kind] * 3), f"llvm.fma.{suffix}"
        )
        return builder.call(function, args)

    return number(number, number, number), codegen


@intrinsic
def multiply(typingctx: Any, a: Any, b: Any) -> Any:
    """multiply(a, b): lane by lane."""

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        return builder.fmul(*args)

    return vector(vector, vector), codegen


@intrinsic
def add(typingctx: Any, a: Any, b: Any) -> Any:
    """add(a, b): lane by lane."""

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        return builder.fadd(*args)

    return vector(vector, vector), codegen


@intrinsic
def subtract(typingctx: Any, a: Any, b: Any) -> Any:
    """subtract(a, b): lane by lane."""

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        return builder.fsub(*args)

    return vector(vector, vector), codegen


@intrinsic
def splat(typingctx: Any, value: Any) -> Any:
    """splat(value): the same number in every lane."""

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        return _splat(builder, args[0])

    return vector(types.float64), codegen


@intrinsic
def pick(typingctx: Any, mask: Any, a: Any, b: Any) -> Any:
    """pick(mask, a, b): a in the lanes where the mask is above 0.5, else b."""

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        half = ir.Constant(_WIDE, [0.5] * LANES)
        return builder.select(builder.fcmp_ordered(">", args[0], half), args[1], args[2])

    return vector(vector, vector, vector), codegen


@intrinsic
def between(typingctx: Any, value: Any, low: Any, high: Any) -> Any:
    """between(value, low, high): mask of the lanes with low <= value < high."""

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        inside = builder.and_(
            builder.fcmp_ordered(">=", args[0], args[1]),
            builder.fcmp_ordered("<", args[0], args[2]),
        )
        yes, no = ir.Constant(_WIDE, [1.0] * LANES), ir.Constant(_WIDE, [0.0] * LANES)
        return builder.select(inside, yes, no)

    return vector(vector, vector, vector), codegen


def _rotation(by: int) -> Any:
    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        order = [(lane - by) % LANES for lane in range(LANES)]
        return _shuffle(builder, args[0], args[0], order)

    return vector(vector), codegen


@intrinsic
def rotate_up(typingctx: Any, value: Any) -> Any:
    """rotate_up(value): lane i goes to lane i + 1, the last to the first."""
    return _rotation(1)


@intrinsic
def rotate_down(typingctx: Any, value: Any) -> Any:
    """rotate_down(value): lane i goes to lane i - 1, the first to the last."""
    return _rotation(-1)


@intrinsic
def first_lane(typingctx: Any, value: Any) -> Any:
    """first_lane(value): the number in lane 0."""

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        return builder.extract_element(args[0], _I32(0))

    return types.float64(vector), codegen


def _tile_pointer(context: Any, builder: Any, array_type: Any, args: Any, i: int) -> Any:
    array, row, last_row, column = args
    wanted = builder.add(row, ir.Constant(row.type, i))
    kept = builder.select(builder.icmp_signed("<", wanted, last_row), wanted, last_row)
    return _address(context, builder, array_type, array, [kept, column])


@intrinsic
def tile_in(
    typingctx: Any, flat: Any, at: Any, array: Any, row: Any, last_row: Any, column: Any
) -> Any:
    """tile_in(flat, at, array, row, last_row, column): transpose 8 rows x 8 columns into flat.

    flat[at + 8 * j + i] = array[min(row + i, last_row), column + j], widened to float64.
    """

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        array_type = signature.args[2]
        element = context.get_value_type(array_type.dtype)
        rows = [
            _load_raw(builder, _tile_pointer(context, builder, array_type, args[2:], i), element)
            for i in range(8)
        ]
        for j, column_values in enumerate(transposed(builder, rows)):
            if element != _F64:
                column_values = builder.fpext(column_values, _WIDE)
            offset = builder.add(args[1], ir.Constant(args[1].type, 8 * j))
            place = _address(context, builder, signature.args[0], args[0], [offset])
            _store(builder, column_values, place)
        return context.get_dummy_value()

    index = types.intp
    return types.void(flat, index, array, index, index, index), codegen


@intrinsic
def tile_out(
    typingctx: Any, flat: Any, at: Any, array: Any, row: Any, last_row: Any, column: Any
) -> Any:
    """tile_out(flat, at, array, row, last_row, column): the inverse of ``tile_in``.

    Rows beyond last_row are padding: they are written to last_row before its own numbers are.
    """

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        array_type = signature.args[2]
        element = context.get_value_type(array_type.dtype)
        columns = []
        for j in range(8):
            offset = builder.add(args[1], ir.Constant(args[1].type, 8 * j))
            place = _address(context, builder, signature.args[0], args[0], [offset])
            column = _load(builder, place)
            if element != _F64:
                column = builder.fptrunc(column, ir.VectorType(element, LANES))
            columns.append(column)
        rows = transposed(builder, columns)
        for i in reversed(range(8)):
            place = _tile_pointer(context, builder, array_type, args[2:], i)
            _store_raw(builder, rows[i], place, element)
        return context.get_dummy_value()

    index = types.intp
    return types.void(flat, index, array, index, index, index), codegen


@intrinsic
def prefetch_row(typingctx: Any, array: Any, row: Any, column: Any) -> Any:
    """prefetch_row(array, row, column): prefetch the cache line of that element into L2."""

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        emit_prefetch(builder, _address(context, builder, signature.args[0], args[0], args[1:]))
        return context.get_dummy_value()

    return types.void(array, types.intp, types.intp), codegen


def _control_register(context: Any, builder: Any, value: Any | None) -> Any:
    """Read (value None) or write the floating-point control register; zero where unknown."""
    from llvmlite import binding

    triple = binding.get_process_triple()
    if triple.startswith(("x86_64", "i686", "i386", "amd64")):
        slot = cgutils.alloca_once(builder, _I32)
        name = "llvm.x86.sse.stmxcsr" if value is None else "llvm.x86.sse.ldmxcsr"
        raw = ir.IntType(8).as_pointer()
        function = cgutils.get_or_insert_function(
            builder.module, ir.FunctionType(ir.VoidType(), [raw]), name
        )
        if value is not None:
            builder.store(builder.trunc(value, _I32), slot)
        builder.call(function, [builder.bitcast(slot, raw)])
        return builder.zext(builder.load(slot), ir.IntType(64)) if value is None else value
    if triple.startswith(("aarch64", "arm64")):
        i64 = ir.IntType(64)
        if value is None:
            read = ir.FunctionType(i64, [])
            return builder.asm(read, "mrs $0, fpcr", "=r", [], side_effect=True)
        write = ir.FunctionType(ir.VoidType(), [i64])
        builder.asm(write, "msr fpcr, $0", "r", [value], side_effect=True)
        return value
    return ir.Constant(ir.IntType(64), 0) if value is None else value


def _flush_bits() -> int:
    from llvmlite import binding

    triple = binding.get_process_triple()
    return 1 << 24 if triple.startswith(("aarch64", "arm64")) else 0x8040  # FZ, or FTZ and DAZ


@intrinsic
def flush_denormals(typingctx: Any) -> Any:
    """flush_denormals(): make this thread treat denormals as zero; returns the previous mode.

    A decaying filter tail stays in denormals, at a hundred times the cost per sample. This sets
    the processor's mode on x86-64 and ARM64 and does nothing elsewhere.
    """

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        old = _control_register(context, builder, None)
        _control_register(context, builder, builder.or_(old, old.type(_flush_bits())))
        return old

    return types.int64(), codegen


@intrinsic
def restore_denormals(typingctx: Any, mode: Any) -> Any:
    """restore_denormals(mode): restore the mode that ``flush_denormals`` returned."""

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        _control_register(context, builder, args[0])
        return context.get_dummy_value()

    return types.void(types.int64), codegen
