"""``retone preset`` and ``retone match --preset`` from a user's seat."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import soundfile as sf

import retone as package
from retone.presets import AUTO, available

from .conftest import Record, Run


@pytest.fixture(autouse=True)
def own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("RETONE_PRESETS", str(tmp_path / "own"))
    return tmp_path / "own"


def lufs(path: Path) -> float:
    from retone.audio import loudness_lufs

    samples, rate = sf.read(path, always_2d=True, dtype="float32")
    return float(loudness_lufs(np.ascontiguousarray(samples.T), rate))


def test_a_preset_stands_for_a_reference(retone: Run, record: Record, tmp_path: Path) -> None:
    source = record("voice.wav", seconds=2)
    done = retone("match", source, "--preset", "podcast")
    assert done.code == 0, done.err
    output = tmp_path / "voice.matched.wav"
    assert abs(lufs(output) + 16) < 0.3
    settings = json.loads(output.with_suffix(".json").read_text())
    assert settings["sources"][-1]["file"] == "preset podcast"
    assert "preset podcast" in output.with_suffix(".html").read_text()
    automatic = retone("match", source, "--auto", "-o", tmp_path / "auto.wav")
    assert automatic.code == 0 and AUTO["speech"] == "podcast"
    np.testing.assert_array_equal(sf.read(tmp_path / "auto.wav")[0], sf.read(output)[0])


def test_tone_presets_keep_the_loudness(record: Record, tmp_path: Path) -> None:
    source = record("voice.wav", seconds=2, gain=0.1)
    result = package.match(source, preset="warm")
    assert result.output == tmp_path / "voice.matched.wav"
    assert abs(lufs(result.output) - lufs(source)) < 0.3


def test_one_goal_at_a_time(retone: Run, record: Record) -> None:
    source = record("voice.wav")
    assert retone("match", source).code == 2
    assert retone("match", source, "--preset", "warm", "--to", source).code == 2
    refused = retone("match", source, "--preset", "brodcast")
    assert refused.code == 2 and "broadcast" in refused.err
    with pytest.raises(package.RetoneError, match="either"):
        package.match(source)


def test_list_and_show_say_what_there_is(retone: Run) -> None:
    listed = retone("preset", "list")
    assert all(p.name in listed.out for p in available())
    music = retone("preset", "list", "--kind", "music")
    assert "master-loud" in music.out and "podcast" not in music.out
    shown = retone("preset", "show", "telephone")
    assert "telephone" in shown.out and "no sound" in shown.out


def test_make_export_import(
    retone: Run, record: Record, tmp_path: Path, own: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    files = [record(f"e{i}.wav", seconds=2, seed=i) for i in range(2)]
    made = retone("preset", "make", "our-show", *files, "--loudness", "-18")
    assert made.code == 0, made.err
    began = []
    monkeypatch.setattr("retone.presets.making.make_preset", lambda *a, **o: began.append(a))
    again = retone("preset", "make", "our-show", *files)
    assert again.code == 2 and "--force" in again.err and not began
    given = tmp_path / "given.json"
    assert retone("preset", "export", "our-show", given).code == 0
    again = retone("preset", "export", "our-show", given)
    assert again.code == 2 and again.err.endswith("Choose another name or pass --force.\n")
    again = retone("preset", "import", given)
    assert again.code == 2 and "--force" in again.err and "allow overwriting" not in again.err
    (own / "our-show.json").unlink()
    assert retone("preset", "import", given).code == 0
    done = retone("match", record("new.wav", seconds=2, seed=5), "--preset", "our-show")
    assert done.code == 0, done.err
    damaged = tmp_path / "damaged.json"
    damaged.write_text(given.read_text()[:500])
    refused = retone("preset", "import", damaged)
    assert refused.code == 2 and "damaged.json" in refused.err and "Traceback" not in refused.err


def test_figures_are_drawn_from_any_recordings(retone: Run, record: Record, tmp_path: Path) -> None:
    files = [record(f"v{i}_a.wav", seconds=1.5, seed=i) for i in range(3)]
    out = tmp_path / "four.svg"
    done = retone("figure", "parameters", files[0], "--to", *files[1:], "-o", out)
    assert done.code == 0, done.err
    assert "v1_a" in done.out and "<svg" in out.read_text()
    assert retone("figure", "parameters", files[0], "--to", files[1], "-o", out).code == 2
    readings = tmp_path / "trend.json"
    done = retone(
        "figure", "trend", *files[:2], "--voice", "^v.", "--estimator", "network",
        "-o", tmp_path / "five.svg", "--readings", readings,
    )  # fmt: skip
    assert done.code == 0, done.err
    assert done.out.count("Spearman") == 4 and "2 recordings of 2 voices" in done.out
    assert json.loads(readings.read_text())["trends"]["brighter"]["groups"] == ["v0", "v1"]


def test_wrong_words_for_evaluations_are_refused(retone: Run, tmp_path: Path) -> None:
    start = ("evaluate", "realistic", "--sample-rate", 24000, "--corpus")
    assert "no folder" in retone(*start, f"folder={tmp_path / 'none'}").err
    refused = retone("evaluate", "probes", "--sample-rate", 24000, "--corpus", "folder=x",
                     "--weights", "speech")  # fmt: skip
    assert refused.code == 2 and "ROW=FILE" in refused.err


def test_auto_hears_music(retone: Run, repository: Path, tmp_path: Path) -> None:
    output = tmp_path / "out.wav"
    done = retone("match", repository / "examples" / "game_music.ogg", "--auto", "-o", output)
    assert done.code == 0, done.err
    settings = json.loads(output.with_suffix(".json").read_text())
    assert settings["sources"][-1]["file"] == f"preset {AUTO['music']}"
