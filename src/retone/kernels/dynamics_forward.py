"""Forward kernels of the fused compressor, for one row and for eight rows in vector lanes.

Both layouts apply the same IEEE operations in the same order to a row, so their results are
bit-identical. Both compute the level and gain curve of a block eight values at a time; only the
smoothing recursion is sequential in time.
"""

# mypy: disable-error-code="no-untyped-def, var-annotated, has-type, call-arg, arg-type, operator"
# numba infers the types of kernels; their arguments are flat arrays and vector lanes.

from __future__ import annotations

import math

import numpy as np

from retone.compiled import njit
from retone.kernels.ballistics import (
    BLOCK,
    MIN_LANE_ROWS,
    lane_rows,
    lanes_to_rows,
    prefetch_rows,
    rows_to_lanes,
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
)

FLOOR = 1e-12  # lowest mean square: the level is clamped at -120 dB
LEVEL_DB = 10.0 * math.log10(2.0)  # log2 of a power to dB
AUDIO_TILE = LANES * BLOCK  # samples per channel in a tile of eight rows
LOG2_GAIN = math.log2(10.0) / 20.0  # gain in dB to log2 of amplitude

# rows of the constants table, eight lanes each
(LOW, HIGH, KNEE, HALF_CURVE, K_ATTACK, A_ATTACK, K_RELEASE, A_RELEASE, SIGN, SLOPE, MAKEUP,
 K_LEVEL, A_LEVEL, EXP_LOW, EXP_HIGH, EXP_SIGN, EXP_SLOPE, CONSTANTS) = range(18)  # fmt: skip


@inner_njit
def fill_constants(params, index, out) -> None:
    """Fill the constants of eight lanes from rows ``index`` of the parameter table."""
    for j in range(LANES):
        row = params[index[j]]
        half = 0.5 * row[4]
        ka, kr = row[2], row[3]
        out[LOW * LANES + j] = half - row[0]
        out[HIGH * LANES + j] = -half - row[0]
        out[KNEE * LANES + j] = row[4]
        out[HALF_CURVE * LANES + j] = 0.5 / row[4] if row[4] > 0.0 else 0.0
        out[K_ATTACK * LANES + j] = ka
        out[A_ATTACK * LANES + j] = 1.0 - ka
        out[K_RELEASE * LANES + j] = kr
        out[A_RELEASE * LANES + j] = 1.0 - kr
        out[SIGN * LANES + j] = 1.0 if ka >= kr else -1.0
        out[SLOPE * LANES + j] = row[1]
        out[MAKEUP * LANES + j] = row[5]
        out[K_LEVEL * LANES + j] = row[6]
        out[A_LEVEL * LANES + j] = 1.0 - row[6]
        out[EXP_LOW * LANES + j] = row[7] + half
        out[EXP_HIGH * LANES + j] = row[7] - half
        out[EXP_SIGN * LANES + j] = 1.0 if kr >= ka else -1.0
        out[EXP_SLOPE * LANES + j] = row[8]


@inner_njit
def knee(octaves, scale, low, width, curve, none):
    """The textbook soft knee, without branches or a division by the width.

    With ``a = max(d + W/2, 0)`` and ``t = min(a, W)``: ``t^2 / (2W) + (a - t)``.
    """
    a = maximum(fma(scale, octaves, low), none)
    t = minimum(a, width)
    return fma(t * curve, t, a - t)


@inner_njit
def peak8(x, base, channels, length):
    """Largest squared sample over the channels, of eight consecutive samples."""
    v = load8(x, base)
    peak = v * v
    for c in range(1, channels):
        v = load8(x, base + c * length)
        peak = maximum(v * v, peak)
    return peak


@inner_njit
def apply8(x, y, base, channels, length, gain) -> None:
    for c in range(channels):
        at = base + c * length
        store8(y, at, load8(x, at) * gain)


@inner_njit
def peaks(x, base, channels, length, count, out, at) -> None:
    """Largest squared sample over the channels, ``count`` samples from ``base`` of a flat array."""
    full = count - count % LANES
    for i in range(0, full, LANES):
        store8(out, at + i, peak8(x, base + i, channels, length))
    for i in range(full, count):
        s = np.float64(x[base + i])
        top = s * s
        for c in range(1, channels):
            s = np.float64(x[base + c * length + i])
            top = maximum(s * s, top)
        out[at + i] = top


@inner_njit
def _apply(x, y, base, channels, length, count, gains, at) -> None:
    full = count - count % LANES
    for i in range(0, full, LANES):
        apply8(x, y, base + i, channels, length, load8(gains, at + i))
    for c in range(channels):
        for i in range(full, count):
            offset = base + c * length + i
            y[offset] = np.float64(x[offset]) * gains[at + i]


@inner_njit
def lane_peak(audio, i, channels):
    """Largest squared sample over the channels, of eight lanes at ``i``."""
    v = load8(audio, i)
    peak = v * v
    for c in range(1, channels):
        v = load8(audio, c * AUDIO_TILE + i)
        peak = maximum(v * v, peak)
    return peak


@inner_njit
def save_states(block_states, index, stride, step, p, z, u, lane) -> None:
    """Write the three states of eight lanes, lane j at ``index[j] * stride + step``."""
    store8(lane, 0, p)
    store8(lane, 8, z)
    store8(lane, 16, u)
    for j in range(LANES):
        for i in range(3):
            block_states[index[j] * stride + step + i] = lane[i * LANES + j]


@inner_njit
def _forward_lanes(
    x, y, curve, block_states, channels, length, index, t, states, expander, work, audio
) -> None:
    tile, gains, unders = work[0], work[1], work[2]
    item = channels * length
    stride = 3 * (-(-length // BLOCK) + 1)
    low, width, half_curve = load8(t, 0), load8(t, KNEE * LANES), load8(t, HALF_CURVE * LANES)
    sign = load8(t, SIGN * LANES)
    # the sign that turns the minimum into a maximum is folded into the coefficients
    ka, aa = load8(t, K_ATTACK * LANES) * sign, load8(t, A_ATTACK * LANES)
    kr, ar = load8(t, K_RELEASE * LANES) * sign, load8(t, A_RELEASE * LANES)
    none, floor = splat8(0.0), splat8(FLOOR)
    to_log2, to_db = splat8(LOG2_GAIN), splat8(1.0 / LOG2_GAIN)
    # the gain is in log2 of amplitude
    slope = (none - load8(t, SLOPE * LANES)) * sign * to_log2
    makeup = load8(t, MAKEUP * LANES) * to_log2
    kl, al = load8(t, K_LEVEL * LANES), load8(t, A_LEVEL * LANES)
    exp_sign = load8(t, EXP_SIGN * LANES)
    exp_low = load8(t, EXP_LOW * LANES)
    exp_slope = (none - load8(t, EXP_SLOPE * LANES)) * exp_sign * to_log2
    both_signs = sign * exp_sign
    kc, ko = kr * both_signs, ka * both_signs  # closing and opening
    scale, neg_scale = splat8(LEVEL_DB), splat8(-LEVEL_DB)
    p, z, u = load8(states, 0), load8(states, 8) * sign, load8(states, 16) * exp_sign
    has_output = y.size > 0
    for at in range(0, length, BLOCK):
        count = min(BLOCK, length - at)
        save_states(block_states, index, stride, at // BLOCK * 3, p, z * sign, u * exp_sign, tile)
        for c in range(channels):
            rows_to_lanes(x, index, item, c * length + at, count, audio, c * AUDIO_TILE)
            prefetch_rows(x, index, item, c * length + at + BLOCK)
        # short loops let the processor overlap several samples
        for n in range(count):
            i = n * LANES
            power = kl * lane_peak(audio, i, channels)
            # a peak detector has no memory, not even of NaN
            p = select_gt(al, none, fma(al, p, power), power)
            octaves = log2_as(x, maximum(p, floor))
            store8(gains, i, knee(octaves, scale, low, width, half_curve, none))
            if expander is not None:
                store8(unders, i, knee(octaves, neg_scale, exp_low, width, half_curve, none))
        if has_output:
            for c in range(channels):
                prefetch_rows(y, index, item, c * length + at + BLOCK)
        for n in range(count):
            i = n * LANES
            over = load8(gains, i)
            z = maximum(fma(aa, z, ka * over), fma(ar, z, kr * over))
            gain = fma(slope, z, makeup)
            if expander is not None:
                under = load8(unders, i)
                u = maximum(fma(ar, u, kc * under), fma(aa, u, ko * under))
                gain = fma(exp_slope, u, gain)
            if curve.size > 0:
                store8(tile, i, gain * to_db)
            gain = exp2_as(x, gain)
            for c in range(channels):
                k = c * AUDIO_TILE + i
                store8(audio, k, load8(audio, k) * gain)
        if curve.size > 0:
            lanes_to_rows(tile, 0, curve, index, length, at, count)
        if has_output:
            for c in range(channels):
                lanes_to_rows(audio, c * AUDIO_TILE, y, index, item, c * length + at, count)
    save_states(block_states, index, stride, stride - 3, p, z * sign, u * exp_sign, tile)


@inner_njit
def _forward_row(
    x, y, curve, block_states, channels, length, row, t, states, expander, work
) -> None:
    level, gains, decibels, zs, us = work[0], work[1], work[2], work[3], work[4]
    attack_step, release_step, close_step, open_step = work[5], work[6], work[7], work[8]
    start, line = row * channels * length, row * length
    place = row * 3 * (-(-length // BLOCK) + 1)
    low, width, half_curve = load8(t, 0), load8(t, KNEE * LANES), load8(t, HALF_CURVE * LANES)
    sign, exp_sign = t[SIGN * LANES], t[EXP_SIGN * LANES]
    ka, kr = splat8(t[K_ATTACK * LANES] * sign), splat8(t[K_RELEASE * LANES] * sign)
    aa, ar = t[A_ATTACK * LANES], t[A_RELEASE * LANES]
    both_signs = splat8(exp_sign * sign)
    kc, ko = kr * both_signs, ka * both_signs  # closing uses the release coefficient
    none, floor = splat8(0.0), splat8(FLOOR)
    slope = splat8(-t[SLOPE * LANES] * sign * LOG2_GAIN)
    makeup = splat8(t[MAKEUP * LANES] * LOG2_GAIN)
    kl, al = t[K_LEVEL * LANES], t[A_LEVEL * LANES]
    exp_low = load8(t, EXP_LOW * LANES)
    exp_slope = splat8(-t[EXP_SLOPE * LANES] * exp_sign * LOG2_GAIN)
    scale, neg_scale = splat8(LEVEL_DB), splat8(-LEVEL_DB)
    to_db = splat8(1.0 / LOG2_GAIN)
    p, z, u = states[0], states[8] * sign, states[16] * exp_sign
    block = 0
    simple = al == 0.0 and y.size > 0 and curve.size == 0
    for at in range(0, length, BLOCK):
        count = min(BLOCK, length - at)
        block_states[place + block * 3] = p
        block_states[place + block * 3 + 1] = z * sign
        block_states[place + block * 3 + 2] = u * exp_sign
        block += 1
        here = start + at
        # whole blocks of a peak detector need no tiles: level and gain stay in registers
        direct = simple and count == BLOCK
        if not direct:
            peaks(x, here, channels, length, count, level, 0)
        if al == 0.0:
            top = np.float64(x[here + count - 1])
            p = top * top
            for c in range(1, channels):
                top = np.float64(x[here + c * length + count - 1])
                p = maximum(top * top, p)
        else:
            for n in range(count):
                p = fma(al, p, kl * level[n])
                level[n] = p
        # the gains run one step behind, to fill the latency of the recursion
        for c in range(0, count + LANES, LANES):
            if c < count:
                power = peak8(x, here + c, channels, length) if direct else load8(level, c)
                octaves = log2_as(x, maximum(power, floor))
                over = knee(octaves, scale, low, width, half_curve, none)
                store8(attack_step, 0, ka * over)
                store8(release_step, 0, kr * over)
                if expander is not None:
                    under = knee(octaves, neg_scale, exp_low, width, half_curve, none)
                    store8(close_step, 0, kc * under)
                    store8(open_step, 0, ko * under)
            if count - c >= LANES:
                for i in range(LANES):
                    z = maximum(fma(aa, z, attack_step[i]), fma(ar, z, release_step[i]))
                    zs[c + i] = z
                    if expander is not None:
                        u = maximum(fma(ar, u, close_step[i]), fma(aa, u, open_step[i]))
                        us[c + i] = u
            else:
                for i in range(count - c):
                    z = maximum(fma(aa, z, attack_step[i]), fma(ar, z, release_step[i]))
                    zs[c + i] = z
                    if expander is not None:
                        u = maximum(fma(ar, u, close_step[i]), fma(aa, u, open_step[i]))
                        us[c + i] = u
            if c > 0:
                gain = fma(slope, load8(zs, c - LANES), makeup)
                if expander is not None:
                    gain = fma(exp_slope, load8(us, c - LANES), gain)
                if curve.size > 0:
                    store8(decibels, c - LANES, gain * to_db)
                if direct:
                    apply8(x, y, here + c - LANES, channels, length, exp2_as(x, gain))
                else:
                    store8(gains, c - LANES, exp2_as(x, gain))
        if curve.size > 0:
            for n in range(count):
                curve[line + at + n] = decibels[n]
        if y.size > 0 and not direct:
            _apply(x, y, here, channels, length, count, gains, 0)
    block_states[place + block * 3] = p
    block_states[place + block * 3 + 1] = z * sign
    block_states[place + block * 3 + 2] = u * exp_sign


@inner_njit
def gather_states(table, index, out) -> None:
    """Three columns of a [B, 3] table as eight lanes each."""
    for j in range(LANES):
        for i in range(3):
            out[i * LANES + j] = table[index[j], i]


@njit(nogil=True, cache=True, error_model="numpy")
def forward(
    x,
    y,
    curve,
    block_states,
    channels,
    length,
    params,
    state,
    expander,
    work,
    audio,
    index,
    first,
    stop,
) -> None:
    """Rows ``first`` ... ``stop - 1``; signal arrays are flat; empty ones are not written.

    ``block_states``, flat [B, blocks + 1, 3], receives the states before each block and at the end.
    """
    table, states = work[9], work[10]
    row = first
    while row < stop:
        valid = 1
        if stop - row >= MIN_LANE_ROWS:
            valid = lane_rows(row, stop, index)
        else:
            lane_rows(row, row + 1, index)
        fill_constants(params, index, table)
        gather_states(state, index, states)
        if stop - row >= MIN_LANE_ROWS:
            _forward_lanes(
                x,
                y,
                curve,
                block_states,
                channels,
                length,
                index,
                table,
                states,
                expander,
                work,
                audio,
            )
        else:
            _forward_row(
                x, y, curve, block_states, channels, length, row, table, states, expander, work
            )
        row += valid
