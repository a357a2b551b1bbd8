"""DeepAFx-ST's network: one encoder for both recordings, and a controller that compares them.

C. J. Steinmetz, N. J. Bryan, J. D. Reiss, "Style transfer of audio effects with differentiable
signal processing", JAES 70(9), 2022. The encoder is an EfficientNet-B2 on compressed magnitude
spectrograms, time by frequency.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import NamedTuple

import torch
from torch import Tensor, nn

from retone.errors import expect
from retone.nets.efficientnet import EfficientNetConfig
from retone.nets.precision import full_precision

MAGNITUDE_FLOOR = 1e-8


@dataclass(frozen=True)
class SpectrogramConfig:
    """Analysis; ``sample_rate`` is the rate in Hz to which clips are resampled before it."""

    sample_rate: int
    window: int = 4096
    hop: int = 2048
    power: float = 0.3


@dataclass(frozen=True)
class SiameseConfig:
    """Sizes. ``outputs`` is the number of unit parameters to predict."""

    outputs: int
    front_end: SpectrogramConfig
    encoder: EfficientNetConfig = field(default=EfficientNetConfig())
    embedding: int = 1024
    hidden: int = 256

    def build(self) -> SiameseNet:
        return SiameseNet(self)


class Embedded(NamedTuple):
    """Unit vectors of a batch of clips, ``vector`` [B, D]."""

    vector: Tensor


class Spectrogram(nn.Module):
    """Clip [B, T] -> standardised magnitude^power [B, 1, N, F]. No trainable weights."""

    window: Tensor
    center: Tensor
    scale: Tensor

    def __init__(self, config: SpectrogramConfig) -> None:
        super().__init__()
        self.config = config
        self.register_buffer("window", torch.hann_window(config.window), persistent=False)
        self.register_buffer("center", torch.zeros(()))
        self.register_buffer("scale", torch.ones(()))

    def forward(self, audio: Tensor) -> Tensor:
        return (self.compressed(audio) - self.center) / self.scale

    def compressed(self, audio: Tensor) -> Tensor:
        """Magnitude^power [B, 1, N, F], before standardisation."""
        c = self.config
        expect(audio, "B T", "Spectrogram")
        with full_precision(audio.device):
            spectrum = torch.stft(
                audio.float(), c.window, c.hop, window=self.window, center=True, return_complex=True
            )
            magnitude = (spectrum.abs() + MAGNITUDE_FLOOR) ** c.power
        return magnitude.transpose(1, 2)[:, None]


class SiameseNet(nn.Module):
    """(source [B, T], reference [B, T]) -> unit parameters [B, P] in (0, 1)."""

    def __init__(self, config: SiameseConfig) -> None:
        super().__init__()
        self.config = config
        self.front_end = Spectrogram(config.front_end)
        self.encoder = config.encoder.build()
        self.embed = nn.Linear(config.encoder.outputs, config.embedding)
        self.controller = nn.Sequential(
            nn.Linear(2 * config.embedding, config.hidden),
            nn.PReLU(),
            nn.Linear(config.hidden, config.hidden),
            nn.PReLU(),
            nn.Linear(config.hidden, config.outputs),
        )

    @torch.no_grad()
    def statistics(self, audio: Tensor) -> Tensor:
        """Mean and mean square of each clip's spectrogram, [B, 2]."""
        image = self.front_end.compressed(audio).flatten(1)
        return torch.stack([image.mean(1), image.square().mean(1)], dim=1)

    @torch.no_grad()
    def standardize(self, statistics: Tensor) -> None:
        """Fix the spectrogram's centre and scale from many clips' ``statistics`` [N, 2]."""
        mean, square = statistics.double().mean(0)
        self.front_end.center.copy_(mean)
        self.front_end.scale.copy_((square - mean * mean).clamp(min=1e-6).sqrt())

    def encode(self, audio: Tensor) -> Embedded:
        """Embeddings of clips [B, T] at the front end's rate."""
        features = self.encoder(self.front_end(audio))
        # A linear layer commutes with the mean over time and frequency; after it is cheaper.
        return Embedded(nn.functional.normalize(self.embed(features.mean((2, 3))), dim=1))

    def compare(self, source: Embedded, reference: Embedded) -> Tensor:
        """Embeddings of both -> unit parameters [B, P]."""
        both = torch.cat([source.vector, reference.vector], dim=1)
        with full_precision(both.device):
            return torch.sigmoid(self.controller(both.float()))

    def forward(self, source: Tensor, reference: Tensor) -> Tensor:
        vectors = self.encode(torch.cat([source, reference])).vector
        count = source.shape[0]
        return self.compare(Embedded(vectors[:count]), Embedded(vectors[count:]))
