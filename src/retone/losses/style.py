"""A training loss for style: long-term spectrum, brightness and level."""

from __future__ import annotations

import functools
from dataclasses import dataclass

import torch
from torch import Tensor

from retone.dsp.spectral import frequencies_hz, k_weighting_gain, mel_filterbank
from retone.errors import expect
from retone.losses.waveform import PerItem, PreparedTarget

_WINDOW, _MELS, _FLOOR = 2048, 80, 1e-10


@dataclass(frozen=True)
class StyleDistance(PerItem):
    """Differences between an estimate and a target that ignore fine structure.

    ``mel_weight mean|dB difference| / 10`` of long-term mel spectra, ``level_weight |dB
    difference|`` of RMS and of K-weighted level, and ``centroid_weight |difference in kHz|`` of
    the time-mean spectral centroid.
    """

    mel_weight: float = 0.5
    level_weight: float = 0.05
    centroid_weight: float = 1.0

    def per_item(
        self, estimate: Tensor, target: Tensor | PreparedTarget, sample_rate: float
    ) -> Tensor:
        """One number per item, [B]; waveforms are [B, C, T]."""
        audio = target.audio if isinstance(target, PreparedTarget) else target
        size = expect(estimate, "B C T", "StyleDistance")
        expect(audio, "B C T", "StyleDistance: target", **size)
        batch, channels, length = estimate.shape
        one = self._features(estimate.reshape(-1, length), sample_rate)
        with torch.no_grad():
            other = self._features(audio.reshape(-1, length), sample_rate)
        mel = (one[0] - other[0]).abs().mean(1) / 10
        level = (one[1] - other[1]).abs().mean(1)
        centroid = (one[2] - other[2]).abs() / 1000
        total = self.mel_weight * mel + self.level_weight * level + self.centroid_weight * centroid
        return total.reshape(batch, channels).mean(1)

    def _features(self, audio: Tensor, sample_rate: float) -> tuple[Tensor, Tensor, Tensor]:
        """Long-term mel spectrum in dB [R, M], levels in dB [R, 2], centroid in Hz [R]."""
        bank, weight, window, frequency = _tables(sample_rate, audio.dtype, audio.device)
        frames = audio.shape[-1] // _WINDOW
        spectrum = torch.fft.rfft(
            audio[:, : frames * _WINDOW].reshape(-1, frames, _WINDOW) * window
        )
        re, im = spectrum.real, spectrum.imag
        power = re * re + im * im
        magnitude = (power + 1e-10).sqrt()
        centroid = (magnitude @ frequency) / magnitude.sum(-1)
        mean = power.mean(1)
        levels = torch.stack([(audio * audio).mean(1), mean @ weight], dim=1)
        return _db(mean @ bank), _db(levels), centroid.mean(1)


def _db(power: Tensor) -> Tensor:
    return 10 * torch.log10(power.clamp_min(_FLOOR))


@functools.lru_cache(maxsize=8)
def _tables(
    sample_rate: float, dtype: torch.dtype, device: torch.device
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Mel bands [F, M], K-weighted power [F], window [_WINDOW] and bin frequencies in Hz [F]."""
    scale = 1 / _WINDOW**2
    bank = mel_filterbank(_MELS, _WINDOW, sample_rate).T * scale * 100
    weight = k_weighting_gain(frequencies_hz(_WINDOW, sample_rate)).square() * scale * 4
    tables = (bank, weight, torch.hann_window(_WINDOW), frequencies_hz(_WINDOW, sample_rate))
    bank, weight, window, frequency = (t.to(device, dtype) for t in tables)
    return bank, weight, window, frequency
