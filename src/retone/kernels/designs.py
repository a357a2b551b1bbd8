"""Cookbook peak and shelf filter design from frequency, gain and Q, with its exact adjoint.

The formulas are those of ``retone.dsp.biquad``. A design takes a few dozen
operations; as tensor operations they take longer than filtering seconds of audio. Each section is
computed independently, so its bits do not depend on the rest of the batch.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from retone import core
from retone.errors import SettingError
from retone.kernels.rows import doubles

Array = NDArray[Any]

PEAK, LOW_SHELF, HIGH_SHELF = 0, 1, -1
"""Section kinds; for a shelf also the sign of its cosine and odd coefficients."""


def _checked(kinds: Array, where: str, **values: Array) -> Any:
    if not set(kinds.tolist()) <= {PEAK, LOW_SHELF, HIGH_SHELF}:
        raise SettingError(
            f"{where}: kinds are {kinds}, expected only PEAK, LOW_SHELF and HIGH_SHELF."
        )
    shape = (next(iter(values.values())).shape[0], kinds.size)
    return [
        np.ascontiguousarray(kinds, np.int64),
        *(doubles(value, shape, f"{where}: {name}") for name, value in values.items()),
    ]


def design_forward(
    kinds: Array, frequency_hz: Array, gain_db: Array, q: Array, sample_rate: float, top_hz: float
) -> Array:
    """Design the sections of B settings.

    Args:
        kinds: [S], each ``PEAK``, ``LOW_SHELF`` or ``HIGH_SHELF``.
        frequency_hz, gain_db, q: [B, S]; frequencies above ``top_hz`` are clamped to it.
        sample_rate, top_hz: in Hz.

    Returns:
        ``b0 b1 b2 a1 a2`` with ``a0 = 1``, [B, S, 5] float64.

    Raises:
        ShapeError: the sizes do not fit together.
        SettingError: an unknown kind.
    """
    args = _checked(kinds, "design_forward", frequency_hz=frequency_hz, gain_db=gain_db, q=q)
    out = np.empty((*args[1].shape, 5))
    core.design_forward(*args, out, *args[1].shape, sample_rate, top_hz)
    return out


def design_backward(
    kinds: Array,
    frequency_hz: Array,
    gain_db: Array,
    q: Array,
    sample_rate: float,
    top_hz: float,
    sections: Array,
    grad: Array,
) -> tuple[Array, Array, Array]:
    """Gradients of ``design_forward``.

    Args:
        kinds, frequency_hz, gain_db, q, sample_rate, top_hz: the inputs of the forward pass.
        sections: its result, [B, S, 5].
        grad: gradient on the result.

    Returns:
        Gradients on frequency_hz, gain_db and q, [B, S] float64; 0 for a frequency above
        ``top_hz``.
    """
    where = "design_backward"
    args = _checked(kinds, where, frequency_hz=frequency_hz, gain_db=gain_db, q=q)
    shape = (*args[1].shape, 5)
    rows = [doubles(sections, shape, f"{where}: sections"), doubles(grad, shape, f"{where}: grad")]
    out = [np.empty_like(args[1]) for _ in range(3)]
    core.design_backward(*args, *rows, *out, *args[1].shape, sample_rate, top_hz)
    return out[0], out[1], out[2]
