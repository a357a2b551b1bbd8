"""Compiled designs of peaks and shelves: the tensor formulas' values and gradients."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor

from retone.dsp import biquad, scan
from retone.dsp.recursion import peaks_and_shelves
from retone.errors import SettingError, ShapeError
from retone.kernels.designs import PEAK, design_backward, design_forward

RATE = 44100


def bands(batch: int, seed: int = 0) -> tuple[Tensor, Tensor, Tensor]:
    """Frequencies (some above the top of the band), gains and Qs [B, 6]."""
    g = torch.Generator().manual_seed(seed)
    frequency_hz = 20 * 1500 ** torch.rand(batch, 6, generator=g, dtype=torch.float64)
    gain_db = 48 * torch.rand(batch, 6, generator=g, dtype=torch.float64) - 24
    gain_db[0, :3] = 0.0
    return frequency_hz, gain_db, 0.1 * 100 ** torch.rand(batch, 6, generator=g).double()


def by_tensors(values: tuple[Tensor, ...], rate: float) -> Tensor:
    designs = [biquad.low_shelf, *[biquad.peak] * 4, biquad.high_shelf]
    return torch.stack([d(*(v[:, k] for v in values), rate) for k, d in enumerate(designs)], 1)


def test_values_and_gradients_are_those_of_the_tensor_formulas() -> None:
    values = tuple(v.requires_grad_() for v in bands(32))
    assert (values[0] > biquad.TOP_OF_BAND * RATE).any()
    own, plain = peaks_and_shelves(*values, RATE), by_tensors(values, RATE)
    torch.testing.assert_close(own, plain, rtol=1e-13, atol=1e-15)
    upstream = torch.randn(own.shape, generator=torch.Generator().manual_seed(1)).double()
    for a, b in zip(
        torch.autograd.grad(own, values, upstream),
        torch.autograd.grad(plain, values, upstream),
        strict=True,
    ):
        torch.testing.assert_close(a, b, rtol=1e-9, atol=1e-12)


def test_gradients_are_those_of_finite_differences() -> None:
    values = tuple(v.requires_grad_() for v in bands(3, seed=4))
    below = values[0].detach().clamp(max=0.4 * RATE).requires_grad_()
    assert torch.autograd.gradcheck(
        lambda *v: peaks_and_shelves(*v, RATE), (below, *values[1:]), eps=1e-6, atol=1e-7
    )


def test_the_parallel_formulation_designs_the_same() -> None:
    values = bands(4)
    with scan.forced():
        there = peaks_and_shelves(*values, RATE)
    torch.testing.assert_close(there, peaks_and_shelves(*values, RATE), rtol=1e-13, atol=1e-15)


def test_bits_do_not_depend_on_the_batch() -> None:
    values = bands(9)
    whole = peaks_and_shelves(*values, RATE)
    for i in range(9):
        alone = peaks_and_shelves(*(v[i : i + 1] for v in values), RATE)
        np.testing.assert_array_equal(alone[0].numpy(), whole[i].numpy())


@pytest.mark.parametrize("which", range(3))
def test_nan_is_not_hidden(which: int) -> None:
    values = list(bands(1))
    values[which] = torch.full_like(values[which], torch.nan)
    for v in values:
        v.requires_grad_()
    sections = peaks_and_shelves(values[0], values[1], values[2], RATE)
    assert sections.isnan().any(-1).all()
    (gradient,) = torch.autograd.grad(sections.sum(), values[which])
    assert gradient.isnan().all()


def test_wrong_arguments_raise_errors() -> None:
    some = np.ones((2, 3))
    with pytest.raises(SettingError, match="kinds"):
        design_forward(np.array([0, 2, 0]), some, some, some, RATE, 2e4)
    with pytest.raises(ShapeError, match="gain_db"):
        design_forward(np.zeros(3), some, some[:, :2], some, RATE, 2e4)
    with pytest.raises(ShapeError, match="grad"):
        out = design_forward(np.full(3, PEAK), some, some, some, RATE, 2e4)
        design_backward(np.full(3, PEAK), some, some, some, RATE, 2e4, out, out[:1])
