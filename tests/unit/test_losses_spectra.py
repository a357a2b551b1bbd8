"""STFT distances with options, against auraloss where it has the same."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from retone.errors import SettingError, ShapeError
from retone.losses import L1, MultiResolutionSTFT, STFTDistance, SumAndDifference

RATE = 24000


def pair(batch: int = 1, channels: int = 1, length: int = 6000) -> tuple[Tensor, Tensor]:
    g = torch.Generator().manual_seed(3)
    x, y = (0.3 * torch.randn(batch, channels, length, generator=g) for _ in range(2))
    return x, y


@pytest.mark.parametrize("mels", [0, 64])
@pytest.mark.parametrize("squared", [False, True])
@pytest.mark.parametrize("shape", ["hann", "rectangular"])
def test_it_is_auralosss(mels: int, squared: bool, shape: str) -> None:
    freq = pytest.importorskip("auraloss.freq")
    pytest.importorskip("librosa")
    x, y = pair()
    peer = freq.STFTLoss(
        1024, 256, 800, "hann_window" if shape == "hann" else "ones", w_sc=0.5, w_log_mag=1.0,
        w_lin_mag=2.0, sample_rate=RATE, scale="mel" if mels else None, n_bins=mels or None,
        mag_distance="L2" if squared else "L1",
    )  # fmt: skip
    own = STFTDistance(800, 256, 1024, shape, mels, squared, 1.0, 2.0, 0.5)
    torch.testing.assert_close(own(x, y, RATE), peer(x, y), rtol=2e-5, atol=1e-6)


def test_every_bin_is_auralosss_elements() -> None:
    freq = pytest.importorskip("auraloss.freq")
    x, y = pair(2, 2)
    peer = freq.STFTLoss(512, 128, 512, w_sc=0.0, reduction="none")
    own = STFTDistance(512, 128, convergence_weight=0.0).per_bin(x, y, RATE)
    assert own.shape[:3] == (2, 2, 257)
    torch.testing.assert_close(own.flatten(0, 1), peer(x, y), rtol=1e-4, atol=1e-5)
    mean = STFTDistance(512, 128, convergence_weight=0.0).per_item(x, y, RATE)
    torch.testing.assert_close(own.mean((1, 2, 3)), mean)


def test_sum_and_difference_is_auralosss() -> None:
    freq = pytest.importorskip("auraloss.freq")
    x, y = pair(1, 2)
    sizes = [256, 1024], [64, 256], [256, 1024]
    peer = freq.SumAndDifferenceSTFTLoss(*sizes, w_sum=1.0, w_diff=0.5)
    plan = MultiResolutionSTFT((256, 1024), (64, 256), (), 1.0, 0.0, 1.0)
    own = SumAndDifference(plan, 1.0, 0.5)
    torch.testing.assert_close(own(x, y, RATE), peer(x, y), rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(own(x, own.prepare(y), RATE), own(x, y, RATE))
    with pytest.raises(ShapeError, match="two channels"):
        own(x[:, :1], y[:, :1], RATE)


def test_they_differentiate_twice() -> None:
    x, y = (t.double()[..., :300] for t in pair())
    loss = STFTDistance(64, 32, mels=8, linear_weight=1.0)
    x.requires_grad_()
    (first,) = torch.autograd.grad(loss(x, y, RATE), x, create_graph=True)
    (second,) = torch.autograd.grad(first.square().sum(), x)
    assert bool(second.isfinite().all()) and float(second.abs().max()) > 0


def test_an_items_loss_does_not_depend_on_its_batch() -> None:
    x, y = pair(3, 2)
    for loss in (STFTDistance(mels=32), SumAndDifference(L1()), SumAndDifference(STFTDistance())):
        together = loss.per_item(x, y, RATE)
        alone = torch.cat([loss.per_item(x[i : i + 1], y[i : i + 1], RATE) for i in range(3)])
        torch.testing.assert_close(together, alone)


def test_wrong_settings_are_refused() -> None:
    for bad in ({"shape": "kaiser"}, {"window": 2048, "fft_size": 1024}, {"hop": 0},
                {"log_weight": -1.0}):  # fmt: skip
        with pytest.raises(SettingError, match="STFTDistance"):
            STFTDistance(**bad)  # type: ignore[arg-type]
