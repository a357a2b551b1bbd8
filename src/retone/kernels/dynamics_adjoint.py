"""Adjoint kernels of the fused compressor: exact gradients without whole-length intermediates.

The forward pass stores its three states before every block. The adjoint walks the blocks
backwards: it recomputes each block into tiles that stay in cache, then runs it in reverse.
"""

# mypy: disable-error-code="no-untyped-def, var-annotated, has-type, call-arg, arg-type, operator"
# numba infers the types of kernels; their arguments are flat arrays and vector lanes.

from __future__ import annotations

from retone.compiled import njit
from retone.kernels.ballistics import (
    BLOCK,
    MIN_LANE_ROWS,
    lane_rows,
    lanes_to_rows,
    prefetch_rows,
    rows_to_lanes,
)
from retone.kernels.dynamics_adjoint_row import (
    LEVEL_PER_LOG,
    NEPER_PER_DB,
    backward_row,
    knee_with_slope,
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
    fill_constants,
    gather_states,
    lane_peak,
)
from retone.kernels.jit import inner_njit
from retone.kernels.lane_memory import load8, prefetch, store8
from retone.kernels.lanes import (
    LANES,
    exp2_as,
    fma,
    log2_as,
    maximum,
    select_gt,
    splat8,
)

COLUMNS = 9  # of the parameter table


@inner_njit
def _prefetch_block(x, index, item, channels, length, block) -> None:
    if block >= 0:
        for c in range(channels):
            prefetch_rows(x, index, item, c * length + block * BLOCK)


@inner_njit
def _backward_lanes(
    gy,
    x,
    gain_grad,
    gx,
    block_states,
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
    steps, slopes, gains, ps, g_gains = work[0], work[1], work[2], work[3], work[4]
    under_slopes, under_steps, curve_grads = work[5], work[6], work[17]  # stays 0 without gain_grad
    grads = channels * AUDIO_TILE  # audio holds x of every channel, then gy, which becomes gx
    item = channels * length
    stride = 3 * (-(-length // BLOCK) + 1)
    low, width, half_curve = load8(t, 0), load8(t, KNEE * LANES), load8(t, HALF_CURVE * LANES)
    sign, exp_sign = load8(t, SIGN * LANES), load8(t, EXP_SIGN * LANES)
    ka, aa = load8(t, K_ATTACK * LANES), load8(t, A_ATTACK * LANES)
    kr, ar = load8(t, K_RELEASE * LANES), load8(t, A_RELEASE * LANES)
    none, one, floor = splat8(0.0), splat8(1.0), splat8(FLOOR)
    # as in the forward pass: z and u carry the sign; the gain is in log2 of amplitude
    ka_signed, kr_signed, ka_exp_signed, kr_exp_signed = (
        ka * sign,
        kr * sign,
        ka * exp_sign,
        kr * exp_sign,
    )
    neg_sign, neg_exp_sign = none - sign, none - exp_sign
    to_log2, neper, per_log = splat8(LOG2_GAIN), splat8(NEPER_PER_DB), splat8(LEVEL_PER_LOG)
    slope, makeup = none - load8(t, SLOPE * LANES), load8(t, MAKEUP * LANES) * to_log2
    exp_slope = none - load8(t, EXP_SLOPE * LANES)
    slope_log2, exp_slope_log2 = slope * sign * to_log2, exp_slope * exp_sign * to_log2
    kl, al = load8(t, K_LEVEL * LANES), load8(t, A_LEVEL * LANES)
    exp_low = load8(t, EXP_LOW * LANES)
    scale, neg_scale = splat8(LEVEL_DB), splat8(-LEVEL_DB)
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
            rows_to_lanes(gain_grad, index, length, at, count, curve_grads, 0)
        for j in range(LANES):
            for i in range(3):
                ps[i * LANES + j] = block_states[index[j] * stride + block * 3 + i]
            if block > 3:
                prefetch(block_states, index[j] * stride + (block - 4) * 3)
        p, z, u = load8(ps, 0), load8(ps, 8) * sign, load8(ps, 16) * exp_sign
        # short loops let the processor overlap several samples
        _prefetch_block(x, index, item, channels, length, block - 1)
        for n in range(count):
            i = n * LANES
            if averaged is None:
                p = lane_peak(audio, i, channels)
            else:
                power = kl * lane_peak(audio, i, channels)
                p = select_gt(al, none, fma(al, p, power), power)
                store8(ps, i + LANES, p)
            octaves = log2_as(x, maximum(p, floor))
            over, q = knee_with_slope(octaves, scale, low, width, half_curve, none, one)
            store8(slopes, i, q)
            store8(steps, i, over)
            if expander is not None:
                under, q = knee_with_slope(
                    octaves, neg_scale, exp_low, width, half_curve, none, one
                )
                store8(under_slopes, i, q)
                store8(under_steps, i, under)
        _prefetch_block(gx, index, item, channels, length, block - 1)
        for n in range(count):
            i = n * LANES
            over = load8(steps, i)
            store8(steps, i, fma(neg_sign, z, over))
            z = maximum(fma(aa, z, ka_signed * over), fma(ar, z, kr_signed * over))
            if expander is not None:
                under = load8(under_steps, i)
                store8(under_steps, i, fma(neg_exp_sign, u, under))
                u = maximum(fma(ar, u, kr_exp_signed * under), fma(aa, u, ka_exp_signed * under))
            product = load8(audio, grads + i) * load8(audio, i)
            for c in range(1, channels):
                k = c * AUDIO_TILE + i
                product = fma(load8(audio, grads + k), load8(audio, k), product)
            gain = fma(slope_log2, z, makeup)
            if expander is not None:
                gain = fma(exp_slope_log2, u, gain)
            gain = exp2_as(x, gain)
            store8(gains, i, gain)
            g_gain = fma(product * gain, neper, load8(curve_grads, i))
            store8(g_gains, i, g_gain)
            g_makeup += g_gain
            g_slope = fma(g_gain, z, g_slope)
            if expander is not None:
                g_exp_slope = fma(g_gain, u, g_exp_slope)
        _prefetch_block(gy, index, item, channels, length, block - 1)
        for n in range(count - 1, -1, -1):
            i = n * LANES
            g_gain, step, q = load8(g_gains, i), load8(steps, i), load8(slopes, i)
            d = fma(slope, g_gain, carry_y)
            by_k = d * step
            g_attack += select_gt(step, none, by_k, none)
            g_release += select_gt(step, none, none, by_k)
            carry_y = select_gt(step, none, aa, ar) * d
            d = select_gt(step, none, ka, kr) * d
            g_level_db = d * q
            g_knee = fma(g_level_db, one - q, g_knee)
            g_threshold -= g_level_db
            if expander is not None:
                step, q = load8(under_steps, i), load8(under_slopes, i)
                d = fma(exp_slope, g_gain, carry_u)
                by_k = d * step
                g_release += select_gt(step, none, by_k, none)
                g_attack += select_gt(step, none, none, by_k)
                carry_u = select_gt(step, none, ar, aa) * d
                d = select_gt(step, none, kr, ka) * d * q
                g_knee = fma(d, one - q, g_knee)
                g_exp_threshold += d
                g_level_db = g_level_db - d
            peak = lane_peak(audio, i, channels)
            p = peak if averaged is None else load8(ps, i + LANES)
            g_power = select_gt(p, floor, g_level_db * per_log / maximum(p, floor), none) + carry_p
            if averaged is None:
                carry_p = none
            else:
                g_level = fma(g_power, peak - load8(ps, i), g_level)
                carry_p = al * g_power
                g_power = kl * g_power
            g_power = g_power + g_power
            gain = load8(gains, i)
            if channels == 1:
                gv = load8(audio, grads + i) * gain
                store8(audio, grads + i, fma(g_power, load8(audio, i), gv))
            else:
                for c in range(channels):
                    k = c * AUDIO_TILE + i
                    v = load8(audio, k)
                    own = select_gt(peak, v * v, none, g_power)
                    # the first of equal channels receives the gradient
                    g_power = select_gt(peak, v * v, g_power, none)
                    store8(audio, grads + k, fma(own, v, load8(audio, grads + k) * gain))
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
    block_states,
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
    """Rows ``first`` ... ``stop - 1``; signals are flat; ``gain_grad`` may be empty.

    ``sums`` [B, 12] receives the gradients on the nine parameters and the three initial states.
    ``averaged`` None: every level coefficient is 1 and gets no gradient.
    """
    table, ends, results = work[10], work[11], work[12]
    row = first
    while row < stop:
        single = stop - row < MIN_LANE_ROWS
        valid = lane_rows(row, row + 1 if single else stop, index)
        fill_constants(params, index, table)
        gather_states(end_grad, index, ends)
        if single:
            backward_row(
                gy, x, gain_grad, gx, block_states, channels, length, row,
                table, ends, results, expander, work,
            )  # fmt: skip
        else:
            _backward_lanes(
                gy, x, gain_grad, gx, block_states, channels, length, index,
                table, ends, results, expander, averaged, work, audio,
            )  # fmt: skip
        for j in range(valid):
            for i in range(COLUMNS + 3):
                sums[row + j, i] = results[i * LANES + j]
        row += valid
