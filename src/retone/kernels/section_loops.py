"""The inner loops of the biquad cascade, one block at a time, on SIMD lanes.

One section in transposed direct form II::

    y[n] = b0 x[n] + s1        s1' = b1 x[n] - a1 y[n] + s2        s2' = b2 x[n] - a2 y[n]

is computed with y[n] substituted into the other two, so the recursion does not wait for the
output::

    y[n] = b0 x[n] + s1        s1' = c1 x[n] - a1 s1 + s2          s2' = c2 x[n] - a2 s1
    c1 = b1 - a1 b0            c2 = b2 - a2 b0

The states are the same numbers; the loop-carried chain is 1.5 fused multiply-adds per sample
instead of 2, and c1, c2, rounded once, keep the digits that b1 x - a1 y would cancel.

Its adjoint, with gy the gradient of y and g1, g2 those of s1', s2', runs backward in time::

    gY = gy - a1 g1 - a2 g2    gx = b0 gY + b1 g1 + b2 g2          (g1, g2) <- (gY, g1)
    d b0 += gY x   d b1 += g1 x   d b2 += g2 x   d a1 -= g1 y   d a2 -= g2 y

gx is a filter of three taps and the sums are correlations at three lags, which Winograd's minimal
filtering (Arithmetic Complexity of Computations, SIAM 1980) computes for two samples with four
products instead of six. With d_k the gY of sample n + k, ``e = d1 + d2`` and ``f = d2 - d1``::

    mean = e (b0 + b1 + b2) / 2    slope = f (b0 - b1 + b2) / 2
    gx[n] = b0 (d0 - d2) + mean + slope    gx[n+1] = mean - slope - b2 (d1 - d3)

    t = e (x[n] + x[n+1]) / 2      u = f (x[n] - x[n+1]) / 2
    d b0 += (d0 - d2) x[n] + t + u   d b1 += t - u   d b2 += t + u - (d1 - d3) x[n+1]

and likewise, at two lags, for a1 and a2 with three products instead of four. Processors add in
parallel with multiplications, so the extra additions are almost free.

Two layouts apply the same operations to every sample, so their results are bit-identical:

*across*: lane i is row i of eight; sections follow one another.
*skewed*: lane i is section i of one row; it works two samples behind lane i - 1, whose output
is ready by then. The sections occupy the last lanes; at both ends of a block a mask preserves the
states of the lanes that have no sample. More than eight sections take several passes.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from retone.compiled import njit
from retone.kernels.vector import (
    add,
    between,
    first_lane,
    fma,
    load,
    multiply,
    pick,
    rotate_down,
    rotate_up,
    splat,
    store,
    subtract,
)

_compile: Any = njit  # its stub lacks some options
inner = _compile(nogil=True, no_cpython_wrapper=True)  # for functions that only compiled code calls


@inner
def scratch(size: int) -> Any:
    """Uninitialised flat float64 array, aligned to a cache line."""
    buffer = np.empty(size + 8, np.float64)
    shift = (64 - buffer.ctypes.data % 64) % 64 // 8
    return buffer[shift : shift + size]


@njit(nogil=True, forceinline=True)
def _section(x: Any, s1: Any, s2: Any, b0: Any, c1: Any, c2: Any, m1: Any, m2: Any) -> Any:
    """One sample of one section: output, s1', s2'; m1 and m2 are -a1 and -a2."""
    return fma(b0, x, s1), fma(m1, s1, fma(c1, x, s2)), fma(m2, s1, multiply(c2, x))


@njit(nogil=True, forceinline=True)
def _output_gradient(gy: Any, g1: Any, g2: Any, m1: Any, m2: Any) -> Any:
    """gY of one sample; m1 and m2 are -a1 and -a2."""
    return fma(m1, g1, fma(m2, g2, gy))


@njit(nogil=True, forceinline=True)
def _half_sums(b0: Any, b1: Any, b2: Any) -> Any:
    """``(b0 + b1 + b2) / 2`` and ``(b0 - b1 + b2) / 2``."""
    half = splat(0.5)
    ends = add(b0, b2)
    return multiply(half, add(ends, b1)), multiply(half, subtract(ends, b1))


@njit(nogil=True, forceinline=True)
def _pair(d0: Any, d1: Any, d2: Any, d3: Any, b0: Any, b2: Any, c1: Any, c2: Any) -> Any:
    """gx of two samples from gY of four, and the differences that the coefficient sums need."""
    first, middle, step, last = (
        subtract(d0, d2), add(d1, d2), subtract(d2, d1), subtract(d1, d3),
    )  # fmt: skip
    mean, slope = multiply(c1, middle), multiply(c2, step)
    gx0 = fma(b0, first, add(mean, slope))
    gx1 = subtract(subtract(mean, slope), multiply(b2, last))
    return gx0, gx1, first, middle, step, last


@inner
def put_section(sos: Any, k: int, s: int, forward: Any, backward: Any, at: int) -> None:
    """Write sos[k, s] to both coefficient tables, at ``at`` and then every 8 numbers."""
    b0, b1, b2, a1, a2 = sos[k, s, 0], sos[k, s, 1], sos[k, s, 2], sos[k, s, 3], sos[k, s, 4]
    forward[at] = b0
    forward[at + 8] = fma(-a1, b0, b1)
    forward[at + 16] = fma(-a2, b0, b2)
    backward[at] = b0
    backward[at + 8] = b1
    backward[at + 16] = b2
    forward[at + 24] = backward[at + 24] = -a1
    forward[at + 32] = backward[at + 32] = -a2


@inner
def across_forward(
    signal: Any, samples: int, hop: int, table: Any, state: Any, sections: int
) -> None:
    """Cascade on eight rows: section s reads signal[s * hop :] and writes signal[(s + 1) * hop :].

    Args:
        signal: flat, sample-major, 8 numbers per sample; hop 0 works in place.
        samples: number of samples.
        hop: offset from the signal of one section to that of the next.
        table: forward coefficients, [sections, 5, 8] flat.
        state: [sections, 2, 8] flat, updated in place.
        sections: number of sections.
    """
    for s in range(0, sections - 1, 2):  # two sections at once hide each other's latency
        p, q = 40 * s, 40 * (s + 1)
        b0, c1, c2 = load(table, p), load(table, p + 8), load(table, p + 16)
        m1, m2 = load(table, p + 24), load(table, p + 32)
        d0, e1, e2 = load(table, q), load(table, q + 8), load(table, q + 16)
        n1, n2 = load(table, q + 24), load(table, q + 32)
        s1, s2 = load(state, 16 * s), load(state, 16 * s + 8)
        t1, t2 = load(state, 16 * s + 16), load(state, 16 * s + 24)
        at = s * hop
        for _ in range(samples):
            y, s1, s2 = _section(load(signal, at), s1, s2, b0, c1, c2, m1, m2)
            store(signal, at + hop, y)
            y, t1, t2 = _section(y, t1, t2, d0, e1, e2, n1, n2)
            store(signal, at + 2 * hop, y)
            at += 8
        store(state, 16 * s, s1)
        store(state, 16 * s + 8, s2)
        store(state, 16 * s + 16, t1)
        store(state, 16 * s + 24, t2)
    if sections % 2:
        s = sections - 1
        p = 40 * s
        b0, c1, c2 = load(table, p), load(table, p + 8), load(table, p + 16)
        m1, m2 = load(table, p + 24), load(table, p + 32)
        s1, s2 = load(state, 16 * s), load(state, 16 * s + 8)
        at = s * hop
        for _ in range(samples):
            y, s1, s2 = _section(load(signal, at), s1, s2, b0, c1, c2, m1, m2)
            store(signal, at + hop, y)
            at += 8
        store(state, 16 * s, s1)
        store(state, 16 * s + 8, s2)


@inner
def across_backward(
    gradient: Any, signal: Any, samples: int, hop: int, table: Any, state: Any, sums: Any, s: int
) -> None:
    """Adjoint of section s on eight rows, in place on the gradient signal.

    Args:
        gradient: flat, sample-major; on the section's output, overwritten by that on its input.
        signal: as ``across_forward`` left it with this hop.
        samples: number of samples.
        hop: offset from the signal of one section to that of the next.
        table: backward coefficients, [sections, 5, 8] flat.
        state: gradients on the states, [sections, 2, 8] flat, updated in place.
        sums: gradients on b0 b1 b2 -a1 -a2, [sections, 5, 8] flat, added to.
        s: the section.
    """
    p = 40 * s
    b0, b2 = load(table, p), load(table, p + 16)
    c1, c2 = _half_sums(b0, load(table, p + 8), b2)
    m1, m2 = load(table, p + 24), load(table, p + 32)
    d2, d3 = load(state, 16 * s), load(state, 16 * s + 8)
    zero = splat(0.0)
    u0, u1, u2, u3 = zero, zero, zero, zero
    v0, v1, v2 = zero, zero, zero
    near, far = s * hop, (s + 1) * hop
    if samples % 2:  # the last sample: a pair without a second sample
        i = 8 * samples - 8
        x, y = load(signal, near + i), load(signal, far + i)
        d0 = _output_gradient(load(gradient, i), d2, d3, m1, m2)
        gx, _, first, middle, step, _ = _pair(d0, d2, d3, zero, b0, b2, c1, c2)
        store(gradient, i, gx)
        u0, u1, u2 = multiply(first, x), multiply(middle, x), multiply(step, x)
        v0, v1 = multiply(step, y), multiply(d3, y)
        d3, d2 = d2, d0
    for n in range(samples - samples % 2 - 2, -1, -2):
        i, j = 8 * n, 8 * n + 8
        d1 = _output_gradient(load(gradient, j), d2, d3, m1, m2)
        d0 = _output_gradient(load(gradient, i), d1, d2, m1, m2)
        gx0, gx1, first, middle, step, last = _pair(d0, d1, d2, d3, b0, b2, c1, c2)
        store(gradient, j, gx1)
        store(gradient, i, gx0)
        x0, x1 = load(signal, near + i), load(signal, near + j)
        y0, y1 = load(signal, far + i), load(signal, far + j)
        u0, u1 = fma(first, x0, u0), fma(middle, add(x0, x1), u1)
        u2, u3 = fma(step, subtract(x0, x1), u2), fma(last, x1, u3)
        v0, v1 = fma(step, y0, v0), fma(d2, add(y0, y1), v1)
        v2 = fma(subtract(d3, d2), y1, v2)
        d3, d2 = d1, d0
    store(state, 16 * s, d2)
    store(state, 16 * s + 8, d3)
    _add_sums(sums, p, u0, u1, u2, u3, v0, v1, v2)


@njit(nogil=True, forceinline=True)
def _add_sums(
    sums: Any, p: int, u0: Any, u1: Any, u2: Any, u3: Any, v0: Any, v1: Any, v2: Any
) -> None:
    """Add the gradients on b0 b1 b2 -a1 -a2, from the sums of products, to a table."""
    half = splat(0.5)
    u1, u2 = multiply(half, u1), multiply(half, u2)
    both = add(u1, u2)
    store(sums, p, add(load(sums, p), add(u0, both)))
    store(sums, p + 8, add(load(sums, p + 8), subtract(u1, u2)))
    store(sums, p + 16, add(load(sums, p + 16), subtract(both, u3)))
    store(sums, p + 24, add(load(sums, p + 24), subtract(v1, v0)))
    store(sums, p + 32, add(load(sums, p + 32), add(v1, v2)))


@inner
def skewed_forward(
    io: Any,
    xs: Any,
    ys: Any,
    record: bool,
    samples: int,
    table: Any,
    state: Any,
    layout: Any,
    p: int,
    sections: int,
) -> None:
    """Cascade of up to eight sections on one row, one section per lane.

    Args:
        io: flat; sample i is read at i, and its output written at i + 2 * (sections - 1).
        xs, ys: with ``record``, every lane's input and output at step t go to index 8 * t.
        record: whether to fill xs and ys.
        samples: number of samples.
        table: forward coefficients, [passes, 5, 8] flat; zero in lanes without a section.
        state: [passes, 2, 8] flat, updated in place.
        layout: [passes, 3, 8] flat: minus the lane's delay; 1 in the first section's lane; 1 in
            the last section's lane.
        p: index of the pass in table, state and layout.
        sections: number of sections.
    """
    b0, c1, c2 = load(table, 40 * p), load(table, 40 * p + 8), load(table, 40 * p + 16)
    m1, m2 = load(table, 40 * p + 24), load(table, 40 * p + 32)
    s1, s2 = load(state, 16 * p), load(state, 16 * p + 8)
    delay, entry = load(layout, 24 * p), load(layout, 24 * p + 8)
    zero, one, end = splat(0.0), splat(1.0), splat(float(samples))
    older, old = zero, zero
    ramp = 2 * (sections - 1)
    start, stop = 0, ramp
    for part in range(2):  # the ramps at both ends, with a mask
        for t in range(start, stop):
            here = between(fma(one, splat(float(t)), delay), zero, end)
            x = pick(entry, splat(io[t]), older)
            y, u1, u2 = _section(x, s1, s2, b0, c1, c2, m1, m2)
            s1, s2 = pick(here, u1, s1), pick(here, u2, s2)
            if record:
                store(xs, 8 * t, x)
                store(ys, 8 * t, y)
            older, old = old, rotate_up(y)
            io[t] = first_lane(old)
        start, stop = max(samples, ramp), samples + ramp
        if part == 0:
            for t in range(ramp, samples):  # every lane has a sample
                x = pick(entry, splat(io[t]), older)
                y, s1, s2 = _section(x, s1, s2, b0, c1, c2, m1, m2)
                if record:
                    store(xs, 8 * t, x)
                    store(ys, 8 * t, y)
                older, old = old, rotate_up(y)
                io[t] = first_lane(old)
    store(state, 16 * p, s1)
    store(state, 16 * p + 8, s2)


@inner
def skewed_backward(
    gradient: Any,
    xs: Any,
    ys: Any,
    samples: int,
    table: Any,
    state: Any,
    sums: Any,
    layout: Any,
    p: int,
    sections: int,
) -> None:
    """Adjoint of ``skewed_forward``.

    Args:
        gradient: flat; on output sample i at i + 2 * (sections - 1); on return, on input
            sample i at i.
        xs, ys: what ``skewed_forward`` recorded; xs is overwritten.
        samples: number of samples.
        table: backward coefficients, [passes, 5, 8] flat.
        state: gradients on the states, [passes, 2, 8] flat, updated in place.
        sums: gradients on b0 b1 b2 -a1 -a2, [passes, 5, 8] flat, added to.
        layout, p, sections: as in ``skewed_forward``.
    """
    b0, b2 = load(table, 40 * p), load(table, 40 * p + 16)
    c1, c2 = _half_sums(b0, load(table, 40 * p + 8), b2)
    m1, m2 = load(table, 40 * p + 24), load(table, 40 * p + 32)
    g1, g2 = load(state, 16 * p), load(state, 16 * p + 8)
    delay, leave = load(layout, 24 * p), load(layout, 24 * p + 16)
    zero, one, end = splat(0.0), splat(1.0), splat(float(samples))
    u0, u1, u2, u3 = zero, zero, zero, zero
    v0, v1, v2 = zero, zero, zero
    after0, after1 = zero, zero
    first_section = 8 - sections
    steps = samples + 2 * (sections - 1)
    for t in range(steps - 1 + steps % 2, -1, -2):  # delays are even: pairs meet pairs
        here0 = between(fma(one, splat(float(t - 1)), delay), zero, end)
        here1 = between(fma(one, splat(float(t)), delay), zero, end)
        # a lane without a sample has no gradient, whatever its memory holds
        gy0, gy1 = pick(here0, pick(leave, splat(gradient[t - 1]), after0), zero), zero
        if t < steps:
            gy1 = pick(here1, pick(leave, splat(gradient[t]), after1), zero)
        d1 = pick(here1, _output_gradient(gy1, g1, g2, m1, m2), g1)
        d2 = pick(here1, g1, g2)
        d0 = _output_gradient(gy0, d1, d2, m1, m2)
        gx0, gx1, first, middle, step, last = _pair(d0, d1, d2, g2, b0, b2, c1, c2)
        at = 8 * t
        x0, y0 = pick(here0, load(xs, at - 8), zero), pick(here0, load(ys, at - 8), zero)
        x1, y1 = zero, zero
        if t < steps:
            x1, y1 = pick(here1, load(xs, at), zero), pick(here1, load(ys, at), zero)
            store(xs, at, gx1)
            gradient[t] = xs[at + first_section]
        store(xs, at - 8, gx0)
        gradient[t - 1] = xs[at - 8 + first_section]
        u0, u1 = fma(first, x0, u0), fma(middle, add(x0, x1), u1)
        u2, u3 = fma(step, subtract(x0, x1), u2), fma(last, x1, u3)
        v0, v1 = fma(step, y0, v0), fma(d2, add(y0, y1), v1)
        v2 = fma(subtract(g2, d2), y1, v2)
        g1, g2 = pick(here0, d0, d1), pick(here0, d1, d2)
        after0, after1 = rotate_down(gx0), rotate_down(gx1)
    store(state, 16 * p, g1)
    store(state, 16 * p + 8, g2)
    _add_sums(sums, 40 * p, u0, u1, u2, u3, v0, v1, v2)
