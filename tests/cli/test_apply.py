"""``retone apply``: what a settings file says is done again, to the sample."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import soundfile as sf

from retone.process.settings_file import SettingsFile

RATE = 44100


def integers(path: Path) -> np.ndarray:
    return sf.read(path, dtype="int32", always_2d=True)[0].T


def edit(path: Path, **changes: object) -> None:
    """Change fields of a settings file; ``setting`` takes bare numbers by name."""
    data = json.loads(path.read_text(encoding="utf-8"))
    data["setting"].update(changes.pop("setting", {}))  # type: ignore[call-overload]
    path.write_text(json.dumps(data | changes), encoding="utf-8")


@pytest.fixture
def matched(retone, record, fixed, tmp_path: Path):
    """A finished match with fixed settings: its input and its output."""
    source, output = record("a.wav"), tmp_path / "m.wav"
    assert retone("match", source, "--to", record("b.wav", seed=1), "-o", output).code == 0
    return source, output


@pytest.mark.parametrize("subtype", ["PCM_16", "FLOAT"])
@pytest.mark.parametrize("words", [(), ("--amount", "0.4"), ("--loudness", "-20"),
                                   ("--lock", "compressor.ratio=3.217", "--amount", "0.7"),
                                   ("--true-peak", "off"), ("--dynamics-only",)])  # fmt: skip
def test_settings_replay_bit_for_bit(
    retone, record, tmp_path: Path, words: tuple[str, ...], subtype: str
) -> None:
    source, reference = record("a.wav", channels=2, subtype=subtype), record("b.wav", seed=1)
    first, again = tmp_path / "m.wav", tmp_path / "again.wav"
    assert retone("match", source, "--to", reference, "-o", first, *words).code == 0
    done = retone("apply", source, "--settings", tmp_path / "m.json", "-o", again)
    assert (done.code, done.err) == (0, "")
    np.testing.assert_array_equal(integers(first), integers(again))


def test_rules_replay_within_one_step(retone, record, tmp_path: Path) -> None:
    """The file holds the rules' filter with nine digits, which moves a sample by a step at most."""
    source, reference = record("a.wav"), record("b.wav", seed=1)
    first, again = tmp_path / "m.wav", tmp_path / "again.wav"
    retone("match", source, "--to", reference, "-o", first, "--estimator", "rules")
    retone("apply", source, "--settings", tmp_path / "m.json", "-o", again)
    step = 1 << 16
    assert np.abs(integers(first).astype(np.int64) - integers(again)).max() <= step


def test_the_settings_that_apply_writes_replay_too(retone, matched, tmp_path: Path) -> None:
    source, first = matched
    for name, settings in (("n.wav", "m.json"), ("o.wav", "n.json")):
        retone("apply", source, "--settings", tmp_path / settings, "-o", tmp_path / name)
    np.testing.assert_array_equal(integers(first), integers(tmp_path / "o.wav"))


def test_another_amount_is_what_match_would_have_given(retone, matched, tmp_path: Path) -> None:
    source, first = matched
    half, again = tmp_path / "half.wav", tmp_path / "again.wav"
    retone("match", source, "--to", tmp_path / "b.wav", "-o", half, "--amount", 0.5)
    retone("apply", source, "--settings", first.with_suffix(".json"), "-o", again, "--amount", 0.5)
    np.testing.assert_array_equal(integers(half), integers(again))
    retone("apply", source, "--settings", half.with_suffix(".json"), "-o", again, "--amount", 1,
           "--force")  # fmt: skip
    np.testing.assert_array_equal(integers(first), integers(again))


def test_amount_0_keeps_every_sample(retone, matched, tmp_path: Path) -> None:
    source, first = matched
    again = tmp_path / "again.wav"
    retone("apply", source, "--settings", first.with_suffix(".json"), "-o", again, "--amount", 0)
    np.testing.assert_array_equal(integers(source), integers(again))


def test_an_edited_parameter_is_heard_as_edited(retone, matched, tmp_path: Path) -> None:
    source, first = matched
    settings = first.with_suffix(".json")
    plan = json.loads(settings.read_text())["level_plan"] | {"gain_db": 0.0, "ceiling_dbtp": None}
    neutral = {n: 0.0 for n in json.loads(settings.read_text())["setting"] if "gain_db" in n}
    neutral |= {"compressor.ratio": 1.0, "compressor.makeup_db": -6.0}
    edit(settings, setting=neutral, level_plan=plan)
    again = tmp_path / "again.wav"
    retone("apply", source, "--settings", settings, "-o", again)
    wanted = sf.read(source)[0] * 10 ** (-6 / 20)
    assert np.abs(sf.read(again)[0] - wanted).max() < 2.5 / 32768  # rounding and dither


@pytest.mark.parametrize(("rate", "channels"), [(8000, 1), (48000, 2), (96000, 6)])
def test_settings_fit_other_recordings(
    retone, record, matched, tmp_path: Path, rate: int, channels: int
) -> None:
    other = record("c.flac", rate=rate, channels=channels, seed=3)
    done = retone("apply", other, "--settings", tmp_path / "m.json")
    assert (done.code, done.err) == (0, "")
    made = sf.info(tmp_path / "c.applied.flac")
    assert (made.samplerate, made.channels) == (rate, channels)
    assert made.frames == sf.info(other).frames
    assert {"c.applied.json", "c.applied.html"} <= {p.name for p in tmp_path.iterdir()}


def test_a_filter_for_another_rate_is_refused(retone, record, tmp_path: Path) -> None:
    source = record("a.wav")
    retone("match", source, "--to", record("b.wav", seed=1), "-o", tmp_path / "m.wav",
           "--estimator", "rules")  # fmt: skip
    other = record("c.wav", rate=48000)
    done = retone("apply", other, "--settings", tmp_path / "m.json")
    assert done.code == 2
    assert "44100" in done.err and "48000" in done.err
    assert not (tmp_path / "c.applied.wav").exists()


def test_a_filter_is_not_applied_in_part(retone, record, tmp_path: Path) -> None:
    """It has no parameter that could be scaled; the whole filter would be a surprise."""
    done = retone("match", record("a.wav"), "--to", record("b.wav", seed=1), "--amount", "0.5",
                  "--estimator", "rules")  # fmt: skip
    assert done.code == 2
    assert "fixed filter" in done.err
    assert not (tmp_path / "a.matched.wav").exists()


def test_loudness_and_ceiling_can_be_asked_anew(retone, matched, tmp_path: Path) -> None:
    meter = pytest.importorskip("pyloudnorm").Meter(RATE)
    source, _ = matched
    again = tmp_path / "again.wav"
    retone("apply", source, "--settings", tmp_path / "m.json", "-o", again, "--loudness", "-30")
    assert meter.integrated_loudness(sf.read(again)[0]) == pytest.approx(-30, abs=0.3)
    words = ["--loudness", "off", "--true-peak", "-9", "--force"]
    retone("apply", source, "--settings", tmp_path / "m.json", "-o", again, *words)
    plan = SettingsFile.read(again.with_suffix(".json")).level_plan
    assert plan is not None
    assert (plan.gain_db, plan.target_lufs, plan.ceiling_dbtp) == (0.0, None, -9.0)
    assert np.abs(sf.read(again)[0]).max() <= 10 ** (-9 / 20)


def test_loudness_match_has_nothing_to_match(retone, matched, tmp_path: Path) -> None:
    done = retone("apply", matched[0], "--settings", tmp_path / "m.json", "--loudness", "match")
    assert done.code == 2
    assert "reference" in done.err and done.err.count("\n") == 1


def test_the_ceiling_is_the_files_own(retone, matched, tmp_path: Path) -> None:
    source, first = matched
    settings = first.with_suffix(".json")
    plan = json.loads(settings.read_text())["level_plan"] | {"ceiling_dbtp": -12.0}
    edit(settings, level_plan=plan)
    again = tmp_path / "again.wav"
    retone("apply", source, "--settings", settings, "-o", again)
    assert np.abs(sf.read(again)[0]).max() <= 10 ** (-12 / 20)
