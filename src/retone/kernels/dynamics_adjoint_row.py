"""Adjoint of the fused compressor for one row, and the steps it shares with eight lanes."""

# mypy: disable-error-code="no-untyped-def, var-annotated, has-type, call-arg, arg-type, operator"
# numba infers the types of kernels; their arguments are flat arrays and vector lanes.

from __future__ import annotations

import math

import numpy as np

from retone.kernels.ballistics import BLOCK
from retone.kernels.dynamics_forward import (
    A_ATTACK,
    A_LEVEL,
    A_RELEASE,
    EXP_HIGH,
    EXP_LOW,
    EXP_SIGN,
    EXP_SLOPE,
    FLOOR,
    K_ATTACK,
    K_LEVEL,
    K_RELEASE,
    LEVEL_DB,
    LOG2_GAIN,
    MAKEUP,
    SIGN,
    SLOPE,
    knee,
    peaks,
)
from retone.kernels.fastmath import (
    LANES,
    exp2,
    fma,
    inner_njit,
    larger,
    load8,
    log2,
    smaller,
    splat8,
    store8,
    sum8,
    where_more,
)

NEPER_PER_DB = math.log(10.0) / 20.0
LEVEL_PER_LOG = 10.0 / math.log(10.0)


@inner_njit
def knee_slopes(octaves, scale, low, high, width, curve, none):
    """The knee, its derivative by its argument, and twice its derivative by its width.

    With q = t / W those are q (1 above the knee) and ``q (1 - q)``.
    """
    t = smaller(larger(fma(scale, octaves, low), none), width)
    above = fma(scale, octaves, high)
    q = (t + t) * curve
    return fma(t * curve, t, larger(above, none)), q, above


@inner_njit
def products(gy, x, base, channels, length, count, out, at) -> None:
    """Sum over the channels of ``gy * x``: the gradient on the linear gain."""
    full = count - count % LANES
    for i in range(0, full, LANES):
        total = load8(gy, base + i) * load8(x, base + i)
        for c in range(1, channels):
            j = base + c * length + i
            total = fma(load8(gy, j), load8(x, j), total)
        store8(out, at + i, total)
    for i in range(full, count):
        part = np.float64(gy[base + i]) * np.float64(x[base + i])
        for c in range(1, channels):
            j = base + c * length + i
            part = fma(np.float64(gy[j]), np.float64(x[j]), part)
        out[at + i] = part


@inner_njit
def to_input(gy, x, gx, base, channels, length, count, gains, power, at) -> None:
    """``gx = gy * gain``, and twice ``x * power`` more at the channel that set the level."""
    full = count - count % LANES
    none = splat8(0.0)
    for i in range(0, full, LANES):
        gain = load8(gains, at + i)
        left = load8(power, at + i)
        left = left + left
        if channels == 1:
            v = load8(x, base + i)
            store8(gx, base + i, fma(left, v, load8(gy, base + i) * gain))
            continue
        most = none
        for c in range(channels):
            v = load8(x, base + c * length + i)
            most = larger(v * v, most)
        for c in range(channels):
            j = base + c * length + i
            v = load8(x, j)
            below = v * v
            store8(gx, j, fma(where_more(most, below, none, left), v, load8(gy, j) * gain))
            left = where_more(most, below, left, none)  # the first of equal channels takes it
    for i in range(full, count):
        rest = 2.0 * power[at + i]
        top = 0.0
        for c in range(channels):
            s = np.float64(x[base + c * length + i])
            top = larger(s * s, top)
        for c in range(channels):
            j = base + c * length + i
            s = np.float64(x[j])
            mine = where_more(top, s * s, 0.0, rest)
            gx[j] = fma(mine, s, np.float64(gy[j]) * gains[at + i])
            rest = where_more(top, s * s, rest, 0.0)


@inner_njit
def backward_row(gy, x, gain_grad, gx, marks, channels, length, row, t, ends, sums, expander, work):
    """The same for one row: vectors run along time, but for the recursions."""
    power, product, onto_gain, ps, ys, us = work[0], work[1], work[4], work[3], work[2], work[5]
    logs, gains, decay, d_over = work[6], work[7], work[8], work[9]
    fade, d_under, rise, fall_by = work[13], work[14], work[15], work[16]
    start = row * channels * length
    stride = 3 * (-(-length // BLOCK) + 1)
    low, high, width, half_curve = load8(t, 0), load8(t, 8), load8(t, 16), load8(t, 24)
    sign, exp_sign = t[SIGN * LANES], t[EXP_SIGN * LANES]
    signs, exp_signs = load8(t, SIGN * LANES), load8(t, EXP_SIGN * LANES)
    ka, aa = load8(t, K_ATTACK * LANES), load8(t, A_ATTACK * LANES)
    kr, ar = load8(t, K_RELEASE * LANES), load8(t, A_RELEASE * LANES)
    keep_a, keep_r = t[A_ATTACK * LANES], t[A_RELEASE * LANES]
    none, one, floor = splat8(0.0), splat8(1.0), splat8(FLOOR)
    slope, makeup = none - load8(t, SLOPE * LANES), load8(t, MAKEUP * LANES)
    fold = -t[SLOPE * LANES]
    kl, al = t[K_LEVEL * LANES], t[A_LEVEL * LANES]
    kls = splat8(kl)
    exp_low, exp_high = load8(t, EXP_LOW * LANES), load8(t, EXP_HIGH * LANES)
    exp_slope, exp_fold = none - load8(t, EXP_SLOPE * LANES), -t[EXP_SLOPE * LANES]
    scale, fall = splat8(LEVEL_DB), splat8(-LEVEL_DB)
    to_log2, neper, per_log = splat8(LOG2_GAIN), splat8(NEPER_PER_DB), splat8(LEVEL_PER_LOG)
    carry_p, carry_y, carry_u = ends[0], ends[8], ends[16]
    g_threshold, g_slope, g_attack, g_release = none, none, none, none
    g_knee, g_makeup, g_level, g_exp_threshold, g_exp_slope = none, none, none, none, none
    for block in range(-(-length // BLOCK) - 1, -1, -1):
        at = block * BLOCK
        count = min(BLOCK, length - at)
        base, place = start + at, row * stride + block * 3
        peaks(x, base, channels, length, count, power, 0)
        products(gy, x, base, channels, length, count, product, 0)
        if gain_grad.size > 0:
            for n in range(count):
                onto_gain[n] = gain_grad[row * length + at + n]
        p, z, u = marks[place], marks[place + 1] * sign, marks[place + 2] * exp_sign
        ps[0], ys[0], us[0] = p, z * sign, u * exp_sign
        for n in range(count):
            p = fma(al, p, kl * power[n])
            ps[n + 1] = p
        for n in range(count, BLOCK):  # lanes past the end add nothing to any sum
            power[n], product[n], onto_gain[n], ps[n + 1] = 0.0, 0.0, 0.0, 0.0
        for c in range(0, count, LANES):
            octaves = log2(larger(load8(ps, c + 1), floor))
            store8(logs, c, octaves)
            v = knee(octaves, scale, low, high, width, half_curve, none) * signs
            store8(rise, c, ka * v)
            store8(fall_by, c, kr * v)
            if expander is not None:
                v = knee(octaves, fall, exp_low, exp_high, width, half_curve, none) * exp_signs
                store8(fade, c, kr * v)
                store8(d_under, c, ka * v)
        for n in range(count):
            z = larger(fma(keep_a, z, rise[n]), fma(keep_r, z, fall_by[n]))
            ys[n + 1] = z * sign
            if expander is not None:
                u = larger(fma(keep_r, u, fade[n]), fma(keep_a, u, d_under[n]))
                us[n + 1] = u * exp_sign
        for c in range(0, count, LANES):
            octaves = load8(logs, c)
            gain = fma(slope, load8(ys, c + 1), makeup)
            if expander is not None:
                gain = fma(exp_slope, load8(us, c + 1), gain)
            gain = exp2(gain * to_log2)
            store8(gains, c, gain)
            onto = fma(load8(product, c) * gain, neper, load8(onto_gain, c))
            g_makeup += onto
            g_slope -= onto * load8(ys, c + 1)
            store8(d_over, c, onto)
            over = knee(octaves, scale, low, high, width, half_curve, none)
            store8(decay, c, where_more(over, load8(ys, c), aa, ar))
            if expander is not None:
                g_exp_slope -= onto * load8(us, c + 1)
                store8(d_under, c, onto)
                under = knee(octaves, fall, exp_low, exp_high, width, half_curve, none)
                store8(fade, c, where_more(under, load8(us, c), ar, aa))
        for n in range(count - 1, -1, -1):
            d = fma(fold, d_over[n], carry_y)
            d_over[n] = d
            carry_y = decay[n] * d
            if expander is not None:
                e = fma(exp_fold, d_under[n], carry_u)
                d_under[n] = e
                carry_u = fade[n] * e
        for n in range(count, BLOCK):
            d_over[n], d_under[n] = 0.0, 0.0
        for c in range(0, count, LANES):
            octaves, d = load8(logs, c), load8(d_over, c)
            over, q, above = knee_slopes(octaves, scale, low, high, width, half_curve, none)
            step = over - load8(ys, c)
            by_k = d * step
            g_attack += where_more(step, none, by_k, none)
            g_release += where_more(step, none, none, by_k)
            d = where_more(step, none, ka, kr) * d
            g_knee += d * (q * (one - q))
            onto_level = d * where_more(none, above, q, one)
            g_threshold -= onto_level
            if expander is not None:
                d = load8(d_under, c)
                under, q, above = knee_slopes(
                    octaves, fall, exp_low, exp_high, width, half_curve, none
                )
                step = under - load8(us, c)
                by_k = d * step
                g_release += where_more(step, none, by_k, none)
                g_attack += where_more(step, none, none, by_k)
                d = where_more(step, none, kr, ka) * d
                g_knee += d * (q * (one - q))
                d = d * where_more(none, above, q, one)
                g_exp_threshold += d
                onto_level = onto_level - d
            now = load8(ps, c + 1)
            store8(
                d_over, c, where_more(now, floor, onto_level * per_log / larger(now, floor), none)
            )
        for n in range(count - 1, -1, -1):
            d = d_over[n] + carry_p
            d_over[n] = d
            carry_p = al * d
        for c in range(0, count, LANES):
            d = load8(d_over, c)
            g_level += d * (load8(power, c) - load8(ps, c))
            store8(power, c, kls * d)
        to_input(gy, x, gx, base, channels, length, count, gains, power, 0)
    sums[0], sums[8], sums[16] = sum8(g_threshold), sum8(g_slope), sum8(g_attack)
    sums[24], sums[32], sums[40] = sum8(g_release), 0.5 * sum8(g_knee), sum8(g_makeup)
    sums[48], sums[56], sums[64] = sum8(g_level), sum8(g_exp_threshold), sum8(g_exp_slope)
    sums[72], sums[80], sums[88] = carry_p, carry_y, carry_u
