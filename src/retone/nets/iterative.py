"""A style network that hears its own result and revises its answer.

One look at two recordings must guess all settings at once, and the guess is what errs: given the
wanted result itself as reference, a network of one look is hardly closer to it. So the answer is
rendered and heard in turn, and the network says what to change, several times over. It also says
which statistics it expects of the wanted result, that is, the reference's, freed of its content.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from retone.nets.aligned import AlignedNet, AlignedNetConfig
from retone.nets.frontend import Heard
from retone.nets.precision import full_precision

Render = Callable[[Tensor], Tensor]
"""Unit parameters [B, P] -> the source as the effect renders it with them, [B, T]."""
Hear = Callable[[Tensor], Heard]
LOGIT_LIMIT = 6.0


class Expected(NamedTuple):
    """Standardised summary statistics [B, S] expected of a clip, and their uncertainty.

    Each statistic has a Laplace distribution around ``mean`` with the scale ``exp(log_scale)``.
    ``weight`` [B, S] is what each counts in the surprise; all alike without it.
    """

    mean: Tensor
    log_scale: Tensor
    weight: Tensor | None = None

    def surprise(self, statistics: Tensor) -> Tensor:
        """Negative log-likelihood of statistics [B, S], weighted mean over them, [B], less ln 2."""
        miss = (statistics - self.mean).abs() * (-self.log_scale).exp() + self.log_scale
        return (miss if self.weight is None else miss * self.weight).mean(1)


class Answers(NamedTuple):
    """What every pass said, K of each.

    ``units``: unit parameters [B, P]; ``renders``: the source rendered with them [B, T];
    ``expected``: what statistics the wanted result should have; ``truth`` gives those of a clip
    [B, T]. Both are empty for a network that expects nothing.
    """

    units: list[Tensor]
    renders: list[Tensor]
    expected: list[Expected]
    truth: Callable[[Tensor], Tensor] | None = None


@dataclass(frozen=True)
class IterativeNetConfig(AlignedNetConfig):
    """Sizes; ``passes`` is how often the answer is given."""

    passes: int = 3

    def build(self) -> IterativeNet:
        return IterativeNet(self)


class IterativeNet(AlignedNet):
    """(source [B, T], reference [B, T], render) -> ``Answers``.

    Pass k hears the source as the answer of pass k - 1 renders it, and adds to that answer's
    logits. No gradient flows from one pass to the one before.
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

    def forward(self, source: Tensor, reference: Tensor, render: Render) -> Answers:  # type: ignore[override]
        return self.answer(self.listen(source), self.listen(reference), render)

    def answer(
        self, source: Heard, reference: Heard, render: Render, hear: Hear | None = None
    ) -> Answers:
        """All passes over a source and a reference that were heard already.

        ``hear`` listens to renders; ``listen`` by default.
        """
        hear = hear or self.listen
        answers = Answers([], [], [], self._truth)
        heard = source
        logit = self.start.expand(source.summary.shape[0], -1)
        for number in range(self.config.passes):
            if number:
                heard = hear(answers.renders[-1].detach())
            change, expected = self._revise(source, heard, reference, logit)
            logit = (logit.detach() + change).clamp(-LOGIT_LIMIT, LOGIT_LIMIT)
            answers.units.append(torch.sigmoid(logit))
            with full_precision(logit.device):
                answers.renders.append(render(answers.units[-1]))
            answers.expected.append(expected)
        return answers

    def revise(self, source: Tensor, heard: Tensor, reference: Tensor, logit: Tensor) -> Tensor:
        """One pass by itself, for other programs: the next answer's logits [B, P].

        Args:
            source, reference: clips [B, T].
            heard: the source as the last answer renders it; the source itself at first.
            logit: the last answer's logits [B, P]; ``start`` at first.
        """
        clips = [self.listen(audio) for audio in (source, heard, reference)]
        change, _ = self._revise(clips[0], clips[1], clips[2], logit)
        return (logit + change).clamp(-LOGIT_LIMIT, LOGIT_LIMIT)

    @torch.no_grad()
    def _truth(self, audio: Tensor) -> Tensor:
        return self.standardized(self.listen(audio).summary)

    def standardized(self, summary: Tensor) -> Tensor:
        """Summary statistics [B, S] on the scale of ``Answers.expected``."""
        return (summary - self.center) / self.scale

    def _revise(
        self, source: Heard, heard: Heard, reference: Heard, logit: Tensor
    ) -> tuple[Tensor, Expected]:
        """Change of the logits [B, P], and what is expected of the wanted result.

        Expected is a point between the statistics of what was heard and of the reference, and a
        correction.
        """
        keys = [self._keys(h) for h in (heard, reference)]
        match = self.sharpness.exp() * torch.einsum("bkn,bkm->bnm", *keys)
        there = self._difference(heard, reference, match)
        back = self._difference(reference, heard, match.transpose(1, 2))
        a, b = self.standardized(heard.summary), self.standardized(reference.summary)
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
