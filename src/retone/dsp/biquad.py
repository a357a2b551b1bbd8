"""Second-order section designs and their responses, differentiable, in float64.

Formulas: R. Bristow-Johnson, "Cookbook formulae for audio EQ biquad filter coefficients".
A section is ``[b0, b1, b2, a1, a2]`` with ``a0 = 1``:
``y[n] = b0 x[n] + b1 x[n-1] + b2 x[n-2] - a1 y[n-1] - a2 y[n-2]``.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

TOP_OF_BAND = 0.49
"""Frequencies are clamped to this fraction of the sample rate, so that a setting made for a high
rate stays stable at a low one."""


def _angle(frequency_hz: Tensor, sample_rate: float) -> tuple[Tensor, Tensor]:
    top = TOP_OF_BAND * sample_rate
    w0 = 2 * math.pi / sample_rate * frequency_hz.double().clamp(max=top)
    return torch.cos(w0), torch.sin(w0)


def _section(b0: Tensor, b1: Tensor, b2: Tensor, a0: Tensor, a1: Tensor, a2: Tensor) -> Tensor:
    return torch.stack([b0, b1, b2, a1, a2], dim=-1) / a0[..., None]


def peak(frequency_hz: Tensor, gain_db: Tensor, q: Tensor, sample_rate: float) -> Tensor:
    """Peaking section: ``gain_db`` at the centre, bandwidth by ``q``. Shapes [...] -> [..., 5]."""
    cos, sin = _angle(frequency_hz, sample_rate)
    a = 10 ** (gain_db.double() / 40)
    alpha = sin / (2 * q.double())
    return _section(1 + alpha * a, -2 * cos, 1 - alpha * a, 1 + alpha / a, -2 * cos, 1 - alpha / a)


def low_shelf(frequency_hz: Tensor, gain_db: Tensor, q: Tensor, sample_rate: float) -> Tensor:
    """Low shelf: ``gain_db`` at 0 Hz and half of it (in dB) at ``frequency_hz``."""
    return _shelf(frequency_hz, gain_db, q, sample_rate, 1.0)


def high_shelf(frequency_hz: Tensor, gain_db: Tensor, q: Tensor, sample_rate: float) -> Tensor:
    """High shelf: ``gain_db`` at the top and half of it (in dB) at ``frequency_hz``."""
    return _shelf(frequency_hz, gain_db, q, sample_rate, -1.0)


def _shelf(
    frequency_hz: Tensor, gain_db: Tensor, q: Tensor, sample_rate: float, side: float
) -> Tensor:
    # The high shelf is the low shelf mirrored at a quarter of the rate: cos and the odd
    # coefficients change sign.
    cos, sin = _angle(frequency_hz, sample_rate)
    cos = side * cos
    a = 10 ** (gain_db.double() / 40)
    root = sin / q.double() * torch.sqrt(a)  # 2 sqrt(A) alpha
    up, down = a + 1, a - 1
    return _section(
        a * (up - down * cos + root),
        side * 2 * a * (down - up * cos),
        a * (up - down * cos - root),
        up + down * cos + root,
        side * -2 * (down + up * cos),
        up + down * cos - root,
    )


def butterworth(frequency_hz: Tensor, sample_rate: float) -> tuple[Tensor, Tensor, Tensor]:
    """Second-order Butterworth low-pass, high-pass, and the all-pass of the same poles.

    The low-pass twice plus the high-pass twice is exactly that all-pass (Linkwitz-Riley, 4th
    order), whose numerator is the denominator reversed.
    """
    cos, sin = _angle(frequency_hz, sample_rate)
    alpha = sin / math.sqrt(2.0)  # Q = 1/sqrt(2)
    a0, a1, a2 = 1 + alpha, -2 * cos, 1 - alpha
    low = _section((1 - cos) / 2, 1 - cos, (1 - cos) / 2, a0, a1, a2)
    high = _section((1 + cos) / 2, -(1 + cos), (1 + cos) / 2, a0, a1, a2)
    return low, high, _section(a2, a1, a0, a0, a1, a2)


def low_pass_first_order(frequency_hz: Tensor, sample_rate: float) -> Tensor:
    """First-order low-pass (6 dB per octave, -3 dB at ``frequency_hz``) as a section [..., 5].

    Its complement ``1 - H`` is the first-order high-pass, so ``1 + (g - 1) H`` is the first-order
    shelf: monotone and minimum-phase for every gain ``g > 0``.
    """
    cos, sin = _angle(frequency_hz, sample_rate)
    one, none = torch.ones_like(cos), torch.zeros_like(cos)
    k = sin / (1 + cos)  # tan(w0 / 2)
    return _section(k, k, none, one + k, k - one, none)


def response(sections: Tensor, frequency_hz: Tensor, sample_rate: float) -> Tensor:
    """Complex response of cascaded sections.

    Args:
        sections: [..., S, 5].
        frequency_hz: [F].
        sample_rate: in Hz.

    Returns:
        [..., F] complex128, the product over the sections.
    """
    w = 2 * math.pi / sample_rate * frequency_hz.double()
    z1 = torch.polar(torch.ones_like(w), -w)
    z2 = z1 * z1
    b0, b1, b2, a1, a2 = (sections[..., i, None] for i in range(5))
    return ((b0 + b1 * z1 + b2 * z2) / (1 + a1 * z1 + a2 * z2)).prod(dim=-2)
