"""Rows of the natural-pairs tables: each makes an input sound like a reference recording.

``ROWS`` names them; a package of another author that is not installed leaves its row out.
"""

from __future__ import annotations

import importlib.util
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple, Protocol

import numpy as np

from retone.audio import Clip
from retone.audio.resampling import resampled
from retone.dsp.third_octaves import (
    CENTRES_HZ,
    third_octave_levels_db,
    tone_difference_db,
    used_bands,
)
from retone.effects import MATCH_CHAIN, Equalizer
from retone.estimators import equalizer_fit
from retone.estimators.base import Estimator
from retone.estimators.choose import estimator_named
from retone.estimators.closed_form import ClosedForm
from retone.estimators.matching import DynamicsKind, EqKind, Matching
from retone.estimators.network import Network
from retone.process.decide import decide
from retone.process.recording import open_recording
from retone.process.render import render_to_array
from retone.process.result import Options
from retone.process.stream import render_whole


class Output(NamedTuple):
    """What a method made: audio [C, T], the CPU seconds of its analysis, and how many notes it gave
    the user about what it left alone or could not do."""

    audio: np.ndarray
    seconds: float
    notes: int = 0


class NaturalMethod(Protocol):
    """Renders an input, given a reference at its own sample rate."""

    def run(self, input: Clip, reference: Clip) -> Output:
        """Make the input sound like the reference."""
        ...


@dataclass(frozen=True)
class NaturalRow:
    """A row of the table: its label, how it is made for ``"speech"`` or ``"music"``, and the
    package that it needs, if any."""

    label: str
    make: Callable[[str], NaturalMethod]
    package: str = ""

    @property
    def available(self) -> bool:
        """Whether its package is installed."""
        return not self.package or importlib.util.find_spec(self.package) is not None


@dataclass(frozen=True)
class Untouched:
    """The input itself."""

    def run(self, input: Clip, reference: Clip) -> Output:
        return Output(input.samples, 0.0)


@dataclass(frozen=True)
class Estimated:
    """retone with an estimator, rendered as on the command line but without the limiter, so that
    a loud reference does not hide what the settings do."""

    estimator: Estimator

    def run(self, input: Clip, reference: Clip) -> Output:
        options = Options(true_peak_dbtp=None)
        with open_recording(input) as reader:
            start = time.process_time()
            decision = decide(reader, [reference], options, estimator=self.estimator)
            seconds = time.process_time() - start
            audio = render_to_array(reader, decision, options).audio
        assert audio is not None
        return Output(audio, seconds, len(decision.notes))


@dataclass(frozen=True)
class SixBands:
    """The six-band equaliser fitted freely to the whole difference: the limit of six bands.

    Only the mean squared difference of the third octaves counts: nothing holds back gains where
    little was recorded, and there are no dynamics.
    """

    def run(self, input: Clip, reference: Clip) -> Output:
        start = time.process_time()
        own, other = (third_octave_levels_db(c.samples, c.sample_rate) for c in (input, reference))
        used = used_bands(own, other)
        equalizer = MATCH_CHAIN.members[0]
        assert isinstance(equalizer, Equalizer)
        rules = equalizer_fit.FitRules(max_gain_db=24.0, max_boost_q=6.0, steps=100)
        found = equalizer_fit.fit(
            equalizer,
            CENTRES_HZ[used],
            tone_difference_db(own, other, used)[used],
            0.25 * np.eye(int(used.sum())),
            input.sample_rate,
            {},
            rules,
        )
        seconds = time.process_time() - start
        setting = equalizer.params.setting(found)
        out = render_whole(equalizer, input.samples, input.sample_rate, setting)
        return Output(out, seconds)


@dataclass(frozen=True)
class Matchering:
    """The matchering package, limiter off."""

    def run(self, input: Clip, reference: Clip) -> Output:
        import tempfile
        from pathlib import Path

        import matchering
        import soundfile

        with tempfile.TemporaryDirectory() as name:
            folder = Path(name)
            for what, clip in (("target", input), ("reference", reference)):
                pair = clip.samples if clip.channels == 2 else _mono(clip)[None].repeat(2, 0)
                soundfile.write(folder / f"{what}.wav", pair.T, clip.sample_rate, "FLOAT")
            start = time.process_time()
            matchering.process(
                target=str(folder / "target.wav"),
                reference=str(folder / "reference.wav"),
                results=[matchering.Result(str(folder / "out.wav"), "FLOAT", use_limiter=False)],
            )
            seconds = time.process_time() - start
            made, rate = soundfile.read(folder / "out.wav", dtype="float32", always_2d=True)
        back = resampled(made, rate, input.sample_rate).T
        out = back if input.channels == 2 else back.mean(axis=0, keepdims=True)
        return Output(out, seconds)


@dataclass(frozen=True)
class Libsonare:
    """The libsonare package's match equaliser with its default options."""

    def run(self, input: Clip, reference: Clip) -> Output:
        import libsonare

        start = time.process_time()
        goal = np.ascontiguousarray(_mono(reference), dtype=np.float32)
        found = [
            libsonare.mastering_pair_process(
                "match.applyMatchEq",
                np.ascontiguousarray(channel, dtype=np.float32),
                goal,
                input.sample_rate,
                reference_sample_rate=reference.sample_rate,
            )
            for channel in input.samples
        ]
        seconds = time.process_time() - start
        late = [int(f.latency_samples) for f in found]
        shifted = [np.asarray(f.samples)[n:] for f, n in zip(found, late, strict=True)]
        return Output(np.stack(shifted), seconds)


def _mono(clip: Clip) -> np.ndarray:
    return np.asarray(clip.samples.mean(axis=0))


def _estimator(name: str) -> Callable[[str], NaturalMethod]:
    return lambda kind: Estimated(estimator_named(name))


def _matching(
    strength: float, eq: EqKind = "bands", dynamics: DynamicsKind = "broadband"
) -> Callable[[str], NaturalMethod]:
    return lambda kind: Estimated(Matching(strength=strength, eq=eq, dynamics=dynamics))


def _closed_form(kind: str) -> NaturalMethod:
    return Estimated(Matching(strength=0.0, processing=ClosedForm()))


def _network(kind: str) -> NaturalMethod:
    return Estimated(Network(weights=kind, frames=None, caution=0.0))


ROWS: dict[str, NaturalRow] = {
    "input": NaturalRow("Input", lambda kind: Untouched()),
    "matchering": NaturalRow("matchering", lambda kind: Matchering(), "matchering"),
    "libsonare": NaturalRow("libsonare", lambda kind: Libsonare(), "libsonare"),
    "six-band": NaturalRow("six bands, fitted freely", lambda kind: SixBands()),
    "closed-form": NaturalRow("closed-form", _estimator("closed-form")),
    "full-match": NaturalRow("full-match", _estimator("full-match")),
    "network": NaturalRow("network, fitted", _network),
    **{
        f"match-{strength:g}": NaturalRow(f"retone, strength {strength:g}", _matching(strength))
        for strength in (0.0, 0.3, 0.5, 0.6, 0.9, 1.0)
    },
    "closed-form-0": NaturalRow("retone, strength 0, closed form", _closed_form),
    **{
        f"curve-{strength:g}": NaturalRow(
            f"retone, strength {strength:g}, curve", _matching(strength, "curve")
        )
        for strength in (0.9, 1.0)
    },
    "multiband-0.9": NaturalRow(
        "retone, strength 0.9, multiband", _matching(0.9, dynamics="multiband")
    ),
}
"""Rows by name; the first is the baseline. A further setting of an estimator is one line."""


def rendered(method: NaturalMethod, input: Clip, reference: Clip) -> Output:
    """A method's output with its audio cut or padded to the input's length."""
    found = method.run(input, reference)
    out = np.zeros_like(input.samples, np.float32)
    count = min(out.shape[1], found.audio.shape[1])
    out[:, :count] = found.audio[:, :count]
    return found._replace(audio=out)
