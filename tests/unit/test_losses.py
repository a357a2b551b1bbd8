"""Losses: the fused path against the definition, auraloss, closed forms and hostile input."""

from __future__ import annotations

import copy
import math
import pickle
from dataclasses import replace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from retone.dsp.spectral import mel_filterbank, mirror_pad, stft, stft_magnitude
from retone.errors import SettingError, ShapeError
from retone.losses import (
    L1,
    AtEqualLoudness,
    Loss,
    MultiResolutionSTFT,
    WeightedSum,
    auraloss_default,
)

RATE = 24000
SMALL = MultiResolutionSTFT(windows=(32, 128, 512))
ODD = MultiResolutionSTFT(
    windows=(20, 96, 101), hops=(7, 30, 64), fft_sizes=(32, 96, 128), convergence_weight=0.7
)
LOSSES: dict[str, Loss] = {
    "paper": MultiResolutionSTFT(),
    "auraloss": auraloss_default(),
    "odd": ODD,
    "l1": L1(),
    "sum": WeightedSum((MultiResolutionSTFT(), L1()), (1.0, 100.0)),
    "loudness": AtEqualLoudness(L1(), floor_dbfs=-60.0),
}


def noise(*shape: int, seed: int = 0, dtype: torch.dtype = torch.float32) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=dtype)


def slope(loss: Loss, estimate: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
    x = estimate.clone().requires_grad_()
    value = loss(x, target, RATE)
    return value.detach(), torch.autograd.grad(value, x)[0]


@pytest.mark.parametrize("loss", [MultiResolutionSTFT(), auraloss_default(), ODD])
def test_fused_path_is_the_definition(loss: MultiResolutionSTFT) -> None:
    x, y = 0.3 * noise(2, 2, 20011), 0.2 * noise(2, 2, 20011, seed=1)
    value, grad = slope(loss, x, y)
    exact, exact_grad = slope(loss, x.double(), y.double())
    assert value.item() == pytest.approx(exact.item(), rel=1e-6)
    assert (grad - exact_grad).norm() / exact_grad.norm() < 5e-3  # 1 / M of near-zero bins


@pytest.mark.parametrize("loss", [SMALL, ODD, replace(ODD, log_weight=0.0)])
@pytest.mark.parametrize("length", [1, 2, 5, 33, 64, 200])
def test_signals_shorter_than_a_window(loss: MultiResolutionSTFT, length: int) -> None:
    x, y = noise(2, 1, length), noise(2, 1, length, seed=1)
    value, grad = slope(loss, x, y)
    exact, exact_grad = slope(loss, x.double(), y.double())
    # A mirrored sample or two is a line spectrum: the bins between are rounding noise.
    assert value.item() == pytest.approx(exact.item(), rel=1e-5 if length > 2 else 1e-3)
    if length > 2:
        torch.testing.assert_close(grad.double(), exact_grad, rtol=1e-3, atol=1e-4)


def test_gradcheck_of_the_definition() -> None:
    loss = MultiResolutionSTFT(windows=(8, 16), convergence_weight=0.5)
    x = noise(1, 2, 20, dtype=torch.float64).requires_grad_()
    y = noise(1, 2, 20, seed=1, dtype=torch.float64)
    assert torch.autograd.gradcheck(lambda a: loss.per_item(a, y, RATE), (x,))


def test_upstream_gradients_scale_items() -> None:
    x, y = noise(3, 1, 700).requires_grad_(), noise(3, 1, 700, seed=1)
    weights = torch.tensor([1.0, 0.0, -2.0])
    (grad,) = torch.autograd.grad((SMALL.per_item(x, y, RATE) * weights).sum(), x)
    for i in range(3):
        _, alone = slope(SMALL, x.detach()[i : i + 1], y[i : i + 1])
        torch.testing.assert_close(grad[i : i + 1], weights[i] * alone)


@pytest.mark.parametrize("threads", [1, 2, 3])
def test_threads_change_nothing(threads: int) -> None:
    x, y = noise(5, 1, 3000), noise(5, 1, 3000, seed=1)
    before = torch.get_num_threads()
    alone = [slope(ODD, x[i : i + 1], y[i : i + 1]) for i in range(5)]
    try:
        torch.set_num_threads(threads)
        value, grad = slope(ODD, x, y)
        assert torch.get_num_threads() == threads
    finally:
        torch.set_num_threads(before)
    assert value.item() == pytest.approx(sum(v.item() for v, _ in alone) / 5, rel=1e-6)
    torch.testing.assert_close(grad, torch.cat([g for _, g in alone]) / 5)


@pytest.mark.parametrize("name", ["paper", "auraloss"])
def test_equals_auraloss(name: str) -> None:
    freq = pytest.importorskip("auraloss.freq")
    if name == "paper":
        w = list(MultiResolutionSTFT().windows)
        peer = freq.MultiResolutionSTFTLoss(
            w, [n // 2 for n in w], w, w_sc=0.0, w_log_mag=1.0, w_lin_mag=1.0
        )
    else:
        peer = freq.MultiResolutionSTFTLoss()
    # One item of one channel: auraloss takes the norms of spectral convergence over the batch.
    x, y = 0.2 * noise(1, 1, 40000), 0.1 * noise(1, 1, 40000, seed=1)
    a = x.clone().requires_grad_()
    expected = peer(a, y)
    value, grad = slope(LOSSES[name], x, y)
    assert value.item() == pytest.approx(expected.item(), rel=1e-5)
    wanted = torch.autograd.grad(expected, a)[0]
    assert (grad - wanted).norm() / wanted.norm() < 5e-3


@pytest.mark.parametrize("name", LOSSES)
def test_identical_and_silent_signals_cost_nothing(name: str) -> None:
    for x in (noise(2, 1, 33000), torch.zeros(2, 1, 33000)):
        value, grad = slope(LOSSES[name], x, x.clone())
        assert value.item() == 0
        assert torch.count_nonzero(grad) == 0


@pytest.mark.parametrize("name", LOSSES)
def test_silence_on_one_side_is_finite(name: str) -> None:
    x, silence = noise(1, 1, 4000), torch.zeros(1, 1, 4000)
    for a, b in ((x, silence), (silence, x)):
        value, grad = slope(LOSSES[name], a, b)
        assert value.item() > 0
        assert bool(torch.isfinite(grad).all())


@pytest.mark.parametrize("name", LOSSES)
def test_a_broken_estimate_is_not_hidden(name: str) -> None:
    for poison in (math.nan, math.inf):
        x = noise(1, 1, 4000)
        x[0, 0, 1234] = poison
        assert not math.isfinite(LOSSES[name](x, noise(1, 1, 4000, seed=1), RATE).item())


@settings(deadline=None, max_examples=20)
@given(st.floats(-40, 40).filter(lambda g: abs(g) > 0.01))
def test_a_gain_reads_its_logarithm(gain_db: float) -> None:
    """Where no bin is at the floor, the log term of a gain g is |ln g|."""
    loss = MultiResolutionSTFT(windows=(64, 256), linear_weight=0.0)
    x = 30 * noise(1, 1, 2048)
    gain = 10 ** (gain_db / 20)
    assert loss(gain * x, x, RATE).item() == pytest.approx(abs(math.log(gain)), rel=2e-4)


def test_a_prepared_target_is_the_target() -> None:
    for name, loss in LOSSES.items():
        x, y = noise(2, 1, 9000), noise(2, 1, 9000, seed=1)
        prepared = loss.prepare(y)
        a = x.clone().requires_grad_()
        value = loss(a, prepared, RATE)
        expected, wanted = slope(loss, x, y)
        assert value.item() == pytest.approx(expected.item(), rel=1e-7), name
        torch.testing.assert_close(torch.autograd.grad(value, a)[0], wanted)


def test_a_target_that_learns_gets_its_gradient() -> None:
    x, y = noise(1, 1, 600), noise(1, 1, 600, seed=1)
    _, forward = slope(SMALL, x, y)
    y.requires_grad_()
    x.requires_grad_()
    a, b = torch.autograd.grad(SMALL(x, y, RATE), (x, y))
    torch.testing.assert_close(a, forward, rtol=1e-3, atol=1e-6)
    assert b.abs().sum() > 0


def test_descent_recovers_a_gain() -> None:
    y = noise(2, 1, 2000)
    gain = torch.zeros(2, 1, 1, requires_grad=True)
    optimiser = torch.optim.Adam([gain], lr=0.1)
    for _ in range(60):
        optimiser.zero_grad()
        SMALL(y * torch.exp(gain - 1.0), y, RATE).backward()
        optimiser.step()
    torch.testing.assert_close(gain.detach(), torch.ones(2, 1, 1), atol=0.1, rtol=0)


def test_strided_input_and_no_gradient() -> None:
    x, y = noise(2, 1, 1400)[..., ::2], noise(2, 1, 1400, seed=1)[..., 1::2]
    with torch.no_grad():
        value = SMALL(x, y, RATE)
    assert not value.requires_grad
    assert value.item() == pytest.approx(SMALL(x.double(), y.double(), RATE).item(), rel=1e-5)


def test_losses_are_values() -> None:
    for loss in LOSSES.values():
        assert isinstance(loss, Loss)
        assert pickle.loads(pickle.dumps(loss)) == loss == copy.deepcopy(loss)
        assert hash(loss) == hash(copy.deepcopy(loss))


def test_refusals() -> None:
    x = noise(1, 1, 100)
    for loss in LOSSES.values():
        with pytest.raises(ShapeError, match="audio\\[None\\]"):
            loss(x[0], x[0], RATE)
        with pytest.raises(ShapeError, match="T = 100"):
            loss(x, x[..., 1:], RATE)
    with pytest.raises(ShapeError, match="empty"):
        SMALL(x[..., :0], x[..., :0], RATE)
    with pytest.raises(SettingError, match="one length"):
        MultiResolutionSTFT(windows=(32,), hops=(8, 8))
    with pytest.raises(SettingError, match="even"):
        MultiResolutionSTFT(windows=(33,))
    with pytest.raises(SettingError, match="weight"):
        WeightedSum((L1(),), ())


def test_stft_equals_torch() -> None:
    x = noise(2, 3000)
    expected = torch.stft(x, 512, 100, 300, torch.hann_window(300), return_complex=True)
    torch.testing.assert_close(stft(x, 512, 100, 300), expected)
    assert stft_magnitude(torch.zeros(5), 16, 4).unique().tolist() == pytest.approx([1e-4])


@given(st.integers(1, 9), st.integers(0, 40))
def test_mirror_pad_is_numpy_reflect(length: int, count: int) -> None:
    numpy = pytest.importorskip("numpy")
    x = torch.arange(length)
    mode = "reflect" if length > 1 else "edge"
    assert mirror_pad(x, count).tolist() == numpy.pad(x.numpy(), count, mode=mode).tolist()


@pytest.mark.parametrize(
    ("bands", "size", "rate"), [(80, 1024, 24000), (128, 65536, 44100), (40, 512, 16000)]
)
def test_mel_equals_librosa(bands: int, size: int, rate: int) -> None:
    filters = pytest.importorskip("librosa.filters")
    expected = torch.from_numpy(filters.mel(sr=rate, n_fft=size, n_mels=bands)).double()
    torch.testing.assert_close(mel_filterbank(bands, size, rate), expected, rtol=1e-5, atol=1e-8)


def test_mel_bands_have_unit_area() -> None:
    bank = mel_filterbank(64, 65536, 24000)
    torch.testing.assert_close(
        bank.sum(1) * 24000 / 65536, torch.ones(64).double(), rtol=1e-3, atol=0
    )
    with pytest.raises(SettingError, match="high_hz"):
        mel_filterbank(64, 512, 24000, high_hz=13000)


def test_at_equal_loudness_a_level_costs_nothing() -> None:
    loss = AtEqualLoudness(SMALL, floor_dbfs=-90.0)
    x, y = 0.1 * noise(2, 1, 9000), 0.1 * noise(2, 1, 9000, seed=1)
    plain = loss.per_item(x, y, RATE)
    for gain in (0.1, 4.0):
        torch.testing.assert_close(loss.per_item(gain * x, y, RATE), plain, rtol=1e-3, atol=0)
    assert float(loss(0.1 * y, y, RATE)) < 1e-3 < float(SMALL(0.1 * y, y, RATE))
    quiet = y.clone()
    quiet[..., 4500:] *= 1e-3  # below the floor: no louder in the loss than silence
    silent = y.clone()
    silent[..., 4500:] = 0
    floored = AtEqualLoudness(SMALL, floor_dbfs=-50.0)
    assert 5 * float(floored(quiet, silent, RATE)) < float(SMALL(quiet, silent, RATE))


def test_losses_have_one_call_for_all() -> None:
    """The mean over the batch and the plain ``prepare`` are written once."""
    import retone.losses as package
    from retone.losses.waveform import PerItem

    found = [k for k in vars(package).values() if isinstance(k, type) and hasattr(k, "per_item")]
    for kind in found:
        if kind is not package.Loss:
            assert issubclass(kind, PerItem) and "__call__" not in vars(kind), kind
    assert len(found) > 5
