"""``--format``, ``--bit-depth``, ``--sample-rate``, and ``-`` for standard input and output."""

from __future__ import annotations

import io
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile as sf

from retone.audio.files import info, same_audio


@pytest.mark.parametrize(
    ("words", "name", "expected"),
    [
        (("--format", "flac"), "a.matched.flac", ("FLAC", "PCM_16", 44100)),
        (("--format", "alac"), "a.matched.m4a", ("MP4", "ALAC_16", 44100)),
        (("--bit-depth", "24"), "a.matched.wav", ("WAV", "PCM_24", 44100)),
        (("--bit-depth", "float"), "a.matched.wav", ("WAV", "FLOAT", 44100)),
        (("--sample-rate", "48000"), "a.matched.wav", ("WAV", "PCM_16", 48000)),
        (("--format", "opus", "--sample-rate", "48000"), "a.matched.opus", ("OGG", "OPUS", 48000)),
    ],
)
def test_the_output_has_the_format_that_is_asked_for(
    retone, record, fixed, tmp_path: Path, words, name: str, expected
) -> None:
    source = record("a.wav", seconds=1, subtype="PCM_16")
    done = retone("match", source, "--to", record("b.wav", seed=1), *words)
    assert (done.code, done.err) == (0, "")
    got = info(tmp_path / name)
    assert (got.format, got.subtype, got.sample_rate) == expected
    rate = info(source).sample_rate
    assert got.frames == round(info(source).frames * got.sample_rate / rate)


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (("--format", "mp5"), "No format is called 'mp5'"),
        (("--format", "mp3", "--bit-depth", "16"), "the coding is lossy"),
        (("--sample-rate", "100"), "expected 8000 to 384000"),
    ],
)
def test_impossible_formats_are_refused_before_any_work(
    retone, record, fixed, words, says: str
) -> None:
    done = retone("match", record("a.wav"), "--to", record("b.wav", seed=1), *words)
    assert done.code == 2 and says in done.err and done.err.count("\n") == 1
    assert fixed.heard == []


def test_352800_hz_work(retone, fixed, tmp_path: Path) -> None:
    x = 0.1 * np.random.default_rng(0).standard_normal(352800)
    for name in ("a.wav", "b.wav"):
        sf.write(tmp_path / name, x, 352800, subtype="PCM_24")
    done = retone("match", tmp_path / "a.wav", "--to", tmp_path / "b.wav")
    assert (done.code, done.err) == (0, "")
    assert sf.info(tmp_path / "a.matched.wav").samplerate == 352800


def test_a_recording_goes_through_a_pipe(record, tmp_path: Path) -> None:
    source, reference = record("a.wav", seconds=1), record("b.wav", seed=1)
    command = [sys.executable, "-m", "retone", "match", "-", "--to", str(reference), "-o", "-"]
    done = subprocess.run(
        [*command, "--amount", "0", "--format", "flac"],
        input=source.read_bytes(), capture_output=True,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    (tmp_path / "out.flac").write_bytes(done.stdout)
    assert same_audio(source, tmp_path / "out.flac")
    assert sf.info(io.BytesIO(done.stdout)).format == "FLAC"
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a.wav", "b.wav", "out.flac"]


def test_standard_input_needs_an_output_name(
    retone, record, fixed, monkeypatch: pytest.MonkeyPatch
) -> None:
    done = retone("match", "-", "--to", record("b.wav"))
    assert done.code == 2 and "give -o" in done.err


@pytest.mark.parametrize("sound", [True, False])
def test_standard_input_can_be_inspected(retone, record, fixed, monkeypatch, sound: bool) -> None:
    """Neither the result nor an error names the folder where it is kept meanwhile."""
    data = record("a.wav").read_bytes() if sound else b"no sound"
    for command in (("inspect", "-"), ("match", "-", "--to", record("b.wav"), "-o", "-")):
        if sound and command[0] == "match":
            continue  # test_a_recording_goes_through_a_pipe
        monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(data)))
        done = retone(*command)
        if sound:
            assert (done.code, done.err) == (0, "")
            assert done.out.splitlines()[0] == "standard input"
        else:
            assert done.code == 2
            assert f"retone {command[0]}: standard input is not a recording" in done.err


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["inspect", "-", "-o", "out"], "processed alone, without -o"),
        (["inspect", "-", "--jobs", "2"], "processed alone"),
        (["inspect", "-", "a.wav", "--table", "csv", "-o", "out"], "processed alone"),
        (["inspect", "a.wav", "-o", "-"], "standard output (-) is no folder"),
        (["match", "-", "a.wav", "--to", "b.wav", "-o", "out"], "processed alone, with -o FILE"),
        (["match", "a.wav", "b.wav", "--to", "b.wav", "-o", "-"], "standard output (-) is no"),
        (["match", "a.wav", "--to", "-"], "only be the recording to change"),
        (["match", "a.wav", "--to", "-", "-o", "-"], "only be the recording to change"),
        (["match", "a.wav", "b.wav", "--to", "-", "-o", "out"], "only be the recording to change"),
        (["enhance", "-", "a.wav", "-o", "out"], "processed alone, with -o FILE"),
        (["apply", "-", "a.wav", "--settings", "s.json", "-o", "out"], "processed alone"),
    ],
)
def test_streams_that_cannot_be_used_are_refused_in_true_words(
    retone, record, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, words: list[str], said: str
) -> None:
    record("a.wav"), record("b.wav")
    monkeypatch.chdir(tmp_path)
    (tmp_path / "s.json").write_text("{}")
    before = sorted(p.name for p in tmp_path.iterdir())
    done = retone(*words)
    assert done.code == 2 and said in done.err
    assert "does not exist" not in done.err and done.err.count("\n") == 1
    assert sorted(p.name for p in tmp_path.iterdir()) == before


def test_inspect_prints_json_alone(retone, tmp_path: Path) -> None:
    """Damaged SDS files made libsndfile print hundreds of lines to standard output."""
    path = tmp_path / "a.sds"
    path.write_bytes(b"\xf0\x7e\x00\x01" + bytes(range(128)) * 40)
    command = [sys.executable, "-m", "retone", "inspect", "--json", str(path)]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 2 and done.stdout == ""
    assert done.stderr.count("\n") == 1


def test_an_m4a_goes_in_and_out(retone, record, fixed, tmp_path: Path) -> None:
    """A phone's recording after the plain install: the output is named and made like it."""
    first = retone("match", record("a.wav"), "--to", record("b.wav", seed=1), "-o",
                   tmp_path / "phone.m4a", "--no-report")  # fmt: skip
    assert first.code == 0
    done = retone("match", tmp_path / "phone.m4a", "--to", tmp_path / "b.wav")
    assert (done.code, done.err) == (0, "")
    got = info(tmp_path / "phone.matched.m4a")
    assert (got.format, got.subtype) == ("MP4", "AAC")
    assert got.frames == info(tmp_path / "a.wav").frames
