"""A style network that refines its prediction iteratively.

A single forward pass predicts all settings at once and is often inaccurate, even if the reference
is the target itself. So the effect renders the prediction, the network analyses the result and
predicts a change, several times. It also predicts the statistics of the target: those of the
reference without its content.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from retone.nets.aligned import AlignedNet, AlignedNetConfig
from retone.nets.frontend import Features
from retone.nets.precision import full_precision

Render = Callable[[Tensor], Tensor]
"""Unit parameters [B, P] -> the source rendered with them, [B, T]."""
Encode = Callable[[Tensor], Features]
LOGIT_LIMIT = 6.0


class Expected(NamedTuple):
    """Standardised summary statistics [B, S] expected of a clip, and their uncertainty.

    Each statistic has a Laplace distribution around ``mean`` with the scale ``exp(log_scale)``.
    ``weight`` [B, S] weights them in the negative log-likelihood; None: all alike.
    """

    mean: Tensor
    log_scale: Tensor
    weight: Tensor | None = None

    def nll(self, statistics: Tensor) -> Tensor:
        """Negative log-likelihood of statistics [B, S], weighted mean over them, [B], less ln 2."""
        miss = (statistics - self.mean).abs() * (-self.log_scale).exp() + self.log_scale
        return (miss if self.weight is None else miss * self.weight).mean(1)


class Predictions(NamedTuple):
    """Predictions of K passes.

    ``units``: unit parameters [B, P]; ``renders``: the source rendered with them [B, T];
    ``expected``: predicted statistics of the target; ``target_statistics`` computes the same
    statistics of a clip [B, T]. Both are empty for networks that predict no statistics.
    """

    units: list[Tensor]
    renders: list[Tensor]
    expected: list[Expected]
    target_statistics: Callable[[Tensor], Tensor] | None = None


@dataclass(frozen=True)
class IterativeNetConfig(AlignedNetConfig):
    """Sizes; ``passes`` is the number of predictions."""

    passes: int = 3

    def build(self) -> IterativeNet:
        return IterativeNet(self)


class IterativeNet(AlignedNet):
    """(source [B, T], reference [B, T], render) -> ``Predictions``.

    Pass k analyses the source rendered with the prediction of pass k - 1 and adds to its logits.
    No gradient flows from one pass to the previous one.
    """

    config: IterativeNetConfig

    def __init__(self, config: IterativeNetConfig) -> None:
        super().__init__(config)
        summary = config.front_end.summary_size
        last: Any = self.head[-1]
        with torch.no_grad():
            last.bias.zero_()
        start = torch.tensor(config.initial or [0.5] * config.outputs)
        self.register_buffer("start", torch.logit(start.clamp(0.02, 0.98)), persistent=False)
        self.context = nn.Linear(summary + config.outputs, config.hidden)
        nn.init.zeros_(self.context.weight)
        nn.init.zeros_(self.context.bias)
        norm: Any = self.head[0]
        width = norm.normalized_shape[0] + self.context.in_features
        out = nn.Linear(config.hidden, 2 * summary)
        nn.init.zeros_(out.weight)
        nn.init.zeros_(out.bias)
        self.expectation = nn.Sequential(
            nn.Linear(width, config.hidden), nn.PReLU(config.hidden), out
        )
        self.toward_reference = nn.Parameter(torch.zeros(summary))

    start: Tensor

    def forward(self, source: Tensor, reference: Tensor, render: Render) -> Predictions:  # type: ignore[override]
        return self.predict(self.encode(source), self.encode(reference), render)

    def predict(
        self, source: Features, reference: Features, render: Render, encode: Encode | None = None
    ) -> Predictions:
        """All passes, given the features of source and reference.

        ``encode`` computes the features of renders; the default is the method ``encode``.
        """
        encode = encode or self.encode
        predictions = Predictions([], [], [], self._target_statistics)
        result = source
        logit = self.start.expand(source.summary.shape[0], -1)
        for number in range(self.config.passes):
            if number:
                result = encode(predictions.renders[-1].detach())
            change, expected = self._revise(source, result, reference, logit)
            logit = (logit.detach() + change).clamp(-LOGIT_LIMIT, LOGIT_LIMIT)
            predictions.units.append(torch.sigmoid(logit))
            with full_precision(logit.device):
                predictions.renders.append(render(predictions.units[-1]))
            predictions.expected.append(expected)
        return predictions

    def revise(self, source: Tensor, result: Tensor, reference: Tensor, logit: Tensor) -> Tensor:
        """A single pass, for export: logits [B, P] of the next prediction.

        Args:
            source, reference: clips [B, T].
            result: the source rendered with the last prediction; at first the source itself.
            logit: logits [B, P] of the last prediction; at first ``start``.
        """
        clips = [self.encode(audio) for audio in (source, result, reference)]
        change, _ = self._revise(clips[0], clips[1], clips[2], logit)
        return (logit + change).clamp(-LOGIT_LIMIT, LOGIT_LIMIT)

    @torch.no_grad()
    def _target_statistics(self, audio: Tensor) -> Tensor:
        return self.standardized(self.encode(audio).summary)

    def standardized(self, summary: Tensor) -> Tensor:
        """Summary statistics [B, S] on the scale of ``Predictions.expected``."""
        return (summary - self.center) / self.scale

    def _revise(
        self, source: Features, result: Features, reference: Features, logit: Tensor
    ) -> tuple[Tensor, Expected]:
        """Change of the logits [B, P], and the predicted statistics of the target.

        The prediction is a point between the statistics of the result and of the reference, plus
        a correction.
        """
        keys = [self._keys(h) for h in (result, reference)]
        match = self.sharpness.exp() * torch.einsum("bkn,bkm->bnm", *keys)
        there = self._difference(result, reference, match)
        back = self._difference(reference, result, match.transpose(1, 2))
        a, b = self.standardized(result.summary), self.standardized(reference.summary)
        first = self.standardized(source.summary)
        with full_precision(a.device):
            found = torch.cat([there.float(), back.float(), a, b, b - a], dim=1)
            found = self.head[0](found)
            known = torch.cat([first, logit.detach()], dim=1)
            h = self.head[2:-1](self.head[1](found) + self.context(known))
            change, log_scale = self.expectation(torch.cat([found, known], dim=1)).chunk(2, dim=1)
            mean = a + torch.sigmoid(self.toward_reference) * (b - a) + change
            weight = self.front_end.weight.expand_as(mean)
            return self.head[-1](h), Expected(mean, log_scale.clamp(-4.0, 2.0), weight)
