"""A training loss on what is heard as style: long-term spectrum, brightness and level."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from retone.dsp.spectral import centroid_hz, frequencies_hz, mel_filterbank, stft_magnitude
from retone.errors import expect
from retone.losses import PreparedTarget

_LONG, _SHORT, _MELS, _FLOOR = 65536, 2048, 128, 1e-4


@dataclass(frozen=True)
class StyleDistance:
    """Differences between an estimate and a target that ignore fine structure.

    ``mel_weight (mean|ln m - ln m'| + mean|m - m'|)`` on mel spectra of 65 536-sample windows,
    ``level_weight |dB difference|`` of RMS and of K-weighted level, and
    ``centroid_weight |difference in kHz|`` of the time-mean spectral centroid.
    """

    mel_weight: float = 0.3
    level_weight: float = 0.05
    centroid_weight: float = 1.0

    def __call__(
        self, estimate: Tensor, target: Tensor | PreparedTarget, sample_rate: float
    ) -> Tensor:
        """Mean over the batch, a scalar."""
        return self.per_item(estimate, target, sample_rate).mean()

    def prepare(self, target: Tensor) -> PreparedTarget:
        """Nothing is kept."""
        return PreparedTarget(target)

    def per_item(
        self, estimate: Tensor, target: Tensor | PreparedTarget, sample_rate: float
    ) -> Tensor:
        """One number per item, [B]; waveforms are [B, C, T]."""
        audio = target.audio if isinstance(target, PreparedTarget) else target
        size = expect(estimate, "B C T", "StyleDistance")
        expect(audio, "B C T", "StyleDistance: target", **size)
        batch, channels, length = estimate.shape
        one = self._picture(estimate.reshape(-1, length), sample_rate)
        with torch.no_grad():
            other = self._picture(audio.reshape(-1, length), sample_rate)
        mel = (one[0].log() - other[0].log()).abs().mean((1, 2)) + (one[0] - other[0]).abs().mean(
            (1, 2)
        )
        level = (one[1] - other[1]).abs().mean(1)
        centroid = (one[2] - other[2]).abs() / 1000
        total = self.mel_weight * mel + self.level_weight * level + self.centroid_weight * centroid
        return total.reshape(batch, channels).mean(1)

    def _picture(self, audio: Tensor, sample_rate: float) -> tuple[Tensor, Tensor, Tensor]:
        """Mel spectra [R, M, N], levels in dB [R, 2] and centroid in Hz [R]."""
        bank = mel_filterbank(_MELS, _LONG, sample_rate).to(audio)
        magnitude = stft_magnitude(audio, _LONG, _LONG)
        mel = (bank @ magnitude).clamp_min(_FLOOR)
        weight = k_weighting_gain(frequencies_hz(_LONG, sample_rate).to(audio))
        power = (magnitude * weight[:, None]).square().mean((1, 2))
        levels = torch.stack(
            [10 * torch.log10(p.clamp_min(1e-10)) for p in (audio.square().mean(1), power)], dim=1
        )
        short = stft_magnitude(audio, _SHORT, _SHORT // 2)
        return mel, levels, centroid_hz(short, sample_rate).reshape(audio.shape[0], -1).mean(1)


def k_weighting_gain(frequency_hz: Tensor) -> Tensor:
    """Magnitude of BS.1770's K weighting, from its two analogue prototypes, [F]."""
    s = 1j * frequency_hz.double().clamp_min(1e-3)
    f0, q, high, band = 1681.974450955533, 0.7071752369554196, 1.5848647011308556, 1.2587209302325617
    x = s / f0
    shelf = (high * x * x + band * x / q + 1) / (x * x + x / q + 1)
    x = s / 38.13547087602444
    rumble = x * x / (x * x + x / 0.5003270373238773 + 1)
    return (shelf * rumble).abs().to(frequency_hz)
