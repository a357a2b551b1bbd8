"""What the compact networks hear: log-mel frames and level statistics of a normalised clip."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor, nn

from retone.dsp.spectral import frequencies_hz, k_weighting_gain, mel_filterbank, power_frames
from retone.nets.precision import full_precision

LEVEL_FRAMES_MS = (5.0, 20.0, 100.0, 400.0)
LEVEL_QUANTILES = (0.02, 0.1, 0.25, 0.5, 0.75, 0.9, 0.98, 1.0)
BAND_QUANTILES = (0.1, 0.5, 0.9)
FLOOR_DB = -100.0
MEASURES = 3
MEASURE_WEIGHT = 20.0
"""Weight of a measure that style is judged by, that of one band's statistic being 1."""


class Heard(NamedTuple):
    """Features of a batch of clips.

    ``frames`` [B, M, N]: log-mel power in dB / 20; ``energy`` [B, N]: each frame's weight, summing
    to 1; ``summary`` [B, S]: statistics over time of bands and levels, roughly unit-sized.
    """

    frames: Tensor
    energy: Tensor
    summary: Tensor


def together(heard: Heard) -> Heard:
    """Clips [B, ...] of one recording as one clip [1, ...]: all frames, the mean statistics."""
    frames, energy, summary = heard
    count = frames.shape[0]
    return Heard(
        frames.transpose(0, 1).flatten(1)[None], energy.flatten()[None] / count,
        summary.mean(0, keepdim=True),
    )  # fmt: skip


@dataclass(frozen=True)
class FrontEndConfig:
    """Analysis settings.

    ``sample_rate`` is the rate clips are resampled to before analysis, in Hz. With ``measures``
    the summary ends with what style is judged by: RMS and K-weighted level in dB / 20, and the
    time-mean spectral centroid in kHz.
    """

    sample_rate: int
    window: int = 2048
    hop: int = 1024
    mels: int = 80
    measures: bool = False

    @property
    def summary_size(self) -> int:
        bands = self.mels * (2 + len(BAND_QUANTILES))
        levels = len(LEVEL_FRAMES_MS) * (1 + len(LEVEL_QUANTILES)) + 2
        return bands + levels + MEASURES * self.measures


class FrontEnd(nn.Module):
    """Clip [B, T] at the config's rate -> ``Heard``. No trainable weights."""

    bank: Tensor
    window: Tensor
    frequency: Tensor
    k_weight: Tensor
    weight: Tensor
    """What each summary statistic [S] counts among them; 1 on average."""

    def __init__(self, config: FrontEndConfig) -> None:
        super().__init__()
        self.config = config
        bank = mel_filterbank(config.mels, config.window, config.sample_rate)
        self.register_buffer("bank", bank.float(), persistent=False)
        self.register_buffer("window", torch.hann_window(config.window), persistent=False)
        frequency = frequencies_hz(config.window, config.sample_rate)
        self.register_buffer("frequency", frequency.float() / 1000, persistent=False)
        self.register_buffer(
            "k_weight", k_weighting_gain(frequency).square().float(), persistent=False
        )
        weight = torch.ones(config.summary_size)
        if config.measures:
            weight[-MEASURES:] = MEASURE_WEIGHT
        self.register_buffer("weight", weight / weight.mean(), persistent=False)

    def forward(self, audio: Tensor) -> Heard:
        with full_precision(audio.device):
            return self._hear(audio)

    def _hear(self, audio: Tensor) -> Heard:
        c = self.config
        edge = c.window // 2
        padded = nn.functional.pad(audio[:, None], (edge, edge), mode="reflect")[:, 0]
        power = power_frames(padded, self.window, c.hop) / c.window
        mel = (power @ self.bank.T).transpose(1, 2)
        frames_db = 10 * torch.log10(mel.clamp(min=10 ** (FLOOR_DB / 10)))
        loud = power.mean(dim=-1)
        active = loud > 1e-4 * loud.amax(dim=1, keepdim=True)  # within 40 dB of the loudest frame
        energy = loud.sqrt() * active
        energy = energy / energy.sum(dim=1, keepdim=True).clamp(min=1e-12)
        frames = frames_db / 20
        summary = self._summary(audio, frames, energy)
        if c.measures:
            summary = torch.cat([summary, self._measures(audio, power)], dim=1)
        return Heard(frames, energy, summary)

    def _measures(self, audio: Tensor, power: Tensor) -> Tensor:
        """RMS and K-weighted level in dB / 20 and centroid in kHz, [B, MEASURES]."""
        mean = power.mean(1)
        loud = (mean @ self.k_weight) * (16 / 3 / self.config.window)  # both sides, Hann's energy
        levels = torch.stack([(audio * audio).mean(-1), loud], dim=1)
        magnitude = (power + 1e-10).sqrt()
        centroid = (magnitude @ self.frequency) / magnitude.sum(-1)
        levels = 10 * torch.log10(levels.clamp(min=1e-10)) / 20
        return torch.cat([levels, centroid.mean(-1, keepdim=True)], dim=1)

    def _summary(self, audio: Tensor, frames: Tensor, energy: Tensor) -> Tensor:
        mean = (frames * energy[:, None]).sum(-1)
        variance = ((frames - mean[..., None]).square() * energy[:, None]).sum(-1)
        spread = variance.clamp(min=1e-10).sqrt()  # a band at the floor has none, and a gradient
        q = torch.tensor(BAND_QUANTILES, device=audio.device)
        bands = torch.quantile(frames, q, dim=-1).permute(1, 0, 2).flatten(1)
        rows = [mean, spread, bands]
        levels = torch.tensor(LEVEL_QUANTILES, device=audio.device)
        square = audio * audio
        for ms in LEVEL_FRAMES_MS:
            n = round(ms * 1e-3 * self.config.sample_rate)
            n = min(max(1, n), audio.shape[-1])  # a clip may be shorter than one frame
            count = audio.shape[-1] // n
            power = square[:, : count * n].reshape(-1, count, n).mean(-1)
            db = 10 * torch.log10(power.clamp(min=1e-10)) / 20
            rows += [torch.quantile(db, levels, dim=-1).T, db.mean(-1, keepdim=True)]
        peak = 20 * torch.log10(audio.abs().amax(-1, keepdim=True).clamp(min=1e-5)) / 20
        rms = 10 * torch.log10(square.mean(-1, keepdim=True).clamp(min=1e-10)) / 20
        return torch.cat([*rows, peak, peak - rms], dim=1)
