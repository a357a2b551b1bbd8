"""The papers' approximation: recursive filters applied by frequency sampling.

An IIR filter is replaced by an FIR filter as long as the FFT, so its impulse response is aliased
in time. It reproduces the papers and cross-checks the exact recursions, which are faster on
a CPU and need no long window.
"""

from __future__ import annotations

import torch
from torch import Tensor


def fft_size(length: int) -> int:
    """The smallest power of two >= ``2 length - 1``, as in DeepAFx-ST."""
    return 1 << max(2 * length - 2, 1).bit_length()


def cascade(audio: Tensor, sections: Tensor) -> Tensor:
    """Second-order sections by frequency sampling: ``irfft(rfft(x) * prod H)``.

    Args:
        audio: [B, C, T]; float64 audio is filtered in float64, float32 in float32.
        sections: [B, S, 5].
    """
    length = audio.shape[-1]
    n = fft_size(length)
    numerator = sections[..., :3]
    denominator = torch.cat([torch.ones_like(sections[..., :1]), sections[..., 3:]], -1)
    h = (torch.fft.rfft(numerator, n) / torch.fft.rfft(denominator, n)).prod(dim=1)
    spectrum = torch.fft.rfft(audio, n) * h[:, None].to(
        torch.complex128 if audio.dtype == torch.float64 else torch.complex64
    )
    return torch.fft.irfft(spectrum, n)[..., :length]


def one_pole(signal: Tensor, k: Tensor) -> Tensor:
    """``y += k (x - y)`` by frequency sampling; signal [B, T], k [B]."""
    zero = torch.zeros_like(k)
    section = torch.stack([k, zero, zero, k - 1, zero], dim=-1)[:, None]
    return cascade(signal[:, None], section)[:, 0]
