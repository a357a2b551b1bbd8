"""Filters whose coefficients change with every sample, against a plain loop, in every mode."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor
from torch.autograd import gradcheck, gradgradcheck
from torch.func import jvp, vmap

from retone.dsp import time_varying
from retone.dsp.recursion import cascade
from retone.dsp.time_varying import time_varying_biquad
from retone.errors import ShapeError


def problem(batch: int, length: int, dtype: torch.dtype = torch.float64) -> tuple[Tensor, Tensor]:
    """Noise and stable sections that move from sample to sample."""
    g = torch.Generator().manual_seed(length)
    audio = torch.randn(batch, length, generator=g, dtype=torch.float64)
    if dtype.is_complex:
        audio = torch.complex(audio, torch.randn(batch, length, generator=g, dtype=torch.float64))
    radius = 0.3 + 0.6 * torch.rand(batch, length, generator=g, dtype=torch.float64)
    angle = 3.0 * torch.rand(batch, length, generator=g, dtype=torch.float64)
    b = torch.randn(batch, length, 3, generator=g, dtype=torch.float64)
    poles = torch.stack([-2 * radius * angle.cos(), radius.square()], -1)
    return audio, torch.cat([b, poles], -1)


def by_loop(audio: Tensor, sections: Tensor) -> Tensor:
    y: list[Tensor] = []
    for n in range(audio.shape[1]):
        s = sections[:, n]
        old = [audio[:, n - k] if n >= k else 0 * audio[:, 0] for k in (0, 1, 2)]
        past = [y[n - k] if n >= k else 0 * audio[:, 0] for k in (1, 2)]
        y.append(
            sum(s[:, k] * old[k] for k in range(3)) - s[:, 3] * past[0] - s[:, 4] * past[1]
        )  # fmt: skip
    return torch.stack(y, 1)


@pytest.mark.parametrize("block", [1, 2, 7, 4096])
@pytest.mark.parametrize("dtype", [torch.float64, torch.complex128])
def test_it_is_the_loop(dtype: torch.dtype, block: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(time_varying, "BLOCK", block)
    for length in (0, 1, 2, 33):
        audio, sections = problem(2, length, dtype)
        found = time_varying_biquad(audio, sections)
        want = by_loop(audio, sections) if length else audio
        torch.testing.assert_close(found, want, rtol=1e-10, atol=1e-12)


def test_constant_coefficients_are_the_cascade() -> None:
    audio, sections = problem(2, 500)
    constant = sections[:1, :1]
    want, _ = cascade(audio, constant.expand(2, 1, 5))
    torch.testing.assert_close(time_varying_biquad(audio, constant), want, rtol=1e-9, atol=1e-10)


def test_it_differentiates_backwards_forwards_and_twice() -> None:
    audio, sections = (t.requires_grad_() for t in problem(1, 12))
    assert gradcheck(time_varying_biquad, (audio, sections), check_forward_ad=True)
    assert gradgradcheck(time_varying_biquad, (audio, sections))


def test_it_runs_under_torch_func() -> None:
    audio, sections = problem(3, 20)
    want = time_varying_biquad(audio, sections)
    found = vmap(lambda x, s: time_varying_biquad(x[None], s[None])[0])(audio, sections)
    torch.testing.assert_close(found, want)
    out, slope = jvp(lambda x: time_varying_biquad(x, sections), (audio,), (audio,))
    torch.testing.assert_close(slope, out)  # linear in the audio


def test_other_shapes_are_refused() -> None:
    audio, sections = problem(1, 4)
    for bad in ((audio[0], sections), (audio, sections[..., :3]), (audio, sections[0])):
        with pytest.raises(ShapeError, match="expected audio"):
            time_varying_biquad(*bad)
