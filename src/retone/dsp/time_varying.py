"""Second-order filters whose coefficients change with every sample.

Plain torch operations, parallel in time within blocks: they differentiate forwards, backwards and
twice, run under ``torch.func`` and on any device, and take complex signals. ``recursion.cascade``
is the fast path for constant coefficients.
"""

from __future__ import annotations

import torch
from torch import Tensor

from retone.errors import ShapeError

BLOCK = 4096
"""Samples that are solved at once; memory grows with ``BLOCK * log2(BLOCK)``."""


def time_varying_biquad(audio: Tensor, sections: Tensor) -> Tensor:
    """One second-order section with coefficients of its own for every sample (direct form I)::

        y[n] = b0[n] x[n] + b1[n] x[n-1] + b2[n] x[n-2] - a1[n] y[n-1] - a2[n] y[n-2]

    with x and y zero before the first sample. Where the coefficients are constant it equals
    ``recursion.cascade`` with one section.

    Args:
        audio: x, [B, T], real or complex.
        sections: b0, b1, b2, a1, a2 of every sample, [B, T, 5] or broadcast to that.

    Returns:
        y, [B, T], of the wider type of both.

    Raises:
        ShapeError: other shapes.
    """
    if audio.ndim != 2 or sections.ndim != 3 or sections.shape[-1] != 5:
        raise ShapeError(
            "time_varying_biquad: expected audio [B, T] and sections [B, T, 5], got "
            f"{list(audio.shape)} and {list(sections.shape)}."
        )
    kind = torch.promote_types(audio.dtype, sections.dtype)
    x = audio.to(kind)
    b0, b1, b2, a1, a2 = sections.to(kind).expand(*audio.shape, 5).unbind(-1)
    before = torch.nn.functional.pad(x, (2, 0))
    forced = b0 * x + b1 * before[:, 1:-1] + b2 * before[:, :-2]
    one, zero = torch.ones_like(a1), torch.zeros_like(a1)
    # The state is (y[n], y[n-1]); a step multiplies it by the companion matrix.
    steps = torch.stack([torch.stack([-a1, -a2], -1), torch.stack([one, zero], -1)], -2)
    pushes = torch.stack([forced, zero], -1)
    state = pushes.new_zeros(audio.shape[0], 2)
    out = []
    for start in range(0, audio.shape[1], BLOCK):
        here = slice(start, start + BLOCK)
        products, ends = _joined(steps[:, here], pushes[:, here])
        states = ends + (products @ state[:, None, :, None])[..., 0]
        out.append(states[..., 0])
        state = states[:, -1]
    return torch.cat(out, 1) if out else forced


def _joined(steps: Tensor, pushes: Tensor) -> tuple[Tensor, Tensor]:
    """Products of all steps up to each sample, and the states they reach from rest.

    Args:
        steps, pushes: ``s[n] = steps[n] s[n-1] + pushes[n]``, [B, N, 2, 2] and [B, N, 2].
    """
    reach, count = 1, pushes.shape[1]
    while reach < count:
        later = steps[:, reach:]
        moved = pushes[:, reach:] + (later @ pushes[:, :-reach, :, None])[..., 0]
        pushes = torch.cat([pushes[:, :reach], moved], 1)
        steps = torch.cat([steps[:, :reach], later @ steps[:, :-reach]], 1)
        reach *= 2
    return steps, pushes
