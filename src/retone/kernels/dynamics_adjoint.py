"""Adjoint kernels of the fused compressor: exact gradients without whole-length intermediates.

The forward pass leaves its three states before every block. Going back through the blocks, each
is computed again into tiles that stay in cache, then run in reverse.
"""

# mypy: disable-error-code="no-untyped-def, var-annotated, has-type, call-arg, arg-type, operator"
# numba infers the types of kernels; their arguments are flat arrays and vector lanes.

from __future__ import annotations

from retone.compiled import njit
from retone.kernels.ballistics import (
    BLOCK,
    FEWEST,
    lane_rows,
    lanes_to_rows,
    rows_soon,
    rows_to_lanes,
)
from retone.kernels.dynamics_adjoint_row import (
    LEVEL_PER_LOG,
    NEPER_PER_DB,
    backward_row,
    knee_slope,
)
from retone.kernels.dynamics_forward import (
    A_ATTACK,
    A_LEVEL,
    A_RELEASE,
    AUDIO_TILE,
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
    derive,
    gather_states,
    lane_peak,
)
from retone.kernels.fastmath import (
    LANES,
    exp2_as,
    fma,
    inner_njit,
    larger,
    log2_as,
    splat8,
    where_more,
)
from retone.kernels.lane_memory import load8, soon, store8

COLUMNS = 9  # of the parameter table


@inner_njit
def _block_soon(x, index, item, channels, length, block) -> None:
    if block >= 0:
        for c in range(channels):
            rows_soon(x, index, item, c * length + block * BLOCK)


@inner_njit
def _backward_lanes(
    gy,
    x,
    gain_grad,
    gx,
    marks,
    channels,
    length,
    index,
    t,
    ends,
    sums,
    expander,
    averaged,
    work,
    audio,
) -> None:
    steps, slopes, gains, ps, onto_gain = work[0], work[1], work[2], work[3], work[4]
    logs, falls, given = work[5], work[6], work[17]  # given is 0 if nothing is
    grads = channels * AUDIO_TILE  # audio holds x of every channel, then gy, which becomes gx
    item = channels * length
    stride = 3 * (-(-length // BLOCK) + 1)
    low, width, half_curve = load8(t, 0), load8(t, KNEE * LANES), load8(t, HALF_CURVE * LANES)
    sign, exp_sign = load8(t, SIGN * LANES), load8(t, EXP_SIGN * LANES)
    ka, aa = load8(t, K_ATTACK * LANES), load8(t, A_ATTACK * LANES)
    kr, ar = load8(t, K_RELEASE * LANES), load8(t, A_RELEASE * LANES)
    none, one, floor = splat8(0.0), splat8(1.0), splat8(FLOOR)
    # as in the forward pass: z and u carry the sign, the gain is counted in log2 of amplitude
    kas, krs, kaf, krf = ka * sign, kr * sign, ka * exp_sign, kr * exp_sign
    back, exp_back = none - sign, none - exp_sign
    to_log2, neper, per_log = splat8(LOG2_GAIN), splat8(NEPER_PER_DB), splat8(LEVEL_PER_LOG)
    slope, makeup = none - load8(t, SLOPE * LANES), load8(t, MAKEUP * LANES) * to_log2
    exp_slope = none - load8(t, EXP_SLOPE * LANES)
    fold, exp_fold = slope * sign * to_log2, exp_slope * exp_sign * to_log2
    kl, al = load8(t, K_LEVEL * LANES), load8(t, A_LEVEL * LANES)
    exp_low = load8(t, EXP_LOW * LANES)
    scale, fall = splat8(LEVEL_DB), splat8(-LEVEL_DB)
    carry_p, carry_y, carry_u = load8(ends, 0), load8(ends, 8), load8(ends, 16)
    g_threshold, g_slope, g_attack, g_release = none, none, none, none
    g_knee, g_makeup, g_level, g_exp_threshold, g_exp_slope = none, none, none, none, none
    for block in range(-(-length // BLOCK) - 1, -1, -1):
        at = block * BLOCK
        count = min(BLOCK, length - at)
        for c in range(channels):
            first = c * length + at
            rows_to_lanes(x, index, item, first, count, audio, c * AUDIO_TILE)
            rows_to_lanes(gy, index, item, first, count, audio, grads + c * AUDIO_TILE)
        if gain_grad.size > 0:
            rows_to_lanes(gain_grad, index, length, at, count, given, 0)
        for j in range(LANES):
            for i in range(3):
                ps[i * LANES + j] = marks[index[j] * stride + block * 3 + i]
            if block > 3:
                soon(marks, index[j] * stride + (block - 4) * 3)
        p, z, u = load8(ps, 0), load8(ps, 8) * sign, load8(ps, 16) * exp_sign
        # short loops: a processor then has several samples under way at once
        _block_soon(x, index, item, channels, length, block - 1)
        for n in range(count):
            i = n * LANES
            if averaged is None:
                p = lane_peak(audio, i, channels)
            else:
                power = kl * lane_peak(audio, i, channels)
                p = where_more(al, none, fma(al, p, power), power)
                store8(ps, i + LANES, p)
            octaves = log2_as(x, larger(p, floor))
            over, q = knee_slope(octaves, scale, low, width, half_curve, none, one)
            store8(slopes, i, q)
            store8(steps, i, over)
            if expander is not None:
                under, q = knee_slope(octaves, fall, exp_low, width, half_curve, none, one)
                store8(logs, i, q)
                store8(falls, i, under)
        _block_soon(gx, index, item, channels, length, block - 1)
        for n in range(count):
            i = n * LANES
            over = load8(steps, i)
            store8(steps, i, fma(back, z, over))
            z = larger(fma(aa, z, kas * over), fma(ar, z, krs * over))
            if expander is not None:
                under = load8(falls, i)
                store8(falls, i, fma(exp_back, u, under))
                u = larger(fma(ar, u, krf * under), fma(aa, u, kaf * under))
            product = load8(audio, grads + i) * load8(audio, i)
            for c in range(1, channels):
                k = c * AUDIO_TILE + i
                product = fma(load8(audio, grads + k), load8(audio, k), product)
            gain = fma(fold, z, makeup)
            if expander is not None:
                gain = fma(exp_fold, u, gain)
            gain = exp2_as(x, gain)
            store8(gains, i, gain)
            onto = fma(product * gain, neper, load8(given, i))
            store8(onto_gain, i, onto)
            g_makeup += onto
            g_slope = fma(onto, z, g_slope)
            if expander is not None:
                g_exp_slope = fma(onto, u, g_exp_slope)
        _block_soon(gy, index, item, channels, length, block - 1)
        for n in range(count - 1, -1, -1):
            i = n * LANES
            onto, step, q = load8(onto_gain, i), load8(steps, i), load8(slopes, i)
            d = fma(slope, onto, carry_y)
            by_k = d * step
            g_attack += where_more(step, none, by_k, none)
            g_release += where_more(step, none, none, by_k)
            carry_y = where_more(step, none, aa, ar) * d
            d = where_more(step, none, ka, kr) * d
            onto_level = d * q
            g_knee = fma(onto_level, one - q, g_knee)
            g_threshold -= onto_level
            if expander is not None:
                step, q = load8(falls, i), load8(logs, i)
                d = fma(exp_slope, onto, carry_u)
                by_k = d * step
                g_release += where_more(step, none, by_k, none)
                g_attack += where_more(step, none, none, by_k)
                carry_u = where_more(step, none, ar, aa) * d
                d = where_more(step, none, kr, ka) * d * q
                g_knee = fma(d, one - q, g_knee)
                g_exp_threshold += d
                onto_level = onto_level - d
            most = lane_peak(audio, i, channels)
            p = most if averaged is None else load8(ps, i + LANES)
            left = where_more(p, floor, onto_level * per_log / larger(p, floor), none) + carry_p
            if averaged is None:
                carry_p = none
            else:
                g_level = fma(left, most - load8(ps, i), g_level)
                carry_p = al * left
                left = kl * left
            left = left + left
            gain = load8(gains, i)
            if channels == 1:
                gv = load8(audio, grads + i) * gain
                store8(audio, grads + i, fma(left, load8(audio, i), gv))
            else:
                for c in range(channels):
                    k = c * AUDIO_TILE + i
                    v = load8(audio, k)
                    mine = where_more(most, v * v, none, left)
                    left = where_more(most, v * v, left, none)  # the first of equals takes it
                    store8(audio, grads + k, fma(mine, v, load8(audio, grads + k) * gain))
        for c in range(channels):
            first = c * length + at
            lanes_to_rows(audio, grads + c * AUDIO_TILE, gx, index, item, first, count)
    store8(sums, 0, g_threshold)
    store8(sums, 8, none - g_slope * sign)
    store8(sums, 16, g_attack)
    store8(sums, 24, g_release)
    store8(sums, 32, g_knee * splat8(0.5))
    store8(sums, 40, g_makeup)
    store8(sums, 48, g_level)
    store8(sums, 56, g_exp_threshold)
    store8(sums, 64, none - g_exp_slope * exp_sign)
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
    averaged,
    work,
    audio,
    index,
    first,
    stop,
) -> None:
    """Rows ``first`` ... ``stop - 1``; signals flat, ``gain_grad`` may be empty.

    ``sums`` [B, 12] gets the gradients of the nine parameters and the three first states.
    ``averaged`` None: every level coefficient is 1, and none gets a gradient.
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
                table, ends, results, expander, averaged, work, audio,
            )  # fmt: skip
        for j in range(valid):
            for i in range(COLUMNS + 3):
                sums[row + j, i] = results[i * LANES + j]
        row += valid
