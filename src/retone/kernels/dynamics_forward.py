"""Forward kernels of the fused compressor, for one row and for eight rows in vector lanes.

Both layouts do the same IEEE operations in the same order for a given row, so that their results
agree bit for bit. A block's level and gain curve run on eight values at a time in either layout;
only the smoothing recursion runs along time.
"""

# mypy: disable-error-code="no-untyped-def, var-annotated, has-type, call-arg, arg-type, operator"
# numba infers the types of kernels; their arguments are flat arrays and vector lanes.

from __future__ import annotations

import math

import numpy as np
from numba import njit

from retone.kernels.ballistics import BLOCK, FEWEST, lane_rows, lanes_to_rows
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
    transpose8,
)

FLOOR = 1e-12  # mean square below which the level stands still: -120 dB
LEVEL_DB = 10.0 * math.log10(2.0)  # log2 of a power to dB
LOG2_GAIN = math.log2(10.0) / 20.0  # gain in dB to log2 of amplitude

# rows of the constants table, eight lanes each
(LOW, HIGH, KNEE, HALF_CURVE, K_ATTACK, A_ATTACK, K_RELEASE, A_RELEASE, SIGN, SLOPE, MAKEUP,
 K_LEVEL, A_LEVEL, EXP_LOW, EXP_HIGH, EXP_SIGN, EXP_SLOPE, CONSTANTS) = range(18)  # fmt: skip


@inner_njit
def derive(params, index, out) -> None:
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
def knee(octaves, scale, low, high, width, curve, none):
    """The textbook soft knee, free of branches and of a division by its width.

    With ``t = clamp(d + W/2, 0, W)``: ``t^2 / (2W) + max(d - W/2, 0)``.
    """
    t = smaller(larger(fma(scale, octaves, low), none), width)
    return fma(t * curve, t, larger(fma(scale, octaves, high), none))


@inner_njit
def peaks(x, base, channels, length, count, out, at) -> None:
    """Largest squared sample over the channels, ``count`` samples from ``base`` of a flat array."""
    full = count - count % LANES
    for i in range(0, full, LANES):
        v = load8(x, base + i)
        most = v * v
        for c in range(1, channels):
            v = load8(x, base + c * length + i)
            most = larger(v * v, most)
        store8(out, at + i, most)
    for i in range(full, count):
        s = np.float64(x[base + i])
        top = s * s
        for c in range(1, channels):
            s = np.float64(x[base + c * length + i])
            top = larger(s * s, top)
        out[at + i] = top


@inner_njit
def _apply(x, y, base, channels, length, count, gains, at) -> None:
    full = count - count % LANES
    for c in range(channels):
        offset = base + c * length
        for i in range(0, full, LANES):
            store8(y, offset + i, load8(x, offset + i) * load8(gains, at + i))
        for i in range(full, count):
            y[offset + i] = np.float64(x[offset + i]) * gains[at + i]


@inner_njit
def mark(marks, index, stride, step, p, z, u, lane) -> None:
    """Write the three states of eight lanes, lane j at ``index[j] * stride + step``."""
    store8(lane, 0, p)
    store8(lane, 8, z)
    store8(lane, 16, u)
    for j in range(LANES):
        for i in range(3):
            marks[index[j] * stride + step + i] = lane[i * LANES + j]


@inner_njit
def _forward_lanes(x, y, curve, marks, channels, length, index, t, states, expander, work) -> None:
    rows, tile, gains = work[0], work[1], work[2]
    item = channels * length
    stride = 3 * (-(-length // BLOCK) + 1)
    low, high, width, half_curve = load8(t, 0), load8(t, 8), load8(t, 16), load8(t, 24)
    sign = load8(t, SIGN * LANES)
    # the sign that turns a minimum into a maximum is folded into the coefficients
    ka, aa = load8(t, K_ATTACK * LANES) * sign, load8(t, A_ATTACK * LANES)
    kr, ar = load8(t, K_RELEASE * LANES) * sign, load8(t, A_RELEASE * LANES)
    none, floor = splat8(0.0), splat8(FLOOR)
    slope, makeup = (none - load8(t, SLOPE * LANES)) * sign, load8(t, MAKEUP * LANES)
    kl, al = load8(t, K_LEVEL * LANES), load8(t, A_LEVEL * LANES)
    exp_sign = load8(t, EXP_SIGN * LANES)
    exp_low, exp_high = load8(t, EXP_LOW * LANES), load8(t, EXP_HIGH * LANES)
    exp_slope = (none - load8(t, EXP_SLOPE * LANES)) * exp_sign
    flip = sign * exp_sign
    kc, ko = kr * flip, ka * flip  # closing and opening
    scale, fall = splat8(LEVEL_DB), splat8(-LEVEL_DB)
    to_log2 = splat8(LOG2_GAIN)
    p, z, u = load8(states, 0), load8(states, 8) * sign, load8(states, 16) * exp_sign
    audible = y.size > 0
    for at in range(0, length, BLOCK):
        count = min(BLOCK, length - at)
        mark(marks, index, stride, at // BLOCK * 3, p, z * sign, u * exp_sign, rows)
        for j in range(LANES):
            peaks(x, index[j] * item + at, channels, length, count, rows, j * BLOCK)
        for i in range(0, count, LANES):
            transpose8(rows, i, BLOCK, tile, i * LANES, LANES)
        for n in range(count):
            p = fma(al, p, kl * load8(tile, n * LANES))
            octaves = log2(larger(p, floor))
            over = knee(octaves, scale, low, high, width, half_curve, none)
            z = larger(fma(aa, z, ka * over), fma(ar, z, kr * over))
            gain = fma(slope, z, makeup)
            if expander is not None:
                under = knee(octaves, fall, exp_low, exp_high, width, half_curve, none)
                u = larger(fma(ar, u, kc * under), fma(aa, u, ko * under))
                gain = fma(exp_slope, u, gain)
            store8(gains, n * LANES, gain)
        if curve.size > 0:
            lanes_to_rows(gains, rows, curve, index, length, at, count)
        if audible:
            for n in range(count):
                i = n * LANES
                store8(tile, i, exp2(load8(gains, i) * to_log2))
            for i in range(0, count, LANES):
                transpose8(tile, i * LANES, LANES, rows, i, BLOCK)
            for j in range(LANES):
                _apply(x, y, index[j] * item + at, channels, length, count, rows, j * BLOCK)
    mark(marks, index, stride, stride - 3, p, z * sign, u * exp_sign, rows)


@inner_njit
def _forward_row(x, y, curve, marks, channels, length, row, t, states, expander, work) -> None:
    level, gains, decibels, zs, us = work[0], work[1], work[2], work[3], work[4]
    rise, fall_by, close, open_by = work[5], work[6], work[7], work[8]
    start, line = row * channels * length, row * length
    place = row * 3 * (-(-length // BLOCK) + 1)
    low, high, width, half_curve = load8(t, 0), load8(t, 8), load8(t, 16), load8(t, 24)
    sign, exp_sign = t[SIGN * LANES], t[EXP_SIGN * LANES]
    ka, kr = splat8(t[K_ATTACK * LANES] * sign), splat8(t[K_RELEASE * LANES] * sign)
    aa, ar = t[A_ATTACK * LANES], t[A_RELEASE * LANES]
    flip = splat8(exp_sign * sign)
    kc, ko = kr * flip, ka * flip  # closing uses the release coefficient
    none, floor = splat8(0.0), splat8(FLOOR)
    slope, makeup = splat8(-t[SLOPE * LANES] * sign), load8(t, MAKEUP * LANES)
    kl, al = t[K_LEVEL * LANES], t[A_LEVEL * LANES]
    exp_low, exp_high = load8(t, EXP_LOW * LANES), load8(t, EXP_HIGH * LANES)
    exp_slope = splat8(-t[EXP_SLOPE * LANES] * exp_sign)
    scale, fall = splat8(LEVEL_DB), splat8(-LEVEL_DB)
    to_log2 = splat8(LOG2_GAIN)
    p, z, u = states[0], states[8] * sign, states[16] * exp_sign
    block = 0
    for at in range(0, length, BLOCK):
        count = min(BLOCK, length - at)
        marks[place + block * 3] = p
        marks[place + block * 3 + 1] = z * sign
        marks[place + block * 3 + 2] = u * exp_sign
        block += 1
        peaks(x, start + at, channels, length, count, level, 0)
        if al == 0.0:
            p = level[count - 1]
        else:
            for n in range(count):
                p = fma(al, p, kl * level[n])
                level[n] = p
        # the gains lag one step behind, to fill the waits of the recursion
        for c in range(0, count + LANES, LANES):
            if c < count:
                octaves = log2(larger(load8(level, c), floor))
                over = knee(octaves, scale, low, high, width, half_curve, none)
                store8(rise, 0, ka * over)
                store8(fall_by, 0, kr * over)
                if expander is not None:
                    under = knee(octaves, fall, exp_low, exp_high, width, half_curve, none)
                    store8(close, 0, kc * under)
                    store8(open_by, 0, ko * under)
            for i in range(min(LANES, count - c)):
                z = larger(fma(aa, z, rise[i]), fma(ar, z, fall_by[i]))
                zs[c + i] = z
                if expander is not None:
                    u = larger(fma(ar, u, close[i]), fma(aa, u, open_by[i]))
                    us[c + i] = u
            if c > 0:
                gain = fma(slope, load8(zs, c - LANES), makeup)
                if expander is not None:
                    gain = fma(exp_slope, load8(us, c - LANES), gain)
                store8(decibels, c - LANES, gain)
                store8(gains, c - LANES, exp2(gain * to_log2))
        if curve.size > 0:
            for n in range(count):
                curve[line + at + n] = decibels[n]
        if y.size > 0:
            _apply(x, y, start + at, channels, length, count, gains, 0)
    marks[place + block * 3] = p
    marks[place + block * 3 + 1] = z * sign
    marks[place + block * 3 + 2] = u * exp_sign


@inner_njit
def gather_states(table, index, out) -> None:
    """Three columns of a [B, 3] table as eight lanes each."""
    for j in range(LANES):
        for i in range(3):
            out[i * LANES + j] = table[index[j], i]


@njit(nogil=True, cache=True, error_model="numpy")
def forward(
    x, y, curve, marks, channels, length, params, state, expander, work, index, first, stop
) -> None:
    """Rows ``first`` ... ``stop - 1``; arrays of signals are flat; empty ones are not written.

    ``marks``, flat [B, blocks + 1, 3], gets the states before every block and after the last.
    """
    table, states = work[9], work[10]
    row = first
    while row < stop:
        valid = 1
        if stop - row >= FEWEST:
            valid = lane_rows(row, stop, index)
        else:
            lane_rows(row, row + 1, index)
        derive(params, index, table)
        gather_states(state, index, states)
        if stop - row >= FEWEST:
            _forward_lanes(
                x, y, curve, marks, channels, length, index, table, states, expander, work
            )
        else:
            _forward_row(x, y, curve, marks, channels, length, row, table, states, expander, work)
        row += valid
