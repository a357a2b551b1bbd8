"""One setting fitted to the predictions of two networks."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

from conftest import MakeAudio
from retone.effects import MATCH_CHAIN
from retone.errors import DataError, RetoneError, SettingError
from retone.estimators import network as module
from retone.estimators import shipped
from retone.estimators.base import Excerpt
from retone.estimators.common_band import InBand
from retone.estimators.frame_fit import FitRules, FrameGoal
from retone.estimators.level_rule import same_sources
from retone.estimators.loading import load
from retone.estimators.matching import Matching
from retone.estimators.network import Network
from retone.estimators.shipped import FRAMES_MISSING, KINDS, frames_weights, style_weights
from retone.nets.frontend import FrontEndConfig
from retone.presets import open_preset

RATE = 24000
QUICK = Network(fit_steps=2, caution=0.0)
LOCK = "equalizer.high_shelf_gain_db"


def _excerpt(audio: np.ndarray, rate: int = RATE) -> Excerpt:
    return Excerpt(torch.from_numpy(0.25 * audio / max(np.abs(audio).max(), 1e-9)), rate)


@pytest.fixture(scope="module")
def pair(make_audio: MakeAudio) -> tuple[Excerpt, Excerpt]:
    audio = np.asarray(make_audio(8 * RATE, RATE, seed=5), np.float32).reshape(-1)
    first, second = np.split(audio, 2)
    return _excerpt(first), _excerpt(np.tanh(4 * second))


def setting_of(network: Network, pair: tuple[Excerpt, Excerpt], **locks: float) -> dict[str, float]:
    found = network.estimate(pair[0], [pair[1]], locks=locks).setting
    return {name: float(value) for name, value in found.items()}


@pytest.mark.parametrize("kind", KINDS)
def test_a_kind_uses_both_networks_and_a_file_only_itself(
    kind: str, pair: tuple[Excerpt, Excerpt]
) -> None:
    quick = replace(QUICK, weights=kind)
    both = setting_of(quick, pair)
    assert both == setting_of(replace(quick, frames=kind), pair)
    alone = setting_of(replace(quick, frames=None), pair)
    assert any(abs(both[name] - alone[name]) > 1e-3 for name in both)
    file = style_weights(kind)
    assert setting_of(replace(quick, weights=file), pair) == alone
    named = replace(quick, weights=file, frames=frames_weights(kind))
    assert setting_of(named, pair) == both


def test_no_fit_needs_no_second_network(
    pair: tuple[Excerpt, Excerpt], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "load_frames", lambda weights: pytest.fail("read"))
    setting_of(replace(QUICK, fit_steps=0), pair)
    setting_of(replace(QUICK, weights=style_weights("music")), pair)


def test_a_lock_is_allowed_for(pair: tuple[Excerpt, Excerpt]) -> None:
    """The fit renders with the lock, so the other bands move to make up for it."""
    network = replace(QUICK, fit_steps=12)
    free = setting_of(network, pair)
    locked = setting_of(network, pair, **{LOCK: 15.0})
    assert any(abs(free[n] - locked[n]) > 0.05 for n in free if n != LOCK)


@pytest.mark.parametrize("rate", [8000, 44100, 96000])
@pytest.mark.parametrize("seconds", [0.05, 0.4, 3.0])
def test_any_rate_and_length_has_a_setting(
    make_audio: MakeAudio, rate: int, seconds: float
) -> None:
    audio = np.asarray(make_audio(round(seconds * rate), rate, seed=1), np.float32).reshape(-1)
    found = setting_of(QUICK, (_excerpt(audio, rate), _excerpt(audio[::-1].copy(), rate)))
    assert all(np.isfinite(value) for value in found.values())
    MATCH_CHAIN.params.setting(found)


def test_long_and_several_references_count(make_audio: MakeAudio) -> None:
    audio = np.asarray(make_audio(30 * RATE, RATE, seed=2), np.float32).reshape(-1)
    source, first, second = (_excerpt(x) for x in (audio, audio[::-1].copy(), np.tanh(9 * audio)))
    one, two = (
        QUICK.estimate(source, list(others), locks={}).setting
        for others in ((first,), (first, second))
    )
    assert any(abs(float(one[n] - two[n])) > 1e-3 for n in one)


def test_networks_that_analyse_differently_are_refused(
    pair: tuple[Excerpt, Excerpt], monkeypatch: pytest.MonkeyPatch
) -> None:
    other = SimpleNamespace(front_end=SimpleNamespace(config=FrontEndConfig(sample_rate=16000)))
    monkeypatch.setattr(module, "load_frames", lambda weights: SimpleNamespace(network=other))
    with pytest.raises(DataError, match="Leave out one of them"):
        setting_of(replace(QUICK, frames="other"), pair)


def test_the_misfit_is_least_where_the_prediction_is_met() -> None:
    front_end = load("speech").network.front_end  # type: ignore[union-attr]
    torch.manual_seed(0)
    clips = 0.05 * torch.randn(2, 2 * RATE)
    frames, measures = front_end.frames_and_measures(clips)
    goal = FrameGoal(frames, torch.ones_like(frames), measures, torch.ones_like(measures))
    assert float(goal.misfit(frames, measures, FitRules.bend)) == 0.0
    for louder in (0.01, -0.2):
        assert float(goal.misfit(frames + louder, measures, FitRules.bend)) > 0
        assert float(goal.misfit(frames, measures + louder, FitRules.bend)) > 0
    away = goal._replace(weight=torch.zeros_like(frames))
    assert float(away.misfit(frames + 1, measures, FitRules.bend)) == 0.0


def test_silent_references_are_left_to_the_first_network(pair: tuple[Excerpt, Excerpt]) -> None:
    silent = Excerpt(torch.zeros(4 * RATE), RATE)
    for references in ([silent], [pair[1], silent]):
        found = QUICK.estimate(pair[0], references, locks={}).setting
        assert all(torch.isfinite(v).all() for v in found.values())


def test_a_level_must_be_a_rule() -> None:
    with pytest.raises(SettingError, match="level = 'nonsense'"):
        Network(level="nonsense")


@pytest.mark.parametrize("kind", KINDS)
def test_a_missing_second_network_is_said_once(
    kind: str, pair: tuple[Excerpt, Excerpt], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    quick, note = replace(QUICK, weights=kind), FRAMES_MISSING[kind]
    alone = setting_of(replace(quick, frames=None), pair)
    monkeypatch.setattr(shipped, "frames_weights", lambda kind: tmp_path / "none.safetensors")
    found = quick.estimate(pair[0], [pair[1]], locks={})
    assert {name: float(value) for name, value in found.setting.items()} == alone
    assert found.notes == (note,) and kind in note
    for strength in (0.0, 0.9):
        match = Matching(strength=strength, processing=quick)
        assert match.estimate(pair[0], [pair[1]], locks={}).notes.count(note) == 1
    assert replace(quick, frames=None).estimate(pair[0], [pair[1]], locks={}).notes == ()


def test_voices_are_compared_once(
    pair: tuple[Excerpt, Excerpt], monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = []

    def counted(*args: Any) -> list[float] | None:
        seen.append(args)
        return same_sources(*args)

    monkeypatch.setattr(module, "same_sources", counted)
    _, evidence = QUICK.answer(pair[0], [pair[1]], locks={})
    assert evidence is not None
    assert evidence["same source"] == pytest.approx(np.mean(same_sources(*seen[0]) or []))
    assert len(seen) == 1


def _with_level(
    monkeypatch: pytest.MonkeyPatch,
    kind: str,
    references: list[Excerpt],
    source: Excerpt,
    *rule: float,
) -> dict[str, float]:
    monkeypatch.setitem(module.LEVELS, kind, module.PredictedLevel(*rule, even=-99.0))  # full doubt
    found = replace(QUICK, weights=kind).estimate(source, references, locks={}).setting
    return {name: float(value) for name, value in found.items()}


@pytest.mark.parametrize("kind", KINDS)
def test_only_the_makeup_takes_the_result_to_the_references_peak(
    kind: str, pair: tuple[Excerpt, Excerpt], monkeypatch: pytest.MonkeyPatch
) -> None:
    source, reference = pair
    quiet = Excerpt(0.5 * reference.audio, RATE)
    silent = Excerpt(torch.zeros(4 * RATE), RATE)
    fitted = _with_level(monkeypatch, kind, [quiet], source, 0.0, 0.0, 0.0)
    moved = _with_level(monkeypatch, kind, [quiet], source, 0.0, 0.0, 1.0)
    assert {n for n in fitted if abs(fitted[n] - moved[n]) > 1e-6} == {"compressor.makeup_db"}
    with_silent = _with_level(monkeypatch, kind, [quiet, silent], source, 0.0, 0.0, 1.0)
    for setting in (moved, with_silent):
        values = MATCH_CHAIN.params.setting(setting)
        out = MATCH_CHAIN.render(source.audio[None, None], RATE, values).audio
        assert float(out.abs().max()) == pytest.approx(float(quiet.audio.abs().max()), rel=0.01)


@pytest.mark.parametrize("kind", KINDS)
def test_the_makeup_goes_a_share_of_the_way_to_the_predicted_level(
    kind: str, pair: tuple[Excerpt, Excerpt], monkeypatch: pytest.MonkeyPatch
) -> None:
    makeup_db = [
        _with_level(monkeypatch, kind, [pair[1]], pair[0], 0.0, share, 0.0)["compressor.makeup_db"]
        for share in (0.0, 0.5, 1.0)
    ]
    assert abs(makeup_db[2] - makeup_db[0]) > 0.01
    assert makeup_db[1] == pytest.approx((makeup_db[0] + makeup_db[2]) / 2, abs=1e-4)


def test_only_doubt_moves_the_level_by_the_doubtful_share(
    pair: tuple[Excerpt, Excerpt], monkeypatch: pytest.MonkeyPatch
) -> None:
    makeup_db = []
    for rule in ((0.0, 1.0, 0.0, 9.0), (0.0, 0.0, 0.0, 9.0), (0.0, 1.0, 0.0, -99.0)):
        monkeypatch.setitem(module.LEVELS, "speech", module.PredictedLevel(*rule))
        makeup_db.append(setting_of(QUICK, pair)["compressor.makeup_db"])
    assert makeup_db[0] == pytest.approx(makeup_db[1], abs=1e-9)
    assert abs(makeup_db[2] - makeup_db[1]) > 0.01


def _narrow(excerpt: Excerpt, end_hz: float = 4000.0) -> Excerpt:
    spectrum = torch.fft.rfft(excerpt.audio)
    spectrum[torch.fft.rfftfreq(len(excerpt.audio), 1 / RATE) > end_hz] = 0
    return Excerpt(torch.fft.irfft(spectrum, n=len(excerpt.audio)), RATE)


@pytest.mark.parametrize("kind", KINDS)
def test_only_speech_is_compared_in_the_common_band(
    kind: str, pair: tuple[Excerpt, Excerpt], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The network analyses what ``in_common_band`` gives, which knows how alike voices are."""
    source, reference = pair[0], _narrow(pair[1])
    given = []

    def replaced(own: Any, others: Any, rate: int, alike: Any) -> InBand:
        given.append(alike)
        return InBand(_narrow_clips(own), others, 1.5)

    plain, _ = replace(QUICK, weights=kind).answer(source, [reference], locks={})
    monkeypatch.setattr(module, "in_common_band", replaced)
    found, evidence = replace(QUICK, weights=kind).answer(source, [reference], locks={})
    assert evidence is not None
    same = all(torch.equal(found.setting[n], plain.setting[n]) for n in plain.setting)
    if kind == "music":
        assert not given and same and "octaves lost" not in evidence
    else:
        assert evidence["octaves lost"] == 1.5
        assert np.mean(given[0]) == pytest.approx(evidence["same source"])
        assert not same


def _narrow_clips(clips: torch.Tensor) -> torch.Tensor:
    return torch.stack([_narrow(Excerpt(clip, RATE), 2500.0).audio for clip in clips])


def test_a_profile_among_recordings_is_compared_with_the_whole_band(
    pair: tuple[Excerpt, Excerpt], monkeypatch: pytest.MonkeyPatch
) -> None:
    references = [open_preset("broadcast").profile, _narrow(pair[1])]
    found = QUICK.estimate(pair[0], references, locks={}).setting
    monkeypatch.setattr(
        module, "in_common_band", lambda own, others, *more: InBand(own, list(others), 0.0)
    )
    whole = QUICK.estimate(pair[0], references, locks={}).setting
    assert {n: float(v) for n, v in found.items()} == {n: float(v) for n, v in whole.items()}


def test_what_is_not_finite_is_refused_in_words(pair: tuple[Excerpt, Excerpt]) -> None:
    broken = pair[0].audio.clone()
    broken[50] = float("nan")
    with pytest.raises(RetoneError, match="NaN"):
        QUICK.estimate(Excerpt(broken, RATE), [pair[1]], locks={})
