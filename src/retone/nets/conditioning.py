"""Global features that condition Diff-DEQ's network: 32 per clip.

The paper names loudness, MFCCs and spectral centroid as examples. The features used here::

    integrated loudness (LUFS), RMS level (dB), crest factor (dB)                      3
    centroid, bandwidth (octaves re 1 kHz) and flatness (dB), mean and spread          6
    13 MFCCs, means; the lowest 10, spreads                                           23

Means and spreads run over frames within 40 dB of the loudest. Loudness is BS.1770's gated value
from K-weighted spectra, within a few tenths of a LU.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from retone.dsp.measure import k_weight
from retone.dsp.spectral import bandwidth_hz, centroid_hz, flatness, mel_filterbank
from retone.nets.precision import full_precision

MFCC, MFCC_SPREADS = 13, 10
SIZE = 3 + 6 + MFCC + MFCC_SPREADS
ACTIVE_DB = 40.0
FLOOR = 1e-10
BLOCK_S, ABSOLUTE_GATE_LUFS, RELATIVE_GATE_LU = 0.4, -70.0, 10.0
_OFFSET = -0.691


@dataclass(frozen=True)
class ConditioningConfig:
    """Analysis of the features; ``sample_rate`` in Hz, sizes in samples."""

    sample_rate: int
    window: int = 1024
    hop: int = 256
    mels: int = 40


class Conditioning(nn.Module):
    """Clips [B, T] -> standardised features [B, 32]. No trainable weights."""

    window: Tensor
    mel: Tensor
    dct: Tensor
    k_weight: Tensor
    center: Tensor
    scale: Tensor

    def __init__(self, config: ConditioningConfig) -> None:
        super().__init__()
        self.config = config
        c = config
        mel = mel_filterbank(c.mels, c.window, c.sample_rate)
        n = torch.arange(c.mels, dtype=torch.float64)
        k = torch.arange(MFCC, dtype=torch.float64)[:, None]
        dct = torch.cos(math.pi / c.mels * (n + 0.5) * k) * math.sqrt(2 / c.mels)
        dct[0] /= math.sqrt(2)
        frequency = torch.arange(c.window // 2 + 1, dtype=torch.float64) * c.sample_rate / c.window
        fixed = {
            "window": torch.hann_window(c.window),
            "mel": mel.float(),
            "dct": dct.float(),
            "k_weight": torch.from_numpy(k_weight(frequency.numpy())).float(),
        }
        for name, value in fixed.items():
            self.register_buffer(name, value, persistent=False)
        self.register_buffer("center", torch.zeros(SIZE))
        self.register_buffer("scale", torch.ones(SIZE))

    def forward(self, audio: Tensor) -> Tensor:
        with torch.no_grad():
            return (self.features(audio) - self.center) / self.scale

    @torch.no_grad()
    def standardize(self, features: Tensor) -> None:
        """Set the fixed scaling from the features [N, 32] of examples."""
        self.center.copy_(features.mean(0))
        self.scale.copy_(features.std(0).clamp(min=1e-2))

    @torch.no_grad()
    def features(self, audio: Tensor) -> Tensor:
        """Features [B, 32] before scaling."""
        with full_precision(audio.device):
            return self._features(audio.float())

    def _features(self, audio: Tensor) -> Tensor:
        c = self.config
        spectrum = torch.stft(
            audio, c.window, c.hop, window=self.window, center=True, return_complex=True
        )
        # One-sided power per sample of the windowed frame: its sum is the frame's mean square.
        norm = 2.0 / (c.window * float(self.window.square().sum()))
        power = (spectrum.real.square() + spectrum.imag.square()) * norm
        loud = power.sum(1)
        active = (loud > loud.amax(1, keepdim=True) * 10 ** (-ACTIVE_DB / 10)).float()
        active = active / active.sum(1, keepdim=True).clamp(min=1)

        square = audio.square().mean(1)
        rms_db = 10 * torch.log10(square + FLOOR)
        crest_db = 20 * torch.log10(audio.abs().amax(1) + FLOOR**0.5) - rms_db
        rows = [self._loudness(power), rms_db, crest_db]
        magnitude = power.sqrt()
        for shape in (centroid_hz, bandwidth_hz):
            octaves = torch.log2(shape(magnitude, c.sample_rate).clamp(min=20.0) / 1000.0)
            rows += _mean_and_spread(octaves, active)
        flat_db = 10 * torch.log10(flatness(magnitude, FLOOR * 1e-4))
        rows += _mean_and_spread(flat_db, active)
        mel_db = 10 * torch.log10(self.mel @ power + FLOOR * 1e-4)
        cepstrum = self.dct @ mel_db
        mean, spread = _mean_and_spread(cepstrum, active[:, None])
        return torch.cat([torch.stack(rows, 1), mean, spread[:, :MFCC_SPREADS]], 1)

    def _loudness(self, power: Tensor) -> Tensor:
        """BS.1770's gates over 400 ms means of the frames' K-weighted power [B, F, N]."""
        frames = torch.einsum("f,bfn->bn", self.k_weight, power)
        size = max(1, round(BLOCK_S * self.config.sample_rate / self.config.hop))
        size = min(size, frames.shape[1])
        block = frames.unfold(1, size, max(1, size // 4)).mean(-1)
        lufs = _OFFSET + 10 * torch.log10(block + FLOOR)
        on = (lufs > ABSOLUTE_GATE_LUFS).float()
        first = _OFFSET + 10 * torch.log10(_mean(block, on) + FLOOR)
        on = on * (lufs > first[:, None] - RELATIVE_GATE_LU)
        return _OFFSET + 10 * torch.log10(_mean(block, on) + FLOOR)


def _mean(values: Tensor, on: Tensor) -> Tensor:
    return (values * on).sum(1) / on.sum(1).clamp(min=1)


def _mean_and_spread(values: Tensor, weights: Tensor) -> list[Tensor]:
    mean = (values * weights).sum(-1)
    spread = ((values - mean[..., None]).square() * weights).sum(-1)
    return [mean, spread.sqrt()]
