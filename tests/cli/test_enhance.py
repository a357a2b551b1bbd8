"""``retone enhance`` with weights whose answer is known: the rest is what ``match`` does too."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import soundfile as sf
import torch

from cli.conftest import Record, Run
from retone.audio import LoudnessMeter
from retone.estimators.base import Excerpt
from retone.estimators.reference_free import ReferenceFree
from retone.kernels.sox_effects import Band, equalize
from retone.nets import checkpoint
from retone.nets.tcn import TcnConfig
from retone.training.recipes.compact import compact_smoke
from retone.training.recipes.diffdeq import diffdeq_smoke
from retone.training.recipes.recipe import Recipe
from retone.training.recipes.record import describe

TREBLE_DB = 9.0
THRESHOLD_DB = -40.0


def write_weights(path: Path, recipe: Recipe) -> Path:
    """Untrained weights of a recipe, as ``retone train`` would keep them."""
    torch.manual_seed(0)
    network = recipe.network.build()
    tensors = {f"model.{n}": t for n, t in network.state_dict().items()}
    checkpoint.write(path, tensors, {"recipe": describe(recipe)})
    return path


def asking_for(path: Path, wanted: dict[str, float]) -> Path:
    """Weights of a network that always asks for these parameters, and for nothing else."""
    recipe = diffdeq_smoke()
    table = recipe.effect.params
    setting = table.neutral(1)
    for name, value in wanted.items():
        setting[name] = torch.tensor([value], dtype=torch.float64)
    initial = tuple(float(v) for v in table.to_unit(setting)[0])
    network: TcnConfig = replace(recipe.network, initial=initial)
    return write_weights(path, replace(recipe, network=network))


@pytest.fixture
def weights(tmp_path: Path) -> Path:
    """A network that always asks for 9 dB more treble, and a threshold in band 3."""
    wanted = {
        "multiband.crossover_5_hz": 5000.0,
        "multiband.band_6_gain_db": TREBLE_DB,
        "multiband.band_3_ratio": 2.0,
        "multiband.band_3_threshold_db": THRESHOLD_DB,
    }
    return asking_for(tmp_path / "known.safetensors", wanted)


def treble_db(path: Path) -> float:
    audio, rate = sf.read(path, always_2d=True)
    power = np.abs(np.fft.rfft(audio[:, 0])) ** 2
    hz = np.fft.rfftfreq(len(audio), 1 / rate)
    return float(10 * np.log10(power[hz > 10000].sum() / power[(hz > 100) & (hz < 800)].sum()))


def lufs(path: Path) -> float:
    audio, rate = sf.read(path, dtype="float32", always_2d=True)
    meter = LoudnessMeter(rate, audio.shape[1])
    meter.update(audio.T)
    return float(meter.result().integrated_lufs)


def test_a_voice_comes_out_brighter_at_its_loudness(
    retone: Run, record: Record, tmp_path: Path, weights: Path
) -> None:
    voice = record("voice.wav")
    audio, rate = sf.read(voice, dtype="float32", always_2d=True)
    bands = (Band("peak", 400.0, 15.0), Band("peak", 3000.0, -15.0))
    dull = [equalize(x, rate, bands) for x in audio.T]
    sf.write(voice, np.stack(dull, 1), rate)
    done = retone("enhance", voice, "--weights", weights)
    assert done.code == 0, done.err
    out = tmp_path / "voice.enhanced.wav"
    written = json.loads(out.with_suffix(".json").read_text())["setting"]
    expected = written["multiband.band_6_gain_db"]["value"]
    assert 2 < expected <= TREBLE_DB + 0.01
    assert treble_db(out) - treble_db(voice) == pytest.approx(expected, abs=3)
    assert lufs(out) == pytest.approx(-19, abs=0.3)
    assert out.with_suffix(".html").is_file()
    settings = json.loads(out.with_suffix(".json").read_text())
    assert "multiband" in json.dumps(settings)
    again = tmp_path / "again.wav"
    assert retone("apply", voice, "--settings", out.with_suffix(".json"), "-o", again).code == 0
    np.testing.assert_array_equal(sf.read(again)[0], sf.read(out)[0])


def test_options_are_those_of_match(
    retone: Run, record: Record, tmp_path: Path, weights: Path
) -> None:
    voice = record("voice.wav")
    out = tmp_path / "out.wav"
    words = ("enhance", voice, "--weights", weights, "-o", out, "--no-report", "-q", "--force")
    assert retone(*words, "--amount", "0").code == 0
    np.testing.assert_array_equal(sf.read(out)[0], sf.read(voice)[0])
    assert retone(*words, "--loudness", "-23").code == 0
    assert lufs(out) == pytest.approx(-23, abs=0.3)
    assert retone(*words, "--lock", "multiband.band_6_gain_db=0").code == 0
    assert treble_db(out) - treble_db(voice) < 3
    listed = retone("enhance", "--lock", "list")
    assert "multiband.band_6_expander_ratio" in listed.out and listed.code == 0


def test_refusals_are_one_sentence(
    retone: Run, record: Record, tmp_path: Path, weights: Path
) -> None:
    voice = record("voice.wav")
    style = write_weights(tmp_path / "style.safetensors", compact_smoke())
    cases = [
        (("--weights", tmp_path / "none.safetensors"), "no weights at"),
        (("--weights", style), "they are for 'retone match'"),
        (("--weights", weights, "--loudness", "match"), "needs a reference"),
        (("--weights", weights, "--lock", "multiband.band_7_gain_db=1"), "Did you mean"),
    ]
    for words, reason in cases:
        done = retone("enhance", voice, *words)
        assert done.code == 2 and reason in done.err, done.err
        assert done.err.count("\n") == 1
        assert not (tmp_path / "voice.enhanced.wav").exists()


def test_without_weights_it_says_how_to_make_them(
    retone: Run, record: Record, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("retone.estimators.reference_free.SHIPPED", "none_such.safetensors")
    done = retone("enhance", record("voice.wav"))
    assert done.code == 2 and "recipe diffdeq_improved" in done.err


def test_thresholds_follow_the_level_of_each_piece(weights: Path) -> None:
    """A network's -40 dB is meant at its own peak level; here the same sound is 20 dB lower."""
    torch.manual_seed(1)
    rate = diffdeq_smoke().pairs.sample_rate
    noise = torch.randn(3 * rate)
    peak_dbfs = diffdeq_smoke().pairs.peak_dbfs
    for level_db in (0.0, -20.0):
        gain = 10 ** ((peak_dbfs + level_db) / 20) / float(noise.abs().max())
        blind = ReferenceFree(weights=weights, caution_db=0)
        found = blind.estimate(Excerpt(noise * gain, rate), locks={})
        got = float(found.setting["multiband.band_3_threshold_db"])
        assert got == pytest.approx(THRESHOLD_DB + level_db, abs=1.5)  # pieces' peaks differ
        assert float(found.setting["multiband.band_6_gain_db"]) == pytest.approx(TREBLE_DB, abs=0.2)


def test_an_ordinary_voice_is_left_and_one_of_no_voice_s_spectrum_is_changed(
    tmp_path: Path, repository: Path
) -> None:
    audio, rate = sf.read(repository / "examples" / "bright_voice.flac", dtype="float32")
    audio = audio if audio.ndim == 1 else audio.mean(1)
    wanted = 8.0
    path = asking_for(tmp_path / "w.safetensors", {"equalizer.peak_2_gain_db": wanted})
    kept, said = [], []
    for gain_db in (0.0, 4.0, 5.0, 12.0):
        bands = (Band("peak", 400.0, -gain_db, 0.7), Band("peak", 3000.0, gain_db, 0.7))
        voice = Excerpt(torch.from_numpy(equalize(audio, rate, bands)), rate)
        found = ReferenceFree(weights=path).estimate(voice, locks={})
        kept.append(float(found.setting["equalizer.peak_2_gain_db"]) / wanted)
        said.append(" ".join(found.notes))
    assert kept[0] < kept[1] < kept[2] < kept[3] and abs(kept[0]) < 0.01 and kept[-1] > 0.95
    assert "the voice is left nearly as it is" in said[0] and "%" not in said[0]
    assert 0.1 < kept[1] < 0.9 and "% of it is applied" in said[1]
    assert "left nearly" not in said[-1] and "%" not in said[-1]
    by_size = ReferenceFree(weights=path, caution_db=0.0).estimate(voice, locks={})
    assert float(by_size.setting["equalizer.peak_2_gain_db"]) == pytest.approx(wanted, abs=0.1)


def test_music_is_recognised_said_and_hardly_changed(tmp_path: Path) -> None:
    rate, seconds = 24000, 6
    t = np.arange(rate * seconds) / rate
    notes = [55.0, 220.0, 277.0, 330.0, 440.0]
    chord = 0.05 * sum(np.sin(2 * np.pi * f * k * t) / k for f in notes for k in range(1, 5))
    path = asking_for(tmp_path / "w.safetensors", {"equalizer.high_shelf_gain_db": 18.0})
    music = Excerpt(torch.from_numpy(chord.astype(np.float32)), rate)
    found = ReferenceFree(weights=path).estimate(music, locks={})
    assert "sounds like music" in found.notes[0] and "retone match" in found.notes[0]
    assert float(found.setting["equalizer.high_shelf_gain_db"]) < 5
    ratios = [float(v) for n, v in found.setting.items() if n.endswith("expander_ratio")]
    assert max(ratios) < 1.05


def test_a_recording_that_is_too_short_is_refused_without_talk_of_a_match(
    retone: Run, record: Record
) -> None:
    done = retone("enhance", record("short.wav", samples=np.full((1, 8820), 0.1)))
    assert done.code == 2 and "at least 0.5 s" in done.err
    assert "a match" not in done.err
