"""``retone inspect``: readable for people, JSON for programs."""

from __future__ import annotations

import csv
import json
import re
from pathlib import Path

import numpy as np
import pytest

RATE = 44100


def tone(level_db: float, seconds: float = 1.0, hertz: float = 997.0) -> np.ndarray:
    t = np.arange(round(seconds * RATE)) / RATE
    return (10 ** (level_db / 20) * np.sin(2 * np.pi * hertz * t))[None]


def figure(text: str, row: str) -> str:
    found = re.search(rf"^  {re.escape(row)} +(.*)$", text, re.MULTILINE)
    assert found, f"no row {row!r} in\n{text}"
    return found[1]


def test_text_says_what_a_tone_is(retone, record) -> None:
    path = record("tone.wav", samples=tone(-20.0), subtype="PCM_24")
    done = retone("inspect", path)
    assert (done.code, done.err) == (0, "")
    assert done.out.splitlines()[0] == str(path)
    assert figure(done.out, "format") == "WAV, 24-bit, 44100 Hz, 1 channel, 1.00 s"
    # A 997 Hz sine of 0 dBFS reads -3.01 LUFS (ITU-R BS.1770).
    assert figure(done.out, "loudness").startswith("-23.0 LUFS")
    assert figure(done.out, "peak") == "-20.0 dBTP true peak, -20.0 dBFS sample peak"
    assert figure(done.out, "RMS") == "-23.0 dBFS, crest 3.0 dB"


def test_the_loudness_of_what_is_too_quiet_for_a_meter_is_said(retone, record) -> None:
    path = record("faint.wav", samples=tone(-75.0), subtype="PCM_24")
    assert figure(retone("inspect", path).out, "loudness").startswith("below -70 LUFS, ")


def test_text_holds_no_program_speak(retone, record) -> None:
    done = retone("inspect", record("a.flac", channels=2))
    for word in ("Inspection(", "None", "nan", "inf", "PCM_", "{", "}", "np."):
        assert word not in done.out
    assert all(len(line) < 120 for line in done.out.splitlines()[1:])


def test_tags_and_faults_are_shown(retone, record, tmp_path: Path) -> None:
    import soundfile as sf

    path = tmp_path / "loud.wav"
    samples = np.clip(4 * tone(0.0), -1, 1)
    with sf.SoundFile(path, "w", RATE, 1, "PCM_16") as file:
        file.title = "Täst"
        file.write(samples.T)
    done = retone("inspect", path)
    assert figure(done.out, "tag title") == "Täst"
    assert "clipped" in figure(done.out, "warning")
    assert int(figure(done.out, "clipped").split()[0]) > RATE // 4


def test_silence_has_no_level(retone, record) -> None:
    done = retone("inspect", record("zero.wav", samples=np.zeros((1, 5 * RATE))))
    assert done.code == 0
    assert figure(done.out, "RMS") == "- dBFS, crest - dB"
    assert figure(done.out, "bandwidth") == "- kHz"
    assert "loudness range" not in done.out  # as where a recording is too short for one
    assert figure(done.out, "loudness").startswith("- LUFS")
    assert "inf" not in done.out
    assert "silent" in figure(done.out, "warning")


def test_json_has_the_same_figures(retone, record) -> None:
    path = record("tone.wav", samples=tone(-20.0))
    done = retone("inspect", "--json", path)
    found = json.loads(done.out)
    assert found["file"] == "tone.wav"
    assert found["integrated_lufs"] == pytest.approx(-23.0, abs=0.05)
    assert (found["sample_rate"], found["channels"], found["frames"]) == (RATE, 1, RATE)


def test_json_of_silence_is_strict(retone, record) -> None:
    done = retone("inspect", "--json", record("zero.wav", samples=np.zeros((1, 5 * RATE))))

    def refuse(word: str) -> None:
        raise AssertionError(f"{word} is not JSON")

    found = json.loads(done.out, parse_constant=refuse)
    undefined = ("integrated_lufs", "loudness_range_lu", "crest_db", "bandwidth_hz")
    assert [found[name] for name in undefined] == [None] * 4


def test_silence_among_many_has_empty_cells(retone, record, tmp_path: Path) -> None:
    paths = [record("zero.wav", samples=np.zeros((1, 5 * RATE)))]
    paths.append(record("tone.wav", samples=tone(-20.0)))
    out = tmp_path / "out"
    assert retone("inspect", *paths, "-o", out, "--jobs", 0).code == 0
    with (out / "results.csv").open(newline="") as file:
        silent = next(row for row in csv.DictReader(file) if row["input"].endswith("zero.wav"))
    assert {silent[n] for n in ("loudness_range_lu", "crest_db", "bandwidth_hz")} == {""}
    row = next(r for r in (out / "summary.html").read_text().split("<tr") if "zero.wav" in r)
    assert ">0<" not in row and ">0.0<" not in row


def test_several_files_stand_apart(retone, record) -> None:
    paths = [record(name, seed=i) for i, name in enumerate(("a.wav", "b.flac", "c.ogg"))]
    done = retone("inspect", *paths)
    assert [part.splitlines()[0] for part in done.out.split("\n\n")] == [str(p) for p in paths]
    lines = retone("inspect", "--json", *paths).out.splitlines()
    assert [json.loads(line)["file"] for line in lines] == ["a.wav", "b.flac", "c.ogg"]


@pytest.mark.parametrize("how", [(), ("--json",)])
def test_a_bad_file_does_not_hide_the_good_ones(
    retone, record, tmp_path: Path, how: tuple[str, ...]
) -> None:
    good, other = record("a.wav"), record("b.wav")
    bad = tmp_path / "bad.wav"
    bad.write_text("no sound here")
    done = retone("inspect", *how, bad, good, tmp_path / "none.wav", other)
    assert done.code == 1
    assert done.err.count("\n") == 2
    assert str(bad) in done.err.splitlines()[0]
    assert "none.wav" in done.err.splitlines()[1]
    assert not done.out.startswith("\n")
    if how:
        assert [json.loads(line)["file"] for line in done.out.splitlines()] == ["a.wav", "b.wav"]
    else:
        starts = [part.splitlines()[0] for part in done.out.split("\n\n")]
        assert starts == [str(good), str(other)]


def test_progress_shows_on_a_terminal_and_never_in_the_output(retone, record, monkeypatch) -> None:
    from retone import terminal as progress

    path = record("a.wav", seconds=4)
    plain = retone("inspect", "--json", path)
    monkeypatch.setattr("sys.stderr.isatty", lambda: True)
    monkeypatch.setattr(progress, "DELAY_S", 0.0)
    monkeypatch.setattr(progress, "EVERY_S", 0.0)
    shown = retone("inspect", "--json", path)
    assert shown.out == plain.out
    assert plain.err == ""
    assert "4 of 4 s" in shown.err
    assert shown.err.endswith("\r")
