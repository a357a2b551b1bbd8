"""What every export says: all that is heard stands in the text or in a note, nothing is dropped."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path

import pytest

from retone.dsp.effect import Effect, a_noun
from retone.dsp.param import Param
from retone.effects import EFFECTS, Fir, MidSide, chain
from retone.errors import OutputExistsError, SettingError
from retone.exports import TARGETS, target_named
from retone.exports.base import number, write_exported
from retone.exports.plan import plan_of
from retone.lab.bench.exports import cases
from retone.process.settings_file import LevelPlan, SettingsFile, Source

RATE = 44100
MATCH, ENHANCE, CURVE, _ = (c.settings for c in cases(RATE))
KINDS = {"match": MATCH, "enhance": ENHANCE, "curve": CURVE}


def written(name: str, settings: SettingsFile) -> tuple[str, tuple[str, ...]]:
    """The text with the files it refers to, and the notes."""
    done = target_named(name).write(plan_of(settings))
    return done.text + "".join(repr(c) for c in done.files.values()), done.notes


def moved(p: Param, value: float) -> float:
    """Another value of a parameter, well inside its range."""
    return next(v for v in (p.low + 0.3 * (p.high - p.low), p.low + 0.6 * (p.high - p.low))
                if abs(v - value) > 1e-3 * (p.high - p.low))  # fmt: skip


def audible(p: Param, settings: SettingsFile) -> bool:
    """Whether a parameter changes what is heard (a crossover does between any two bands)."""
    if not p.gates or "crossover" in p.name:
        return True
    table, setting = settings.effect.params, settings.setting
    return any(setting[gate] != table[gate].neutral for gate in p.gates)


@pytest.mark.parametrize("effect", EFFECTS, ids=lambda e: e.kind)
def test_what_is_left_out_is_called_in_words(effect: Effect) -> None:
    """No name with an underscore, and the right article."""
    noun = a_noun(effect)
    assert re.fullmatch(r"(an [aeiou]|a [^aeiou\W])[a-z/ -]+", noun), noun


def test_mid_and_side_are_left_out_in_words() -> None:
    settings = SettingsFile(MidSide(), {p.name: p.default for p in MidSide().params}, RATE, "test")
    _, notes = written("ffmpeg", settings)
    assert any("a mid/side effect cannot be expressed" in n for n in notes), notes


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", TARGETS)
def test_every_parameter_is_written_or_noted(name: str, kind: str) -> None:
    settings = KINDS[kind]
    before, notes = written(name, settings)
    silent = []
    for p in settings.effect.params:
        if not audible(p, settings):
            continue
        changed = {**settings.setting, p.name: moved(p, settings.setting[p.name])}
        after, more = written(name, replace(settings, setting=changed))
        words = ("left out", "knee") if "knee" in p.name else ("left out",)
        own = [n for n in (*notes, *more) if p.name.split(".")[0] in n]
        if after == before and not any(w in n for n in own for w in words):
            silent.append(p.name)
    assert not silent, f"{name} drops {silent} without a word"


@pytest.mark.parametrize("name", TARGETS)
def test_what_cannot_be_said_is_noted(name: str) -> None:
    """The limiter, fixed filters and, where there are none, compressors."""
    plan = LevelPlan(1.0, None, -1.0, 2.5, 3.0)
    fir = chain("rules", Fir("curve", (0.5, 0.25, 0.1)), *MATCH.effect.members)  # type: ignore[attr-defined]
    settings = replace(MATCH, effect=fir, level_plan=plan)
    text, notes = written(name, settings)
    assert any("limiter" in n and "2.5 dB" in n for n in notes)
    assert any("curve" in n and "3 taps" in n for n in notes)
    if name == "equalizer-apo":
        assert any("compress" in n for n in notes)
    assert target_named(name).write(plan_of(settings)).text.endswith("\n")


@pytest.mark.parametrize("effect", EFFECTS, ids=lambda e: e.name)
@pytest.mark.parametrize("name", TARGETS)
def test_every_effect_can_be_exported(name: str, effect: object) -> None:
    table = effect.params  # type: ignore[attr-defined]
    values = {p.name: p.low + 0.45 * (p.high - p.low) for p in table}
    settings = SettingsFile(effect, values, RATE, "test")  # type: ignore[arg-type]
    assert written(name, settings)[0].strip()


@pytest.mark.parametrize("name", TARGETS)
def test_neutral_settings_do_nothing(name: str) -> None:
    values = {p.name: p.default if p.neutral is None else p.neutral for p in MATCH.effect.params}
    plan = plan_of(replace(MATCH, setting=values, level_plan=None))
    assert not plan.stages
    assert target_named(name).write(plan).text


def test_amount_is_applied() -> None:
    half = plan_of(replace(MATCH, amount=0.5)).stages
    whole = plan_of(MATCH).stages
    assert half[0].gain_db == pytest.approx(whole[0].gain_db / 2)  # type: ignore[union-attr]


def test_stereo_reaches_both_channels() -> None:
    source = Source("input", "voice.wav", RATE, 2, 3.0)
    settings = replace(MATCH, sources=(source,))
    assert "spl1 = x1;" in written("reaper", settings)[0]
    text, notes = written("camilladsp", settings)
    assert '"channels": [0, 1]' in text
    assert any("sum of its channels" in n for n in notes)


def test_equalizer_apo_reads_as_people_write_it() -> None:
    lines = written("equalizer-apo", MATCH)[0].splitlines()
    assert "Filter 3: ON PK Fc 1000 Hz Gain -5 dB Q 2.5" in lines
    assert "Preamp: 7 dB" in lines  # 3 dB after the effect and 4 dB of makeup


def test_easyeffects_is_one_preset() -> None:
    preset = json.loads(written("easyeffects", ENHANCE)[0])["output"]
    assert preset["plugins_order"] == ["equalizer#0", "multiband_compressor#0"]
    assert preset["equalizer#0"]["left"]["band0"]["mode"] == "APO (DR)"


def test_unknown_target_is_named() -> None:
    with pytest.raises(SettingError, match=r"'cubase'.* Known: ffmpeg"):
        target_named("cubase")


def test_numbers_have_no_exponent() -> None:
    assert number(0.0000231) == "0.0000231"
    assert number(-0.0) == "0"
    assert number(1234567.0) == "1234570.0" or "e" not in number(1234567.0)


@pytest.mark.parametrize("name", ["sox", "pedalboard", "easyeffects", "camilladsp", "reaper"])
def test_files_lie_beside_the_text_or_nothing_is_written(name: str, tmp_path: Path) -> None:
    source = Source("input", "my voice; rm (1).wav", RATE, 1, 3.0)
    exported = target_named(name).write(plan_of(replace(CURVE, sources=(source,))))
    output = tmp_path / "out.txt"
    beside = write_exported(exported, output)
    assert [p.name for p in beside] == list(exported.files)
    assert all(re.fullmatch(r"[\w.-]+", p.name) and p.parent == tmp_path for p in beside)
    said = exported.text + "".join(exported.notes)
    assert all(p.name in said for p in beside)
    output.unlink()
    with pytest.raises(OutputExistsError):
        write_exported(exported, output)
    assert not output.exists()
    write_exported(exported, output, force=True)
    assert output.read_text() == exported.text
