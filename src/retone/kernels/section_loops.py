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
then handed its output on. The sections sit in the last lanes of a group; at both ends of a block
a mask keeps the states of the lanes that have no sample.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit

from retone.kernels.vector import (
    EIGHT,
    between,
    fma,
    load,
    multiply,
    pick,
    rotate_down,
    rotate_up,
    splat,
    spread,
    store,
    store_heads,
)


@njit(nogil=True, cache=True)
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


@njit(nogil=True, cache=True)
def put_section(section: Any, forward: Any, backward: Any, at: int, lanes: int) -> None:
    """Write b0 b1 b2 a1 a2 as lane ``at`` of two coefficient tables of 5 rows of ``lanes``."""
    b0, b1, b2, a1, a2 = section
    forward[at] = b0
    forward[at + lanes] = fma(-a1, b0, b1)
    forward[at + 2 * lanes] = fma(-a2, b0, b2)
    backward[at] = b0
    backward[at + lanes] = b1
    backward[at + 2 * lanes] = b2
    forward[at + 3 * lanes] = backward[at + 3 * lanes] = -a1
    forward[at + 4 * lanes] = backward[at + 4 * lanes] = -a2


@njit(nogil=True, cache=True)
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
        b0, c1, c2 = load(table, p, EIGHT), load(table, p + 8, EIGHT), load(table, p + 16, EIGHT)
        m1, m2 = load(table, p + 24, EIGHT), load(table, p + 32, EIGHT)
        d0, e1, e2 = load(table, q, EIGHT), load(table, q + 8, EIGHT), load(table, q + 16, EIGHT)
        n1, n2 = load(table, q + 24, EIGHT), load(table, q + 32, EIGHT)
        s1, s2 = load(state, 16 * s, EIGHT), load(state, 16 * s + 8, EIGHT)
        t1, t2 = load(state, 16 * s + 16, EIGHT), load(state, 16 * s + 24, EIGHT)
        at = s * hop
        for _ in range(samples):
            y, s1, s2 = _section(load(signal, at, EIGHT), s1, s2, b0, c1, c2, m1, m2)
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
        b0, c1, c2 = load(table, p, EIGHT), load(table, p + 8, EIGHT), load(table, p + 16, EIGHT)
        m1, m2 = load(table, p + 24, EIGHT), load(table, p + 32, EIGHT)
        s1, s2 = load(state, 16 * s, EIGHT), load(state, 16 * s + 8, EIGHT)
        at = s * hop
        for _ in range(samples):
            y, s1, s2 = _section(load(signal, at, EIGHT), s1, s2, b0, c1, c2, m1, m2)
            store(signal, at + hop, y)
            at += 8
        store(state, 16 * s, s1)
        store(state, 16 * s + 8, s2)


@njit(nogil=True, cache=True)
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
    b0, b1, b2 = load(table, p, EIGHT), load(table, p + 8, EIGHT), load(table, p + 16, EIGHT)
    m1, m2 = load(table, p + 24, EIGHT), load(table, p + 32, EIGHT)
    g1, g2 = load(state, 16 * s, EIGHT), load(state, 16 * s + 8, EIGHT)
    r0, r1, r2 = load(sums, p, EIGHT), load(sums, p + 8, EIGHT), load(sums, p + 16, EIGHT)
    q1, q2 = load(sums, p + 24, EIGHT), load(sums, p + 32, EIGHT)
    for i in range(samples - 1, -1, -1):
        x = load(signal, s * hop + 8 * i, EIGHT)
        y = load(signal, (s + 1) * hop + 8 * i, EIGHT)
        inner, gx = _adjoint(load(gradient, 8 * i, EIGHT), g1, g2, b0, b1, b2, m1, m2)
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


@njit(nogil=True, cache=True)
def skewed_forward(
    io: Any,
    xs: Any,
    ys: Any,
    at: int,
    hop: int,
    samples: int,
    table: Any,
    state: Any,
    layout: Any,
    sections: int,
    lanes: Any,
    group: Any,
) -> None:
    """Cascade on one row, or on two in two groups of lanes, sections side by side.

    Args:
        io: flat; sample i of group g is read at i * groups + g and its output written at
            (i + 2 * (sections - 1)) * groups + g.
        xs, ys: every lane's input and output at step t go to at + t * hop (hop 0: one place).
        at, hop: see above.
        samples: how many samples.
        table: forward coefficients, [5, lanes] flat; zero in lanes without a section.
        state: [2, lanes] flat, updated in place.
        layout: [3, lanes] flat: minus the lane's delay, 1 where input enters, 1 where it leaves.
        sections: sections per group.
        lanes, group: tuples as long as the vector and as one group.
    """
    width = len(lanes)
    groups = width // len(group)
    b0, c1 = load(table, 0, lanes), load(table, width, lanes)
    c2, m1 = load(table, 2 * width, lanes), load(table, 3 * width, lanes)
    m2 = load(table, 4 * width, lanes)
    s1, s2 = load(state, 0, lanes), load(state, width, lanes)
    delay, entry = load(layout, 0, lanes), load(layout, width, lanes)
    zero, one, end = splat(0.0, lanes), splat(1.0, lanes), splat(float(samples), lanes)
    older, old = zero, zero
    ramp = 2 * (sections - 1)
    for part in range(2):  # the ramps at both ends, with a mask
        for t in range(
            0 if part == 0 else max(samples, ramp), ramp if part == 0 else samples + ramp
        ):
            here = between(fma(one, splat(float(t), lanes), delay), zero, end)
            x = pick(entry, spread(io, t * groups, lanes, group), older)
            y, u1, u2 = _section(x, s1, s2, b0, c1, c2, m1, m2)
            s1, s2 = pick(here, u1, s1), pick(here, u2, s2)
            store(xs, at + t * hop, x)
            store(ys, at + t * hop, y)
            older, old = old, rotate_up(y, group)
            store_heads(io, t * groups, old, group)
        if part == 1:
            break
        for t in range(ramp, samples):  # every lane has a sample
            x = pick(entry, spread(io, t * groups, lanes, group), older)
            y, s1, s2 = _section(x, s1, s2, b0, c1, c2, m1, m2)
            store(xs, at + t * hop, x)
            store(ys, at + t * hop, y)
            older, old = old, rotate_up(y, group)
            store_heads(io, t * groups, old, group)
    store(state, 0, s1)
    store(state, width, s2)


@njit(nogil=True, cache=True)
def skewed_backward(
    gradient: Any,
    xs: Any,
    ys: Any,
    at: int,
    samples: int,
    table: Any,
    state: Any,
    sums: Any,
    layout: Any,
    sections: int,
    lanes: Any,
    group: Any,
) -> None:
    """Adjoint of ``skewed_forward``; the inputs' gradients replace xs (first section's lane).

    Args:
        gradient: flat; sample i of group g at (i + 2 * (sections - 1)) * groups + g.
        xs, ys: what ``skewed_forward`` left with hop = lanes.
        at: where in xs and ys it did.
        samples: how many samples.
        table: backward coefficients, [5, lanes] flat.
        state: gradients of the states, [2, lanes] flat, updated in place.
        sums: gradients of b0 b1 b2 -a1 -a2, [5, lanes] flat, added to.
        layout, sections, lanes, group: as in ``skewed_forward``.
    """
    width = len(lanes)
    groups = width // len(group)
    b0, b1 = load(table, 0, lanes), load(table, width, lanes)
    b2, m1 = load(table, 2 * width, lanes), load(table, 3 * width, lanes)
    m2 = load(table, 4 * width, lanes)
    g1, g2 = load(state, 0, lanes), load(state, width, lanes)
    r0, r1 = load(sums, 0, lanes), load(sums, width, lanes)
    r2, q1 = load(sums, 2 * width, lanes), load(sums, 3 * width, lanes)
    q2 = load(sums, 4 * width, lanes)
    delay, leave = load(layout, 0, lanes), load(layout, 2 * width, lanes)
    zero, one, end = splat(0.0, lanes), splat(1.0, lanes), splat(float(samples), lanes)
    older, old = zero, zero
    for t in range(samples + 2 * (sections - 1) - 1, -1, -1):
        here = between(fma(one, splat(float(t), lanes), delay), zero, end)
        gy = pick(leave, spread(gradient, t * groups, lanes, group), older)
        inner, gx = _adjoint(gy, g1, g2, b0, b1, b2, m1, m2)
        x = load(xs, at + t * width, lanes)
        y = load(ys, at + t * width, lanes)
        store(xs, at + t * width, gx)
        r0, r1 = pick(here, fma(inner, x, r0), r0), pick(here, fma(g1, x, r1), r1)
        r2, q1 = pick(here, fma(g2, x, r2), r2), pick(here, fma(g1, y, q1), q1)
        q2 = pick(here, fma(g2, y, q2), q2)
        g1, g2 = pick(here, inner, g1), pick(here, g1, g2)
        older, old = old, rotate_down(gx, group)
    store(state, 0, g1)
    store(state, width, g2)
    store(sums, 0, r0)
    store(sums, width, r1)
    store(sums, 2 * width, r2)
    store(sums, 3 * width, q1)
    store(sums, 4 * width, q2)
