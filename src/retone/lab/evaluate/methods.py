"""What is compared: each method turns a pair's input into an estimate of its target."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch

from retone.audio import loudness_lufs
from retone.effects import MATCH_CHAIN
from retone.errors import MissingExtraError
from retone.estimators.base import NORMAL_PEAK_DB, Estimator, Excerpt, shift_thresholds
from retone.losses import Loss
from retone.process.stream import render_whole
from retone.training.data.pairs import Pair
from retone.units import db_to_gain, gain_to_db


class Method(Protocol):
    """Something that makes an estimate [T] of a pair's target."""

    name: str

    def run(self, pair: Pair, sample_rate: int) -> np.ndarray: ...


@dataclass(frozen=True)
class Input:
    """The input as it is: what every ratio refers to."""

    name: str = "Input"

    def run(self, pair: Pair, sample_rate: int) -> np.ndarray:
        return pair.input


@dataclass(frozen=True)
class Target:
    """The wanted result itself, where a table compares with something else than that.

    ``toward_reference``: as in ``Estimated``.
    """

    name: str
    toward_reference: float = 0.0

    def run(self, pair: Pair, sample_rate: int) -> np.ndarray:
        return to_loudness(pair.target, pair.reference, sample_rate, self.toward_reference)


@dataclass(frozen=True)
class Estimated:
    """An estimator's setting, rendered.

    Estimators hear excerpts that all have one peak. A setting brings the input to the level of
    the reference as it was heard, so the result goes back by the reference's own gain; with
    ``at_peak`` it stays at the level of the excerpts, as DeepAFx-ST's baseline leaves it.
    ``toward_reference`` moves the result's loudness towards the reference's: 0 leaves the level
    that the setting gives, 1 matches it.
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
        out = out * out.dtype.type(db_to_gain(back_db))
        return to_loudness(out, pair.reference, sample_rate, self.toward_reference)


@dataclass(frozen=True)
class Matchering:
    """The matchering package, its result brought to the reference's loudness."""

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
        import soxr

        mono = soxr.resample(out.mean(axis=1), rate, sample_rate)
        fitted = np.zeros(pair.input.size, np.float32)
        count = min(fitted.size, mono.size)
        fitted[:count] = mono[:count]
        return to_loudness(fitted, pair.reference, sample_rate, 1.0)


@dataclass(frozen=True)
class Oracle:
    """The chain fitted to the true target by gradient descent: what its parameters can reach."""

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
        logits = torch.logit(unit).requires_grad_()
        audio = torch.from_numpy(pair.input)[None, None]
        target = self.loss.prepare(torch.from_numpy(pair.target)[None, None])
        optimizer = torch.optim.Adam([logits], lr=self.learning_rate)
        best, kept = np.inf, pair.input
        for step in range(self.steps):
            for group in optimizer.param_groups:
                group["lr"] = self.learning_rate * (1 - step / self.steps)
            physical = table.to_physical(torch.sigmoid(logits))
            out = MATCH_CHAIN.render(audio, sample_rate, physical).audio
            loss = self.loss(out, target, sample_rate)
            if float(loss.detach()) < best:
                best, kept = float(loss.detach()), out.detach()[0, 0].numpy()
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        return kept


def excerpt(audio: np.ndarray, sample_rate: int) -> tuple[Excerpt, float]:
    """Audio [T] as an estimator hears it, and the gain in dB that took it there."""
    peak = max(float(np.abs(audio).max(initial=0.0)), 1e-9)
    gain_db = NORMAL_PEAK_DB - gain_to_db(peak)
    scaled = torch.from_numpy(audio * np.float32(db_to_gain(gain_db)))
    return Excerpt(scaled, sample_rate), gain_db


def to_loudness(
    audio: np.ndarray, reference: np.ndarray, sample_rate: int, share: float
) -> np.ndarray:
    """Audio moved by ``share`` of the way to the reference's integrated loudness."""
    if share == 0:
        return audio
    own = loudness_lufs(audio[None], sample_rate)
    goal = loudness_lufs(reference[None], sample_rate)
    if not (np.isfinite(own) and np.isfinite(goal)):
        return audio
    return audio * audio.dtype.type(db_to_gain(share * (goal - own)))
