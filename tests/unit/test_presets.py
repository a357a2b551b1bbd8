"""Presets: what ships is sound, every estimator can use it, and bad files are refused plainly."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import soundfile as sf
import torch

from retone import presets
from retone.dsp.effect import split_setting
from retone.effects import MATCH_CHAIN
from retone.errors import AudioError, DataError, SettingError
from retone.estimators.base import Estimate, Excerpt
from retone.estimators.choose import estimator_named
from retone.estimators.closed_form import ClosedForm
from retone.estimators.profile import MIN_FRAMES, typical_frames, with_measures
from retone.lab.curated_presets import CURATED
from retone.nets.frontend import FrontEnd, FrontEndConfig
from retone.presets.file import MAX_FRAMES, Preset
from retone.presets.library import names

RATE = 24000
BANDS_HZ = torch.tensor([100.0, 1000.0, 3000.0, 8000.0])


@pytest.fixture(autouse=True)
def own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A person's own folder, empty."""
    monkeypatch.setenv("RETONE_PRESETS", str(tmp_path / "own"))
    return tmp_path / "own"


def heard(audio: torch.Tensor) -> Excerpt:
    return Excerpt((audio * (10 ** (-12 / 20) / audio.abs().max())).float(), RATE)


def after(source: Excerpt, estimate: Estimate) -> Excerpt:
    with torch.no_grad():
        y = estimate.effect.render(source.audio[None, None], RATE, estimate.setting)
    return heard(y.audio[0, 0])


def curve_db(estimate: Estimate) -> np.ndarray:
    own = split_setting(estimate.setting, "equalizer")
    h = MATCH_CHAIN.members[0].response(BANDS_HZ, RATE, own)
    assert h is not None
    return 20 * np.log10(h.abs().numpy()[0])


@pytest.fixture(scope="module")
def voice(make_audio: Callable[..., torch.Tensor]) -> Excerpt:
    return heard(make_audio(3 * RATE, RATE)[0, 0])


@pytest.mark.parametrize("name", CURATED)
def test_what_ships_is_whole(name: str) -> None:
    preset = presets.open_preset(name)
    assert (preset.name, preset.kind) == (name, CURATED[name].kind)
    assert preset.description == CURATED[name].description
    assert preset.profile.loudness_lufs == CURATED[name].loudness_lufs
    assert preset.licence and preset.credits
    assert preset.profile.voices >= 10 and preset.profile.unprocessed is not None
    text = preset.to_json()
    assert Preset.from_json(text, "again").to_json() == text
    assert len(text) < 100_000  # a second of speech as 16-bit samples would be 48 000 numbers
    assert preset.profile.typical is not None
    assert preset.profile.typical.frames.shape[1] <= MAX_FRAMES


def test_listing_is_everything_that_ships() -> None:
    assert set(CURATED) == set(names()) == {p.name for p in presets.available()}
    assert presets.available()[0].kind == "speech" and set(presets.AUTO.values()) <= set(names())


@pytest.mark.parametrize("estimator", ["closed-form", "network", "refined", "rules"])
def test_every_estimator_takes_a_preset(estimator: str, voice: Excerpt) -> None:
    profile = presets.open_preset("broadcast").profile
    found = estimator_named(estimator).estimate(voice, [profile], locks={})
    for p in found.effect.params:
        value = float(found.setting[p.name][0])
        assert np.isfinite(value) and p.low - 1e-6 <= value <= p.high + 1e-6


def test_a_telephone_is_narrow_and_a_second_one_changes_little(voice: Excerpt) -> None:
    profile = presets.open_preset("telephone").profile
    first = ClosedForm().estimate(voice, [profile], locks={})
    low, middle, presence, high = curve_db(first)
    assert low < middle - 6 and high < presence - 6
    second = ClosedForm().estimate(after(voice, first), [profile], locks={})
    assert np.ptp(curve_db(second)) < 0.35 * np.ptp(curve_db(first))


def test_presets_adapt_to_what_they_hear(voice: Excerpt) -> None:
    """A dull recording is raised in the highs more than the recording it was made of."""
    profile = presets.open_preset("broadcast").profile
    eq = MATCH_CHAIN.members[0]
    dull = eq.params.setting({"high_shelf_gain_db": -18.0, "high_shelf_frequency_hz": 3000.0})
    darker = heard(eq.render(voice.audio[None, None], RATE, dull).audio[0, 0])
    plain, needy = (
        curve_db(ClosedForm().estimate(v, [profile], locks={})) for v in (voice, darker)
    )
    assert needy[3] - needy[1] > plain[3] - plain[1] + 3


def test_typical_frames_keep_the_mean_and_no_order(make_audio: Callable[..., torch.Tensor]) -> None:
    config = FrontEndConfig(sample_rate=RATE)
    clips = [(heard(make_audio(2 * RATE, RATE, seed=i)[0, 0]).audio, i) for i in range(6)]
    typical = typical_frames(clips, config, count=16, seed=0)
    listened = FrontEnd(config)(torch.stack([c for c, _ in clips]))
    mean = (listened.frames * listened.energy[:, None]).sum(-1).mean(0)
    np.testing.assert_allclose(typical.frames @ typical.energy, mean.numpy(), atol=1e-3)
    assert typical.frames.shape[1] <= 16 < listened.frames.shape[2]
    few = typical_frames([(clips[0][0][: RATE // 2], 0)], config, count=48, seed=0)
    assert few.frames.shape[1] <= 12 // MIN_FRAMES
    backwards = typical_frames(clips[::-1], config, count=16, seed=0)
    np.testing.assert_allclose(backwards.summary, typical.summary, atol=1e-6)
    again = typical.features()
    np.testing.assert_allclose(float(again.energy.sum()), 1.0, atol=1e-5)


def test_measures_that_a_profile_lacks_are_near_those_that_were_heard(voice: Excerpt) -> None:
    config = FrontEndConfig(sample_rate=RATE)
    pieces = list(voice.audio.split(voice.audio.numel() // 3))[:3]
    clips = [(heard(a).audio, i) for i, a in enumerate(pieces)]
    lacking = typical_frames(clips, config, count=48, seed=0)
    true = typical_frames(clips, replace(config, measures=True), count=48, seed=0)
    estimated = with_measures(lacking)
    assert estimated.front_end == true.front_end and with_measures(true) is true
    rms, loud, centroid = np.abs(estimated.summary - true.summary)[-3:]
    assert 20 * rms < 1e-6 and 20 * loud < 1.0 and centroid < 0.3


# A person's own


def recording(folder: Path, make_audio: Callable[..., torch.Tensor], seed: int) -> Path:
    path = folder / f"episode_{seed}.wav"
    sf.write(path, 0.2 * make_audio(2 * RATE, RATE, seed=seed)[0].numpy().T, RATE)
    return path


def test_made_listed_exported_and_imported(
    own: Path, tmp_path: Path, make_audio: Callable[..., torch.Tensor]
) -> None:
    files = [recording(tmp_path, make_audio, seed) for seed in range(2)]
    made = presets.make_preset("my-show", files, description="Ours.")
    assert made.profile.loudness_lufs is not None and made.credits == tuple(f.name for f in files)
    path = presets.save_preset(made)
    assert path.parent == own and presets.open_preset("my-show").description == "Ours."
    with pytest.raises(SettingError, match="already"):
        presets.save_preset(made)
    out = presets.export_preset("my-show", tmp_path / "given.json")
    path.unlink()
    got, _ = presets.import_preset(out)
    assert got.to_json() == made.to_json() and "my-show" in names()


def test_silence_and_nothing_make_no_preset(tmp_path: Path) -> None:
    path = tmp_path / "silent.wav"
    sf.write(path, np.zeros(2 * RATE), RATE)
    with pytest.raises(AudioError, match=r"silent\.wav"):
        presets.make_preset("quiet", [path])
    with pytest.raises(AudioError, match="at least one"):
        presets.make_preset("none", [])
    with pytest.raises(SettingError, match="lower-case"):
        presets.make_preset("../up", [path])


def changed(change: Callable[[dict], object]) -> str:
    data = json.loads(presets.open_preset("warm").to_json())
    change(data)
    return json.dumps(data)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("{", "not valid JSON"),
        ("[]", "expected an object"),
        ('{"retone_settings": 1}', "not a retone preset"),
        (changed(lambda d: d.update(retone_preset=2)), "version 2 is unknown.*Update retone"),
        (changed(lambda d: d.update(kind="noise")), "speech"),
        (changed(lambda d: d.update(name="../x")), "lower-case"),
        (changed(lambda d: d.update(spectrum_db=[None] * 121)), "silence"),
        (changed(lambda d: d["statistics"].update(crest_db=None)), "silence"),
        (changed(lambda d: d["statistics"].update(modulation_db=[0.0])), "expected 16 numbers"),
        (changed(lambda d: d["typical_frames"].update(energy=[1.0] * 999)), "expected 1 to 64"),
        (changed(lambda d: d.update(audio=[0.0] * 9)), "'audio' is not a known field"),
    ],
)
def test_bad_files_are_refused_in_a_sentence(text: str, says: str, tmp_path: Path) -> None:
    path = tmp_path / "bad.json"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(DataError, match=says):
        presets.open_preset(path)


def test_a_wrong_name_gets_the_nearest(own: Path) -> None:
    with pytest.raises(SettingError, match="Did you mean broadcast"):
        presets.open_preset("brodcast")
    own.mkdir()
    (own / "hurt.json").write_text("{", encoding="utf-8")
    assert "hurt" not in {p.name for p in presets.available()}
    with pytest.raises(DataError, match="hurt"):
        presets.open_preset("hurt")
