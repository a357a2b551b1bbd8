"""STFT distances with options: mel bands, any window, squares, every bin; sum and difference.

They take plain autograd and differentiate twice. For training, ``MultiResolutionSTFT`` is faster.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from retone.dsp.spectral import mel_filterbank
from retone.errors import SettingError, ShapeError
from retone.losses.waveform import Loss, PerItem, PreparedTarget, _pair

WINDOWS = ("hann", "rectangular")
POWER_FLOOR = 1e-8


@dataclass(frozen=True)
class STFTDistance(PerItem):
    """Distance between the magnitudes of one STFT, as auraloss's ``STFTLoss`` has it.

    With M the estimate's and M' the target's magnitude, floored at 1e-4 before the mel bands::

        log_weight * mean d(ln M, ln M') + linear_weight * mean d(M, M')
            + convergence_weight * ||M - M'|| / ||M'||

    d is the absolute or the squared difference. Norms run over the frames of one channel, so an
    item's loss does not depend on its batch (auraloss takes them over the whole batch).

    Args:
        window, hop, fft_size: samples; fft_size 0 is the window.
        shape: ``"hann"`` or ``"rectangular"``.
        mels: number of mel bands (Slaney's, area-normalised, 0 to half the sample rate); 0 for
            the bins of the transform.
        squared: squared instead of absolute differences.
        log_weight, linear_weight, convergence_weight: weights of the terms, >= 0.

    Raises:
        SettingError: a size, shape or weight out of range.
    """

    window: int = 1024
    hop: int = 256
    fft_size: int = 0
    shape: str = "hann"
    mels: int = 0
    squared: bool = False
    log_weight: float = 1.0
    linear_weight: float = 0.0
    convergence_weight: float = 1.0

    def __post_init__(self) -> None:
        if self.shape not in WINDOWS:
            raise SettingError(
                f"STFTDistance: shape '{self.shape}' is unknown; choose one of "
                f"{', '.join(WINDOWS)}."
            )
        if not 1 <= self.window <= self.size or self.hop < 1 or self.mels < 0:
            raise SettingError(
                f"STFTDistance: need fft_size >= window >= 1, hop >= 1 and mels >= 0; got "
                f"{self.size}, {self.window}, {self.hop}, {self.mels}."
            )
        if min(self.log_weight, self.linear_weight, self.convergence_weight) < 0:
            raise SettingError("STFTDistance: weights must be >= 0.")

    @property
    def size(self) -> int:
        """Points of the transform."""
        return self.fft_size or self.window

    def per_item(
        self, estimate: Tensor, target: Tensor | PreparedTarget, sample_rate: float
    ) -> Tensor:
        """One number per item, [B]."""
        x, y = self._spectra(estimate, target, sample_rate)
        total = self._bins(x, y).mean((-2, -1))
        if self.convergence_weight:
            norms = [torch.linalg.vector_norm(v, dim=(-2, -1)) for v in (x - y, y)]
            total = total + self.convergence_weight * norms[0] / norms[1]
        return total.mean(1)

    def per_bin(
        self, estimate: Tensor, target: Tensor | PreparedTarget, sample_rate: float
    ) -> Tensor:
        """The log and linear terms of every bin or band and frame, [B, C, F, N]."""
        return self._bins(*self._spectra(estimate, target, sample_rate))

    def _bins(self, x: Tensor, y: Tensor) -> Tensor:
        total = torch.zeros_like(x)
        for weight, gap in ((self.log_weight, x.log() - y.log()), (self.linear_weight, x - y)):
            if weight:
                total = total + weight * (gap.square() if self.squared else gap.abs())
        return total

    def _spectra(
        self, estimate: Tensor, target: Tensor | PreparedTarget, sample_rate: float
    ) -> tuple[Tensor, Tensor]:
        """Magnitudes [B, C, F, N] of both."""
        x, y = _pair(estimate, target, "STFTDistance")
        return self._magnitude(x, sample_rate), self._magnitude(y, sample_rate)

    def _magnitude(self, audio: Tensor, sample_rate: float) -> Tensor:
        make = torch.hann_window if self.shape == "hann" else torch.ones
        window = make(self.window, dtype=audio.dtype, device=audio.device)  # type: ignore[operator]
        spectrum = torch.stft(
            audio.reshape(-1, audio.shape[-1]), self.size, self.hop, self.window, window,
            return_complex=True,
        )  # fmt: skip
        power = spectrum.real.square() + spectrum.imag.square()
        magnitude = power.clamp(min=POWER_FLOOR).sqrt()
        if self.mels:
            bank = mel_filterbank(self.mels, self.size, sample_rate)
            magnitude = (bank.to(magnitude) @ magnitude).clamp(min=1e-12)  # empty bands
        return magnitude.reshape(*audio.shape[:2], *magnitude.shape[-2:])


@dataclass(frozen=True)
class SumAndDifference(PerItem):
    """A loss of the sum and of the difference of two channels, each weighted, divided by two.

    Args:
        loss: loss for each of the two signals.
        sum_weight, difference_weight: weights, >= 0.

    References:
        C. J. Steinmetz, J. Pons, S. Pascual, J. Serra, "Automatic multitrack mixing with a
        differentiable mixing console of neural audio effects", ICASSP 2021.
    """

    loss: Loss
    sum_weight: float = 1.0
    difference_weight: float = 1.0

    def per_item(
        self, estimate: Tensor, target: Tensor | PreparedTarget, sample_rate: float
    ) -> Tensor:
        """One number per item, [B].

        Raises:
            ShapeError: the audio has another number of channels than two.
        """
        x, y = _pair(estimate, target, "SumAndDifference")
        if x.shape[1] != 2:
            raise ShapeError(f"SumAndDifference: expected two channels, got {list(x.shape)}.")
        total = x.new_zeros(x.shape[0])
        for weight, sign in ((self.sum_weight, 1.0), (self.difference_weight, -1.0)):
            if weight:
                a, b = (v[:, :1] + sign * v[:, 1:] for v in (x, y))
                total = total + weight * self.loss.per_item(a, b, sample_rate) / 2
        return total
