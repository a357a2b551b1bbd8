"""Bad input: one clear sentence, exit code 2, nothing written, nothing harmed."""

from __future__ import annotations

import hashlib
import json
import os
import struct
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import soundfile as sf

from .conftest import Outcome

RATE = 44100


def snapshot(folder: Path) -> dict[str, str]:
    """Every file of a folder, hidden ones included, with a hash of its content."""
    return {
        p.relative_to(folder).as_posix(): hashlib.sha256(p.read_bytes()).hexdigest()
        for p in sorted(folder.rglob("*"))
        if p.is_file()
    }


def assert_refused(done: Outcome, *parts: object) -> None:
    """One sentence on stderr with these words in it, nothing on stdout, exit code 2."""
    assert done.code == 2, done
    assert done.out == ""
    assert done.err.count("\n") == 1, done.err
    assert "Traceback" not in done.err
    assert done.err.startswith("retone ")
    for part in parts:
        assert str(part) in done.err, done.err


def header_only(path: Path) -> None:
    sf.write(path, np.zeros((0, 1)), RATE)


def empty(path: Path) -> None:
    path.write_bytes(b"")


def text(path: Path) -> None:
    path.write_text("This is a letter, not a recording.\n" * 20)


def silent(path: Path) -> None:
    sf.write(path, np.zeros(RATE), RATE)


def one_sample(path: Path) -> None:
    sf.write(path, np.array([0.5]), RATE)


def short(path: Path) -> None:
    sf.write(path, 0.1 * np.random.default_rng(0).standard_normal(RATE // 5), RATE)


def not_a_number(path: Path) -> None:
    x = 0.1 * np.random.default_rng(0).standard_normal(RATE)
    x[22050] = np.nan
    sf.write(path, x, RATE, subtype="FLOAT")


def infinite(path: Path) -> None:
    x = 0.1 * np.random.default_rng(0).standard_normal(RATE)
    x[100:103] = np.inf
    sf.write(path, x, RATE, subtype="FLOAT")


def half_a_header(path: Path) -> None:
    path.write_bytes(b"RIFF" + struct.pack("<I", 1000) + b"WAVEfm")


def low_rate(path: Path) -> None:
    sf.write(path, 0.1 * np.random.default_rng(0).standard_normal(4000), 4000)


BAD = [
    (empty, "empty (0 bytes)"),
    (header_only, "no samples"),
    (text, "not a recording"),
    (half_a_header, "not a recording"),
    (silent, "silent"),
    (one_sample, "at least 0.5 s"),
    (short, "lasts 0.20 s"),
    (not_a_number, "1 NaN or infinite sample, the first at 0.500 s"),
    (infinite, "3 NaN or infinite samples"),
    (low_rate, "4000 Hz"),
]


@pytest.mark.parametrize(("make", "says"), BAD, ids=lambda v: getattr(v, "__name__", ""))
@pytest.mark.parametrize("role", ["input", "reference"])
def test_bad_recordings_are_refused(
    retone, record, fixed, tmp_path: Path, make: Callable[[Path], None], says: str, role: str
) -> None:
    bad, good = tmp_path / "bad.wav", record("good.wav")
    make(bad)
    before = snapshot(tmp_path)
    own, other = (bad, good) if role == "input" else (good, bad)
    assert_refused(retone("match", own, "--to", other), bad, says)
    assert snapshot(tmp_path) == before


@pytest.mark.parametrize("make", [empty, header_only, text, not_a_number])
def test_apply_refuses_them_too(retone, record, fixed, tmp_path: Path, make) -> None:
    retone("match", record("a.wav"), "--to", record("b.wav"), "-o", tmp_path / "m.wav")
    bad = tmp_path / "bad.wav"
    make(bad)
    before = snapshot(tmp_path)
    assert_refused(retone("apply", bad, "--settings", tmp_path / "m.json"), bad)
    assert snapshot(tmp_path) == before


@pytest.mark.parametrize("case", ["input", "reference", "folder", "second reference"])
def test_missing_files_are_named(retone, record, fixed, tmp_path: Path, case: str) -> None:
    good, none = record("good.wav"), tmp_path / "none.wav"
    words = {
        "input": (none, "--to", good),
        "reference": (good, "--to", none),
        "second reference": (good, "--to", good, none),
        "folder": (good, "--to", tmp_path),
    }[case]
    before = snapshot(tmp_path)
    wrong = (tmp_path, "is a folder") if case == "folder" else (none, "does not exist")
    assert_refused(retone("match", *words), *wrong)
    assert snapshot(tmp_path) == before


def test_a_file_without_permission(retone, record, fixed, tmp_path: Path) -> None:
    if os.geteuid() == 0:
        pytest.skip("the superuser may read everything")
    locked = record("locked.wav")
    locked.chmod(0)
    assert_refused(retone("match", locked, "--to", record("b.wav")), locked, "permission")


# --- recordings that work, with a word --------------------------------------------------------


@pytest.mark.parametrize("name", ["a.wav", "a.flac"])
def test_a_truncated_file_works_with_a_warning(
    retone, record, fixed, tmp_path: Path, name: str
) -> None:
    whole = record(f"whole_{name}", seconds=3)
    cut = tmp_path / name
    cut.write_bytes(whole.read_bytes()[: whole.stat().st_size * 2 // 3])
    for words in ((), ("--amount", "0", "--force")):
        done = retone("match", cut, "--to", record("b.wav"), "-o", tmp_path / "out.wav", *words)
        assert (done.code, done.err) == (0, "")
        assert "note: " in done.out and "cut" in done.out
        assert 1.5 < sf.info(tmp_path / "out.wav").duration < 2.1
        warnings = json.loads((tmp_path / "out.json").read_text())["warnings"]
        assert any("cut" in w for w in warnings)


def test_a_clipped_file_works_with_a_note(retone, record, make_audio, fixed, tmp_path) -> None:
    loud = np.clip(3 * make_audio(RATE, RATE)[0].numpy(), -1, 1)
    source = record("loud.wav", samples=loud)
    done = retone("match", source, "--to", record("b.wav"))
    assert done.code == 0
    assert "loud.wav is clipped" in done.out
    assert "clipped" in (tmp_path / "loud.matched.html").read_text()


def test_the_same_recording_twice_works_with_a_warning(
    retone, record, fixed, tmp_path: Path
) -> None:
    source = record("a.wav")
    copy = tmp_path / "copy.flac"
    sf.write(copy, *sf.read(source, dtype="int16"))
    for reference in (source, copy):
        done = retone("match", source, "--to", reference, "-o", tmp_path / "o.wav", "--force")
        assert done.code == 0
        assert f"{reference.name} is the same recording as the input" in done.out


def test_32_channels_work(retone, record, fixed, tmp_path: Path) -> None:
    done = retone("match", record("a.wav", channels=32, seconds=0.6), "--to", record("b.wav"))
    assert (done.code, done.err) == (0, "")
    assert sf.info(tmp_path / "a.matched.wav").channels == 32


def test_the_content_decides_not_the_extension(retone, record, fixed, tmp_path: Path) -> None:
    real = record("real.wav")
    odd = real.rename(tmp_path / "odd.flac")
    done = retone("match", odd, "--to", record("b.wav"))
    assert done.code == 0
    assert "odd.flac is a WAV file named .flac" in done.out
    assert sf.info(tmp_path / "odd.matched.flac").format == "FLAC"
    unknown = odd.rename(tmp_path / "take.dat")
    assert retone("match", unknown, "--to", tmp_path / "b.wav").code == 0
    assert sf.info(tmp_path / "take.matched.wav").format == "WAV"


# --- where to write -----------------------------------------------------------------------------


@pytest.mark.parametrize("existing", ["o.wav", "o.json", "o.html"])
@pytest.mark.parametrize("command", ["match", "apply"])
def test_nothing_is_overwritten(
    retone, record, fixed, tmp_path: Path, existing: str, command: str
) -> None:
    source, reference = record("a.wav"), record("b.wav")
    retone("match", source, "--to", reference, "-o", tmp_path / "m.wav")
    (tmp_path / existing).write_text("mine")
    before = snapshot(tmp_path)
    how = ("--to", reference) if command == "match" else ("--settings", tmp_path / "m.json")
    done = retone(command, source, *how, "-o", tmp_path / "o.wav")
    assert_refused(done, tmp_path / existing, "exists", "--force")
    assert snapshot(tmp_path) == before


@pytest.mark.parametrize("which", ["input", "reference", "link"])
def test_what_is_read_is_never_written(retone, record, fixed, tmp_path: Path, which: str) -> None:
    source, reference = record("a.wav"), record("b.wav")
    link = tmp_path / "link.wav"
    link.symlink_to(source)
    before = snapshot(tmp_path)
    output = {"input": source, "reference": reference, "link": link}[which]
    for force in ((), ("--force",)):
        done = retone("match", source, "--to", reference, "-o", output, *force)
        assert_refused(done, output, "reference" if which == "reference" else "input itself", "-o")
        assert "--force" not in done.err
    assert snapshot(tmp_path) == before


@pytest.mark.parametrize(
    ("name", "says"),
    [("out.txt", "'.txt'"), ("out", "no extension"), ("none/out.wav", "does not exist"),
     ("a.wav/out.wav", "does not exist"), (".", "is a folder"), ("", "is a folder"),
     ("x" * 300 + ".wav", "too long")],
)  # fmt: skip
def test_bad_output_names_are_refused_before_any_work(
    retone, record, use_estimator, tmp_path: Path, monkeypatch, name: str, says: str
) -> None:
    class Never:
        name = "never"

        def estimate(self, *a: object, **k: object) -> None:
            raise AssertionError("worked before refusing")

    use_estimator(Never())
    source, reference = record("a.wav"), record("b.wav")
    monkeypatch.chdir(tmp_path)
    before = snapshot(tmp_path)
    assert_refused(retone("match", source, "--to", reference, "-o", name), says)
    assert snapshot(tmp_path) == before


def test_a_folder_that_cannot_be_written_to(retone, record, fixed, tmp_path, monkeypatch) -> None:
    real = os.open

    def refuse(path: object, flags: int, *rest: object, **more: object) -> int:
        if flags & os.O_CREAT:
            raise PermissionError(13, "Permission denied", str(path))
        return real(path, flags, *rest, **more)  # type: ignore[arg-type]

    source, reference = record("a.wav"), record("b.wav")
    before = snapshot(tmp_path)
    monkeypatch.setattr("retone.files.atomic.os.open", refuse)
    done = retone("match", source, "--to", reference)
    monkeypatch.undo()
    assert_refused(done, "a.matched.wav", "cannot be written to", "-o")
    assert snapshot(tmp_path) == before


def test_a_container_too_small_is_refused_before_any_work(
    retone, record, fixed, tmp_path: Path
) -> None:
    source, reference = record("a.wav", channels=6, seconds=0.6), record("b.wav")
    before = snapshot(tmp_path)
    done = retone("match", source, "--to", reference, "-o", tmp_path / "out.mp3")
    assert_refused(done, "out.mp3", "1 to 2 channels", ".wav")
    assert fixed.heard == []
    assert snapshot(tmp_path) == before
