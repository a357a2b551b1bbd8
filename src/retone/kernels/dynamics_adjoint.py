"""Adjoint kernels of the fused compressor: exact gradients without whole-length intermediates.

The forward pass leaves its three states before every block. Going back through the blocks, each
is computed again into tiles that stay in cache, then run in reverse.
"""

# mypy: disable-error-code="no-untyped-def, var-annotated, has-type, call-arg, arg-type, operator"
# numba infers the types of kernels; their arguments are flat arrays and vector lanes.

from __future__ import annotations

from numba import njit

from retone.kernels.ballistics import BLOCK, FEWEST, lane_rows, rows_to_lanes
from retone.kernels.dynamics_adjoint_row import (
    LEVEL_PER_LOG,
    NEPER_PER_DB,
    backward_row,
    knee_slopes,
    products,
    to_input,
)
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
    derive,
    gather_states,
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
    splat8,
    store8,
    transpose8,
    where_more,
)

COLUMNS = 9  # of the parameter table


@inner_njit
def _backward_lanes(
    gy, x, gain_grad, gx, marks, channels, length, index, t, ends, sums, expander, work
) -> None:
    rows, rows2, power, product = work[0], work[1], work[2], work[3]
    onto_gain, ps, ys, us, logs, gains = work[4], work[5], work[6], work[7], work[8], work[9]
    item = channels * length
    stride = 3 * (-(-length // BLOCK) + 1)
    low, high, width, half_curve = load8(t, 0), load8(t, 8), load8(t, 16), load8(t, 24)
    sign, exp_sign = load8(t, SIGN * LANES), load8(t, EXP_SIGN * LANES)
    ka, aa = load8(t, K_ATTACK * LANES), load8(t, A_ATTACK * LANES)
    kr, ar = load8(t, K_RELEASE * LANES), load8(t, A_RELEASE * LANES)
    none, one, floor = splat8(0.0), splat8(1.0), splat8(FLOOR)
    slope, makeup = none - load8(t, SLOPE * LANES), load8(t, MAKEUP * LANES)
    kl, al = load8(t, K_LEVEL * LANES), load8(t, A_LEVEL * LANES)
    exp_low, exp_high = load8(t, EXP_LOW * LANES), load8(t, EXP_HIGH * LANES)
    exp_slope = none - load8(t, EXP_SLOPE * LANES)
    scale, fall = splat8(LEVEL_DB), splat8(-LEVEL_DB)
    to_log2, neper, per_log = splat8(LOG2_GAIN), splat8(NEPER_PER_DB), splat8(LEVEL_PER_LOG)
    carry_p, carry_y, carry_u = load8(ends, 0), load8(ends, 8), load8(ends, 16)
    g_threshold, g_slope, g_attack, g_release = none, none, none, none
    g_knee, g_makeup, g_level, g_exp_threshold, g_exp_slope = none, none, none, none, none
    for block in range(-(-length // BLOCK) - 1, -1, -1):
        at = block * BLOCK
        count = min(BLOCK, length - at)
        for j in range(LANES):
            peaks(x, index[j] * item + at, channels, length, count, rows, j * BLOCK)
            products(gy, x, index[j] * item + at, channels, length, count, rows2, j * BLOCK)
            for i in range(3):
                ps[i * LANES + j] = marks[index[j] * stride + block * 3 + i]
        for i in range(0, count, LANES):
            transpose8(rows, i, BLOCK, power, i * LANES, LANES)
            transpose8(rows2, i, BLOCK, product, i * LANES, LANES)
        if gain_grad.size > 0:
            rows_to_lanes(gain_grad, index, length, at, count, rows, onto_gain)
        p, z, u = load8(ps, 0), load8(ps, 8) * sign, load8(ps, 16) * exp_sign
        store8(ys, 0, z * sign)
        store8(us, 0, u * exp_sign)
        for n in range(count):
            i = n * LANES
            p = fma(al, p, kl * load8(power, i))
            store8(ps, i + LANES, p)
            octaves = log2(larger(p, floor))
            store8(logs, i, octaves)
            v = knee(octaves, scale, low, high, width, half_curve, none) * sign
            z = larger(fma(aa, z, ka * v), fma(ar, z, kr * v))
            store8(ys, i + LANES, z * sign)
            gain = fma(slope, z * sign, makeup)
            if expander is not None:
                v = knee(octaves, fall, exp_low, exp_high, width, half_curve, none) * exp_sign
                u = larger(fma(ar, u, kr * v), fma(aa, u, ka * v))
                store8(us, i + LANES, u * exp_sign)
                gain = fma(exp_slope, u * exp_sign, gain)
            store8(gains, i, exp2(gain * to_log2))
        for n in range(count - 1, -1, -1):
            i = n * LANES
            octaves = load8(logs, i)
            onto = fma(load8(product, i) * load8(gains, i), neper, load8(onto_gain, i))
            g_makeup += onto
            g_slope -= onto * load8(ys, i + LANES)
            d = fma(slope, onto, carry_y)
            over, q, above = knee_slopes(octaves, scale, low, high, width, half_curve, none)
            step = over - load8(ys, i)
            by_k = d * step
            g_attack += where_more(step, none, by_k, none)
            g_release += where_more(step, none, none, by_k)
            carry_y = where_more(step, none, aa, ar) * d
            d = where_more(step, none, ka, kr) * d
            g_knee += d * (q * (one - q))
            onto_level = d * where_more(none, above, q, one)
            g_threshold -= onto_level
            if expander is not None:
                g_exp_slope -= onto * load8(us, i + LANES)
                d = fma(exp_slope, onto, carry_u)
                over, q, above = knee_slopes(
                    octaves, fall, exp_low, exp_high, width, half_curve, none
                )
                step = over - load8(us, i)
                by_k = d * step
                g_release += where_more(step, none, by_k, none)
                g_attack += where_more(step, none, none, by_k)
                carry_u = where_more(step, none, ar, aa) * d
                d = where_more(step, none, kr, ka) * d
                g_knee += d * (q * (one - q))
                d = d * where_more(none, above, q, one)
                g_exp_threshold += d
                onto_level = onto_level - d
            p, before = load8(ps, i + LANES), load8(ps, i)
            onto_p = where_more(p, floor, onto_level * per_log / larger(p, floor), none) + carry_p
            g_level += onto_p * (load8(power, i) - before)
            carry_p = al * onto_p
            store8(power, i, kl * onto_p)
        for i in range(0, count, LANES):
            transpose8(power, i * LANES, LANES, rows, i, BLOCK)
            transpose8(gains, i * LANES, LANES, rows2, i, BLOCK)
        for j in range(LANES):
            base = index[j] * item + at
            to_input(gy, x, gx, base, channels, length, count, rows2, rows, j * BLOCK)
    store8(sums, 0, g_threshold)
    store8(sums, 8, g_slope)
    store8(sums, 16, g_attack)
    store8(sums, 24, g_release)
    store8(sums, 32, g_knee * splat8(0.5))
    store8(sums, 40, g_makeup)
    store8(sums, 48, g_level)
    store8(sums, 56, g_exp_threshold)
    store8(sums, 64, g_exp_slope)
    store8(sums, 72, carry_p)
    store8(sums, 80, carry_y)
    store8(sums, 88, carry_u)


@njit(nogil=True, cache=True, error_model="numpy")
def backward(
    gy,
    x,
    gain_grad,
    gx,
    marks,
    channels,
    length,
    params,
    end_grad,
    sums,
    expander,
    work,
    index,
    first,
    stop,
) -> None:
    """Rows ``first`` ... ``stop - 1``; signals flat, ``gain_grad`` may be empty.

    ``sums`` [B, 12] gets the gradients of the nine parameters and the three first states.
    """
    table, ends, results = work[10], work[11], work[12]
    row = first
    while row < stop:
        few = stop - row < FEWEST
        valid = lane_rows(row, row + 1 if few else stop, index)
        derive(params, index, table)
        gather_states(end_grad, index, ends)
        if few:
            backward_row(
                gy, x, gain_grad, gx, marks, channels, length, row,
                table, ends, results, expander, work,
            )  # fmt: skip
        else:
            _backward_lanes(
                gy, x, gain_grad, gx, marks, channels, length, index,
                table, ends, results, expander, work,
            )  # fmt: skip
        for j in range(valid):
            for i in range(COLUMNS + 3):
                sums[row + j, i] = results[i * LANES + j]
        row += valid
