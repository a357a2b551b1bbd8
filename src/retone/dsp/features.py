"""Network input features in compiled loops: sums over spectral frames, levels of time blocks.

Both take float32 on the CPU; ``retone.nets.frontend`` computes the same sums with tensor operations
on other devices.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor

from retone.dsp.no_double_backward import no_double_backward
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
    @no_double_backward
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None]:  # type: ignore[override]
        from retone.kernels.frame_measures import measure_frames_adjoint

        linear, magnitudes = (t.contiguous().numpy() for t in grads)
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
        blocks, whole, peak_indices = block_levels(x, each)
        ctx.save_for_backward(audio)
        ctx.arrays = (x, each, peak_indices) if any(ctx.needs_input_grad) else None
        return torch.from_numpy(blocks), torch.from_numpy(whole)

    @staticmethod
    @no_double_backward
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None]:  # type: ignore[override]
        from retone.kernels.block_levels import block_levels_adjoint

        blocks, whole = (t.contiguous().numpy() for t in grads)
        return torch.from_numpy(block_levels_adjoint(blocks, whole, *ctx.arrays)), None


def block_levels(audio: Tensor, sizes: tuple[int, ...]) -> tuple[list[Tensor], Tensor, Tensor]:
    """Mean squares of blocks of several lengths, and mean square and peak of each clip.

    Args:
        audio: [B, T], float32 on a CPU.
        sizes: lengths in samples, 1 ... T.

    Returns:
        For every length the mean squares of its blocks [B, K]; mean squares [B] and peaks [B] of
        the clips.
    """
    blocks, whole = _BlockLevels.apply(audio, sizes)  # type: ignore[no-untyped-call]
    counts = [audio.shape[-1] // n for n in sizes]
    return list(blocks.split(counts, dim=1)), whole[:, 0], whole[:, 1]
