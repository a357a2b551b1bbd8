"""Compressor (level detector, curve, smoothing, gain) in one pass over the samples, with adjoint.

Per item, in float64, with linked channels::

    m     = max over channels of x^2
    p     = p + k_level (m - p)
    level = 10 log10(max(p, 1e-12))
    yo    = smooth(knee(level - threshold_db))              up: k_attack, down: k_release
    yu    = smooth(knee(expander_threshold_db - level))     up: k_release, down: k_attack
    gain  = makeup_db - slope yo - expander_slope yu
    y     = x 10^(gain / 20)

The knee is the quadratic of Giannoulis, Massberg and Reiss, "Digital Dynamic Range Compressor
Design" (JAES 60, 2012): 0 below -W/2, ``(d + W/2)^2 / (2 W)`` within, d above; W = 0 is hard.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from retone import core
from retone.errors import expect
from retone.kernels import pool
from retone.kernels.rows import doubles, run_rows

PARAMS = (
    "threshold_db", "slope", "k_attack", "k_release", "knee_db", "makeup_db", "k_level",
    "expander_threshold_db", "expander_slope",
)  # fmt: skip
"""Columns of the parameter table."""
STATES = ("power", "over_db", "under_db")
"""Columns of the state: mean square, smoothed dB above and below the thresholds; 0 at the start."""

Array = NDArray[Any]
BLOCK = 64
"""Samples between checkpoints, as in ``core/dynamics.c``."""


def _checked(x: Array, params: Array, state: Array) -> tuple[Array, Array, Array]:
    batch = expect(x, "B C T", "compress: x")["B"]
    return (
        core.floats(x),
        doubles(params, (batch, len(PARAMS)), "compress: params"),
        doubles(state, (batch, len(STATES)), "compress: state"),
    )


def _run_forward(
    x: Array,
    y: Array | None,
    curve: Array | None,
    params: Array,
    state: Array,
    expander: bool,
    threads: int,
) -> Array:
    batch, channels, length = x.shape
    block_states = np.empty((batch, -(-length // BLOCK) + 1, len(STATES)))
    if x.size == 0:
        block_states[:] = state[:, None]
        return block_states

    def work(first: int, stop: int) -> None:
        core.compress_forward(
            x, y, curve, block_states, params, state, core.scratch(core.compress_scratch(channels)),
            channels, length, expander, core.is_single(x), first, stop,
        )  # fmt: skip

    run_rows(work, batch, threads, 8)
    return block_states


def compress_forward(
    x: Array,
    params: Array,
    state: Array,
    threads: int = 1,
    curves: bool = False,
    checkpoints: bool = False,
    expander: bool = False,
) -> tuple[Array, Array, Array | None, Array | None]:
    """Compress (and optionally expand downwards) every item of a batch.

    Args:
        x: audio, [B, C, T], float32 or float64.
        params: [B, 9], columns as in ``PARAMS``: thresholds, knee_db (>= 0) and makeup_db in dB;
            slope = 1 - 1/ratio; update coefficients k in 0...1; expander_slope = ratio - 1.
        state: [B, 3], columns as in ``STATES``; zeros at the start of a signal.
        threads: maximum number of threads over items.
        curves: also return the gain curve.
        checkpoints: also return the state before each block, for ``compress_backward``.
        expander: whether to apply the two expander columns; if not, they cost nothing.

    Returns:
        y [B, C, T] of ``x``'s type; the state after the last sample [B, 3]; the gain in dB
        [B, T] of ``x``'s type, or None; checkpoints [B, blocks + 1, 3], or None. All are
        bit-identical however the signal is cut, the items are batched or the threads are set.
        An item with a NaN parameter gives NaN throughout.

    Raises:
        ShapeError: if the shapes do not fit.
    """
    x, params, state = _checked(x, params, state)
    y = pool.empty_like(x)
    curve = np.empty((x.shape[0], x.shape[2]), x.dtype) if curves else None
    block_states = _run_forward(x, y, curve, params, state, expander, threads)
    ends = block_states[:, -1].copy()
    if not expander:
        ends[:, 2] = state[:, 2]
    for result in (y, ends) if curve is None else (y, ends, curve):
        result[np.isnan(params).any(axis=1)] = np.nan  # comparisons in the kernels drop NaN
    return y, ends, curve, block_states if checkpoints else None


def compress_backward(
    grad_y: Array,
    x: Array,
    params: Array,
    state: Array,
    grad_state_out: Array | None = None,
    grad_gain_db: Array | None = None,
    checkpoints: Array | None = None,
    threads: int = 1,
    expander: bool = False,
    averaged: bool = True,
) -> tuple[Array, Array, Array]:
    """Exact adjoint of ``compress_forward``, including its state and gain curve.

    At corners the gradient is one-sided and finite: the loudest channel (the first if several
    are equal) receives the level gradient; below the -120 dB floor it is 0; a hard knee counts as
    above the threshold at the threshold itself.

    Args:
        grad_y: gradient on y, [B, C, T].
        x: input of the forward pass, [B, C, T].
        params: as in the forward pass, [B, 9].
        state: as in the forward pass, [B, 3].
        grad_state_out: gradient on the final state, [B, 3]; None means 0.
        grad_gain_db: gradient on the gain curve, [B, T]; None means 0.
        checkpoints: the checkpoints of the forward pass; None recomputes them.
        threads: maximum number of threads over items.
        expander: as in the forward pass.
        averaged: whether the level is averaged over time. False promises that every k_level is a
            constant 1: its gradient is returned as 0, and the adjoint runs faster.

    Returns:
        Gradients on x [B, C, T] (of ``x``'s type), params [B, 9] and state [B, 3] (float64).

    Raises:
        ShapeError: if the shapes do not fit.
    """
    x, params, state = _checked(x, params, state)
    batch, channels, length = x.shape
    expect(grad_y, "B C T", "compress: grad_y", B=batch, C=channels, T=length)
    grad_y = np.ascontiguousarray(grad_y, x.dtype)
    gain_grad = None
    if grad_gain_db is not None:
        expect(grad_gain_db, "B T", "compress: grad_gain_db", B=batch, T=length)
        gain_grad = np.ascontiguousarray(grad_gain_db, x.dtype)
    if grad_state_out is None:
        grad_state_out = np.zeros_like(state)
    end_grad = doubles(grad_state_out, (batch, len(STATES)), "compress: grad_state_out")
    if x.size == 0:
        return np.zeros_like(x), np.zeros_like(params), end_grad.copy()
    if checkpoints is None:
        checkpoints = _run_forward(x, None, None, params, state, expander, threads)
    points = (batch, -(-length // BLOCK) + 1, len(STATES))
    block_states = doubles(checkpoints, points, "compress: checkpoints")
    gx = pool.empty_like(x)
    sums = np.zeros((batch, len(PARAMS) + len(STATES)))

    def work(first: int, stop: int) -> None:
        core.compress_backward(
            grad_y, x, gain_grad, gx, block_states, params, end_grad, sums,
            core.scratch(core.compress_scratch(channels)),
            channels, length, expander, averaged, core.is_single(x), first, stop,
        )  # fmt: skip

    run_rows(work, batch, threads, 8)
    if not averaged:
        sums[:, PARAMS.index("k_level")] = 0.0
    for result in (gx, sums):
        result[np.isnan(params).any(axis=1)] = np.nan
    grad_state = sums[:, len(PARAMS) :].copy()
    if not expander:
        grad_state[:, 2] = end_grad[:, 2]
    return gx, sums[:, : len(PARAMS)].copy(), grad_state
