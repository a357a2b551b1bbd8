"""A match keeps its guarantee: no band moves away from the reference, nothing is not boosted."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from kinds import RATE, excerpt_of, music, voice
from scipy import signal

from retone.audio import Clip
from retone.dsp.param import Setting
from retone.dsp.short_levels import noise_floor_change_db
from retone.dsp.third_octaves import (
    occupied_bands,
    third_octave_levels_db,
    tone_difference_db,
    used_bands,
)
from retone.estimators import match_fit
from retone.estimators.match_fit import MatchFit
from retone.estimators.matching import Matching
from retone.estimators.sound import sound_of
from retone.estimators.trial import Look
from retone.metrics.natural import boost_of_nothing_db
from retone.process.decide import decide
from retone.process.result import Options
from retone.process.stream import render_whole

FAR_DB, WORSE_DB, LIFT_DB, NOISE_DB = 3.0, 0.5, 1.0, 3.0


def within(low_hz: float, high_hz: float, x: np.ndarray, rate: int = RATE) -> np.ndarray:
    """A recording through a line of this bandwidth."""
    sections = signal.butter(10, (low_hz, high_hz), "bandpass", fs=rate, output="sos")
    return signal.sosfilt(sections, x).astype(np.float32)


def with_hum(x: np.ndarray, rate: int = RATE) -> np.ndarray:
    """A recording with 50 Hz and its harmonics."""
    t = np.arange(len(x)) / rate
    hum = sum(0.004 / k * np.sin(2 * np.pi * 50 * k * t) for k in range(1, 7))
    return (x + hum).astype(np.float32)


def with_faint_top(x: np.ndarray, below_db: float, rate: int = RATE) -> np.ndarray:
    """A recording whose highest third octave lies this far below its loudest."""
    sections = signal.butter(8, 8500, fs=rate, output="sos")
    low = signal.sosfiltfilt(sections, x)
    top = x - low
    for _ in range(4):
        levels_db = third_octave_levels_db(low + top, rate)
        known = levels_db[np.isfinite(levels_db)]
        top *= 10 ** ((known.max() - below_db - known[-1]) / 20)
    return (low + top).astype(np.float32)


def tilted(x: np.ndarray, by_db: float, rate: int = RATE) -> np.ndarray:
    """A recording whose lows fall by this much and whose highs rise by it, along 9 octaves."""
    spectrum = np.fft.rfft(x)
    hz = np.maximum(np.fft.rfftfreq(len(x), 1 / rate), 25.0)
    spectrum *= 10 ** (by_db * (np.log2(hz / 25) / 4.5 - 1) / 20)
    return np.fft.irfft(spectrum, len(x)).astype(np.float32)


PAIRS: dict[str, Callable[[], tuple[np.ndarray, np.ndarray]]] = {
    "brighter voice": lambda: (voice(0).samples, voice(1, bright_db=10.0).samples),
    "duller voice": lambda: (voice(0, bright_db=10.0).samples, voice(1).samples),
    "telephone to studio": lambda: (within(300, 3400, voice(0).samples), voice(1).samples),
    "studio to telephone": lambda: (voice(0).samples, within(300, 3400, voice(1).samples)),
    "noisy voice": lambda: (voice(0, floor_db=-45.0).samples, voice(1, bright_db=6.0).samples),
    "hum": lambda: (with_hum(voice(0).samples), voice(1).samples),
    "music": lambda: (music(0).samples, music(1).samples),
    "brighter microphone": lambda: (voice(2).samples, voice(2, bright_db=10.0).samples),
    "faint top": lambda: (
        with_faint_top(voice(2).samples, 45.05),
        voice(0, bright_db=12.0).samples,
    ),
    "hiss": lambda: (voice(0, floor_db=-58.0).samples, voice(1, bright_db=24.0).samples),
    "tilted music": lambda: (tilted(music(0).samples, 16.0), tilted(music(1).samples, -10.0)),
    "voice to music": lambda: (voice(0).samples, music(1).samples),
}


KINDS: dict[str, dict[str, Any]] = {
    "bands": {},
    "curve": {"eq": "curve"},
    "linear phase": {"eq": "curve", "phase": "linear"},
    "multiband": {"dynamics": "multiband"},
}


@functools.cache
def matched(pair: str, strength: float, kind: str) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The whole input, result and reference."""
    source, reference = PAIRS[pair]()
    estimator = Matching(strength=strength, **KINDS[kind])
    decision = decide(
        Clip(source[None], RATE), [Clip(reference[None], RATE)], Options(), estimator=estimator
    )
    result = render_whole(decision.effect, source[None], RATE, decision.setting)
    return source, result[0], reference


def levels(pair: str, strength: float, kind: str) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Third-octave levels of the whole input, result and reference."""
    before, after, goal = (third_octave_levels_db(x, RATE) for x in matched(pair, strength, kind))
    return before, after, goal


def tone_left(pair: str, kind: str) -> tuple[float, float]:
    """Mean difference in tone before and after a full match, in dB."""
    before, after, goal = levels(pair, 1.0, kind)
    used = used_bands(before, goal)
    need, left = (np.abs(tone_difference_db(x, goal, used)[used]).mean() for x in (before, after))
    return float(need), float(left)


CASES = [
    *((pair, 1.0, kind) for pair in PAIRS for kind in KINDS),
    *(("brighter voice", strength, "bands") for strength in (0.0, 0.5, 0.9)),
    *(("telephone to studio", strength, "curve") for strength in (0.0, 0.9)),
]
each_case = pytest.mark.parametrize(("pair", "strength", "kind"), CASES)


@each_case
def test_no_band_moves_away_from_the_reference(pair: str, strength: float, kind: str) -> None:
    before, after, goal = levels(pair, strength, kind)
    used = used_bands(before, goal)
    need, left = (np.abs(tone_difference_db(x, goal, used)[used]) for x in (before, after))
    far = need > FAR_DB
    assert (left - need)[far].max(initial=-np.inf) <= WORSE_DB


@each_case
def test_a_band_that_holds_nothing_is_not_boosted(pair: str, strength: float, kind: str) -> None:
    before, after, _ = levels(pair, strength, kind)
    boost_db = boost_of_nothing_db(before, after)
    assert np.isnan(boost_db) or boost_db <= LIFT_DB


def test_the_faint_top_is_nothing_in_the_file_and_a_little_in_the_passages() -> None:
    samples, _ = PAIRS["faint top"]()
    in_file, in_passages = third_octave_levels_db(samples, RATE), sound_of(excerpt_of(samples)[0])
    top = np.flatnonzero(np.isfinite(in_file))[-1]
    assert not occupied_bands(in_file)[top] and in_passages.occupied[top]


@each_case
def test_noise_in_pauses_stays_low(pair: str, strength: float, kind: str) -> None:
    source, result, _ = matched(pair, strength, kind)
    change_db = noise_floor_change_db(source, result, RATE)
    assert np.isnan(change_db) or change_db <= NOISE_DB


@pytest.mark.parametrize("kind", KINDS)
def test_a_full_match_brings_the_tone_nearer(kind: str) -> None:
    need, left = tone_left("brighter microphone", kind)
    assert left < 0.5 * need


@pytest.mark.parametrize("phase", ["minimum", "linear"])
def test_hiss_costs_only_part_of_the_tone(phase: Any) -> None:
    source, reference = PAIRS["hiss"]()
    estimator = Matching(strength=1.0, eq="curve", phase=phase)
    locks = {"compressor.ratio": 1.0, "compressor.expander_ratio": 1.1}
    locks["compressor.expander_threshold_db"] = -50.0
    found = estimator.estimate(excerpt_of(source)[0], [excerpt_of(reference)[0]], locks=locks)
    assert any("tone changes less in bands that hold noise" in n for n in found.notes), found.notes
    assert all(float(found.setting[name][0]) == value for name, value in locks.items())
    after = render_whole(found.effect, source[None], RATE, found.setting)[0]
    assert noise_floor_change_db(source, after, RATE) <= NOISE_DB + 0.2
    rows = [third_octave_levels_db(x, RATE) for x in (source, after, reference)]
    used = used_bands(rows[0], rows[2])
    need, left = (np.abs(tone_difference_db(x, rows[2], used)[used]).mean() for x in rows[:2])
    assert left < 0.6 * need


def reversed_tone(fit: MatchFit, setting: Setting, share: float) -> Setting:
    """A share of the tone with every band moved the wrong way: less noise, no guarantee."""
    gains = fit.chain.params.with_role("gain")
    return setting | {n: -share * setting[n] for n in gains}


@pytest.mark.parametrize("way", ["less tone", "less tone in bands that hold noise"])
def test_less_noise_does_not_cost_the_guarantee(way: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A way to less noise that moves bands away from the reference is not taken."""
    excess_db: list[float] = []
    name = "quiet" if way == "less tone" else "_less_noisy"
    whole = getattr(MatchFit, name)

    def watched(self: MatchFit, setting: Setting, look: Look, *rest: Any) -> Any:
        found = whole(self, setting, look, *rest)
        allowed = max(match_fit.TOLERATED_DB, self.guard.excess_db(look.gain_db))
        excess_db.append(self.guard.excess_db(found[1].gain_db) - allowed if found else 0.0)
        return found

    monkeypatch.setattr(MatchFit, name, watched)
    if way == "less tone":
        monkeypatch.setattr(MatchFit, "_less_noisy", lambda *_: None)
        monkeypatch.setattr(MatchFit, "_less_toned", reversed_tone)
    else:
        monkeypatch.setattr(match_fit, "less_noisy", lambda gain_db, *_: -gain_db)
    source, reference = PAIRS["hiss"]()
    estimator = Matching(strength=1.0, eq="curve")
    locks = {"compressor.ratio": 1.0, "compressor.expander_ratio": 1.0}
    found = estimator.estimate(excerpt_of(source)[0], [excerpt_of(reference)[0]], locks=locks)
    assert any("of the tone is made" in n for n in found.notes), found.notes
    assert excess_db and max(excess_db) <= 0


@pytest.mark.parametrize(
    ("own_s", "reference_s", "says"),
    [(0.7, 6.0, "0.7 s of the recording"), (6.0, 0.8, "0.8 s of a reference"), (6.0, 6.0, None)],
)
@pytest.mark.parametrize("strength", [0.0, 0.9])
def test_a_short_recording_has_a_note(
    own_s: float, reference_s: float, says: str | None, strength: float
) -> None:
    """Levels of bands over so little depend on where they are measured."""
    noise = 0.1 * np.random.default_rng(0).standard_normal((2, 6 * RATE)).astype(np.float32)
    own, reference = (
        Clip(x[None, : round(s * RATE)], RATE)
        for x, s in zip(noise, (own_s, reference_s), strict=True)
    )
    decision = decide(own, [reference], Options(), estimator=Matching(strength=strength))
    found = [n for n in decision.notes if "single sounds" in n]
    assert len(found) == (says is not None)
    assert says is None or f"Only {says} sound" in found[0]
