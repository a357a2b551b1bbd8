"""The scripts in examples/ run and print what they promise."""

from __future__ import annotations

import runpy
import sys
from pathlib import Path

import pytest

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"
DULL = EXAMPLES / "dull_voice.flac"


def run(name: str, *arguments: object, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", [name, *map(str, arguments)])
    runpy.run_path(str(EXAMPLES / name), run_name="__main__")


def test_match_folder_goes_on_where_it_stopped(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = (EXAMPLES, tmp_path / "out", "--to", EXAMPLES / "bright_voice.flac")
    run("match_folder.py", *arguments, "--pattern", "dull*", monkeypatch=monkeypatch)
    assert "dull_voice.flac" in capsys.readouterr().out
    assert (tmp_path / "out" / "dull_voice.flac").exists()
    run("match_folder.py", *arguments, "--pattern", "dull*", monkeypatch=monkeypatch)
    assert not capsys.readouterr().out


def test_match_folder_leaves_out_what_is_no_recording(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "notes.wav").write_text("no sound")
    run("match_folder.py", tmp_path, tmp_path / "out", "--preset", "warm", monkeypatch=monkeypatch)
    assert "skipped" in capsys.readouterr().out


def test_master_song_reaches_its_loudness(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    master = tmp_path / "master.wav"
    run("master_song.py", EXAMPLES / "orchestra.ogg", master, monkeypatch=monkeypatch)
    after = next(line for line in capsys.readouterr().out.splitlines() if line.startswith("after"))
    loudness, peak = map(float, after.split()[1:3])
    assert loudness == pytest.approx(-14, abs=0.5)
    assert peak <= -0.9
    assert master.exists()


def test_compare_presets_prints_a_table(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = (DULL, "--presets", "warm", "telephone")
    run("compare_presets.py", *arguments, monkeypatch=monkeypatch)
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].split() == ["warm", "telephone"]
    assert any(line.startswith("compressor.ratio") for line in lines)


def test_learn_an_effect_comes_close(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    run("learn_an_effect.py", DULL, "--steps", "60", monkeypatch=monkeypatch)
    out = capsys.readouterr().out
    distances = [float(line.split()[-1]) for line in out.splitlines() if "distance" in line]
    assert distances[-1] < 0.4 * distances[0]
