"""Loudness: every recording lands on its target, and each loudspeaker is as loud as the other."""

from __future__ import annotations

import numpy as np
import pytest
from kinds import RATE, music, stereo, voice

from retone.audio import Clip, LoudnessMeter, loudness_lufs
from retone.audio.array_reader import ArrayReader
from retone.effects import MATCH_CHAIN
from retone.errors import SettingError
from retone.estimators.base import Estimate
from retone.process.decide import decide
from retone.process.level import TOO_QUIET, loudness_of, speech_loudness
from retone.process.render import render_to_array
from retone.process.result import Decision, Options, Rendered


class Neutral:
    """An estimator that changes nothing, so that only the level moves."""

    name = "neutral"

    def estimate(self, source, references, *, locks, progress=None) -> Estimate:
        return Estimate(MATCH_CHAIN, MATCH_CHAIN.params.neutral(1))


def matched(source: np.ndarray, reference: np.ndarray, **options) -> tuple[Decision, Rendered]:
    sides = [np.atleast_2d(x).astype(np.float32) for x in (source, reference)]
    chosen = Options(true_peak_dbtp=None, **options)
    reader = ArrayReader(sides[0], RATE, "input")
    decision = decide(reader, [Clip(sides[1], RATE)], chosen, estimator=Neutral())
    return decision, render_to_array(reader, decision, chosen)


def one_loudspeaker(samples: np.ndarray) -> float:
    """Loudness of what the left loudspeaker plays."""
    return loudness_lufs(np.ascontiguousarray(samples[:1]), RATE)


VOICE, OTHER = 0.5 * voice(0).samples, voice(1).samples


@pytest.mark.parametrize(
    "source, reference, notes",
    [
        (VOICE, stereo(OTHER, OTHER), 1),
        (stereo(VOICE, VOICE), OTHER, 1),
        (VOICE, OTHER, 0),
        (stereo(VOICE, VOICE), stereo(OTHER, OTHER), 0),
    ],
)
def test_each_loudspeaker_is_as_loud_as_the_reference(
    source: np.ndarray, reference: np.ndarray, notes: int
) -> None:
    decision, found = matched(source, reference)
    goal = one_loudspeaker(np.atleast_2d(reference))
    assert found.samples is not None
    assert one_loudspeaker(found.samples) == pytest.approx(goal, abs=0.1)
    said = [n for n in decision.notes if "3 LU" in n]
    assert len(said) == notes


def test_a_note_counts_the_channels_of_surround() -> None:
    decision, _ = matched(np.repeat(np.atleast_2d(VOICE), 6, axis=0), OTHER)
    assert any("The recording is in 6 channels, its reference mono" in n for n in decision.notes)


@pytest.mark.parametrize(("loudness", "notes"), [("match", 1), ("off", 0), (-20.0, 0)])
def test_a_reference_too_quiet_for_the_meter_is_named(loudness: str | float, notes: int) -> None:
    decision, _ = matched(VOICE, 1e-4 * OTHER, loudness=loudness)
    assert [n for n in decision.notes if "-70 LUFS" in n] == [TOO_QUIET] * notes
    both, _ = matched(VOICE, OTHER, loudness=loudness)
    assert TOO_QUIET not in both.notes


@pytest.mark.parametrize(("goal", "notes"), [(-70.0, 1), (-69.0, 0), (-60.0, 0)])
def test_a_target_that_no_meter_reads_is_named(goal: float, notes: int) -> None:
    _, found = matched(VOICE, OTHER, loudness=goal)
    assert len([w for w in found.warnings if "too low to be measured" in w]) == notes
    if not notes:
        assert found.samples is not None
        assert loudness_lufs(found.samples, RATE) == pytest.approx(goal, abs=0.1)


def test_mono_on_one_loudspeaker_is_what_the_meter_says() -> None:
    reference = stereo(OTHER, OTHER)
    decision, found = matched(VOICE, reference, mono_as="single")
    assert found.samples is not None
    assert loudness_lufs(found.samples, RATE) == pytest.approx(
        loudness_lufs(reference, RATE), abs=0.05
    )
    assert any("3 LU" in n for n in decision.notes)
    with pytest.raises(SettingError, match="mono_as"):
        Options(mono_as="both")


def test_a_loudness_that_was_asked_for_is_the_measured_one() -> None:
    for source in (VOICE, stereo(VOICE, VOICE)):
        decision, found = matched(source, stereo(OTHER, OTHER), loudness=-21.0)
        assert found.samples is not None and not any("3 LU" in n for n in decision.notes)
        assert loudness_lufs(found.samples, RATE) == pytest.approx(-21.0, abs=0.05)


def test_speech_is_as_loud_in_stereo_as_in_mono() -> None:
    assert speech_loudness(1) == -19.0 and speech_loudness(2) == -16.0
    assert speech_loudness(1, "single") == -16.0


@pytest.mark.parametrize("lufs", [-100.0, -80.0, -74.0, -69.0, -64.0, -20.0])
@pytest.mark.parametrize("make", [voice, music])
@pytest.mark.parametrize("amount", [1.0, 0.5])
def test_a_quiet_recording_lands_on_its_target(make, lufs: float, amount: float) -> None:
    x = make().samples
    own = loudness_lufs(x[None], RATE)
    quiet = x * np.float32(10 ** ((lufs - own) / 20))
    decision, found = matched(quiet, OTHER, amount=amount)
    assert found.samples is not None and decision.target_lufs is not None
    goal = lufs + amount * (decision.target_lufs - lufs)
    # measured at a level where the gate does not matter
    result = loudness_lufs(found.samples * np.float32(10 ** ((-23 - goal) / 20)), RATE)
    assert result == pytest.approx(-23, abs=0.1)
    assert loudness_of(ArrayReader(quiet[None], RATE, "x")) == pytest.approx(lufs, abs=0.1)


def test_the_gain_to_a_loudness_is_what_the_meter_then_reads() -> None:
    """Speech with pauses and room noise, so that the absolute gate decides about some blocks."""
    rng = np.random.default_rng(0)
    x = np.concatenate([voice(0).samples, 2e-3 * rng.standard_normal(20 * RATE)])
    for level in (1.0, 1e-1, 1e-2, 1e-3, 1e-4):
        quiet = (level * x).astype(np.float32)[None]
        for goal in (-16.0, -23.0, -40.0, -62.0, -66.0, -69.0, -69.8):
            meter = LoudnessMeter(RATE, 1)
            meter.update(quiet)
            louder = quiet * np.float32(10 ** (meter.gain_to(goal) / 20))
            assert loudness_lufs(louder, RATE) == pytest.approx(goal, abs=0.02)
    for goal in (-70.0, -85.0):  # no meter reads that: counted down to 10 LU below
        usual = meter.gain_to(-30.0)
        assert meter.gain_to(goal) == pytest.approx(usual + goal + 30.0, abs=1.0)
    silent = LoudnessMeter(RATE, 1)
    silent.update(np.zeros((1, RATE), np.float32))
    assert silent.gain_to(-23.0) == np.inf
