"""The inner loops of the biquad cascade, one block at a time, on SIMD lanes.

One section in transposed direct form II::

    y[n] = b0 x[n] + s1        s1' = b1 x[n] - a1 y[n] + s2        s2' = b2 x[n] - a2 y[n]

is computed with y[n] put into the other two, so that the recursion does not wait for the output::

    y[n] = b0 x[n] + s1        s1' = c1 x[n] - a1 s1 + s2          s2' = c2 x[n] - a2 s1
    c1 = b1 - a1 b0            c2 = b2 - a2 b0

The states are the same numbers; the loop-carried chain is 1.5 fused multiply-adds per sample in
place of 2, and c1, c2, rounded once, keep the digits that b1 x - a1 y cancels.

Its adjoint, with gy the gradient of y and g1, g2 those of s1', s2', runs backward in time::

    gY = gy - a1 g1 - a2 g2    gx = b0 gY + b1 g1 + b2 g2          (g1, g2) <- (gY, g1)
    d b0 += gY x   d b1 += g1 x   d b2 += g2 x   d a1 -= g1 y   d a2 -= g2 y

Two layouts do the same operations on every number, so their results are the same bits:

*across*: lane i is row i of eight; sections follow one another.
*skewed*: lane i is section i of one row; it works two samples behind lane i - 1, which has by
then handed its output on. The sections sit in the last lanes; at both ends of a block a mask keeps
the states of the lanes that have no sample. More than eight sections take several passes.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit

from retone.kernels.vector import (
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
)

_compile: Any = njit  # its stub does not know every option
inner = _compile(nogil=True, no_cpython_wrapper=True)  # for functions only compiled code calls


@inner
def scratch(size: int) -> Any:
    """Flat float64 array that starts at a cache line, uninitialised."""
    room = np.empty(size + 8, np.float64)
    shift = (64 - room.ctypes.data % 64) % 64 // 8
    return room[shift : shift + size]


@njit(nogil=True, forceinline=True)
def _section(x: Any, s1: Any, s2: Any, b0: Any, c1: Any, c2: Any, m1: Any, m2: Any) -> Any:
    """One sample of one section: output, s1', s2'; m1 and m2 are -a1 and -a2."""
    return fma(b0, x, s1), fma(m1, s1, fma(c1, x, s2)), fma(m2, s1, multiply(c2, x))


@njit(nogil=True, forceinline=True)
def _adjoint(gy: Any, g1: Any, g2: Any, b0: Any, b1: Any, b2: Any, m1: Any, m2: Any) -> Any:
    """One sample of one section backward: gY and gx."""
    inner = fma(m1, g1, fma(m2, g2, gy))
    return inner, fma(b2, g2, fma(b1, g1, multiply(b0, inner)))


@inner
def put_section(sos: Any, k: int, s: int, forward: Any, backward: Any, at: int) -> None:
    """Write sos[k, s] at place ``at``, and every 8 numbers on, of both coefficient tables."""
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
        samples: how many samples.
        hop: numbers from one section's signal to the next one's.
        table: forward coefficients, [sections, 5, 8] flat.
        state: [sections, 2, 8] flat, updated in place.
        sections: how many sections.
    """
    for s in range(0, sections - 1, 2):  # two sections at once: each hides the other's latency
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
        gradient: flat, sample-major; gradient of the section's output, then of its input.
        signal: what ``across_forward`` left with this hop.
        samples: how many samples.
        hop: numbers from one section's signal to the next one's.
        table: backward coefficients, [sections, 5, 8] flat.
        state: gradients of the states, [sections, 2, 8] flat, updated in place.
        sums: gradients of b0 b1 b2 -a1 -a2, [sections, 5, 8] flat, added to.
        s: the section.
    """
    p = 40 * s
    b0, b1, b2 = load(table, p), load(table, p + 8), load(table, p + 16)
    m1, m2 = load(table, p + 24), load(table, p + 32)
    g1, g2 = load(state, 16 * s), load(state, 16 * s + 8)
    r0, r1, r2 = load(sums, p), load(sums, p + 8), load(sums, p + 16)
    q1, q2 = load(sums, p + 24), load(sums, p + 32)
    for i in range(samples - 1, -1, -1):
        x = load(signal, s * hop + 8 * i)
        y = load(signal, (s + 1) * hop + 8 * i)
        inner, gx = _adjoint(load(gradient, 8 * i), g1, g2, b0, b1, b2, m1, m2)
        store(gradient, 8 * i, gx)
        r0, r1, r2 = fma(inner, x, r0), fma(g1, x, r1), fma(g2, x, r2)
        q1, q2 = fma(g1, y, q1), fma(g2, y, q2)
        g1, g2 = inner, g1
    store(state, 16 * s, g1)
    store(state, 16 * s + 8, g2)
    store(sums, p, r0)
    store(sums, p + 8, r1)
    store(sums, p + 16, r2)
    store(sums, p + 24, q1)
    store(sums, p + 32, q2)


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
    """Cascade of up to eight sections on one row, sections side by side.

    Args:
        io: flat; sample i is read at i, and its output written at i + 2 * (sections - 1).
        xs, ys: with ``record``, every lane's input and output at step t go to 8 * t and on.
        record: see above.
        samples: how many samples.
        table: forward coefficients, [passes, 5, 8] flat; zero in lanes without a section.
        state: [passes, 2, 8] flat, updated in place.
        layout: [passes, 3, 8] flat: minus the lane's delay; 1 where input enters; 1 where it
            leaves.
        p: which pass of table, state and layout.
        sections: how many sections.
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
        gradient: flat; of output sample i at i + 2 * (sections - 1); on return of input sample
            i at i.
        xs, ys: what ``skewed_forward`` recorded; xs is overwritten.
        samples: how many samples.
        table: backward coefficients, [passes, 5, 8] flat.
        state: gradients of the states, [passes, 2, 8] flat, updated in place.
        sums: gradients of b0 b1 b2 -a1 -a2, [passes, 5, 8] flat, added to.
        layout, p, sections: as in ``skewed_forward``.
    """
    b0, b1, b2 = load(table, 40 * p), load(table, 40 * p + 8), load(table, 40 * p + 16)
    m1, m2 = load(table, 40 * p + 24), load(table, 40 * p + 32)
    g1, g2 = load(state, 16 * p), load(state, 16 * p + 8)
    r0, r1, r2 = load(sums, 40 * p), load(sums, 40 * p + 8), load(sums, 40 * p + 16)
    q1, q2 = load(sums, 40 * p + 24), load(sums, 40 * p + 32)
    delay, leave = load(layout, 24 * p), load(layout, 24 * p + 16)
    zero, one, end = splat(0.0), splat(1.0), splat(float(samples))
    older, old = zero, zero
    first = 8 - sections
    for t in range(samples + 2 * (sections - 1) - 1, -1, -1):
        here = between(fma(one, splat(float(t)), delay), zero, end)
        gy = pick(leave, splat(gradient[t]), older)
        inner, gx = _adjoint(gy, g1, g2, b0, b1, b2, m1, m2)
        x, y = load(xs, 8 * t), load(ys, 8 * t)
        store(xs, 8 * t, gx)
        gradient[t] = xs[8 * t + first]
        r0, r1 = pick(here, fma(inner, x, r0), r0), pick(here, fma(g1, x, r1), r1)
        r2, q1 = pick(here, fma(g2, x, r2), r2), pick(here, fma(g1, y, q1), q1)
        q2 = pick(here, fma(g2, y, q2), q2)
        g1, g2 = pick(here, inner, g1), pick(here, g1, g2)
        older, old = old, rotate_down(gx)
    store(state, 16 * p, g1)
    store(state, 16 * p + 8, g2)
    store(sums, 40 * p, r0)
    store(sums, 40 * p + 8, r1)
    store(sums, 40 * p + 16, r2)
    store(sums, 40 * p + 24, q1)
    store(sums, 40 * p + 32, q2)
