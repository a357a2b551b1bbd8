"""Noise of short-time spectra, followed from frame to frame, and the gains against it.

The formulas are those of ``retone.effects.noise_reduction``. On a CPU a compiled loop runs them
unless a gradient is needed.
"""

from __future__ import annotations

import torch
from torch import Tensor

from retone.kernels.noise import NoiseConstants
from retone.kernels.noise import noise_gains as native_gains

__all__ = ["NoiseConstants", "noise_gains", "tensor_gains"]


def noise_gains(
    c: NoiseConstants, power: Tensor, louder: Tensor, least: Tensor, settled: Tensor, noise: Tensor,
    speech: Tensor, before: Tensor,
) -> tuple[Tensor, Tensor, Tensor, Tensor]:  # fmt: skip
    """Gains for the powers of frames, float64.

    Args:
        c: what a frame is weighed with.
        power: [B, F, K] of F frames with K bins.
        louder: [B, 1] factor on the noise's power.
        least: [B, F] least gain.
        settled: [B, F] from 0, where every sound is taken for noise, to 1.
        noise, speech: [B, K] power of the noise and mean probability of speech before the frames.
        before: [B, K] power of the frame before these that is not noise.

    Returns:
        Gains [B, F, K], and ``noise``, ``speech`` and ``before`` after the frames.
    """
    values = (power, louder, least, settled, noise, speech, before)
    learns = torch.is_grad_enabled() and any(v.requires_grad for v in values)
    odd = torch._C._functorch.is_functorch_wrapped_tensor(power)
    run = tensor_gains if learns or odd or power.device.type != "cpu" else native_gains
    return run(c, *values)


def tensor_gains(
    c: NoiseConstants, power: Tensor, louder: Tensor, least: Tensor, settled: Tensor, noise: Tensor,
    speech: Tensor, before: Tensor,
) -> tuple[Tensor, Tensor, Tensor, Tensor]:  # fmt: skip
    """``noise_gains`` as tensor operations, for gradients and other devices."""
    gains = []
    for i, now in enumerate(power.unbind(1)):
        heard = torch.sigmoid(c.steep * now / (noise + c.floor) - c.bias)
        speech = speech + (1 - c.keep_speech) * (heard - speech)
        heard = torch.where(speech > c.sure, heard.clamp(max=c.sure), heard)
        heard = heard * settled[:, i : i + 1]
        noise = noise + (1 - c.keep_noise) * (1 - heard) * (now - noise)
        inverse = 1 / (louder * noise + c.floor)
        fresh = (now * inverse - 1).clamp(min=0)
        ratio = c.keep_ratio * before * inverse + (1 - c.keep_ratio) * fresh
        ratio = ratio.clamp(min=c.least_ratio)
        share = ratio / (1 + ratio)
        before = share.square() * now
        gains.append(share + (1 - share) * least[:, i : i + 1])
    return torch.stack(gains, dim=1), noise, speech, before
