"""Compiled loops of the spectrogram distance: framing, overlap-add and per-bin terms.

Per bin, with power ``p = max(re^2 + im^2, POWER_FLOOR)`` of the estimate and ``q`` of the target::

    |ln M - ln M'| = |ln(p / q)| / 2        |M - M'| = |sqrt p - sqrt q|

    d/dX = (c_log / p + c_lin / M) sign(p - q) X + c_convergence (M - M') / M X,   0 at the floor
"""

from __future__ import annotations

from typing import Any

import numpy as np

from retone.kernels.jit import fastmath_njit

POWER_FLOOR = 1e-8  # of |X|^2, so magnitudes end at 1e-4
_EPS = np.float32(POWER_FLOOR)


@fastmath_njit
def _log(x: Any) -> Any:
    """ln of a normal positive float32: exponent plus a polynomial, exactly 0 at 1."""
    bits = np.float32(x).view(np.int32)
    exponent = np.int32(np.int32(bits - np.int32(0x3F3504F3)) >> np.int32(23))  # int32: SIMD lanes
    f = np.int32(bits - (exponent << np.int32(23))).view(np.float32) - np.float32(1.0)
    # Minimax fit of (ln(1 + f) - f + f^2 / 2) / f^3 on [1/sqrt 2, sqrt 2] (error below 1e-7).
    t = np.float32(7.0376836292e-2)
    t = t * f - np.float32(1.1514610310e-1)
    t = t * f + np.float32(1.1676998740e-1)
    t = t * f - np.float32(1.2420140846e-1)
    t = t * f + np.float32(1.4249322787e-1)
    t = t * f - np.float32(1.6668057665e-1)
    t = t * f + np.float32(2.0000714765e-1)
    t = t * f - np.float32(2.4999993993e-1)
    t = t * f + np.float32(3.3333331174e-1)
    z = f * f
    return np.float32(exponent) * np.float32(0.6931471805599453) + (
        f - np.float32(0.5) * z + z * f * t
    )


@fastmath_njit
def _reflect(i: int, length: int) -> int:
    """Index into a signal that is mirrored about its first and last samples."""
    if length == 1:
        return 0
    period = 2 * (length - 1)
    i = abs(i) % period
    return i if i < length else period - i


@fastmath_njit
def write_frames(signal, first, hop, window, offset, out):  # type: ignore[no-untyped-def]
    """Windowed frames first, first + 1, ... of one centred, mirrored signal."""
    count, size = out.shape
    length = signal.shape[0]
    width = window.shape[0]
    for f in range(count):
        start = (first + f) * hop - size // 2 + offset
        row = out[f]
        row[:offset] = np.float32(0.0)
        row[offset + width :] = np.float32(0.0)
        part = row[offset : offset + width]
        if start >= 0 and start + width <= length:
            source = signal[start : start + width]
            for i in range(width):
                part[i] = source[i] * window[i]
        else:
            for i in range(width):
                part[i] = signal[_reflect(start + i, length)] * window[i]


@fastmath_njit
def overlap_add(frames, first, hop, window, offset, signal):  # type: ignore[no-untyped-def]
    """Adjoint of ``write_frames``: adds to ``signal``."""
    count, size = frames.shape
    length = signal.shape[0]
    width = window.shape[0]
    for f in range(count):
        start = (first + f) * hop - size // 2 + offset
        part = frames[f, offset : offset + width]
        if start >= 0 and start + width <= length:
            destination = signal[start : start + width]
            for i in range(width):
                destination[i] += part[i] * window[i]
        else:
            for i in range(width):
                signal[_reflect(start + i, length)] += part[i] * window[i]


@fastmath_njit
def power(spectrum, out):  # type: ignore[no-untyped-def]
    """Floored power of interleaved complex rows [n, 2 F] into [n, F]."""
    for f in range(out.shape[0]):
        source = spectrum[f]
        out_row = out[f]
        for k in range(out.shape[1]):
            re = source[2 * k]
            im = source[2 * k + 1]
            p = re * re + im * im
            out_row[k] = _EPS if p < _EPS else p


@fastmath_njit
def convergence_sums(spectrum, target):  # type: ignore[no-untyped-def]
    """Sums of (M - M')^2 and of M'^2."""
    difference = 0.0
    energy = 0.0
    for f in range(target.shape[0]):
        source = spectrum[f]
        target_row = target[f]
        d: Any = np.float32(0.0)
        e: Any = np.float32(0.0)
        for k in range(target.shape[1]):
            re = source[2 * k]
            im = source[2 * k + 1]
            q = target_row[k]
            x = np.sqrt(max(re * re + im * im, _EPS)) - np.sqrt(q)
            d += x * x
            e += q
        difference += d
        energy += e
    return difference, energy


@fastmath_njit
def compare(spectrum, target, c_log, c_linear, c_convergence, gradient):  # type: ignore[no-untyped-def]
    """Sums of |ln M - ln M'| and |M - M'|; the spectrum becomes the one to invert.

    With ``gradient`` each bin turns into its derivative, halved between the edges so that an
    unscaled inverse real FFT (which counts those bins twice) is the adjoint of the forward FFT.
    """
    log_sum = 0.0
    linear_sum = 0.0
    bins = target.shape[1]
    half = np.float32(0.5)
    one = np.float32(1.0)
    zero = np.float32(0.0)
    for f in range(target.shape[0]):
        source = spectrum[f]
        target_row = target[f]
        logs: Any = zero
        differences: Any = zero
        for k in range(bins):
            re = source[2 * k]
            im = source[2 * k + 1]
            power = re * re + im * im
            p = _EPS if power < _EPS else power  # NaN stays NaN
            q = target_row[k]
            m = np.sqrt(p)
            inverse = one / m
            d = m - np.sqrt(q)
            logs += abs(_log(p / q))
            differences += abs(d)
            if gradient:
                sign = one if p > q else (-one if p < q else zero)
                g = half * inverse * (sign * (c_log * inverse + c_linear) + c_convergence * d)
                g = g if power >= _EPS else zero
                source[2 * k] = g * re
                source[2 * k + 1] = g * im
        if gradient:
            source[0] *= np.float32(2.0)
            source[1] = zero
            source[2 * bins - 2] *= np.float32(2.0)
            source[2 * bins - 1] = zero
        log_sum += logs
        linear_sum += differences
    return half * log_sum, linear_sum
