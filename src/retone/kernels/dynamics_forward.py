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

from retone.compiled import njit
from retone.kernels.ballistics import (
    BLOCK,
    FEWEST,
    lane_rows,
    lanes_to_rows,
    rows_soon,
    rows_to_lanes,
)
from retone.kernels.fastmath import (
    LANES,
    exp2_as,
    fma,
    inner_njit,
    larger,
    log2_as,
    smaller,
    splat8,
    where_more,
)
from retone.kernels.lane_memory import load8, store8

FLOOR = 1e-12  # mean square below which the level stands still: -120 dB
LEVEL_DB = 10.0 * math.log10(2.0)  # log2 of a power to dB
AUDIO_TILE = LANES * BLOCK  # numbers of one channel of eight rows
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
def knee(octaves, scale, low, width, curve, none):
    """The textbook soft knee, free of branches and of a division by its width.

    With ``a = max(d + W/2, 0)`` and ``t = min(a, W)``: ``t^2 / (2W) + (a - t)``.
    """
    a = larger(fma(scale, octaves, low), none)
    t = smaller(a, width)
    return fma(t * curve, t, a - t)


@inner_njit
def peak8(x, base, channels, length):
    """Largest squared sample over the channels, of eight neighbours."""
    v = load8(x, base)
    most = v * v
    for c in range(1, channels):
        v = load8(x, base + c * length)
        most = larger(v * v, most)
    return most


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
            top = larger(s * s, top)
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
    most = v * v
    for c in range(1, channels):
        v = load8(audio, c * AUDIO_TILE + i)
        most = larger(v * v, most)
    return most


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
def _forward_lanes(
    x, y, curve, marks, channels, length, index, t, states, expander, work, audio
) -> None:
    tile, gains, falls = work[0], work[1], work[2]
    item = channels * length
    stride = 3 * (-(-length // BLOCK) + 1)
    low, width, half_curve = load8(t, 0), load8(t, KNEE * LANES), load8(t, HALF_CURVE * LANES)
    sign = load8(t, SIGN * LANES)
    # the sign that turns a minimum into a maximum is folded into the coefficients
    ka, aa = load8(t, K_ATTACK * LANES) * sign, load8(t, A_ATTACK * LANES)
    kr, ar = load8(t, K_RELEASE * LANES) * sign, load8(t, A_RELEASE * LANES)
    none, floor = splat8(0.0), splat8(FLOOR)
    to_log2, to_db = splat8(LOG2_GAIN), splat8(1.0 / LOG2_GAIN)
    # the gain is counted in log2 of amplitude
    slope = (none - load8(t, SLOPE * LANES)) * sign * to_log2
    makeup = load8(t, MAKEUP * LANES) * to_log2
    kl, al = load8(t, K_LEVEL * LANES), load8(t, A_LEVEL * LANES)
    exp_sign = load8(t, EXP_SIGN * LANES)
    exp_low = load8(t, EXP_LOW * LANES)
    exp_slope = (none - load8(t, EXP_SLOPE * LANES)) * exp_sign * to_log2
    flip = sign * exp_sign
    kc, ko = kr * flip, ka * flip  # closing and opening
    scale, fall = splat8(LEVEL_DB), splat8(-LEVEL_DB)
    p, z, u = load8(states, 0), load8(states, 8) * sign, load8(states, 16) * exp_sign
    audible = y.size > 0
    for at in range(0, length, BLOCK):
        count = min(BLOCK, length - at)
        mark(marks, index, stride, at // BLOCK * 3, p, z * sign, u * exp_sign, tile)
        for c in range(channels):
            rows_to_lanes(x, index, item, c * length + at, count, audio, c * AUDIO_TILE)
            rows_soon(x, index, item, c * length + at + BLOCK)
        # short loops: a processor then has several samples under way at once
        for n in range(count):
            i = n * LANES
            power = kl * lane_peak(audio, i, channels)
            p = where_more(al, none, fma(al, p, power), power)  # a peak forgets, NaN too
            octaves = log2_as(x, larger(p, floor))
            store8(gains, i, knee(octaves, scale, low, width, half_curve, none))
            if expander is not None:
                store8(falls, i, knee(octaves, fall, exp_low, width, half_curve, none))
        if audible:
            for c in range(channels):
                rows_soon(y, index, item, c * length + at + BLOCK)
        for n in range(count):
            i = n * LANES
            over = load8(gains, i)
            z = larger(fma(aa, z, ka * over), fma(ar, z, kr * over))
            gain = fma(slope, z, makeup)
            if expander is not None:
                under = load8(falls, i)
                u = larger(fma(ar, u, kc * under), fma(aa, u, ko * under))
                gain = fma(exp_slope, u, gain)
            if curve.size > 0:
                store8(tile, i, gain * to_db)
            gain = exp2_as(x, gain)
            for c in range(channels):
                k = c * AUDIO_TILE + i
                store8(audio, k, load8(audio, k) * gain)
        if curve.size > 0:
            lanes_to_rows(tile, 0, curve, index, length, at, count)
        if audible:
            for c in range(channels):
                lanes_to_rows(audio, c * AUDIO_TILE, y, index, item, c * length + at, count)
    mark(marks, index, stride, stride - 3, p, z * sign, u * exp_sign, tile)


@inner_njit
def _forward_row(x, y, curve, marks, channels, length, row, t, states, expander, work) -> None:
    level, gains, decibels, zs, us = work[0], work[1], work[2], work[3], work[4]
    rise, fall_by, close, open_by = work[5], work[6], work[7], work[8]
    start, line = row * channels * length, row * length
    place = row * 3 * (-(-length // BLOCK) + 1)
    low, width, half_curve = load8(t, 0), load8(t, KNEE * LANES), load8(t, HALF_CURVE * LANES)
    sign, exp_sign = t[SIGN * LANES], t[EXP_SIGN * LANES]
    ka, kr = splat8(t[K_ATTACK * LANES] * sign), splat8(t[K_RELEASE * LANES] * sign)
    aa, ar = t[A_ATTACK * LANES], t[A_RELEASE * LANES]
    flip = splat8(exp_sign * sign)
    kc, ko = kr * flip, ka * flip  # closing uses the release coefficient
    none, floor = splat8(0.0), splat8(FLOOR)
    slope = splat8(-t[SLOPE * LANES] * sign * LOG2_GAIN)
    makeup = splat8(t[MAKEUP * LANES] * LOG2_GAIN)
    kl, al = t[K_LEVEL * LANES], t[A_LEVEL * LANES]
    exp_low = load8(t, EXP_LOW * LANES)
    exp_slope = splat8(-t[EXP_SLOPE * LANES] * exp_sign * LOG2_GAIN)
    scale, fall = splat8(LEVEL_DB), splat8(-LEVEL_DB)
    to_db = splat8(1.0 / LOG2_GAIN)
    p, z, u = states[0], states[8] * sign, states[16] * exp_sign
    block = 0
    simple = al == 0.0 and y.size > 0 and curve.size == 0
    for at in range(0, length, BLOCK):
        count = min(BLOCK, length - at)
        marks[place + block * 3] = p
        marks[place + block * 3 + 1] = z * sign
        marks[place + block * 3 + 2] = u * exp_sign
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
                p = larger(top * top, p)
        else:
            for n in range(count):
                p = fma(al, p, kl * level[n])
                level[n] = p
        # the gains lag one step behind, to fill the waits of the recursion
        for c in range(0, count + LANES, LANES):
            if c < count:
                power = peak8(x, here + c, channels, length) if direct else load8(level, c)
                octaves = log2_as(x, larger(power, floor))
                over = knee(octaves, scale, low, width, half_curve, none)
                store8(rise, 0, ka * over)
                store8(fall_by, 0, kr * over)
                if expander is not None:
                    under = knee(octaves, fall, exp_low, width, half_curve, none)
                    store8(close, 0, kc * under)
                    store8(open_by, 0, ko * under)
            if count - c >= LANES:
                for i in range(LANES):
                    z = larger(fma(aa, z, rise[i]), fma(ar, z, fall_by[i]))
                    zs[c + i] = z
                    if expander is not None:
                        u = larger(fma(ar, u, close[i]), fma(aa, u, open_by[i]))
                        us[c + i] = u
            else:
                for i in range(count - c):
                    z = larger(fma(aa, z, rise[i]), fma(ar, z, fall_by[i]))
                    zs[c + i] = z
                    if expander is not None:
                        u = larger(fma(ar, u, close[i]), fma(aa, u, open_by[i]))
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
    x, y, curve, marks, channels, length, params, state, expander, work, audio, index, first, stop
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
                x, y, curve, marks, channels, length, index, table, states, expander, work, audio
            )
        else:
            _forward_row(x, y, curve, marks, channels, length, row, table, states, expander, work)
        row += valid
