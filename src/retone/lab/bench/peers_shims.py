"""A pytest plug-in: neighbouring packages' names, with retone behind them.

``python -m pytest -p retone.lab.bench.peers_shims tests`` runs a peer's own tests on retone.
Each name is a few lines that translate arguments. What retone does not have raises ``NotOffered``
with the reason, so that such a test is told from one that got a wrong number.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from types import ModuleType, SimpleNamespace
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor

from retone.audio.meters.loudness import LoudnessMeter
from retone.dsp import biquad
from retone.dsp.recursion import ballistics, cascade
from retone.dsp.time_varying import time_varying_biquad
from retone.losses import MultiResolutionSTFT, STFTDistance, SumAndDifference


class NotOffered(NotImplementedError):
    """Something a peer has and retone does not, with the reason."""


A_WEIGHTING = "A-weighting before a loss: no recipe of either paper uses it"


def compressor_core(x: Tensor, zi: Tensor, at: Tensor, rt: Tensor) -> Tensor:
    """torchcomp's gain smoothing [B, T]: the attack acts where the gain falls.

    ``ballistics`` decides each sample's branch; with the branches known the recursion is linear,
    and ``time_varying_biquad`` differentiates it in every mode.
    """
    with torch.no_grad():
        plain = [-x.detach(), at.detach(), rt.detach(), -zi.detach()]
        y = -ballistics(*plain)
    before = torch.cat([zi.detach()[:, None], y[:, :-1]], 1)
    k = torch.where(x.detach() < before, at[:, None], rt[:, None])
    return _first_order(1 - k, k * x, zi)


def _first_order(a: Tensor, x: Tensor, zi: Tensor) -> Tensor:
    """``y[n] = a[n] y[n-1] + x[n]`` from y[-1] = zi; [B, T]."""
    one, zero = torch.ones_like(a), torch.zeros_like(a)
    x = torch.cat([x[:, :1] + a[:, :1] * zi[:, None], x[:, 1:]], 1)
    return time_varying_biquad(x, torch.stack([one, zero, zero, -a, zero], -1))


class Recurrence:
    """torchlpc's first-order scan."""

    @staticmethod
    def apply(a: Tensor, x: Tensor, zi: Tensor) -> Tensor:
        """Decay, input [B, T] and start [B] to output [B, T]."""
        return _first_order(a, x, zi)


class LPC:
    """torchlpc's all-pole filter with coefficients for every sample."""

    @staticmethod
    def apply(x: Tensor, a: Tensor, zi: Tensor) -> Tensor:
        """Input [B, T], poles [B, T, 1 or 2] and the outputs before, latest first."""
        if a.shape[-1] > 2:
            raise NotOffered("all-pole filters of an order above 2")
        if a.shape[-1] == 1:
            return _first_order(-a[..., 0], x, zi[:, 0])
        first = x[:, 0] - a[:, 0, 0] * zi[:, 0] - a[:, 0, 1] * zi[:, 1]
        second = x[:, 1] - a[:, 1, 1] * zi[:, 0]
        x = torch.cat([torch.stack([first, second], 1), x[:, 2:]], 1)
        one, zero = torch.ones_like(a[..., 0]), torch.zeros_like(a[..., 0])
        return time_varying_biquad(x, torch.stack([one, zero, zero, a[..., 0], a[..., 1]], -1))


def lpc_np(x: Any, a: Any, zi: Any) -> Any:
    """The definition as a loop over samples, against which retone's is held."""
    order = a.shape[-1]
    y = np.concatenate([zi[:, ::-1], np.zeros_like(x)], 1)
    for n in range(x.shape[1]):
        past = y[:, n : n + order][:, ::-1]
        y[:, n + order] = x[:, n] - (a[:, n] * past).sum(1)
    return y[:, order:]


def lpc_cuda(x: Any, a: Any, zi: Any) -> Any:
    """torchlpc's kernel for CUDA: none here."""
    raise NotOffered("a kernel of its own for CUDA; on a GPU the same torch operations run")


def _distance(
    *,
    fft_size: int = 1024,
    hop_size: int = 256,
    win_length: int = 1024,
    window: str = "hann_window",
    w_sc: float = 1.0,
    w_log_mag: float = 1.0,
    w_lin_mag: float = 0.0,
    w_phs: float = 0.0,
    sample_rate: float | None = None,
    scale: str | None = None,
    n_bins: int | None = None,
    perceptual_weighting: bool = False,
    mag_distance: str = "L1",
    reduction: str = "mean",
) -> Any:
    """auraloss's ``STFTLoss``."""
    if perceptual_weighting:
        raise NotOffered(A_WEIGHTING)
    if w_phs or scale not in (None, "mel"):
        raise NotOffered("phase term, chroma scale: no recipe of either paper uses them")
    shape = {"hann_window": "hann", "ones": "rectangular"}[window]
    own = STFTDistance(
        win_length, hop_size, fft_size, shape, n_bins or 0, mag_distance == "L2", w_log_mag,
        w_lin_mag, w_sc,
    )  # fmt: skip
    rate = sample_rate or 0.0
    if reduction == "none":
        return lambda x, y: own.per_bin(x, y, rate)
    return lambda x, y: own(x, y, rate)


def _mel(sample_rate: float, n_mels: int = 128, w_sc: float = 1.0, **options: Any) -> Any:
    """auraloss's ``MelSTFTLoss``."""
    if options.get("reduction") == "none":  # the convergence is one number and has no bins
        w_sc = 0.0
    return _distance(sample_rate=sample_rate, scale="mel", n_bins=n_mels, w_sc=w_sc, **options)


def _resolutions(
    fft_sizes: Any = (1024, 2048, 512),
    hop_sizes: Any = (120, 240, 50),
    win_lengths: Any = (600, 1200, 240),
    **options: Any,
) -> Any:
    """auraloss's ``MultiResolutionSTFTLoss``."""
    parts = [
        _distance(fft_size=f, hop_size=h, win_length=w, **options)
        for f, h, w in zip(fft_sizes, hop_sizes, win_lengths, strict=True)
    ]
    return lambda x, y: sum(part(x, y) for part in parts) / len(parts)


def _sum_and_difference(fft_sizes: Any, hop_sizes: Any, win_lengths: Any, **options: Any) -> Any:
    """auraloss's ``SumAndDifferenceSTFTLoss``."""
    if options.get("perceptual_weighting"):
        raise NotOffered(A_WEIGHTING)
    own = SumAndDifference(
        MultiResolutionSTFT(
            tuple(win_lengths), tuple(hop_sizes), tuple(fft_sizes), linear_weight=0.0,
            convergence_weight=1.0,
        )
    )  # fmt: skip
    return lambda x, y: own(x, y, 0.0)


class Meter:
    """pyloudnorm's meter: audio [T] or [T, C]."""

    block_size, overlap = 0.400, 0.75

    def __init__(self, rate: int) -> None:
        self.rate = rate

    def integrated_loudness(self, data: Any) -> float:
        """LUFS."""
        return float(self._measured(data).integrated_lufs)

    def loudness_range(self, data: Any) -> float:
        """LU."""
        return float(self._measured(data).range_lu)

    def _measured(self, data: Any) -> Any:
        audio = np.asarray(data, np.float64).reshape(len(data), -1).T
        meter = LoudnessMeter(self.rate, audio.shape[0])
        meter.update(audio)
        return meter.result()


def _peak(data: Any, target: float) -> Any:
    raise NotOffered("a peak normaliser: files are brought to a loudness with a true-peak limiter")


def _to_loudness(data: Any, loudness: float, target: float) -> Any:
    return data * 10 ** ((target - loudness) / 20)


def _low_pass(frequency_hz: Tensor, gain_db: Tensor, q: Tensor, sample_rate: float) -> Tensor:
    return biquad.low_pass_first_order(frequency_hz, sample_rate)


class _Filter:
    """One of pedalboard's filters: called with audio [T] or [C, T] and its rate in Hz."""

    default_hz, complement = 440.0, False
    design: ClassVar[Callable[..., Tensor]] = staticmethod(_low_pass)

    def __init__(
        self, cutoff_frequency_hz: float = 0.0, gain_db: float = 0.0, q: float = 0.5**0.5
    ) -> None:
        self.values = (cutoff_frequency_hz or self.default_hz, gain_db, q)

    def __call__(self, audio: Any, sample_rate: float) -> Any:
        x = torch.as_tensor(np.atleast_2d(np.asarray(audio, np.float32)))
        values = [torch.tensor(v, dtype=torch.float64) for v in self.values]
        y, _ = cascade(x, self.design(*values, float(sample_rate))[None, None])
        return (x - y if self.complement else y).numpy().reshape(np.shape(audio))


class LowpassFilter(_Filter):
    """First order."""


class HighpassFilter(_Filter):
    """First order, the complement of the low-pass."""

    complement = True


class PeakFilter(_Filter):
    """A peaking section."""

    design = staticmethod(biquad.peak)


class LowShelfFilter(_Filter):
    """A low shelf."""

    design = staticmethod(biquad.low_shelf)


class HighShelfFilter(_Filter):
    """A high shelf."""

    design = staticmethod(biquad.high_shelf)


FILTERS = (LowpassFilter, HighpassFilter, PeakFilter, LowShelfFilter, HighShelfFilter)


def _module(name: str, **members: Any) -> None:
    module = ModuleType(name)
    module.__dict__.update(members)
    parent, _, own = name.rpartition(".")
    if parent:
        setattr(sys.modules[parent], own, module)
    else:
        module.__path__ = []
    sys.modules[name] = module


def install() -> None:
    """Put retone behind the peers' names, in this process."""
    _module("torchcomp")
    _module("torchcomp.core", compressor_core=compressor_core)
    _module("torchlpc")
    _module("torchlpc.core", LPC=LPC, lpc_np=lpc_np, lpc_cuda=lpc_cuda)
    _module("torchlpc.recurrence", Recurrence=Recurrence)
    own = SimpleNamespace(scan=lambda x, a, zi: _first_order(a, x, zi), lpc=LPC.apply)
    torch.ops.torchlpc = own  # type: ignore[attr-defined]
    _module("auraloss")
    _module(
        "auraloss.freq", STFTLoss=_distance, MelSTFTLoss=_mel, MultiResolutionSTFTLoss=_resolutions,
        SumAndDifferenceSTFTLoss=_sum_and_difference,
    )  # fmt: skip
    _module("pyloudnorm", Meter=Meter)
    _module("pyloudnorm.normalize", peak=_peak, loudness=_to_loudness)
    _module("pedalboard", **{kind.__name__: kind for kind in FILTERS})


def pytest_configure() -> None:
    """Called by pytest before it collects tests."""
    install()
