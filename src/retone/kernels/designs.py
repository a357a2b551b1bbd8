"""Cookbook peak and shelf filter design from frequency, gain and Q, with its exact adjoint.

The formulas are those of ``retone.dsp.biquad``. A design takes a few dozen
operations; as tensor operations they take longer than filtering seconds of audio. Each section is
computed independently, so its bits do not depend on the rest of the batch.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from retone.compiled import njit
from retone.errors import SettingError, expect
from retone.kernels.jit import inner_njit

Array = NDArray[Any]

PEAK, LOW_SHELF, HIGH_SHELF = 0, 1, -1
"""Section kinds; for a shelf also the sign of its cosine and odd coefficients."""
_PER_DB = math.log(10.0) / 40.0


@inner_njit
def _angle(frequency_hz: float, sample_rate: float, top_hz: float) -> Any:
    held = top_hz if frequency_hz > top_hz else frequency_hz  # keeps NaN
    w = 2 * math.pi / sample_rate * held
    return math.cos(w), math.sin(w)


@njit(nogil=True, cache=True, error_model="numpy")
def _design(kinds, frequency_hz, gain_db, q, sample_rate, top_hz, out) -> None:  # type: ignore[no-untyped-def]
    for i in range(frequency_hz.shape[0]):
        for k in range(kinds.size):
            cos, sin = _angle(frequency_hz[i, k], sample_rate, top_hz)
            a = 10.0 ** (gain_db[i, k] / 40)
            side = float(kinds[k])
            if side == 0:
                alpha = sin / (2 * q[i, k])
                b0, b1, b2 = 1 + alpha * a, -2 * cos, 1 - alpha * a
                a0, a1, a2 = 1 + alpha / a, -2 * cos, 1 - alpha / a
            else:
                cos = side * cos
                root = sin / q[i, k] * math.sqrt(a)
                up, down = a + 1, a - 1
                b0 = a * (up - down * cos + root)
                b1 = side * 2 * a * (down - up * cos)
                b2 = a * (up - down * cos - root)
                a0 = up + down * cos + root
                a1 = side * -2 * (down + up * cos)
                a2 = up + down * cos - root
            out[i, k, 0] = b0 / a0
            out[i, k, 1] = b1 / a0
            out[i, k, 2] = b2 / a0
            out[i, k, 3] = a1 / a0
            out[i, k, 4] = a2 / a0


@njit(nogil=True, cache=True, error_model="numpy")
def _adjoint(  # type: ignore[no-untyped-def]
    kinds, frequency_hz, gain_db, q, sample_rate, top_hz, sections, grad, g_hz, g_db, g_q
) -> None:
    for i in range(frequency_hz.shape[0]):
        for k in range(kinds.size):
            f, quality = frequency_hz[i, k], q[i, k]
            cos, sin = _angle(f, sample_rate, top_hz)
            a = 10.0 ** (gain_db[i, k] / 40)
            side = float(kinds[k])
            total = 0.0
            for j in range(5):
                total += grad[i, k, j] * sections[i, k, j]
            if side == 0:
                alpha = sin / (2 * quality)
                a0 = 1 + alpha / a
            else:
                root = sin / quality * math.sqrt(a)
                up, down = a + 1, a - 1
                a0 = up + down * side * cos + root
            # gradients on the coefficients before division by a0
            n0, n1, n2 = grad[i, k, 0] / a0, grad[i, k, 1] / a0, grad[i, k, 2] / a0
            d0, d1, d2 = -total / a0, grad[i, k, 3] / a0, grad[i, k, 4] / a0
            if side == 0:
                by_product, by_ratio = n0 - n2, d0 - d2
                g_alpha = by_product * a + by_ratio / a
                g_a = by_product * alpha - by_ratio * alpha / (a * a)
                g_cos = -2 * (n1 + d1)
                g_sin = g_alpha / (2 * quality)
                g_quality = -g_alpha * alpha / quality
            else:
                c = side * cos
                plus, minus = n0 * a, n2 * a  # on up - down c + root, up - down c - root
                middle, other = 2 * side * a * n1, -2 * side * d1  # on down - up c, down + up c
                g_root = plus - minus + d0 - d2
                g_up = plus + minus - c * middle + d0 + d2 + c * other
                g_down = -c * (plus + minus) + middle + c * (d0 + d2) + other
                g_c = -down * (plus + minus) - up * middle + down * (d0 + d2) + up * other
                g_a = n0 * (up - down * c + root) + n2 * (up - down * c - root)
                g_a += 2 * side * n1 * (down - up * c) + g_up + g_down + g_root * root / (2 * a)
                g_cos = side * g_c
                g_sin = g_root * math.sqrt(a) / quality
                g_quality = -g_root * root / quality
            g_w = -sin * g_cos + cos * g_sin
            g_hz[i, k] = 0.0 if f > top_hz else g_w * (2 * math.pi / sample_rate)
            g_db[i, k] = g_a * a * _PER_DB
            g_q[i, k] = g_quality


def _checked(kinds: Array, where: str, **values: Array) -> Any:
    if not set(kinds.tolist()) <= {PEAK, LOW_SHELF, HIGH_SHELF}:
        raise SettingError(
            f"{where}: kinds are {kinds}, expected only PEAK, LOW_SHELF and HIGH_SHELF."
        )
    rows = next(iter(values.values())).shape[0]
    out = [np.ascontiguousarray(kinds, np.int64)]
    for name, value in values.items():
        expect(value, "B S", f"{where}: {name}", B=rows, S=kinds.size)
        out.append(np.ascontiguousarray(value, np.float64))
    return out


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
    compiled: Any = _design
    compiled(*args, float(sample_rate), float(top_hz), out)
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
    rows = [np.ascontiguousarray(v, np.float64) for v in (sections, grad)]
    for name, value in zip(("sections", "grad"), rows, strict=True):
        expect(value, "B S coefficients", f"{where}: {name}",
               B=args[1].shape[0], S=kinds.size, coefficients=5)  # fmt: skip
    out = [np.empty_like(args[1]) for _ in range(3)]
    compiled: Any = _adjoint
    compiled(*args, float(sample_rate), float(top_hz), *rows, *out)
    return out[0], out[1], out[2]
