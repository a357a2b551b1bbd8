"""Network input features: the compiled sums against the same in tensor operations."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor

from retone.dsp.features import block_levels
from retone.kernels.block_levels import block_levels as levels_of
from retone.kernels.block_levels import block_levels_adjoint
from retone.nets.frontend import Features, FrontEnd, FrontEndConfig

RATE = 24000
FRONT_END = FrontEnd(FrontEndConfig(sample_rate=RATE, measures=True))


def clips(batch: int, length: int) -> Tensor:
    generator = torch.Generator().manual_seed(length)
    loud = torch.rand(batch, 1, generator=generator) * torch.linspace(0.2, 1, length)
    return 0.3 * loud * torch.randn(batch, length, generator=generator)


def in_tensors(audio: Tensor) -> Features:
    """Features of float64 clips, which the front end computes in tensor operations."""
    return FrontEnd(FRONT_END.config).double()(audio.double())


@pytest.mark.parametrize(("batch", "length"), [(1, 24000), (3, 30001), (9, 4096), (2, 2049)])
def test_compiled_features_are_those_of_tensor_operations(batch: int, length: int) -> None:
    audio = clips(batch, length)
    for found, exact in zip(FRONT_END(audio), in_tensors(audio), strict=True):
        assert found.shape == exact.shape
        assert float((found - exact).abs().max()) < 2e-5


@pytest.mark.parametrize("length", [24000, 30001])
def test_their_gradients_are_too(length: int) -> None:
    ours, theirs = (clips(3, length).to(d).requires_grad_() for d in (torch.float32, torch.float64))
    slopes = []
    for audio, features in ((ours, FRONT_END(ours)), (theirs, in_tensors(theirs))):
        weights = (torch.linspace(-1, 1, t.numel()).reshape(t.shape) for t in features)
        total = sum(((t * w.to(t)).sum() for t, w in zip(features, weights, strict=True)))
        slopes.append(torch.autograd.grad(total, audio)[0].double())  # type: ignore[arg-type]
    found, exact = slopes
    assert float((found - exact).norm() / exact.norm()) < 1e-5


def test_features_of_a_clip_do_not_depend_on_the_batch() -> None:
    audio = clips(5, 24000)
    for alone, together in zip(FRONT_END(audio[2:3]), FRONT_END(audio), strict=True):
        torch.testing.assert_close(alone, together[2:3], rtol=1e-5, atol=1e-6)


def test_threads_change_nothing() -> None:
    audio, threads = clips(5, 24000), torch.get_num_threads()
    single = FRONT_END(audio)
    try:
        torch.set_num_threads(2)
        assert torch.get_num_threads() == 2
        double = FRONT_END(audio)
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(threads)
    for one, two in zip(single, double, strict=True):
        torch.testing.assert_close(one, two, rtol=1e-5, atol=1e-6)


def test_silence_is_finite_and_nan_is_not_hidden() -> None:
    assert all(bool(t.isfinite().all()) for t in FRONT_END(torch.zeros(2, 9000)))
    audio = clips(2, 9000)
    audio[1, 4000] = float("nan")
    summary = FRONT_END(audio).summary
    assert bool(summary[0].isfinite().all()) and bool(summary[1].isnan().any())


@pytest.mark.parametrize("length", [1, 7, 1000])
def test_blocks_end_where_no_whole_one_is_left(length: int) -> None:
    audio = clips(2, length)
    sizes = (1, min(3, length), length)
    blocks, square, peak = block_levels(audio, sizes)
    for size, found in zip(sizes, blocks, strict=True):
        whole = audio[:, : length // size * size].reshape(2, -1, size)
        torch.testing.assert_close(found, (whole * whole).mean(-1))
    torch.testing.assert_close(square, (audio * audio).mean(-1))
    assert torch.equal(peak, audio.abs().amax(-1))


def test_gradients_of_block_levels_are_the_finite_differences() -> None:
    rng = np.random.default_rng(4)
    x, sizes = rng.standard_normal((2, 50)).astype(np.float32), np.array([4, 7, 50])
    blocks, whole, places = levels_of(x, sizes)
    onto_blocks = rng.standard_normal(blocks.shape).astype(np.float32)
    onto_whole = rng.standard_normal(whole.shape).astype(np.float32)
    found = block_levels_adjoint(onto_blocks, onto_whole, x, sizes, places)

    def total(at: np.ndarray) -> float:
        levels, ends, _ = levels_of(at.astype(np.float32), sizes)
        return float((levels.astype(float) * onto_blocks).sum() + (ends * onto_whole).sum())

    for row, column in ((0, 0), (0, 49), (1, 20), (1, int(places[1]))):
        step = np.zeros_like(x)
        step[row, column] = 0.01
        slope = (total(x + step) - total(x - step)) / 0.02
        assert found[row, column] == pytest.approx(slope, rel=2e-3, abs=2e-3)


def test_the_first_of_equal_peaks_is_taken() -> None:
    x = np.array([[0.1, -0.5, 0.5, 0.2]], np.float32)
    _, whole, places = levels_of(x, np.array([2]))
    assert whole[0, 1] == 0.5 and places[0] == 1
