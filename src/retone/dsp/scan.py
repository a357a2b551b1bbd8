"""The exact recursions, parallel in time for GPUs (and testable on any machine).

A linear recursion is solved by blocks whose end states are joined by a prefix scan in
``log2`` steps. The branching smoother is linear once each sample's branch is known; the branches
are found by alternately solving and updating the branches until nothing changes, which gives the
sequential result: every round settles at least one more sample, in practice a few rounds settle
all.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

import torch
from torch import Tensor

from retone.dsp.curve import POWER_FLOOR, knee
from retone.dsp.no_double_backward import no_double_backward

BLOCK = 128
TIE = 1e-12
"""An input and a smoothed value with a smaller relative difference count as equal."""
_FORCED: ContextVar[bool] = ContextVar("retone_scan_forced", default=False)


@contextmanager
def forced() -> Iterator[None]:
    """Inside this context the parallel formulation runs on the CPU too (for tests)."""
    token = _FORCED.set(True)
    try:
        yield
    finally:
        _FORCED.reset(token)


def is_forced() -> bool:
    return _FORCED.get()


def _powers(matrix: Tensor, count: int) -> Tensor:
    """``matrix^0 .. matrix^count`` of [K, 2, 2] -> [K, count + 1, 2, 2], by doubling."""
    eye = torch.eye(2, dtype=matrix.dtype, device=matrix.device).expand_as(matrix)
    powers = torch.stack([eye, matrix], dim=1)
    while powers.shape[1] <= count:
        step = powers[:, -1:] @ matrix[:, None]
        powers = torch.cat([powers, step @ powers], dim=1)
    return powers[:, : count + 1]


def cascade(audio: Tensor, sections: Tensor, state: Tensor) -> tuple[Tensor, Tensor]:
    """``retone.dsp.recursion.cascade``, parallel in time; differentiable through autograd."""
    rows, length = audio.shape
    if length == 0:
        return audio.clone(), state.clone()
    groups = sections.shape[0]
    per_group = rows // groups
    x = audio.double().reshape(groups, per_group, length)
    ends = []
    for s in range(sections.shape[1]):
        x, end = _section(x, sections[:, s], state[:, s].reshape(groups, per_group, 2))
        ends.append(end.reshape(rows, 2))
    return x.reshape(rows, length).to(audio.dtype), torch.stack(ends, dim=1)


def _section(x: Tensor, section: Tensor, start: Tensor) -> tuple[Tensor, Tensor]:
    """One section over [K, N, T] with start states [K, N, 2] -> audio and end states."""
    groups, rows, length = x.shape
    block = min(BLOCK, length)
    count = -(-length // block)
    b0, b1, b2, a1, a2 = section.unbind(-1)
    # Transposed direct form II as a state space: s' = A s + B x, y = s[0] + b0 x.
    one, zero = torch.ones_like(a1), torch.zeros_like(a1)
    a = torch.stack([torch.stack([-a1, one], -1), torch.stack([-a2, zero], -1)], -2)
    b = torch.stack([b1 - a1 * b0, b2 - a2 * b0], -1)
    powers = _powers(a, block)  # [K, block + 1, 2, 2]
    reach = (powers[:, :block] @ b[:, None, :, None])[..., 0]  # A^n B: [K, block, 2]
    impulse = torch.cat([b0[:, None], reach[:, : block - 1, 0]], dim=1)
    lag = torch.arange(block, device=x.device)
    lag = lag[:, None] - lag[None, :]
    toeplitz = torch.where(lag >= 0, impulse[:, lag.clamp(min=0)], 0.0)  # [K, out, in]

    last = length - (count - 1) * block
    padded = torch.nn.functional.pad(x, (0, count * block - length))
    blocks = padded.reshape(groups, rows * count, block)
    forced_part = (blocks @ toeplitz.transpose(1, 2)).reshape(groups, rows, count, block)
    push = (blocks @ reach.flip(1)).reshape(groups, rows, count, 2)

    # Start state of every block: v[k+1] = A^block v[k] + push[k], joined in log2(count) steps.
    first = start[:, :, None]
    v = torch.cat([first, push[:, :, :-1]], dim=2)
    jump, step = powers[:, block], 1
    while step < count:
        moved = torch.einsum("kij,knbj->knbi", jump, v[:, :, :-step])
        v = torch.cat([v[:, :, :step], v[:, :, step:] + moved], dim=2)
        jump, step = jump @ jump, 2 * step
    ringing = torch.einsum("ktj,knbj->knbt", powers[:, :block, 0, :], v)
    y = (forced_part + ringing).reshape(groups, rows, count * block)[..., :length]

    tail = padded.reshape(groups, rows, count, block)[:, :, -1, :last]
    end = torch.einsum("kij,knj->kni", powers[:, last], v[:, :, -1])
    end = end + torch.einsum("knt,ktj->knj", tail, reach[:, :last].flip(1))
    return y, end


def _linear(keep: Tensor, push: Tensor) -> Tensor:
    """``y[n] = keep[n] y[n-1] + push[n]`` from ``y[-1] = 0`` over the last axis."""
    step, length = 1, push.shape[-1]
    while step < length:
        push = torch.cat(
            [push[..., :step], push[..., step:] + keep[..., step:] * push[..., :-step]], -1
        )
        keep = torch.cat([keep[..., :step], keep[..., step:] * keep[..., :-step]], -1)
        step *= 2
    return push


class _Ballistics(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, k_attack: Tensor, k_release: Tensor, start: Tensor) -> Tensor:
        attack = x > start[:, None]
        while True:
            k = torch.where(attack, k_attack[:, None], k_release[:, None])
            push = k * x
            push[:, 0] += (1 - k[:, 0]) * start
            y = _linear(1 - k, push)
            before = torch.cat([start[:, None], y[:, :-1]], dim=1)
            now = x > before
            # If both are equal within rounding, either branch gives the same y: counting these
            # samples as undecided would cost one round per sample on a settled signal.
            decided = (now == attack) | ((x - before).abs() <= TIE * x.abs())
            if bool(decided.all()):
                break
            attack = now
        ctx.save_for_backward(x, k_attack, k_release, start, before, k, attack)
        return y

    @staticmethod
    @no_double_backward
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, ...]:
        x, _, _, _, before, k, attack = ctx.saved_tensors
        # v[n] = g[n] + (1 - k[n+1]) v[n+1]: the same recursion, backwards in time.
        keep = torch.cat([1 - k[:, 1:], torch.zeros_like(k[:, :1])], dim=1).flip(-1)
        v = _linear(keep, grads[0].flip(-1)).flip(-1)
        slope = v * (x - before)
        return (
            k * v,
            (slope * attack).sum(-1),
            (slope * ~attack).sum(-1),
            (1 - k[:, 0]) * v[:, 0],
        )


def ballistics(signal: Tensor, k_attack: Tensor, k_release: Tensor, start: Tensor) -> Tensor:
    """``retone.dsp.recursion.ballistics``, parallel in time."""
    if signal.shape[-1] == 0:
        return signal.clone()
    return _Ballistics.apply(signal.double(), k_attack, k_release, start).to(signal.dtype)


def level_db(audio: Tensor, k_level: Tensor, mean_square: Tensor) -> tuple[Tensor, Tensor]:
    """Side-chain level [B, T] in dB (loudest channel), and the mean square at its end."""
    power = (audio.double() ** 2).amax(dim=1)
    smooth = ballistics(power, k_level, k_level, mean_square)
    return 10 * torch.log10(smooth.clamp(min=POWER_FLOOR)), smooth[:, -1]


def compress(
    audio: Tensor, params: Tensor, state: Tensor, *, expander: bool, curves: bool
) -> tuple[Tensor, Tensor, Tensor | None]:
    """``retone.dsp.recursion.compress``, parallel in time; differentiable through autograd."""
    if audio.shape[-1] == 0:
        return audio.clone(), state.clone(), audio.new_zeros(audio.shape[0], 0).double()
    threshold, slope, k_attack, k_release, knee_db, makeup, k_level, below, exp_slope = (
        params.unbind(1)
    )
    level, mean_square = level_db(audio, k_level, state[:, 0])
    over = knee(level - threshold[:, None], knee_db[:, None])
    over = ballistics(over, k_attack, k_release, state[:, 1])
    gain_db = makeup[:, None] - slope[:, None] * over
    under_end = state[:, 2]
    if expander:
        under = knee(below[:, None] - level, knee_db[:, None])
        under = ballistics(under, k_release, k_attack, state[:, 2])  # opening is the attack
        gain_db = gain_db - exp_slope[:, None] * under
        under_end = under[:, -1]
    gain_db = gain_db + 0 * params.sum(1, keepdim=True)  # comparisons drop NaN; this restores it
    y = audio.double() * 10 ** (gain_db / 20)[:, None]
    after = torch.stack([mean_square, over[:, -1], under_end], dim=1)
    return y.to(audio.dtype), after, gain_db if curves else None
