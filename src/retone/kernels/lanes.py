"""Eight float64 lanes as one value inside numba functions, with a fast log2 and exp2.

numba's own vectorisation depends on the shape of the loop and leaves ``math.log`` scalar. Here a
value of type ``lanes`` is an LLVM vector of eight doubles, which LLVM maps to the registers of
any CPU. All operations are IEEE operations, lane by lane, and every function below also takes
plain float64: scalars and lanes give the same bits for the same numbers. No fast-math flag is
ever set.

Use inside compiled functions only, with ``retone.kernels.lane_memory``::

    v = load8(samples, i)                           # 8 consecutive numbers of a 1-D float array
    store8(out, i, exp2_as(samples, fma(v, a, b)))  # a, b: lanes, for instance splat8(0.5)

``log2_as`` and ``exp2_as`` choose their accuracy by the type of an array of samples. ``log2_as``
takes positive normal numbers; ``exp2_as`` clamps its argument to +-1000, and exp2(0) is 1. For
float64 relative errors stay below 1e-13 (log2 near 1: 1e-15 absolute); for float32 errors stay
below 6e-9, a tenth of the float32 rounding error, at two thirds of the work.
"""

from __future__ import annotations

import operator
from collections.abc import Callable
from typing import Any

import llvmlite.binding
from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.core.imputils import lower_builtin
from numba.core.typing.templates import ConcreteTemplate, infer_global, signature
from numba.extending import intrinsic, models, register_model

LANES = 8

_DOUBLE = ir.DoubleType()
_INT = ir.IntType(64)

# log2(1 + f) / f on sqrt(1/2) <= 1 + f < sqrt(2), lowest power first: interpolation at Chebyshev
# points, relative error 7.8e-14.
_LOG2 = (
    1.4426950408890524, -0.7213475204462124, 0.4808983468711015, -0.36067375951188296,
    0.28853902330508163, -0.2404492623018822, 0.20609838960888552, -0.18033187497677122,
    0.1603232695730357, -0.1444142050221101, 0.13089265588126772, -0.11803157989277945,
    0.11108048187908302, -0.11895057618328995, 0.11427131919552941, -0.05607988304133264,
)  # fmt: skip
# (2^r - 1) / r on -1/2 <= r <= 1/2, same method; 2^r then has a relative error of 3.7e-14.
_EXP2 = (
    0.6931471805599453, 0.2402265069581299, 0.055504108664760424, 0.009618129159402558,
    0.0013333558179043112, 0.00015403455852453838, 1.525268684626772e-05,
    1.3255224878668817e-06, 1.0203121063391729e-07,
)  # fmt: skip
# For float32 samples. log2(1 + f) / f on 0 <= f <= 1, absolute error of the logarithm 4.1e-9:
_LOG2_SHORT = (
    1.4426950331796224, -0.7213459716834143, 0.48084608051053457, -0.35997573044609954,
    0.2836810825850899, -0.220294729642094, 0.1521123376265062, -0.08132993166699029,
    0.02819390716590242, -0.004582081710072375,
)  # fmt: skip
# and (2^r - 1) / r on -1/2 <= r <= 1/2, relative error of the power 5.5e-9.
_EXP2_SHORT = (
    0.6931471880262288, 0.24022650760568126, 0.05550357114218079, 0.009618082557277852,
    0.0013390863364671234, 0.0001545316294512069,
)  # fmt: skip
_ROUNDER = 6755399441055744.0  # 1.5 * 2^52: adding it rounds to an integer, in the low bits
_ROUNDER_BITS = 0x4338000000000000
_SQRT_HALF_BITS = 0x3FE6A09E667F3BCD
_EXP2_LIMIT = 1000.0


def _host_fuses() -> bool:
    """Whether the CPU has a fused multiply-add; without one LLVM would call libm."""
    arch = llvmlite.binding.get_process_triple().split("-")[0]
    if arch in ("x86_64", "amd64", "i686"):
        return bool(llvmlite.binding.get_host_cpu_features().get("fma", False))
    return arch in ("aarch64", "arm64")


_FUSE = _host_fuses()


class Lanes(types.Type):
    """The numba type of eight float64 numbers."""

    def __init__(self) -> None:
        super().__init__(name="lanes8")


lanes = Lanes()


@register_model(Lanes)
class _LanesModel(models.PrimitiveModel):
    def __init__(self, dmm: Any, fe_type: Any) -> None:
        super().__init__(dmm, fe_type, ir.VectorType(_DOUBLE, LANES))


def _fill(like: ir.Type, element: ir.Type, value: float | int) -> ir.Constant:
    """A constant of the same width as ``like``, every lane equal."""
    if isinstance(like, ir.VectorType):
        return ir.Constant(ir.VectorType(element, LANES), [ir.Constant(element, value)] * LANES)
    return ir.Constant(element, value)


def _int_type(like: ir.Type) -> ir.Type:
    return ir.VectorType(_INT, LANES) if isinstance(like, ir.VectorType) else _INT


def _emit_fma(builder: Any, a: Any, b: Any, c: Any) -> Any:
    if _FUSE:
        name = "llvm.fma.v8f64" if isinstance(a.type, ir.VectorType) else "llvm.fma.f64"
        kind = ir.FunctionType(a.type, [a.type] * 3)
        return builder.call(cgutils.get_or_insert_function(builder.module, kind, name), (a, b, c))
    return builder.fadd(builder.fmul(a, b), c)


def _emit_polynomial(builder: Any, x: Any, coefficients: tuple[float, ...]) -> Any:
    """Estrin's scheme: half the coefficients per level, so that latency grows with the log."""
    terms: list[Any] = [_fill(x.type, _DOUBLE, c) for c in coefficients]
    power = x
    while len(terms) > 1:
        paired = [
            _emit_fma(builder, terms[i + 1], power, terms[i]) for i in range(0, len(terms) - 1, 2)
        ]
        terms = paired + ([terms[-1]] if len(terms) % 2 else [])
        if len(terms) > 1:
            power = builder.fmul(power, power)
    return terms[0]


def _emit_horner(builder: Any, x: Any, coefficients: tuple[float, ...]) -> Any:
    """Horner's scheme: the fewest operations, for loops with other samples to overlap."""
    total: Any = _fill(x.type, _DOUBLE, coefficients[-1])
    for value in reversed(coefficients[:-1]):
        total = _emit_fma(builder, total, x, _fill(x.type, _DOUBLE, value))
    return total


def _emit_log2(builder: Any, x: Any) -> Any:
    ints = _int_type(x.type)
    bits = builder.bitcast(x, ints)
    one = 1023 << 52
    # biased so that it stays positive: a logical shift is then enough
    shifted = builder.add(bits, _fill(x.type, _INT, one - _SQRT_HALF_BITS))
    exponent = builder.lshr(shifted, _fill(x.type, _INT, 52))  # + 1023
    whole = builder.and_(shifted, _fill(x.type, _INT, -(1 << 52)))
    fraction = builder.bitcast(
        builder.sub(bits, builder.sub(whole, _fill(x.type, _INT, one))), x.type
    )
    tagged = builder.bitcast(
        builder.add(exponent, _fill(x.type, _INT, _ROUNDER_BITS - 1023)), x.type
    )
    power = builder.fsub(tagged, _fill(x.type, _DOUBLE, _ROUNDER))
    f = builder.fsub(fraction, _fill(x.type, _DOUBLE, 1.0))
    return _emit_fma(builder, f, _emit_polynomial(builder, f, _LOG2), power)


def _emit_log2_short(builder: Any, x: Any) -> Any:
    ints = _int_type(x.type)
    bits = builder.bitcast(x, ints)
    fraction = builder.and_(bits, _fill(x.type, _INT, (1 << 52) - 1))
    fraction = builder.bitcast(builder.or_(fraction, _fill(x.type, _INT, 1023 << 52)), x.type)
    exponent = builder.lshr(bits, _fill(x.type, _INT, 52))  # + 1023
    tagged = builder.bitcast(builder.or_(exponent, _fill(x.type, _INT, _ROUNDER_BITS)), x.type)
    power = builder.fsub(tagged, _fill(x.type, _DOUBLE, _ROUNDER + 1023.0))
    f = builder.fsub(fraction, _fill(x.type, _DOUBLE, 1.0))
    return _emit_fma(builder, f, _emit_horner(builder, f, _LOG2_SHORT), power)


def _emit_exp2(builder: Any, x: Any, coefficients: tuple[float, ...] = _EXP2) -> Any:
    polynomial = _emit_polynomial if coefficients is _EXP2 else _emit_horner
    ints = _int_type(x.type)
    x = _emit_pick(builder, ">", x, _fill(x.type, _DOUBLE, -_EXP2_LIMIT))
    x = _emit_pick(builder, "<", x, _fill(x.type, _DOUBLE, _EXP2_LIMIT))
    tagged = builder.fadd(x, _fill(x.type, _DOUBLE, _ROUNDER))
    rest = builder.fsub(x, builder.fsub(tagged, _fill(x.type, _DOUBLE, _ROUNDER)))
    mantissa = _emit_fma(
        builder, rest, polynomial(builder, rest, coefficients), _fill(x.type, _DOUBLE, 1.0)
    )
    scale = builder.shl(builder.bitcast(tagged, ints), _fill(x.type, _INT, 52))
    return builder.bitcast(builder.add(builder.bitcast(mantissa, ints), scale), x.type)


def _emit_pick(builder: Any, order: str, a: Any, b: Any) -> Any:
    return builder.select(builder.fcmp_ordered(order, a, b), a, b)


def _same(*kinds: Any) -> Any:
    """Common type of arguments that must be all lanes or all float64."""
    if all(kind == lanes for kind in kinds):
        return lanes
    return types.float64 if all(isinstance(k, types.Float) for k in kinds) else None


def _elementwise(count: int, emit: Callable[..., Any]) -> tuple[Any, Callable[..., Any]]:
    """Typing and code generation for a function of ``count`` arguments of one type."""

    def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        return emit(builder, *args)

    def typing(*kinds: Any) -> Any:
        kind = _same(*kinds)
        return None if kind is None else (kind(*([kind] * count)), codegen)

    return typing, codegen


@intrinsic
def fma(typingctx, a, b, c):  # type: ignore[no-untyped-def]
    """``a * b + c``, rounded once where the CPU can."""
    return _elementwise(3, _emit_fma)[0](a, b, c)


@intrinsic
def maximum(typingctx, a, b):  # type: ignore[no-untyped-def]
    """``a if a > b else b``."""
    return _elementwise(2, lambda w, x, y: _emit_pick(w, ">", x, y))[0](a, b)


@intrinsic
def minimum(typingctx, a, b):  # type: ignore[no-untyped-def]
    """``a if a < b else b``."""
    return _elementwise(2, lambda w, x, y: _emit_pick(w, "<", x, y))[0](a, b)


@intrinsic
def select_gt(typingctx, a, b, then, other):  # type: ignore[no-untyped-def]
    """``then if a > b else other``."""
    return _elementwise(4, lambda w, x, y, t, o: w.select(w.fcmp_ordered(">", x, y), t, o))[0](
        a, b, then, other
    )


def _is_float32(array: Any) -> bool:
    return bool(array.dtype == types.float32)


@intrinsic
def log2_as(typingctx, array, x):  # type: ignore[no-untyped-def]
    """``log2(x)`` with the accuracy that samples of the array's type need."""
    kind = _same(x)
    emit = _emit_log2_short if _is_float32(array) else _emit_log2
    return kind(array, kind), lambda context, builder, sig, args: emit(builder, args[1])


@intrinsic
def exp2_as(typingctx, array, x):  # type: ignore[no-untyped-def]
    """``exp2(x)`` with the accuracy that samples of the array's type need."""
    kind = _same(x)
    series = _EXP2_SHORT if _is_float32(array) else _EXP2
    return kind(array, kind), lambda context, builder, sig, args: _emit_exp2(
        builder, args[1], series
    )


def _binary(function: Callable[..., Any], emit: Callable[..., Any]) -> None:
    @infer_global(function)
    class _Typing(ConcreteTemplate):
        cases = [signature(lanes, lanes, lanes)]

    @lower_builtin(function, Lanes, Lanes)
    def _lower(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        return emit(builder, *args)


for _functions, _emit in (
    ((operator.add, operator.iadd), lambda w, a, b: w.fadd(a, b)),
    ((operator.sub, operator.isub), lambda w, a, b: w.fsub(a, b)),
    ((operator.mul, operator.imul), lambda w, a, b: w.fmul(a, b)),
    ((operator.truediv, operator.itruediv), lambda w, a, b: w.fdiv(a, b)),
):
    for _function in _functions:
        _binary(_function, _emit)


@intrinsic
def splat8(typingctx, value):  # type: ignore[no-untyped-def]
    """One float64 in every lane."""

    def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        kind = ir.VectorType(_DOUBLE, LANES)
        first = builder.insert_element(
            ir.Constant(kind, ir.Undefined), args[0], ir.Constant(ir.IntType(32), 0)
        )
        zeros = ir.Constant(ir.VectorType(ir.IntType(32), LANES), [0] * LANES)
        return builder.shuffle_vector(first, ir.Constant(kind, ir.Undefined), zeros)

    return lanes(types.float64), codegen


@intrinsic
def sum8(typingctx, value):  # type: ignore[no-untyped-def]
    """Sum of the lanes, added first to last."""

    def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        items = [
            builder.extract_element(args[0], ir.Constant(ir.IntType(32), i)) for i in range(LANES)
        ]
        total = items[0]
        for item in items[1:]:
            total = builder.fadd(total, item)
        return total

    return types.float64(lanes), codegen
