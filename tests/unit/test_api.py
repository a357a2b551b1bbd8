"""The Python interface: files and arrays, decisions, results and clear refusals."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile as sf
import torch

import retone
from retone.effects import MATCH_CHAIN, Compressor
from retone.errors import AudioError, SettingError
from retone.estimators.base import Estimate, Excerpt
from retone.progress import ESTIMATING, Phase, Progress, silent

RATE = 16000


@dataclass(frozen=True)
class Fixed:
    """An estimator that always gives the same setting of one effect."""

    effect: Any = MATCH_CHAIN
    values: Mapping[str, float] = field(
        default_factory=lambda: {"equalizer.peak_3_gain_db": 6.0, "compressor.threshold_db": -30.0}
    )
    name: str = "fixed"
    locks: list[Mapping[str, float]] = field(default_factory=list)

    def estimate(
        self,
        source: Excerpt,
        references: Sequence[Any],
        *,
        locks: Mapping[str, float],
        progress: Progress = silent,
    ) -> Estimate:
        self.locks.append(dict(locks))
        for step in range(3):
            progress(ESTIMATING, step + 1, 3)
        return Estimate(self.effect, self.effect.params.setting({**self.values, **locks}))


@pytest.fixture
def voice(make_audio: Callable[..., Any]) -> np.ndarray:
    return np.asarray(0.3 * make_audio(RATE * 2, RATE, seed=1)[0].numpy(), np.float32)


@pytest.fixture
def other(make_audio: Callable[..., Any]) -> np.ndarray:
    return np.asarray(0.5 * make_audio(RATE * 2, RATE, seed=2)[0].numpy(), np.float32)


def test_an_array_gives_what_a_float_file_gives(
    voice: np.ndarray, other: np.ndarray, tmp_path: Path
) -> None:
    for name, audio in (("a.wav", voice), ("b.wav", other)):
        sf.write(tmp_path / name, audio.T, RATE, subtype="FLOAT")
    of_file = retone.match(tmp_path / "a.wav", tmp_path / "b.wav", estimator=Fixed())
    assert of_file.output == tmp_path / "a.matched.wav"
    for kind in (np.asarray, torch.from_numpy, lambda x: x[0]):
        found = retone.match(kind(voice), kind(other), sample_rate=RATE, estimator=Fixed())
        assert found.output is None and found.sample_rate == RATE
        np.testing.assert_array_equal(found.audio, of_file.audio)
        assert found.settings.setting == of_file.settings.setting
        assert found.settings.level_plan == of_file.settings.level_plan


def test_a_result_has_settings_report_and_can_be_saved(
    voice: np.ndarray, other: np.ndarray, tmp_path: Path
) -> None:
    found = retone.match(voice, other, sample_rate=RATE, estimator=Fixed())
    assert "input" in found.report and found.report.startswith("<!")
    assert found._repr_html_().startswith("<iframe")
    assert "2.00 s" in repr(found) and "'fixed'" in repr(found) and len(repr(found)) < 200
    saved = found.save(tmp_path / "out.wav")
    np.testing.assert_allclose(sf.read(saved)[0], found.audio[0], atol=2**-15)
    with pytest.raises(AudioError, match="exists"):
        found.save(saved)
    again = retone.apply(voice, found.settings, sample_rate=RATE)
    np.testing.assert_array_equal(again.audio, found.audio)


def test_decide_renders_nothing(
    voice: np.ndarray, other: np.ndarray, monkeypatch: pytest.MonkeyPatch
) -> None:
    wanted = retone.match(voice, other, sample_rate=RATE, estimator=Fixed()).decision

    def rendered(*args: object, **more: object) -> None:
        raise AssertionError("decide must not render")

    monkeypatch.setattr("retone.process.render.Renderer", rendered)
    found = retone.decide(voice, other, sample_rate=RATE, estimator=Fixed())
    assert found.setting == wanted.setting and found.target_lufs == wanted.target_lufs


def test_every_phase_counts_in_one_unit_and_never_goes_back(
    voice: np.ndarray, other: np.ndarray
) -> None:
    told: list[tuple[Phase, float, float]] = []
    retone.match(
        voice, other, sample_rate=RATE, estimator=Fixed(), progress=lambda *row: told.append(row)
    )
    phases = list(dict.fromkeys(p for p, _, _ in told))
    assert [str(p) for p in phases] == ["analysing", "finding settings", "measuring", "rendering"]
    assert [p for p, _, _ in told] == sorted((p for p, _, _ in told), key=phases.index)
    for phase in phases:
        rows = [(done, total) for p, done, total in told if p == phase]
        assert rows == sorted(rows) and len({total for _, total in rows}) == 1
        assert rows[-1][0] == pytest.approx(rows[-1][1])


def test_a_locked_threshold_of_any_effect_is_moved_to_the_excerpts_level(
    voice: np.ndarray, other: np.ndarray
) -> None:
    peak_db = 20 * np.log10(np.abs(voice).max())
    for effect, name in ((MATCH_CHAIN, "compressor.threshold_db"), (Compressor(), "threshold_db")):
        estimator = Fixed(effect, {})
        found = retone.decide(
            voice, other, sample_rate=RATE, estimator=estimator, locks={name: -20.0}
        )
        assert estimator.locks[0][name] == pytest.approx(-20.0 - (peak_db + 12.0), abs=1e-4)
        assert float(found.setting[name][0]) == -20.0


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"sample_rate": None}, "sample_rate"),
        ({"input": [0.1, 0.2]}, "list"),
        ({"input": np.zeros(RATE, np.int16)}, "int16"),
        ({"input": np.zeros((1, 1, RATE), np.float32)}, r"\[1, 1, 16000\]"),
        ({"input": "a.wav", "to": "b.wav"}, "a file has its own"),
        ({"input": None}, "input"),
    ],
    ids=str,
)
def test_arguments_of_a_wrong_kind(
    voice: np.ndarray, other: np.ndarray, change: dict[str, Any], words: str
) -> None:
    with pytest.raises(TypeError, match=words):
        retone.match(**{"input": voice, "to": other, "sample_rate": RATE} | change)


def test_values_that_cannot_be(voice: np.ndarray, other: np.ndarray) -> None:
    with pytest.raises(AudioError, match="Transpose"):
        retone.match(voice.T, other, sample_rate=RATE)
    with pytest.raises(AudioError, match="NaN"):
        retone.match(voice * np.float32(np.nan), other, sample_rate=RATE)
    with pytest.raises(SettingError, match="loudness"):
        retone.match(voice, other, sample_rate=RATE, loudness="loud")
    for number in (float("nan"), float("inf"), 5.0, -90):
        with pytest.raises(SettingError, match="loudness = .* outside -70..-5"):
            retone.match(voice, other, sample_rate=RATE, loudness=number)
    for call in (retone.enhance, lambda x, **more: retone.apply(x, "s.json", **more)):
        with pytest.raises(SettingError, match="needs a reference"):
            call(voice, sample_rate=RATE, loudness="match")


def test_the_former_name_of_the_input_still_works(voice: np.ndarray, other: np.ndarray) -> None:
    found = retone.match(source=voice, to=other, sample_rate=RATE, estimator=Fixed(), amount=0)
    np.testing.assert_array_equal(found.audio, voice)
