"""Methods to compare: each turns a pair's input into an estimate of its target."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import torch

from retone.audio import loudness_lufs
from retone.audio.resampling import resampled
from retone.dsp.effect import Effect
from retone.effects import MATCH_CHAIN
from retone.errors import MissingExtraError
from retone.estimators.base import NORMAL_PEAK_DB, Estimator, Excerpt, shift_thresholds
from retone.estimators.rules import Rules
from retone.losses import Loss
from retone.process.stream import render_whole
from retone.training.data.pairs import Pair
from retone.units import db_to_gain, gain_to_db


class Method(Protocol):
    """Makes an estimate [T] of a pair's target."""

    @property
    def name(self) -> str: ...

    def run(self, pair: Pair, sample_rate: int) -> np.ndarray: ...


@dataclass(frozen=True)
class Input:
    """The unprocessed input, the baseline of all ratios."""

    name: str = "Input"

    def run(self, pair: Pair, sample_rate: int) -> np.ndarray:
        return pair.input


@dataclass(frozen=True)
class Target:
    """The target itself, for tables that compare with the reference.

    ``toward_reference``: as in ``Estimated``.
    """

    name: str
    toward_reference: float = 0.0

    def run(self, pair: Pair, sample_rate: int) -> np.ndarray:
        return to_loudness(pair.target, pair.reference, sample_rate, self.toward_reference)


@dataclass(frozen=True)
class Estimated:
    """An estimator's setting, rendered.

    Estimators get excerpts with equal peaks. A setting brings the input to the level of the
    reference's excerpt, so the result is corrected by the reference's own gain; with ``at_peak``
    it stays at the level of the excerpts, as in DeepAFx-ST's baseline.
    ``toward_reference`` moves the result's loudness towards the reference's: 0 keeps the level
    of the setting, 1 matches the reference.
    """

    name: str
    estimator: Estimator
    toward_reference: float = 0.0
    at_peak: bool = False

    def run(self, pair: Pair, sample_rate: int) -> np.ndarray:
        source, gain_db = excerpt(pair.input, sample_rate)
        reference, reference_gain_db = excerpt(pair.reference, sample_rate)
        estimate = self.estimator.estimate(source, [reference], locks={})
        table = estimate.effect.params
        setting, _ = shift_thresholds(table, estimate.setting, -gain_db)
        out = render_whole(estimate.effect, pair.input[None], sample_rate, setting)[0]
        back_db = gain_db if self.at_peak else gain_db - reference_gain_db
        back_db *= estimate.reference_level_share
        out = out * out.dtype.type(db_to_gain(back_db))
        return to_loudness(out, pair.reference, sample_rate, self.toward_reference)


def published_rules(name: str = "RB-DSP, as published") -> Estimated:
    """DeepAFx-ST's baseline with the quirks of its program."""
    return Estimated(name, Rules(paper=True), at_peak=True)


@dataclass(frozen=True)
class Matchering:
    """The matchering package, with its result at the reference's loudness."""

    name: str = "matchering"

    def run(self, pair: Pair, sample_rate: int) -> np.ndarray:
        import tempfile
        from pathlib import Path

        import soundfile as sf

        try:
            import matchering
        except ImportError as e:
            raise MissingExtraError("The matchering row", "matchering", "peers") from e
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name)
            for what, audio in (("target", pair.input), ("reference", pair.reference)):
                sf.write(folder / f"{what}.wav", np.stack([audio, audio], 1), sample_rate, "FLOAT")
            matchering.process(
                target=str(folder / "target.wav"),
                reference=str(folder / "reference.wav"),
                results=[matchering.Result(str(folder / "out.wav"), "FLOAT", use_limiter=False)],
            )
            out, rate = sf.read(folder / "out.wav", dtype="float32")
        mono = resampled(out.mean(axis=1), rate, sample_rate)
        fitted = np.zeros(pair.input.size, np.float32)
        count = min(fitted.size, mono.size)
        fitted[:count] = mono[:count]
        return to_loudness(fitted, pair.reference, sample_rate, 1.0)


@dataclass(frozen=True)
class Oracle:
    """The chain fitted to the true target by gradient descent: an upper bound."""

    loss: Loss
    start: Estimator
    name: str = "oracle (fit to the true target)"
    steps: int = 200
    learning_rate: float = 0.05

    def run(self, pair: Pair, sample_rate: int) -> np.ndarray:
        source, gain_db = excerpt(pair.input, sample_rate)
        goal, _ = excerpt(pair.target, sample_rate)
        first = self.start.estimate(source, [goal], locks={})
        table = MATCH_CHAIN.params
        setting, _ = shift_thresholds(table, first.setting, -gain_db)
        unit = table.to_unit(setting).clamp(0.02, 0.98)
        return fitted_to_target(
            MATCH_CHAIN, unit, pair, sample_rate, self.loss,
            steps=self.steps, learning_rate=self.learning_rate,
        )  # fmt: skip


def fitted_to_target(
    effect: Effect,
    unit: torch.Tensor,
    pair: Any,
    sample_rate: int,
    loss: Loss,
    *,
    steps: int,
    learning_rate: float,
) -> np.ndarray:
    """The input [T] rendered with the best setting that Adam finds for the pair's target.

    Args:
        effect: effect to fit.
        unit: unit parameters to start from, [1, P], within 0..1 exclusive.
        pair: holds ``input`` and ``target``.
        sample_rate: in Hz.
        loss: loss to minimise; the best render is kept.
        steps, learning_rate: number of Adam steps, and its rate, which decays linearly to zero.
    """
    logits = torch.logit(unit).requires_grad_()
    audio = torch.from_numpy(pair.input)[None, None]
    target = loss.prepare(torch.from_numpy(pair.target)[None, None])
    optimizer = torch.optim.Adam([logits], lr=learning_rate)
    best, kept = np.inf, pair.input
    for step in range(steps):
        for group in optimizer.param_groups:
            group["lr"] = learning_rate * (1 - step / steps)
        setting = effect.params.to_physical(torch.sigmoid(logits))
        out = effect.render(audio, sample_rate, setting).audio
        value = loss(out, target, sample_rate)
        if float(value.detach()) < best:
            best, kept = float(value.detach()), out.detach()[0, 0].numpy()
        optimizer.zero_grad()
        value.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
    return kept


def excerpt(audio: np.ndarray, sample_rate: int) -> tuple[Excerpt, float]:
    """Audio [T] as an estimator's excerpt, and the gain in dB that normalised it."""
    peak = max(float(np.abs(audio).max(initial=0.0)), 1e-9)
    gain_db = NORMAL_PEAK_DB - gain_to_db(peak)
    scaled = torch.from_numpy(audio * np.float32(db_to_gain(gain_db)))
    return Excerpt(scaled, sample_rate), gain_db


def to_loudness(
    audio: np.ndarray, reference: np.ndarray, sample_rate: int, share: float
) -> np.ndarray:
    """Audio with ``share`` of the difference to the reference's integrated loudness applied."""
    if share == 0:
        return audio
    own = loudness_lufs(audio[None], sample_rate)
    goal = loudness_lufs(reference[None], sample_rate)
    if not (np.isfinite(own) and np.isfinite(goal)):
        return audio
    return audio * audio.dtype.type(db_to_gain(share * (goal - own)))
