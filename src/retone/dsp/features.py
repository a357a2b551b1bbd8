"""What networks hear, summed in compiled loops: of frames in frequency, of blocks in time.

Both are for float32 on a CPU; elsewhere the same sums are written in tensor operations by whoever
needs them (``retone.nets.frontend``).
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor

from retone.dsp.first_order import first_order
from retone.kernels.frame_measures import FramePlan


class _FrameMeasures(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, audio: Tensor, plan: Any) -> tuple[Tensor, Tensor]:
        from retone.kernels.frame_measures import measure_frames

        x = audio.detach().contiguous().numpy()
        keep = any(ctx.needs_input_grad)
        linear, magnitudes, ctx.spectra = measure_frames(x, plan, keep)
        ctx.plan, ctx.length = plan, x.shape[1]
        ctx.save_for_backward(audio)
        return torch.from_numpy(linear), torch.from_numpy(magnitudes)

    @staticmethod
    @first_order
    def backward(ctx: Any, *onto: Tensor) -> tuple[Tensor, None]:  # type: ignore[override]
        from retone.kernels.frame_measures import measure_frames_adjoint

        linear, magnitudes = (t.contiguous().numpy() for t in onto)
        out = measure_frames_adjoint(linear, magnitudes, ctx.spectra, ctx.length, ctx.plan)
        return torch.from_numpy(out), None


def frame_measures(audio: Tensor, plan: FramePlan) -> tuple[Tensor, Tensor]:
    """Sums over the bins of every frame; see ``retone.kernels.frame_measures``.

    Args:
        audio: [B, T], float32 on a CPU.
        plan: a ``FramePlan``.

    Returns:
        Weighted powers [B, N, L]; sum and frequency moment of magnitudes [B, N, 2].
    """
    return _FrameMeasures.apply(audio, plan)  # type: ignore[no-any-return, no-untyped-call]


class _BlockLevels(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, audio: Tensor, sizes: tuple[int, ...]) -> tuple[Tensor, Tensor]:
        from retone.kernels.block_levels import block_levels

        x, each = audio.detach().contiguous().numpy(), np.array(sizes)
        blocks, whole, places = block_levels(x, each)
        ctx.save_for_backward(audio)
        ctx.arrays = (x, each, places) if any(ctx.needs_input_grad) else None
        return torch.from_numpy(blocks), torch.from_numpy(whole)

    @staticmethod
    @first_order
    def backward(ctx: Any, *onto: Tensor) -> tuple[Tensor, None]:  # type: ignore[override]
        from retone.kernels.block_levels import block_levels_adjoint

        blocks, whole = (t.contiguous().numpy() for t in onto)
        return torch.from_numpy(block_levels_adjoint(blocks, whole, *ctx.arrays)), None


def block_levels(audio: Tensor, sizes: tuple[int, ...]) -> tuple[list[Tensor], Tensor, Tensor]:
    """Mean squares of blocks of several lengths, and of all; and the peak.

    Args:
        audio: [B, T], float32 on a CPU.
        sizes: lengths in samples, 1 ... T.

    Returns:
        For every length the blocks' mean squares [B, K]; the clips' mean squares and peaks [B].
    """
    blocks, whole = _BlockLevels.apply(audio, sizes)  # type: ignore[no-untyped-call]
    counts = [audio.shape[-1] // n for n in sizes]
    return list(blocks.split(counts, dim=1)), whole[:, 0], whole[:, 1]
