"""Attack and release smoother and its exact adjoint.

    y[n] = y[n-1] + k (x[n] - y[n-1]),   k = k_attack if x[n] > y[n-1] else k_release

The loops are in ``core/ballistics.c``, the step itself in ``core/curve.h``.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from retone import core
from retone.errors import expect
from retone.kernels import pool
from retone.kernels.rows import doubles, run_rows

Array = NDArray[Any]


def _checked(x: Array, k_attack: Array, k_release: Array, y0: Array) -> tuple[Array, list[Array]]:
    rows = expect(x, "R T", "ballistics: x")["R"]
    given = {"k_attack": k_attack, "k_release": k_release, "y0": y0}
    return core.floats(x), [doubles(v, (rows,), f"ballistics: {n}") for n, v in given.items()]


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
    x, given = _checked(x, k_attack, k_release, y0)
    rows, length = x.shape
    y, ends = pool.empty_like(x), np.array(given[2])

    def work(first: int, stop: int) -> None:
        core.ballistics_forward(x, *given, y, ends, length, core.is_single(x), first, stop)

    run_rows(work, rows, threads, 8)
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
    x, given = _checked(x, k_attack, k_release, y0)
    rows, length = x.shape
    expect(grad_y, "R T", "ballistics: grad_y", R=rows, T=length)
    grad_y = np.ascontiguousarray(grad_y, x.dtype)
    gx, sums = pool.empty_like(x), np.zeros((3, rows))

    def work(first: int, stop: int) -> None:
        scratch = core.scratch(core.ballistics_scratch(length))
        core.ballistics_backward(
            grad_y, x, *given, gx, sums, scratch, length, rows, core.is_single(x), first, stop
        )

    run_rows(work, rows, threads, 8)
    return gx, sums[0], sums[1], sums[2]
