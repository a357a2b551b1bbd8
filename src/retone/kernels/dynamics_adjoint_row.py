"""Adjoint of the fused compressor for one row, and the steps it shares with the lane version."""

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
    EXP_LOW,
    EXP_SIGN,
    EXP_SLOPE,
    FLOOR,
    HALF_CURVE,
    K_ATTACK,
    K_LEVEL,
    K_RELEASE,
    KNEE,
    LEVEL_DB,
    LOG2_GAIN,
    MAKEUP,
    SIGN,
    SLOPE,
    knee,
    peaks,
)
from retone.kernels.jit import inner_njit
from retone.kernels.lane_memory import load8, store8
from retone.kernels.lanes import (
    LANES,
    exp2_as,
    fma,
    log2_as,
    maximum,
    minimum,
    select_gt,
    splat8,
    sum8,
)

NEPER_PER_DB = math.log(10.0) / 20.0
LEVEL_PER_LOG = 10.0 / math.log(10.0)


@inner_njit
def knee_with_slope(octaves, scale, low, width, curve, none, one):
    """The knee and its derivative q by the level; its derivative by the width is ``q (1 - q) / 2``.

    Inside the knee q is ``t / W``; with a hard knee q is 1 at the threshold itself.
    """
    d = fma(scale, octaves, low)
    a = maximum(d, none)
    t = minimum(a, width)
    part = t * curve
    q = select_gt(none, d - width, part + part, one)
    return fma(part, t, a - t), q


@inner_njit
def gain_products(gy, x, base, channels, length, count, out, at) -> None:
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
def input_gradient(gy, x, gx, base, channels, length, count, gains, power, at) -> None:
    """``gx = gy * gain``, plus ``2 x * power`` for the channel that set the level."""
    full = count - count % LANES
    none = splat8(0.0)
    for i in range(0, full, LANES):
        gain = load8(gains, at + i)
        g_power = load8(power, at + i)
        g_power = g_power + g_power
        if channels == 1:
            v = load8(x, base + i)
            store8(gx, base + i, fma(g_power, v, load8(gy, base + i) * gain))
            continue
        peak = none
        for c in range(channels):
            v = load8(x, base + c * length + i)
            peak = maximum(v * v, peak)
        for c in range(channels):
            j = base + c * length + i
            v = load8(x, j)
            below = v * v
            store8(gx, j, fma(select_gt(peak, below, none, g_power), v, load8(gy, j) * gain))
            # the first of equal channels receives the gradient
            g_power = select_gt(peak, below, g_power, none)
    for i in range(full, count):
        remaining = 2.0 * power[at + i]
        top = 0.0
        for c in range(channels):
            s = np.float64(x[base + c * length + i])
            top = maximum(s * s, top)
        for c in range(channels):
            j = base + c * length + i
            s = np.float64(x[j])
            own = select_gt(top, s * s, 0.0, remaining)
            gx[j] = fma(own, s, np.float64(gy[j]) * gains[at + i])
            remaining = select_gt(top, s * s, remaining, 0.0)


@inner_njit
def backward_row(
    gy, x, gain_grad, gx, block_states, channels, length, row, t, ends, sums, expander, work
):
    """The adjoint for one row: vectors run along time, except in the recursions."""
    power, product, curve_grads, ps, ys, us = work[0], work[1], work[17], work[3], work[2], work[5]
    logs, gains, decay, d_over = work[6], work[7], work[8], work[9]
    fade, d_under, attack_step, release_step = work[13], work[14], work[15], work[16]
    start = row * channels * length
    stride = 3 * (-(-length // BLOCK) + 1)
    low, width, half_curve = load8(t, 0), load8(t, KNEE * LANES), load8(t, HALF_CURVE * LANES)
    sign, exp_sign = t[SIGN * LANES], t[EXP_SIGN * LANES]
    signs, exp_signs = load8(t, SIGN * LANES), load8(t, EXP_SIGN * LANES)
    ka, aa = load8(t, K_ATTACK * LANES), load8(t, A_ATTACK * LANES)
    kr, ar = load8(t, K_RELEASE * LANES), load8(t, A_RELEASE * LANES)
    aa_scalar, ar_scalar = t[A_ATTACK * LANES], t[A_RELEASE * LANES]
    none, one, floor = splat8(0.0), splat8(1.0), splat8(FLOOR)
    slope, makeup = none - load8(t, SLOPE * LANES), load8(t, MAKEUP * LANES)
    neg_slope = -t[SLOPE * LANES]
    kl, al = t[K_LEVEL * LANES], t[A_LEVEL * LANES]
    kls = splat8(kl)
    exp_low = load8(t, EXP_LOW * LANES)
    exp_slope, neg_exp_slope = none - load8(t, EXP_SLOPE * LANES), -t[EXP_SLOPE * LANES]
    scale, neg_scale = splat8(LEVEL_DB), splat8(-LEVEL_DB)
    to_log2, neper, per_log = splat8(LOG2_GAIN), splat8(NEPER_PER_DB), splat8(LEVEL_PER_LOG)
    carry_p, carry_y, carry_u = ends[0], ends[8], ends[16]
    g_threshold, g_slope, g_attack, g_release = none, none, none, none
    g_knee, g_makeup, g_level, g_exp_threshold, g_exp_slope = none, none, none, none, none
    for block in range(-(-length // BLOCK) - 1, -1, -1):
        at = block * BLOCK
        count = min(BLOCK, length - at)
        base, place = start + at, row * stride + block * 3
        peaks(x, base, channels, length, count, power, 0)
        gain_products(gy, x, base, channels, length, count, product, 0)
        if gain_grad.size > 0:
            for n in range(count):
                curve_grads[n] = gain_grad[row * length + at + n]
        p, z, u = (
            block_states[place],
            block_states[place + 1] * sign,
            block_states[place + 2] * exp_sign,
        )
        ps[0], ys[0], us[0] = p, z * sign, u * exp_sign
        for n in range(count):
            p = select_gt(al, 0.0, fma(al, p, kl * power[n]), kl * power[n])
            ps[n + 1] = p
        for n in range(count, BLOCK):  # lanes past the end must not contribute to any sum
            power[n], product[n], curve_grads[n], ps[n + 1] = 0.0, 0.0, 0.0, 0.0
        for c in range(0, count, LANES):
            octaves = log2_as(x, maximum(load8(ps, c + 1), floor))
            store8(logs, c, octaves)
            v = knee(octaves, scale, low, width, half_curve, none) * signs
            store8(attack_step, c, ka * v)
            store8(release_step, c, kr * v)
            if expander is not None:
                v = knee(octaves, neg_scale, exp_low, width, half_curve, none) * exp_signs
                store8(fade, c, kr * v)
                store8(d_under, c, ka * v)
        for n in range(count):
            z = maximum(fma(aa_scalar, z, attack_step[n]), fma(ar_scalar, z, release_step[n]))
            ys[n + 1] = z * sign
            if expander is not None:
                u = maximum(fma(ar_scalar, u, fade[n]), fma(aa_scalar, u, d_under[n]))
                us[n + 1] = u * exp_sign
        for c in range(0, count, LANES):
            octaves = load8(logs, c)
            gain = fma(slope, load8(ys, c + 1), makeup)
            if expander is not None:
                gain = fma(exp_slope, load8(us, c + 1), gain)
            gain = exp2_as(x, gain * to_log2)
            store8(gains, c, gain)
            g_gain = fma(load8(product, c) * gain, neper, load8(curve_grads, c))
            g_makeup += g_gain
            g_slope -= g_gain * load8(ys, c + 1)
            store8(d_over, c, g_gain)
            over = knee(octaves, scale, low, width, half_curve, none)
            store8(decay, c, select_gt(over, load8(ys, c), aa, ar))
            if expander is not None:
                g_exp_slope -= g_gain * load8(us, c + 1)
                store8(d_under, c, g_gain)
                under = knee(octaves, neg_scale, exp_low, width, half_curve, none)
                store8(fade, c, select_gt(under, load8(us, c), ar, aa))
        for n in range(count - 1, -1, -1):
            d = fma(neg_slope, d_over[n], carry_y)
            d_over[n] = d
            carry_y = decay[n] * d
            if expander is not None:
                e = fma(neg_exp_slope, d_under[n], carry_u)
                d_under[n] = e
                carry_u = fade[n] * e
        for n in range(count, BLOCK):
            d_over[n], d_under[n] = 0.0, 0.0
        for c in range(0, count, LANES):
            octaves, d = load8(logs, c), load8(d_over, c)
            over, q = knee_with_slope(octaves, scale, low, width, half_curve, none, one)
            step = over - load8(ys, c)
            by_k = d * step
            g_attack += select_gt(step, none, by_k, none)
            g_release += select_gt(step, none, none, by_k)
            g_level_db = select_gt(step, none, ka, kr) * d * q
            g_knee = fma(g_level_db, one - q, g_knee)
            g_threshold -= g_level_db
            if expander is not None:
                d = load8(d_under, c)
                under, q = knee_with_slope(
                    octaves, neg_scale, exp_low, width, half_curve, none, one
                )
                step = under - load8(us, c)
                by_k = d * step
                g_release += select_gt(step, none, by_k, none)
                g_attack += select_gt(step, none, none, by_k)
                d = select_gt(step, none, kr, ka) * d * q
                g_knee = fma(d, one - q, g_knee)
                g_exp_threshold += d
                g_level_db = g_level_db - d
            now = load8(ps, c + 1)
            store8(
                d_over, c, select_gt(now, floor, g_level_db * per_log / maximum(now, floor), none)
            )
        for n in range(count - 1, -1, -1):
            d = d_over[n] + carry_p
            d_over[n] = d
            carry_p = al * d
        for c in range(0, count, LANES):
            d = load8(d_over, c)
            g_level += d * (load8(power, c) - load8(ps, c))
            store8(power, c, kls * d)
        input_gradient(gy, x, gx, base, channels, length, count, gains, power, 0)
    sums[0], sums[8], sums[16] = sum8(g_threshold), sum8(g_slope), sum8(g_attack)
    sums[24], sums[32], sums[40] = sum8(g_release), 0.5 * sum8(g_knee), sum8(g_makeup)
    sums[48], sums[56], sums[64] = sum8(g_level), sum8(g_exp_threshold), sum8(g_exp_slope)
    sums[72], sums[80], sums[88] = carry_p, carry_y, carry_u
