"""Features of the compact networks: log-mel frames and level statistics of a normalised clip."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor, nn

from retone.dsp.features import block_levels, frame_measures
from retone.dsp.spectral import frequencies_hz, k_weighting_gain, mel_filterbank, power_frames
from retone.kernels.frame_measures import FLOOR, FramePlan
from retone.nets.precision import full_precision

LEVEL_FRAMES_MS = (5.0, 20.0, 100.0, 400.0)
LEVEL_QUANTILES = (0.02, 0.1, 0.25, 0.5, 0.75, 0.9, 0.98, 1.0)
BAND_QUANTILES = (0.1, 0.5, 0.9)
LEVELS = len(LEVEL_FRAMES_MS) * (1 + len(LEVEL_QUANTILES)) + 2
FLOOR_DB = -100.0
MEASURES = 3
MEASURE_WEIGHT = 20.0
"""Weight of one of the ``MEASURES``, relative to 1 for a statistic of one band."""


class Features(NamedTuple):
    """Features of a batch of clips.

    ``frames`` [B, M, N]: log-mel power in dB / 20; ``energy`` [B, N]: each frame's weight, summing
    to 1; ``summary`` [B, S]: statistics over time of bands and levels, roughly unit-sized.
    """

    frames: Tensor
    energy: Tensor
    summary: Tensor


def merge_clips(features: Features) -> Features:
    """Features of B clips of one recording as one clip [1, ...]: all frames, mean statistics."""
    frames, energy, summary = features
    count = frames.shape[0]
    return Features(
        frames.transpose(0, 1).flatten(1)[None], energy.flatten()[None] / count,
        summary.mean(0, keepdim=True),
    )  # fmt: skip


@dataclass(frozen=True)
class FrontEndConfig:
    """Analysis settings.

    ``sample_rate`` is the rate in Hz to which clips are resampled before analysis. With
    ``measures`` the summary ends with the measures that style is scored by: RMS and K-weighted
    level in dB / 20, and the time-mean spectral centroid in kHz.
    """

    sample_rate: int
    window: int = 2048
    hop: int = 1024
    mels: int = 80
    measures: bool = False

    @property
    def summary_size(self) -> int:
        bands = self.mels * (2 + len(BAND_QUANTILES))
        return bands + LEVELS + MEASURES * self.measures


COMPACT_FRONT_END = FrontEndConfig(sample_rate=24000, measures=True)
"""The front end of the compact networks, which presets keep typical frames for."""


class _Sums(NamedTuple):
    """Intermediate sums from which all features follow.

    Per frame: mel powers [B, N, M]; mean power, K-weighted power and centroid in kHz [B, N].
    Per block: mean squares [B, K] for each length. Per clip: mean square and peak [B].
    """

    mel: Tensor
    power: Tensor
    weighted: Tensor
    centroid: Tensor
    blocks: list[Tensor]
    square: Tensor
    peak: Tensor


def louder_summary(config: FrontEndConfig) -> Tensor:
    """What a gain of 20 dB adds to each summary statistic [S]: 1 to levels, 0 to the others."""
    parts = [torch.ones(config.mels), torch.zeros(config.mels)]
    parts.append(torch.ones(config.summary_size - 2 * config.mels))
    out = torch.cat(parts)
    out[-1 - MEASURES * config.measures] = 0.0  # from RMS level to peak
    if config.measures:
        out[-1] = 0.0
    return out


class FrontEnd(nn.Module):
    """Clip [B, T] at the config's rate -> ``Features``. No trainable weights."""

    bank: Tensor
    window: Tensor
    frequency: Tensor
    k_weight: Tensor
    weight: Tensor
    """Weight of each summary statistic [S]; 1 on average."""

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
        self._plan: FramePlan | None = None

    def forward(self, audio: Tensor) -> Features:
        with full_precision(audio.device):
            return self._analyse(audio)

    def _analyse(self, audio: Tensor) -> Features:
        compiled = audio.device.type == "cpu" and audio.dtype == torch.float32
        compiled = compiled and not torch.compiler.is_compiling()
        sums = self._compiled_sums(audio) if compiled else self._sums(audio)
        frames_db = 10 * torch.log10(sums.mel.clamp(min=10 ** (FLOOR_DB / 10))).transpose(1, 2)
        loud = sums.power
        active = loud > 1e-4 * loud.amax(dim=1, keepdim=True)  # within 40 dB of the loudest frame
        energy = loud.sqrt() * active
        energy = energy / energy.sum(dim=1, keepdim=True).clamp(min=1e-12)
        frames = frames_db / 20
        summary = self._summary(sums, frames, energy)
        if self.config.measures:
            summary = torch.cat([summary, self._measures(sums)], dim=1)
        return Features(frames, energy, summary)

    def _block_sizes(self, length: int) -> tuple[int, ...]:
        """Sizes in samples of the blocks whose levels are measured, at most the clip's length."""
        wanted = (round(ms * 1e-3 * self.config.sample_rate) for ms in LEVEL_FRAMES_MS)
        return tuple(min(max(1, n), length) for n in wanted)

    def _sums(self, audio: Tensor) -> _Sums:
        edge, length = self.config.window // 2, audio.shape[-1]
        padded = nn.functional.pad(audio[:, None], (edge, edge), mode="reflect")[:, 0]
        power = power_frames(padded, self.window, self.config.hop) / self.config.window
        magnitude = (power + FLOOR).sqrt()
        centroid = (magnitude @ self.frequency) / magnitude.sum(-1)
        square = audio * audio
        blocks = [
            square[:, : length // n * n].reshape(-1, length // n, n).mean(-1)
            for n in self._block_sizes(length)
        ]
        return _Sums(
            power @ self.bank.T, power.mean(dim=-1), power @ self.k_weight, centroid,
            blocks, square.mean(-1), audio.abs().amax(-1),
        )  # fmt: skip

    def _compiled_sums(self, audio: Tensor) -> _Sums:
        """The same without a spectrogram of the batch in memory."""
        linear, magnitudes = frame_measures(audio, self._planned())
        mel, power, weighted = linear.split([self.config.mels, 1, 1], dim=-1)
        total, moment = magnitudes.unbind(-1)
        levels = block_levels(audio, self._block_sizes(audio.shape[-1]))
        return _Sums(mel, power[..., 0], weighted[..., 0], moment / total, *levels)

    def frames_and_measures(self, audio: Tensor) -> tuple[Tensor, Tensor]:
        """Only the frames of clips [B, T], as in ``Features``, and the measures [B, 3].

        The measures are RMS and K-weighted level in dB / 20 and the centroid in kHz.
        """
        compiled = audio.device.type == "cpu" and audio.dtype == torch.float32
        if compiled and not torch.compiler.is_compiling():
            linear, magnitudes = frame_measures(audio, self._planned())
            mel, _, weighted = linear.split([self.config.mels, 1, 1], dim=-1)
            total, moment = magnitudes.unbind(-1)
            weighted, centroid = weighted[..., 0], moment / total
        else:
            sums = self._sums(audio)
            mel, weighted, centroid = sums.mel, sums.weighted, sums.centroid
        frames = 10 * torch.log10(mel.clamp(min=10 ** (FLOOR_DB / 10))).transpose(1, 2) / 20
        return frames, self._three((audio * audio).mean(-1), weighted, centroid)

    def measures_of(self, frames: Tensor) -> Tensor:
        """Approximate measures [B, 3] of clips, from their frames [B, M, N].

        Each band represents the bins around it. Levels have errors of about 0.1 dB and centroids of
        about 0.1 kHz, similar for two versions of one clip, so use differences.
        """
        area = self.bank.sum(1)
        centre = (self.bank @ self.frequency) / area
        bins = self.widths() / self.frequency[1]
        power = (10 ** (2 * frames)) * (1 / area)[:, None]  # of one bin
        energy = (power * bins[:, None]).sum(2)
        weighted = energy * (self.bank @ self.k_weight / area)
        levels = torch.stack([energy.sum(1), weighted.sum(1)], dim=1).clamp(min=1e-20)
        magnitude = (power + FLOOR).sqrt() * bins[:, None]
        centroid = ((magnitude * centre[:, None]).sum(1) / magnitude.sum(1)).mean(1)
        return torch.cat([10 * torch.log10(levels) / 20, centroid[:, None]], dim=1)

    def widths(self) -> Tensor:
        """Widths of the bands in kHz [M]; their edges are half-way between the band centres."""
        centre = (self.bank @ self.frequency) / self.bank.sum(1)
        top = self.frequency[-1:]
        edges = torch.cat([top.new_zeros(1), (centre[1:] + centre[:-1]) / 2, top])
        return edges[1:] - edges[:-1]

    def _planned(self) -> FramePlan:
        if self._plan is None:
            mean = torch.full_like(self.k_weight, 1 / self.k_weight.numel())
            weights = torch.cat([self.bank, mean[None], self.k_weight[None]])
            arrays = (t.cpu().contiguous().numpy() for t in (self.window, weights, self.frequency))
            window, rows, frequency = arrays
            self._plan = FramePlan(window, self.config.hop, rows, frequency)
        return self._plan

    def _measures(self, sums: _Sums) -> Tensor:
        """RMS and K-weighted level in dB / 20 and centroid in kHz, [B, MEASURES]."""
        return self._three(sums.square, sums.weighted, sums.centroid)

    def _three(self, square: Tensor, weighted: Tensor, centroid: Tensor) -> Tensor:
        loud = weighted.mean(1) * (16 / 3 / self.config.window)  # both sides, Hann's energy
        levels = torch.stack([square, loud], dim=1)
        levels = 10 * torch.log10(levels.clamp(min=1e-10)) / 20
        return torch.cat([levels, centroid.mean(-1, keepdim=True)], dim=1)

    def _summary(self, sums: _Sums, frames: Tensor, energy: Tensor) -> Tensor:
        mean = (frames * energy[:, None]).sum(-1)
        variance = ((frames - mean[..., None]).square() * energy[:, None]).sum(-1)
        spread = variance.clamp(min=1e-10).sqrt()  # keeps a gradient at the floor
        q = frames.new_tensor(BAND_QUANTILES)
        bands = torch.quantile(frames, q, dim=-1).permute(1, 0, 2).flatten(1)
        rows = [mean, spread, bands]
        levels = frames.new_tensor(LEVEL_QUANTILES)
        for power in sums.blocks:
            db = 10 * torch.log10(power.clamp(min=1e-10)) / 20
            rows += [torch.quantile(db, levels, dim=-1).T, db.mean(-1, keepdim=True)]
        peak = 20 * torch.log10(sums.peak[:, None].clamp(min=1e-5)) / 20
        rms = 10 * torch.log10(sums.square[:, None].clamp(min=1e-10)) / 20
        return torch.cat([*rows, peak, peak - rms], dim=1)
