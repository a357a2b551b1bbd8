"""A network that predicts the target frame by frame instead of settings.

For every frame of the source it predicts the log-mel frame of the target as the source's frame plus
a change, so that content cancels. The effect of a setting on frames can be computed, so settings
are found afterwards by fitting the effects to the predicted frames. The change follows from frames
of the reference with the same content (see ``retone.nets.aligned``) and from statistics of both
recordings. The layers that compare both are those of ``retone.nets.iterative``, whose weights are a
good initialisation.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from retone.nets.frontend import Features
from retone.nets.iterative import Expected, IterativeNet, IterativeNetConfig
from retone.nets.precision import full_precision

DB = 20.0
"""Frames are in dB / 20."""
DILATIONS = (2, 2, 4, 8)
"""Dilations in frames of the decoder's blocks, repeated."""
FIRST_SCALE = -2.0
"""Logarithm of an untrained network's scale in dB / 20, about 2.7 dB."""


class FramePrediction(NamedTuple):
    """Predicted log-mel frames [B, M, N] of the target, in dB / 20, and its statistics.

    Every value has a Laplace distribution around ``frames`` with the scale ``exp(log_scale)``.
    The level is that of a target whose reference is at its normal peak.
    """

    frames: Tensor
    log_scale: Tensor
    expected: Expected


@dataclass(frozen=True)
class FrameNetConfig(IterativeNetConfig):
    """Sizes.

    ``curve`` is the width of the layer that corrects the mean change of each band; ``width`` is
    that of the decoder and ``blocks`` its number of residual blocks; ``passes`` is the number of
    predictions: each pass compares the last prediction with the reference, with the same weights.
    ``exchanges`` is the number of layers in which the frames of both recordings attend to each
    other, with ``heads`` heads.

    Further blocks and exchanges change nothing until they are trained, so the weights of a network
    with fewer of them are a good initialisation.
    """

    curve: int = 256
    width: int = 192
    blocks: int = 2
    passes: int = 2
    exchanges: int = 0
    heads: int = 4

    def build(self) -> FrameNet:
        return FrameNet(self)


class FrameNet(IterativeNet):
    """(source [B, T], reference [B, T]) -> ``FramePrediction`` of every pass."""

    config: FrameNetConfig

    def __init__(self, config: FrameNetConfig) -> None:
        super().__init__(config)
        del self.head[-1]  # it predicts no settings
        mels, width = config.front_end.mels, config.width
        self.gate = nn.Conv1d(config.trunk, mels, 1)
        bend = nn.Linear(config.curve, mels)
        nn.init.zeros_(bend.weight)
        nn.init.zeros_(bend.bias)
        self.curve = nn.Sequential(
            nn.Linear(config.hidden + 2 * mels, config.curve), nn.PReLU(config.curve), bend
        )
        self.evenness = nn.Parameter(torch.tensor(2.0))
        self.even_gate = nn.Conv1d(2 * mels, mels, 1)
        self.even_curve = nn.Linear(2 * mels, config.curve, bias=False)
        self.even_enter = nn.Conv1d(mels, width, 1, bias=False)
        for part in (self.even_curve, self.even_enter):
            nn.init.zeros_(part.weight)
        self.moved = nn.Linear(mels, config.hidden, bias=False)
        nn.init.zeros_(self.moved.weight)
        self.enter = nn.Conv1d(3 * mels + config.trunk, width, 3, padding=1)
        self.blocks = nn.ModuleList(
            _Block(width, config.hidden, DILATIONS[i % len(DILATIONS)])
            for i in range(config.blocks)
        )
        self.exchanges = nn.ModuleList(
            _Exchange(config.trunk, config.heads) for _ in range(config.exchanges)
        )
        leave = nn.Conv1d(width, 2 * mels, 1)
        nn.init.normal_(leave.weight, std=1e-3)
        with torch.no_grad():
            assert leave.bias is not None
            leave.bias.copy_(torch.tensor([0.0, FIRST_SCALE]).repeat_interleave(mels))
        self.leave = leave

    def forward(self, source: Tensor, reference: Tensor) -> list[FramePrediction]:  # type: ignore[override]
        return self.predict(self.encode(source), self.encode(reference))

    def predict(  # type: ignore[override]
        self, source: Features, reference: Features
    ) -> list[FramePrediction]:
        """Predictions of all passes. No gradient flows from one pass to the previous one."""
        found: list[FramePrediction] = []
        now = source
        for _ in range(self.config.passes):
            found.append(self._look(source, now, reference))
            now = source._replace(frames=found[-1].frames.detach())
        return found

    def predict_at(self, number: int, source: Features, reference: Features) -> FramePrediction:
        """Prediction of pass ``number``, from 0; no gradient flows to earlier passes."""
        now = source
        with torch.no_grad():
            for _ in range(number):
                now = source._replace(frames=self._look(source, now, reference).frames)
        return self._look(source, now, reference)

    def _look(self, source: Features, now: Features, reference: Features) -> FramePrediction:
        """Prediction of a pass, given the previous prediction ``now`` (at first the source)."""
        keys = [self._keys(h) for h in (now, reference)]
        alike = torch.einsum("bkn,bkm->bnm", *keys)
        match = self.sharpness.exp() * alike
        h, difference = self._frames(now, reference, match)
        g, back = self._frames(reference, now, match.transpose(1, 2))
        for exchange in self.exchanges:
            h, g = exchange(h, g), exchange(g, h)
        there, here = _pooled(h, difference, now.energy), _pooled(g, back, reference.energy)
        a, b = (self.standardized(x.summary) for x in (source, reference))
        with full_precision(a.device):
            found = torch.cat([there.float(), here.float(), a, b, b - a], dim=1)
            found = self.head[0](found)
            known = torch.cat([a, self.start.expand(a.shape[0], -1)], dim=1)
            far = _mean(now.frames - source.frames, source.energy)
            vector = self.head[2:](self.head[1](found) + self.context(known) + self.moved(far))
            expected = self._expect(torch.cat([found, known], dim=1), a, b)
        mels = self.config.front_end.mels
        means = expected.mean * self.scale + self.center
        curve = means[:, :mels] - _mean(now.frames, now.energy)
        offsets = [self._gated(h, difference) - curve, -self._gated(g, back) - curve]
        there, even = self._even(now, reference, alike)
        here, _ = self._even(reference, now, alike.transpose(1, 2))
        offsets_even = torch.cat([there - curve, -here - curve], dim=1)
        bent = self.curve[0](torch.cat([vector, *offsets], dim=1)) + self.even_curve(offsets_even)
        curve = (curve + self.curve[1:](bent))[..., None]
        x = self.enter(torch.cat([source.frames, now.frames + curve, difference, h], dim=1))
        x = x + self.even_enter(even)
        for block in self.blocks:
            x = block(x, vector)
        change, log_scale = self.leave(x).float().chunk(2, dim=1)
        return FramePrediction(now.frames + curve + change, log_scale.clamp(-5.0, 1.0), expected)

    def _even(self, one: Features, other: Features, alike: Tensor) -> tuple[Tensor, Tensor]:
        """Differences with all frames weighted alike: gated means [B, M], and frames [B, M, N].

        Pauses contain a recording's noise, which shows its processing whatever the content.
        """
        weights = torch.softmax(self.evenness.exp() * alike, dim=-1)
        difference = _matched(weights, other.frames) - one.frames
        share = torch.sigmoid(self.even_gate(torch.cat([one.frames, difference], dim=1))) + 1e-4
        return (share * difference).sum(-1) / share.sum(-1), difference

    def _gated(self, h: Tensor, difference: Tensor) -> Tensor:
        """Mean over time of differences [B, M, N], gated by features [B, C, N], [B, M]."""
        share = torch.sigmoid(self.gate(h)) + 1e-4
        return (share * difference).sum(-1) / share.sum(-1)

    def _expect(self, found: Tensor, a: Tensor, b: Tensor) -> Expected:
        """Predicted statistics of the target, from those of source and reference, [B, S]."""
        change, log_scale = self.expectation(found).chunk(2, dim=1)
        mean = a + torch.sigmoid(self.toward_reference) * (b - a) + change
        weight = self.front_end.weight.expand_as(mean)
        return Expected(mean, log_scale.clamp(-4.0, 2.0), weight)

    def _frames(self, one: Features, other: Features, match: Tensor) -> tuple[Tensor, Tensor]:
        """Features [B, C, N] of each frame of ``one`` and its match, and differences [B, M, N].

        ``match`` [B, N, K] is the similarity of their content.
        """
        weights = torch.softmax(match + torch.log(other.energy[:, None] + 1e-9), dim=-1)
        difference = _matched(weights, other.frames) - one.frames
        return self.trunk(torch.cat([one.frames, difference], dim=1)), difference


class _Block(nn.Module):
    """Two convolutions with a skip connection; a vector [B, G] scales and shifts in between."""

    def __init__(self, width: int, condition: int, dilation: int) -> None:
        super().__init__()
        self.condition = nn.Linear(condition, 2 * width)
        self.body = nn.ModuleList(
            [
                nn.PReLU(width),
                nn.Conv1d(width, width, 3, padding=1),
                nn.PReLU(width),
                nn.Conv1d(width, width, 3, padding=dilation, dilation=dilation),
            ]
        )
        for part in (self.condition, self.body[-1]):
            _zero(part)

    def forward(self, x: Tensor, vector: Tensor) -> Tensor:
        first, middle, second, last = self.body
        scale, shift = self.condition(vector)[..., None].chunk(2, dim=1)
        h: Any = middle(first(x)) * (1 + scale) + shift
        return x + last(second(h))  # type: ignore[no-any-return]


class _Exchange(nn.Module):
    """Frames [B, C, N] of one recording attend to those of another, and then to their neighbours.

    Attention over processed features finds what attention over content cannot, such as passages
    with the same noise.
    """

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.norm = nn.LayerNorm(width)
        self.query = nn.Linear(width, width)
        self.other = nn.Linear(width, 2 * width)
        self.out = nn.Linear(width, width)
        self.body = nn.Sequential(
            nn.PReLU(width),
            nn.Conv1d(width, width, 3, padding=1),
            nn.PReLU(width),
            nn.Conv1d(width, width, 3, padding=1),
        )
        for part in (self.out, self.body[-1]):
            _zero(part)

    def forward(self, one: Tensor, other: Tensor) -> Tensor:
        here, there = (self.norm(x.transpose(1, 2)) for x in (one, other))
        query, key, value = (
            x.unflatten(2, (self.heads, -1)).transpose(1, 2)
            for x in (self.query(here), *self.other(there).chunk(2, dim=2))
        )
        found = nn.functional.scaled_dot_product_attention(query, key, value)
        one = one + self.out(found.transpose(1, 2).flatten(2)).transpose(1, 2)
        return one + self.body(one)  # type: ignore[no-any-return]


def _matched(weights: Tensor, frames: Tensor) -> Tensor:
    """Frames [B, M, K] averaged with weights [B, N, K]: [B, M, N].

    bfloat16 would round levels to 0.3 dB.
    """
    with full_precision(frames.device):
        return torch.einsum("bnm,bcm->bcn", weights.float(), frames)


def _zero(layer: Any) -> None:
    nn.init.zeros_(layer.weight)
    nn.init.zeros_(layer.bias)


def _mean(frames: Tensor, energy: Tensor) -> Tensor:
    return (frames * energy[:, None]).sum(-1)


def _pooled(h: Tensor, difference: Tensor, energy: Tensor) -> Tensor:
    """Mean and spread of features [B, C, N] over time, and mean difference, [B, 2 C + M]."""
    mean = _mean(h, energy)
    spread = _mean((h - mean[..., None]).square(), energy)
    return torch.cat([mean, (spread + 1e-6).sqrt(), _mean(difference, energy)], dim=1)
