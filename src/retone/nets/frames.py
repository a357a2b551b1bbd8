"""A network that predicts the wanted result frame by frame, not settings.

For every frame of the source it says what the log-mel frame of the wanted result is: the frame
itself and a change, so that content cancels. What a setting does to frames can be computed, so the
settings are found afterwards, by fitting the effects to these frames. The change is read from
frames of the reference with the same content (see ``retone.nets.aligned``), and from both
recordings as wholes.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from retone.nets.aligned import AlignedNet, AlignedNetConfig
from retone.nets.frontend import Heard
from retone.nets.precision import full_precision

DB = 20.0
"""Frames are in dB / 20."""
FIRST_SCALE = -2.0
"""Logarithm of an untrained network's uncertainty, in dB / 20: about 2.7 dB."""


class Wanted(NamedTuple):
    """Log-mel frames [B, M, N] expected of the result, in dB / 20.

    Every number has a Laplace distribution around ``frames`` with the scale ``exp(log_scale)``.
    The level is that of a result beside a reference that was heard at its normal peak.
    """

    frames: Tensor
    log_scale: Tensor


@dataclass(frozen=True)
class FrameNetConfig(AlignedNetConfig):
    """Sizes. ``outputs`` is the number of mel bands.

    ``width`` is that of the decoder, ``blocks`` its residual blocks; ``passes`` is how often the
    source as it was last wanted is compared with the reference anew, with the same weights.
    """

    width: int = 192
    blocks: int = 2
    passes: int = 1

    def build(self) -> FrameNet:
        return FrameNet(self)


class FrameNet(AlignedNet):
    """(source [B, T], reference [B, T]) -> ``Wanted`` of every pass."""

    config: FrameNetConfig

    def __init__(self, config: FrameNetConfig) -> None:
        super().__init__(config)
        mels, width = config.front_end.mels, config.width
        self.shares = nn.Parameter(torch.tensor([[0.25], [-0.25], [0.0]]).repeat(1, mels))
        self.enter = nn.Conv1d(3 * mels + config.trunk, width, 3, padding=1)
        self.blocks = nn.ModuleList(_Block(width, config.hidden) for _ in range(config.blocks))
        leave = nn.Conv1d(width, 2 * mels, 1)
        nn.init.normal_(leave.weight, std=1e-3)
        with torch.no_grad():
            assert leave.bias is not None
            leave.bias.copy_(torch.tensor([0.0, FIRST_SCALE]).repeat_interleave(mels))
        self.leave = leave

    def forward(self, source: Tensor, reference: Tensor) -> list[Wanted]:  # type: ignore[override]
        return self.predict(self.listen(source), self.listen(reference))

    def predict(self, source: Heard, reference: Heard) -> list[Wanted]:
        """What is wanted, after every pass."""
        found: list[Wanted] = []
        frames = source.frames
        for _ in range(self.config.passes):
            change, log_scale = self._look(source, source._replace(frames=frames), reference)
            frames = frames + change
            found.append(Wanted(frames, log_scale))
        return found

    def _look(self, source: Heard, now: Heard, reference: Heard) -> tuple[Tensor, Tensor]:
        """Change still wanted of frames as they are ``now``, and its uncertainty [B, M, N]."""
        keys = [self._keys(h) for h in (now, reference)]
        match = self.sharpness.exp() * torch.einsum("bkn,bkm->bnm", *keys)
        h, apart = self._frames(now, reference, match)
        g, back = self._frames(reference, now, match.transpose(1, 2))
        there, here = _pooled(h, apart, now.energy), _pooled(g, back, reference.energy)
        a, b = ((x.summary - self.center) / self.scale for x in (source, reference))
        mels = self.config.front_end.mels
        means = [_mean(x.frames, x.energy) for x in (now, reference)]
        with full_precision(a.device):
            known = self.head[:-1](torch.cat([there.float(), here.float(), a, b, b - a], dim=1))
            differences = torch.stack([there[:, -mels:], here[:, -mels:], means[1] - means[0]], 1)
            curve = self.head[-1](known) + (differences * self.shares).sum(1)
        curve = curve[..., None]
        h = self.enter(torch.cat([source.frames, now.frames + curve, apart, h], dim=1))
        for block in self.blocks:
            h = block(h, known)
        change, log_scale = self.leave(h).chunk(2, dim=1)
        return curve + change, log_scale.clamp(-5.0, 1.0)

    def _frames(self, one: Heard, other: Heard, match: Tensor) -> tuple[Tensor, Tensor]:
        """Features [B, C, N] of each frame of ``one`` beside its match, and what differs [B, M, N].

        ``match`` [B, N, K] is how alike their contents are.
        """
        weights = torch.softmax(match + torch.log(other.energy[:, None] + 1e-9), dim=-1)
        apart = torch.einsum("bnm,bcm->bcn", weights, other.frames) - one.frames
        return self.trunk(torch.cat([one.frames, apart], dim=1)), apart


class _Block(nn.Module):
    """A residual pair of convolutions whose middle a vector [B, G] scales and shifts."""

    def __init__(self, width: int, condition: int) -> None:
        super().__init__()
        self.condition = nn.Linear(condition, 2 * width)
        self.body = nn.ModuleList(
            [
                nn.PReLU(width),
                nn.Conv1d(width, width, 3, padding=1),
                nn.PReLU(width),
                nn.Conv1d(width, width, 3, padding=2, dilation=2),
            ]
        )
        nn.init.zeros_(self.condition.weight)
        nn.init.zeros_(self.condition.bias)

    def forward(self, x: Tensor, vector: Tensor) -> Tensor:
        first, middle, second, last = self.body
        scale, shift = self.condition(vector)[..., None].chunk(2, dim=1)
        h: Any = middle(first(x)) * (1 + scale) + shift
        return x + last(second(h))  # type: ignore[no-any-return]


def _mean(frames: Tensor, energy: Tensor) -> Tensor:
    return (frames * energy[:, None]).sum(-1)


def _pooled(h: Tensor, apart: Tensor, energy: Tensor) -> Tensor:
    """Mean and spread of features [B, C, N] over time, and mean difference, [B, 2 C + M]."""
    mean = _mean(h, energy)
    spread = _mean((h - mean[..., None]).square(), energy)
    return torch.cat([mean, (spread + 1e-6).sqrt(), _mean(apart, energy)], dim=1)
