"""Cascades of second-order sections on numpy arrays: forward pass and exact adjoint.

The recursion always runs in float64; float32 audio is rounded once, at the output. Results are
bit-identical whether a signal is processed whole or in blocks with the state carried over, alone
or in a batch, on one thread or several. The kernels flush denormals to zero (below 2.3e-308, for
float32 audio below 1.2e-38): a decaying tail would otherwise run in them, at a large cost.
"""

from __future__ import annotations

from typing import Any, Literal, overload

import numpy as np
from numpy.typing import NDArray

from retone import core
from retone.errors import SettingError, ShapeError, expect
from retone.kernels import pool
from retone.kernels.rows import doubles, run_rows

Array = NDArray[Any]
CHECKPOINT = 512
"""Samples between checkpoints, as in ``core/sections.c``."""


def _checked(x: Any, sos: Any, state: Any, where: str) -> tuple[Any, Any, Any, dict[str, int]]:
    if x.dtype not in (np.float32, np.float64):
        raise SettingError(
            f"{where}: x is {x.dtype}, expected float32 or float64. Convert it with astype."
        )
    size = expect(x, "R T", f"{where}: x")
    size |= expect(sos, "K S coefficients", f"{where}: sos", coefficients=5)
    state = doubles(state, (size["R"], size["S"], 2), f"{where}: state")
    if size["K"] < 1 or size["R"] % size["K"] or size["S"] < 1:
        raise ShapeError(
            f"{where}: {size['R']} rows, {size['K']} sets of {size['S']} sections: expected at "
            "least one section, and rows a multiple of the sets."
        )
    return np.ascontiguousarray(x), np.ascontiguousarray(sos, np.float64), state, size


def _edge(rows: int, threads: int) -> int:
    """Row multiple at which threads may split: full lanes if every thread still gets work."""
    return 8 if rows >= 8 * threads else 2 if rows >= 2 * threads else 1


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
    """Filter every row with a cascade of second-order sections, in transposed direct form II.

    y[n] = b0 x[n] + s1; s1 = b1 x[n] - a1 y[n] + s2; s2 = b2 x[n] - a2 y[n] in every section,
    computed in float64 as ``core/sections.c`` describes. The state equals ``zi`` of
    scipy.signal.sosfilt.

    Args:
        x: audio [R, T], float32 or float64.
        sos: coefficients b0 b1 b2 a1 a2 (a0 = 1) [K, S, 5]; row r takes set r // (R // K).
        state: states before the first sample [R, S, 2].
        threads: number of threads over rows; the result does not depend on it.
        checkpoints: also return the states from which ``sections_backward`` starts its blocks.

    Returns:
        Filtered audio [R, T] of x's type; states after the last sample [R, S, 2], float64; and,
        with ``checkpoints``, the states before every 512th sample [R, ceil(T / 512), S, 2].

    Raises:
        ShapeError: the shapes do not match.
        SettingError: x is neither float32 nor float64.
    """
    x, sos, state, size = _checked(x, sos, state, "sections_forward")
    rows, total, sections = size["R"], size["T"], size["S"]
    y, state_out = pool.empty_like(x), np.empty_like(state)
    blocks = -(-total // CHECKPOINT) if checkpoints else 0
    points = np.empty((rows, blocks, sections, 2))
    rows_per_set = rows // size["K"]

    def work(start: int, stop: int) -> None:
        core.sections_forward(
            x, sos, state, y, state_out, points if checkpoints else None,
            core.scratch(core.sections_scratch(sections, False)),
            total, sections, rows_per_set, core.is_single(x), start, stop,
        )  # fmt: skip

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

    The signals between sections are not stored: they are recomputed, 512 samples at a time, from
    the checkpoints.

    Args:
        grad_y: gradient on the filtered audio [R, T].
        x, sos, state: the inputs of the forward pass.
        grad_state_out: gradient on the final states [R, S, 2].
        threads: as in ``sections_forward``.
        checkpoints: those of the forward pass; None recomputes them.

    Returns:
        Gradients on x [R, T] in x's type, on sos [K, S, 5] summed over the rows that share a
        set, and on state [R, S, 2]; the last two are float64.

    Raises:
        ShapeError: the shapes do not match.
        SettingError: x is neither float32 nor float64.
    """
    where = "sections_backward"
    x, sos, state, size = _checked(x, sos, state, where)
    rows, total, sections = size["R"], size["T"], size["S"]
    expect(grad_y, "R T", f"{where}: grad_y", R=rows, T=total)
    expect(grad_state_out, "R S states", f"{where}: grad_state_out", R=rows, S=sections, states=2)
    grad_y = np.ascontiguousarray(grad_y, x.dtype)
    rows_per_set = rows // size["K"]
    grad_state = np.array(grad_state_out, np.float64, order="C")
    grad_x, grad_rows = pool.empty_like(x), np.empty((rows, sections, 5))
    blocks = -(-total // CHECKPOINT)
    if checkpoints is not None:
        points = doubles(checkpoints, (rows, blocks, sections, 2), f"{where}: checkpoints")
    else:
        points = np.empty((rows, blocks, sections, 2))
    last_state = np.empty_like(state)

    def work(start: int, stop: int) -> None:
        scratch = core.scratch(core.sections_scratch(sections, True))
        rest = (total, sections, rows_per_set, core.is_single(x), start, stop)
        if checkpoints is None:
            core.sections_forward(x, sos, state, None, last_state, points, scratch, *rest)
        core.sections_backward(
            grad_y, x, sos, points, grad_state, grad_x, grad_rows, scratch, *rest
        )

    run_rows(work, rows, threads, _edge(rows, threads))
    grad_sos = grad_rows.reshape(size["K"], rows_per_set, sections, 5).sum(axis=1)
    return grad_x, grad_sos, grad_state
