"""``--plugin``: fitting foreign code to a reference, replaying it, and what bad code costs."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import soundfile as sf
import torch

from cli.conftest import Record, Run
from cli.test_enhance import write_weights
from retone.effects.plugin import Plugin
from retone.estimators import black_box as fit
from retone.plugins import host
from retone.training.recipes.diffdeq import diffdeq_smoke
from retone.training.recipes.plugin import plugin_enhance

ZOO = Path(__file__).resolve().parents[1] / "plugin_zoo.py"
TONE = f"{ZOO}:tone"
TILT_DB = 12.0


@pytest.fixture
def pair(record: Record, tmp_path: Path) -> tuple[Path, Path]:
    """A recording, and the same voice as the function makes it sound with a known setting."""
    voice = record("voice.wav", seconds=4.0, rate=16000)
    effect = Plugin.open(TONE)
    audio, rate = sf.read(voice, dtype="float32")
    setting = effect.params.setting({"tilt_gain_db": TILT_DB})
    out = effect.render(torch.from_numpy(audio)[None, None], rate, setting).audio[0, 0].numpy()
    return voice, record("bright.wav", rate=rate, samples=0.3 * out[None] / np.abs(out).max())


@pytest.fixture(autouse=True)
def few_draws(monkeypatch: pytest.MonkeyPatch) -> None:
    quick = replace(fit.BlackBoxFit(Plugin.open(TONE)), draws=8, starts=1, steps=3)
    monkeypatch.setattr(fit, "BlackBoxFit", lambda effect: replace(quick, effect=effect))


def test_match_finds_the_setting_and_apply_repeats_it(
    retone: Run, pair: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    voice, bright = pair
    out = voice.with_name("out.wav")
    done = retone("match", voice, "--to", bright, "--plugin", TONE, "-o", out)
    assert done.code == 0, done.err
    left = re.search(r"fell to (\d+) %", done.out)
    assert left and int(left[1]) < 40
    settings = json.loads(out.with_suffix(".json").read_text())
    assert settings["effect"]["type"] == "plugin"
    assert settings["setting"]["tilt_gain_db"]["value"] == pytest.approx(TILT_DB, abs=3)
    assert "Tilt gain" in out.with_suffix(".html").read_text()

    again = voice.with_name("again.wav")
    words = ("apply", voice, "--settings", out.with_suffix(".json"), "-o", again)
    monkeypatch.setattr(host, "_ALLOWED", {})  # another session
    refused = retone(*words)
    assert refused.code == 2 and "--plugin PATH" in refused.err and not again.exists()
    assert retone(*words, "--plugin", TONE).code == 0
    assert np.array_equal(sf.read(again)[0], sf.read(out)[0])


def test_it_is_left_alone_where_it_does_not_help(retone: Run, pair: tuple[Path, Path]) -> None:
    voice = pair[0]
    out = voice.with_name("same.wav")
    words = ("match", voice, "--to", voice, "--plugin", TONE, "-o", out, "--no-report")
    done = retone(*words, "--plugin-set", "output_gain_db=0")
    assert done.code == 0, done.err
    value = json.loads(out.with_suffix(".json").read_text())["setting"]["tilt_gain_db"]["value"]
    assert abs(value) < 1.5


def test_locks_hold_and_can_be_listed(retone: Run, pair: tuple[Path, Path]) -> None:
    voice, bright = pair
    listed = retone("match", voice, "--to", bright, "--plugin", TONE, "--lock", "list")
    assert listed.code == 0 and "tilt_gain_db" in listed.out and "peak_1" not in listed.out
    out = voice.with_name("locked.wav")
    words = ("match", voice, "--to", bright, "--plugin", TONE, "-o", out, "--no-report")
    assert retone(*words, "--lock", "tilt_gain_db=-3").code == 0
    setting = json.loads(out.with_suffix(".json").read_text())["setting"]
    assert setting["tilt_gain_db"]["value"] == -3
    wrong = retone(*words, "--force", "--lock", "tilt_gain_db=99")
    assert wrong.code == 2 and "-24..24" in wrong.err


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("crashes", "crashed (SIGSEGV), and again"),
        ("nan", "NaN or infinite"),
        ("other_rate", "changed the audio's length"),
        ("no_parameters", "no numeric parameters"),
        ("exits", "the licence has expired"),
    ],
)
def test_bad_plugins_end_in_a_sentence_and_leave_nothing(
    name: str, message: str, retone: Run, pair: tuple[Path, Path]
) -> None:
    voice, bright = pair
    before = sorted(voice.parent.iterdir())
    done = retone("match", voice, "--to", bright, "--plugin", f"{ZOO}:{name}")
    assert done.code == 2 and message in done.err and "Traceback" not in done.err
    assert sorted(voice.parent.iterdir()) == before


def test_words_that_do_not_go_together(retone: Run, pair: tuple[Path, Path]) -> None:
    words = ("match", pair[0], "--to", pair[1])
    for more, message in (
        (("--plugin", TONE, "--estimator", "rules"), "leave out --estimator"),
        (("--plugin", TONE, "--eq-only"), "leave out"),
        (("--plugin-set", "a=1"), "--plugin-set needs --plugin"),
        (("--plugin", TONE, "--plugin-set", "a"), "expected NAME=NUMBER"),
        (("--plugin", TONE, "--plugin-set", "a=1"), "It has: tilt_gain_db"),
        (("--plugin", "none.vst3"), "there is no plug-in at"),
    ):
        done = retone(*words, *more)
        assert done.code == 2 and message in done.err, done.err


def test_enhance_drives_one_when_allowed(
    retone: Run, pair: tuple[Path, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    recipe = plugin_enhance(Plugin.open(TONE))
    small = diffdeq_smoke().network
    network = replace(recipe.network, channels=small.channels, gru=small.gru, hidden=small.hidden)
    weights = write_weights(tmp_path / "w.safetensors", replace(recipe, network=network))
    monkeypatch.setattr(host, "_ALLOWED", {})
    words = ("enhance", pair[0], "--weights", weights, "-o", tmp_path / "e.wav", "--no-report")
    refused = retone(*words)
    assert refused.code == 2 and "--plugin PATH" in refused.err
    assert retone(*words, "--plugin", TONE).code == 0
    assert json.loads((tmp_path / "e.json").read_text())["effect"]["type"] == "plugin"
