"""Diff-DEQ's network: a temporal convolutional network that global features modulate.

S. Sarkar, L. Lindborg, "Diff-DEQ: differentiable dynamic equalization for studio-quality speech
processing", EUSIPCO 2025. It analyses one recording, without a reference. Global features go
through an MLP to a scale and a shift for every channel of every block (FiLM; E. Perez et al., AAAI
2018); the blocks' output goes through a bidirectional GRU, the mean over time, and an MLP with
sigmoids.

Choices where the paper is silent or not feasible as written: eight blocks with four dilations
are two stacks of 1, 3, 9, 27. On samples their receptive field would be 321 samples (13 ms), and a
GRU would take 70,972 steps; so a front end comes first that makes frames, either strided
convolutions on the waveform (``ConvStemConfig``, 512 samples a frame, nearest to the paper's raw
audio) or log-mel power (``MelConfig``). The receptive field is then 321 frames, more than a clip.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from retone.dsp.spectral import mel_filterbank
from retone.errors import SettingError, expect
from retone.nets.conditioning import SIZE, Conditioning, ConditioningConfig
from retone.nets.precision import full_precision

CROSSOVERS = ("predicted", "global", "fixed")
EDGE = 0.005
"""Distance from 0 and 1 at which a parameter may start; at 0 a sigmoid has no gradient."""


@dataclass(frozen=True)
class ConvStemConfig:
    """Strided convolutions on the waveform; ``stride ** layers`` samples make a frame."""

    sample_rate: int
    kernel: int = 16
    stride: int = 8
    layers: int = 3

    def build(self, channels: int) -> nn.Module:
        return ConvStem(self, channels)


@dataclass(frozen=True)
class MelConfig:
    """Log-mel frames; ``sample_rate`` in Hz, sizes in samples."""

    sample_rate: int
    window: int = 1024
    hop: int = 256
    mels: int = 80

    def build(self, channels: int) -> nn.Module:
        return MelFrames(self, channels)


@dataclass(frozen=True)
class TcnConfig:
    """Sizes.

    Args:
        outputs: number of unit parameters to predict.
        front_end: turns the waveform into frames.
        initial: unit parameters that an untrained network predicts.
        crossover_outputs: which outputs are crossover frequencies.
        crossover: ``"predicted"`` for each clip, ``"global"``: one trained value for all clips, or
            ``"fixed"`` at their initial values.
        channels, kernel, dilations: of the convolutions.
        gru: size per direction.
        hidden: width of the MLPs.

    Raises:
        SettingError: an unknown crossover mode, or initial values of another number.
    """

    outputs: int
    front_end: ConvStemConfig | MelConfig
    initial: tuple[float, ...]
    crossover_outputs: tuple[int, ...] = ()
    crossover: str = "predicted"
    channels: int = 64
    kernel: int = 5
    dilations: tuple[int, ...] = field(default=(1, 3, 9, 27, 1, 3, 9, 27))
    gru: int = 64
    hidden: int = 128

    def __post_init__(self) -> None:
        if self.crossover not in CROSSOVERS:
            raise SettingError(
                f"crossover '{self.crossover}': choose one of {', '.join(CROSSOVERS)}."
            )
        if len(self.initial) != self.outputs:
            raise SettingError(
                f"Tcn: {len(self.initial)} initial values for {self.outputs} outputs; give as many."
            )
        if any(not 0 <= i < self.outputs for i in self.crossover_outputs):
            raise SettingError(
                f"Tcn: crossover_outputs {self.crossover_outputs} must lie in "
                f"0..{self.outputs - 1}."
            )

    @property
    def reach(self) -> int:
        """Receptive field of the blocks in frames."""
        return 1 + (self.kernel - 1) * sum(self.dilations)

    def build(self) -> Tcn:
        return Tcn(self)


class ConvStem(nn.Module):
    """Waveform [B, T] -> frames [B, C, ceil(T / stride^layers)]."""

    def __init__(self, config: ConvStemConfig, channels: int) -> None:
        super().__init__()
        self.config = config
        layers: list[nn.Module] = []
        inputs = 1
        for _ in range(config.layers):
            layers += [
                nn.Conv1d(inputs, channels, config.kernel, config.stride),
                nn.PReLU(channels),
                nn.BatchNorm1d(channels),
            ]
            inputs = channels
        self.layers = nn.Sequential(*layers)

    def forward(self, audio: Tensor) -> Tensor:
        c = self.config
        step = c.stride**c.layers
        frames = -(-audio.shape[-1] // step)
        need = frames
        for _ in range(c.layers):
            need = (need - 1) * c.stride + c.kernel
        missing = need - audio.shape[-1]
        padded = nn.functional.pad(audio, (missing // 2, missing - missing // 2))
        return self.layers(padded[:, None])  # type: ignore[no-any-return]


class MelFrames(nn.Module):
    """Waveform [B, T] -> log-mel power in dB / 20 about -60 dB, mapped to [B, C, 1 + T // hop]."""

    bank: Tensor
    window: Tensor

    def __init__(self, config: MelConfig, channels: int) -> None:
        super().__init__()
        self.config = config
        bank = mel_filterbank(config.mels, config.window, config.sample_rate)
        self.register_buffer("bank", bank.float(), persistent=False)
        self.register_buffer("window", torch.hann_window(config.window), persistent=False)
        self.project = nn.Conv1d(config.mels, channels, 1)

    def forward(self, audio: Tensor) -> Tensor:
        c = self.config
        with full_precision(audio.device):
            spectrum = torch.stft(
                audio.float(), c.window, c.hop, window=self.window, center=True,
                return_complex=True,
            )  # fmt: skip
            power = (spectrum.real.square() + spectrum.imag.square()) / c.window
            frames = 10 * torch.log10((self.bank @ power).clamp(min=1e-10)) / 20 + 3
        return self.project(frames)  # type: ignore[no-any-return]


class Block(nn.Module):
    """Dilated convolution, PReLU, batch norm, FiLM; added to its input."""

    def __init__(self, channels: int, kernel: int, dilation: int) -> None:
        super().__init__()
        self.filter = nn.Sequential(
            nn.Conv1d(channels, channels, kernel, padding="same", dilation=dilation),
            nn.PReLU(channels),
            nn.BatchNorm1d(channels, affine=False),  # FiLM scales and shifts
        )

    def forward(self, x: Tensor, scale: Tensor, shift: Tensor) -> Tensor:
        return x + scale[..., None] * self.filter(x) + shift[..., None]  # type: ignore[no-any-return]


class Tcn(nn.Module):
    """Clips [B, T] -> unit parameters [B, P] in (0, 1).

    A second argument, the reference of other networks, is ignored.
    """

    is_crossover: Tensor

    def __init__(self, config: TcnConfig) -> None:
        super().__init__()
        self.config = c = config
        self.conditioning = Conditioning(ConditioningConfig(c.front_end.sample_rate))
        self.front_end = c.front_end.build(c.channels)
        self.blocks = nn.ModuleList(Block(c.channels, c.kernel, d) for d in c.dilations)
        self.film = nn.Sequential(
            nn.Linear(SIZE, c.hidden),
            nn.PReLU(c.hidden),
            nn.Linear(c.hidden, 2 * c.channels * len(c.dilations)),
        )
        self.gru = nn.GRU(c.channels, c.gru, batch_first=True, bidirectional=True)
        self.head = nn.Sequential(
            nn.Linear(2 * c.gru, c.hidden),
            nn.PReLU(c.hidden),
            nn.Linear(c.hidden, c.hidden),
            nn.PReLU(c.hidden),
            nn.Linear(c.hidden, c.outputs),
        )
        last: Any = self.head[-1]
        ends: tuple[Any, ...] = (self.film[-1], last)
        for layer in ends:  # small: an untrained network is the identity
            nn.init.normal_(layer.weight, std=1e-3)
            nn.init.zeros_(layer.bias)
        start = torch.tensor(c.initial, dtype=torch.float64).clamp(EDGE, 1 - EDGE)
        with torch.no_grad():
            last.bias.copy_(torch.logit(start))
        chosen = torch.zeros(c.outputs, dtype=torch.bool)
        chosen[list(c.crossover_outputs)] = True
        self.register_buffer("is_crossover", chosen, persistent=False)
        if c.crossover == "global":
            self.crossover_logits = nn.Parameter(torch.logit(start).float())

    @torch.no_grad()
    def statistics(self, audio: Tensor) -> Tensor:
        """Global features [B, 32] of clips [B, T], before scaling."""
        return self.conditioning.features(audio)  # type: ignore[no-any-return]

    @torch.no_grad()
    def standardize(self, features: Tensor) -> None:
        """Set the fixed scaling of global features from examples [N, 32]."""
        self.conditioning.standardize(features)

    def forward(self, source: Tensor, reference: Any = None) -> Tensor:
        expect(source, "B T", "Tcn: source")
        c = self.config
        film = self.film(self.conditioning(source))
        film = film.reshape(source.shape[0], len(self.blocks), 2, c.channels)
        x = self.front_end(source)
        for i, block in enumerate(self.blocks):
            x = block(x, 1 + film[:, i, 0], film[:, i, 1])
        x, _ = self.gru(x.transpose(1, 2))
        pooled = x.mean(1)
        with full_precision(source.device):
            logits = self.head(pooled.float())
            if c.crossover == "global":
                logits = torch.where(self.is_crossover, self.crossover_logits, logits)
            elif c.crossover == "fixed":
                logits = torch.where(self.is_crossover, self._start(logits), logits)
            return torch.sigmoid(logits)

    def _start(self, like: Tensor) -> Tensor:
        inside = [min(max(v, EDGE), 1 - EDGE) for v in self.config.initial]
        return like.new_tensor([math.log(v / (1 - v)) for v in inside])
