"""A compact style network that compares frames with the same content.

Two recordings differ in processing and in content. For every frame of one recording the network
looks for frames of the other with the same content, by attention over features without each
recording's mean spectrum, so that equalisation does not affect the search. What differs between a
frame and its match is due to processing.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from retone.nets.frontend import Features, FrontEnd, FrontEndConfig
from retone.nets.precision import full_precision


@dataclass(frozen=True)
class AlignedNetConfig:
    """Sizes. ``outputs`` is the number of unit parameters to predict."""

    outputs: int
    front_end: FrontEndConfig
    content: int = 96
    key: int = 48
    trunk: int = 192
    hidden: int = 512
    initial: Sequence[float] = field(default=())
    """Unit parameters that an untrained network predicts; if empty, 0.5 for all."""

    def build(self) -> AlignedNet:
        return AlignedNet(self)


class AlignedNet(nn.Module):
    """(source [B, T], reference [B, T]) -> unit parameters [B, P] in (0, 1)."""

    center: Tensor
    scale: Tensor

    def __init__(self, config: AlignedNetConfig) -> None:
        super().__init__()
        self.config = config
        mels, c = config.front_end.mels, config
        self.front_end = FrontEnd(config.front_end)
        self.content = nn.Sequential(
            nn.Conv1d(mels, c.content, 5, padding=2),
            nn.PReLU(c.content),
            nn.Conv1d(c.content, c.content, 3, padding=2, dilation=2),
            nn.PReLU(c.content),
            nn.Conv1d(c.content, c.key, 1),
        )
        self.sharpness = nn.Parameter(torch.tensor(2.0))
        self.trunk = nn.Sequential(
            nn.Conv1d(2 * mels, c.trunk, 3, padding=1),
            nn.PReLU(c.trunk),
            nn.Conv1d(c.trunk, c.trunk, 3, padding=1),
            nn.PReLU(c.trunk),
        )
        summary = config.front_end.summary_size
        self.register_buffer("center", torch.zeros(summary))
        self.register_buffer("scale", torch.ones(summary))
        width = 2 * (2 * c.trunk + mels) + 3 * summary
        self.head = nn.Sequential(
            nn.LayerNorm(width),
            nn.Linear(width, c.hidden),
            nn.PReLU(c.hidden),
            nn.Linear(c.hidden, c.hidden),
            nn.PReLU(c.hidden),
            nn.Linear(c.hidden, c.outputs),
        )
        last: Any = self.head[-1]
        nn.init.normal_(last.weight, std=1e-3)
        start = torch.tensor(config.initial or [0.5] * c.outputs)
        with torch.no_grad():
            last.bias.copy_(torch.logit(start.clamp(0.02, 0.98)))

    @torch.no_grad()
    def statistics(self, audio: Tensor) -> Tensor:
        """Summary statistics [B, S] of clips [B, T], before scaling."""
        return self.encode(audio).summary

    @torch.no_grad()
    def standardize(self, summaries: Tensor) -> None:
        """Set the fixed scaling of summary statistics from examples [N, S]."""
        self.center.copy_(summaries.mean(0))
        self.scale.copy_(summaries.std(0).clamp(min=1e-2))

    def encode(self, audio: Tensor) -> Features:
        """Features of clips [B, T] at the front end's rate."""
        return self.front_end(audio)

    def compare(self, source: Features, reference: Features) -> Tensor:
        """Features of both -> unit parameters [B, P]."""
        found = self.features(source, reference)
        with full_precision(found.device):
            return torch.sigmoid(self.head(found))

    def features(self, source: Features, reference: Features) -> Tensor:
        """Features of both -> input of the head, [B, F]."""
        keys = [self._keys(h) for h in (source, reference)]
        match = self.sharpness.exp() * torch.einsum("bkn,bkm->bnm", *keys)
        there = self._difference(source, reference, match)
        back = self._difference(reference, source, match.transpose(1, 2))
        a = (source.summary - self.center) / self.scale
        b = (reference.summary - self.center) / self.scale
        with full_precision(a.device):
            return torch.cat([there.float(), back.float(), a, b, b - a], dim=1)

    def forward(self, source: Tensor, reference: Tensor) -> Tensor:
        return self.compare(self.encode(source), self.encode(reference))

    def _keys(self, features: Features) -> Tensor:
        mean = (features.frames * features.energy[:, None]).sum(-1, keepdim=True)
        keys = self.content(features.frames - mean)
        return nn.functional.normalize(keys, dim=1)

    def _difference(self, one: Features, other: Features, match: Tensor) -> Tensor:
        """Differences between each frame of ``one`` and its match in ``other``, pooled."""
        weights = torch.softmax(match + torch.log(other.energy[:, None] + 1e-9), dim=-1)
        found = torch.einsum("bnm,bcm->bcn", weights, other.frames)
        pooled_difference = ((found - one.frames) * one.energy[:, None]).sum(-1)
        h = self.trunk(torch.cat([one.frames, found - one.frames], dim=1))
        mean = (h * one.energy[:, None]).sum(-1)
        spread = ((h - mean[..., None]).square() * one.energy[:, None]).sum(-1)
        return torch.cat([mean, (spread + 1e-6).sqrt(), pooled_difference], dim=1)
