"""Commands on many recordings: outputs, messages, exit codes, and disks that are full."""

from __future__ import annotations

import csv
import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile as sf

from retone.cli.main import main

from .conftest import tree


@pytest.fixture
def retone(capsys: pytest.CaptureFixture[str]):
    """``retone("match", ...)`` -> exit code, stdout, stderr."""

    def run(*words: object) -> tuple[int, str, str]:
        capsys.readouterr()
        try:
            code = main([str(w) for w in words])
        except SystemExit as end:
            code = int(end.code or 0)
        return code, *capsys.readouterr()

    return run


def voices(repository: Path, folder: Path, count: int = 2) -> Path:
    """Seconds of the example voice, one file each."""
    samples, rate = sf.read(repository / "examples" / "dull_voice.flac")
    folder.mkdir()
    for i in range(count):
        sf.write(folder / f"v{i}.wav", samples[2 * i * rate : (2 * i + 3) * rate], rate)
    return folder


def test_a_job_writes_what_single_calls_write(retone, repository: Path, tmp_path: Path) -> None:
    source = voices(repository, tmp_path / "in")
    (source / "bad.wav").write_bytes(b"no recording")
    reference = repository / "examples" / "bright_voice.flac"
    out = tmp_path / "out"
    code, text, error = retone("match", source, "--to", reference, "-o", out, "--jobs", 2)
    assert code == 1 and "2 done, 1 failed" in text
    lines = error.splitlines()
    assert "1 of 3" in lines[0] and len(lines) == 2 and "bad.wav" in lines[1]
    for name in ("v0.wav", "v1.wav"):
        alone = tmp_path / name
        assert retone("match", source / name, "--to", reference, "-o", alone, "-q")[0] == 0
        assert alone.read_bytes() == (out / name).read_bytes()
        settings = (out / f"{name}.json").read_text()
        assert settings == alone.with_suffix(".json").read_text()
        assert (out / f"{name}.html").read_text() == alone.with_suffix(".html").read_text()
    with (out / "results.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["status"] for row in rows] == ["failed", "done", "done"]
    levels = json.loads(settings)["levels"]
    assert float(rows[2]["after_integrated_lufs"]) == levels["after"]["integrated_lufs"]
    page = (out / "summary.html").read_text()
    assert page.index("bad.wav") < page.index("v0.wav")
    before = tree(out)
    code, text, _ = retone("match", source, "--to", reference, "-o", out, "--jobs", 2)
    assert code == 1 and "0 done, 2 done before, 1 failed" in text and tree(out) == before


def test_apply_and_enhance_take_folders_too(
    retone, clip, repository: Path, settings: Path, tmp_path: Path
) -> None:
    clip("in/a.wav"), clip("in/s/b.wav")
    out = tmp_path / "applied"
    words = ("--settings", settings, "-o", out, "--jobs", 0, "--no-report", "--format", "flac")
    assert retone("apply", tmp_path / "in", *words)[0] == 0
    assert {"a.flac", "a.flac.json", "s/b.flac"} < set(tree(out))
    assert not any(name.endswith("b.flac.html") for name in tree(out))
    voice = voices(repository, tmp_path / "voices", 1)
    assert retone("enhance", voice, "-o", tmp_path / "enhanced", "--jobs", 0)[0] == 0
    assert (tmp_path / "enhanced" / "v0.wav").exists()


def test_inspect_prints_in_order_and_writes_tables(retone, clip, tmp_path: Path) -> None:
    for i in range(5):
        clip(f"in/{i}.wav", seed=i, seconds=1.0)
    (tmp_path / "in" / "bad.wav").write_bytes(b"")
    code, text, error = retone("inspect", tmp_path / "in", "--json", "--jobs", 2)
    assert code == 1 and "bad.wav" in error
    assert [json.loads(line)["file"] for line in text.splitlines()] == [
        f"{i}.wav" for i in range(5)
    ]
    single = retone("inspect", tmp_path / "in" / "3.wav")[1]
    assert single in retone("inspect", tmp_path / "in", "--jobs", 0)[1] + "\n"
    out = tmp_path / "table"
    assert retone("inspect", tmp_path / "in", "-o", out, "--jobs", 0)[0] == 1
    assert len((out / "results.csv").read_text().splitlines()) == 7
    assert (out / "summary.html").exists()


def test_a_manifest_alone_is_enough(retone, clip, settings: Path, tmp_path: Path) -> None:
    clip("a.wav"), clip("b.wav")
    listed = tmp_path / "season.jsonl"
    rows = [{"input": "a.wav"}, {"input": "b.wav", "amount": 0.5, "output": "half.wav"}]
    listed.write_text("\n".join(json.dumps({**r, "settings": str(settings)}) for r in rows))
    out = tmp_path / "out"
    assert retone("apply", "--manifest", listed, "-o", out, "--jobs", 0)[0] == 0
    assert json.loads((out / "half.wav.json").read_text())["amount"] == 0.5
    assert retone("match", "--manifest", listed, "-o", tmp_path / "m", "--jobs", 0)[0] == 2


@pytest.mark.parametrize(
    ("words", "part"),
    [
        (("match", "IN", "--to", "IN/a.wav"), "-o FOLDER"),
        (("match", "IN", "--to", "IN/a.wav", "-o", "IN/a.wav"), "is a file"),
        (("match", "--to", "IN/a.wav"), "INPUT"),
        (("apply", "IN", "-o", "OUT"), "--settings"),
        (("match", "EMPTY", "--to", "IN/a.wav", "-o", "OUT"), "no recording found"),
        (("match", "IN", "--to", "IN/a.wav", "-o", "OUT", "--jobs", "many"), "'many'"),
        (("match", "IN", "--to", "IN/b.wav", "-o", "OUT"), "b.wav does not exist"),
        (("apply", "IN", "--settings", "IN/b.json", "-o", "OUT"), "b.json does not exist"),
    ],
)
def test_what_cannot_be_is_one_sentence(retone, clip, tmp_path: Path, words, part: str) -> None:
    clip("in/a.wav")
    (tmp_path / "empty").mkdir()
    names = {"IN": tmp_path / "in", "OUT": tmp_path / "out", "EMPTY": tmp_path / "empty"}
    given = []
    for word in words:
        for name, path in names.items():
            word = word.replace(name, str(path)) if word.startswith(name) else word
        given.append(word)
    code, _, error = retone(*given)
    assert code == 2 and part in error and len(error.splitlines()) == 1
    assert not (tmp_path / "out").exists()


@pytest.mark.skipif(sys.platform == "win32", reason="makes links")
def test_every_kind_of_bad_row_costs_one_line_and_nothing_else(
    retone, clip, settings: Path, tmp_path: Path
) -> None:
    source = tmp_path / "in"
    for name in ("good.wav", "deep/good.wav", "both.wav", "both.flac"):
        clip(f"in/{name}", seed=len(name))
    (source / "unreadable.wav").write_bytes(b"no recording")
    (source / "gone.wav").symlink_to(tmp_path / "nowhere.wav")
    (source / "deep" / "loop").symlink_to(source)
    out = source / "out"
    words = ("--settings", settings, "-o", out, "--jobs", 2, "--format", "wav", "--no-report")
    for expected in ("3 done", "3 done before"):  # the second time the results are there
        code, text, error = retone("apply", source, source / "missing.wav", *words)
        assert code == 1 and f"{expected}, 5 failed" in text.replace("0 done, ", "")
        lines = error.splitlines()
        assert len(lines) == 6 and "5 of 8" in lines[0]
        for name in ("both.flac", "unreadable.wav", "gone.wav", "loop", "missing.wav"):
            assert sum(f"/{name}" in line for line in lines[1:]) == 1, (name, lines)
        written = {name for name in tree(out) if name.endswith(".wav")}
        assert written == {"good.wav", "deep/good.wav", "both.wav"}


@pytest.mark.skipif(sys.platform == "win32", reason="limits file sizes as POSIX does")
def test_a_full_disk_costs_the_files_that_do_not_fit(clip, settings: Path, tmp_path: Path) -> None:
    """A limit on file sizes raises the error of a full disk, for the large files only."""
    for i in range(6):
        clip(f"in/{i}.wav", seed=i, seconds=4.0 if i in (2, 3) else 0.3)
    out = tmp_path / "out"
    code = (
        "import resource, sys\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (30000, 30000))\n"
        "from retone.cli.main import main\n"
        "sys.exit(main(sys.argv[1:]))"
    )
    words = ["apply", str(tmp_path / "in"), "--settings", str(settings), "-o", str(out)]
    words += ["--jobs", "0", "--no-report"]
    done = subprocess.run([sys.executable, "-c", code, *words], capture_output=True, text=True)
    assert done.returncode == 1 and "4 done, 2 failed" in done.stdout, done.stderr
    assert len(done.stderr.splitlines()) == 3
    audio = sorted(name for name in tree(out) if name.endswith(".wav"))
    assert audio == ["0.wav", "1.wav", "4.wav", "5.wav"]
    assert not any(".part" in name for name in tree(out))
    assert main([*words, "-q"]) == 0
    assert len([name for name in tree(out) if name.endswith(".wav")]) == 6


@pytest.mark.skipif(sys.platform in ("win32", "darwin"), reason="file names are text there")
def test_names_of_any_bytes_are_processed_and_shown(retone, clip, settings, tmp_path) -> None:
    source = clip("a.wav").read_bytes()
    folder = tmp_path / "in"
    folder.mkdir()
    names = [b"\xff\xfe.wav", b"new\nline.wav", b"esc\x1b[31m.wav", "ü<b>.wav".encode()]
    for name in (*names, b"bad\xff\n.wav"):
        (folder / os.fsdecode(name)).write_bytes(b"" if name.startswith(b"bad") else source)
    out = tmp_path / "out"
    words = ("apply", folder, "--settings", settings, "-o", out, "--jobs", 0)
    code, _, error = retone(*words)
    assert code == 1 and len(error.splitlines()) == 2 and error.isascii()
    found = {os.fsencode(p.relative_to(out)) for p in out.rglob("*.wav")}
    assert found == set(names)
    page = (out / "summary.html").read_text(encoding="utf-8")
    assert "<b>" not in page
    with (out / "results.csv").open(newline="", encoding="utf-8") as file:
        assert len(list(csv.DictReader(file))) == 5
    assert "4 done before" in retone(*words)[1]


@pytest.mark.parametrize(
    ("words", "part"),
    [
        (("match", "IN", "--to", "REF", "-o", "IN"), "is the folder of the results"),
        (("inspect", "IN", "-o", "IN"), "is the folder of the results"),
        (("apply", "IN/a.wav", "IN/b.wav", "--settings", "SET", "-o", "IN"), "is in the folder"),
        (("match", "IN", "--to", "REF", "-o", "IN", "--together", "same-settings"), "results"),
        (("match", "IN", "--to", "REF", "-o", "IN", "--together", "album"), "is the folder"),
        (("match", "IN", "--auto", "-o", "OTHER/new", "--together", "album"), "one preset"),
        (("apply", "IN/x.wav", "IN/y.wav", "--settings", "SET", "-o", "OTHER/new"), "not exist"),
        (("apply", "IN", "--settings", "SET", "-o", "OTHER"), "--force"),
        (("match", "IN", "--to", "REF", "-o", "OTHER", "--together", "album"), "--force"),
        (("match", "IN", "--to", "REF", "-o", "OTHER", "--together", "same-settings"), "--force"),
        (("match", "IN", "--preset", "none-such", "-o", "OTHER/new"), "none-such"),
        (("match", "IN", "--to", "BAD", "-o", "OTHER/new"), "bad.wav"),
        (("match", "IN", "--to", "REF", "BAD", "-o", "OTHER/new", "--together", "album"),
         "bad.wav"),
        (("match", "IN", "--to", "BAD", "-o", "OTHER/new", "--together", "album", "--loudness",
          "-16"), "bad.wav"),
        (("match", "IN", "--to", "BAD", "-o", "OTHER/new", "--together", "same-settings"),
         "bad.wav"),
        (("match", "IN", "--to", "CUT", "-o", "OTHER/new", "--together", "album"), "cut.flac"),
        (("apply", "IN", "--settings", "REF.json", "-o", "OTHER/new"), "ref.wav.json"),
        (("apply", "IN", "--settings", "SET", "-o", "TABLE"), "results.csv exists"),
        (("inspect", "IN", "-o", "TABLE"), "Choose another folder."),
        (("apply", "--manifest", "TABLE/results.csv", "--settings", "SET", "--force", "-o",
          "TABLE"), "is the manifest"),
        (("match", "IN", "--to", "REF", "-o", "SHARED", "--together", "same-settings"),
         "same_settings.json exists"),
    ],
)  # fmt: skip
def test_a_refused_job_leaves_nothing(
    retone, clip, settings: Path, tmp_path: Path, words, part: str
) -> None:
    for name in ("in/a.wav", "in/b.wav", "other/a.wav", "other/b.wav", "ref.wav"):
        clip(name, seconds=1.0)
    (tmp_path / "ref.wav.json").write_text("{}")
    (tmp_path / "table").mkdir()
    (tmp_path / "table" / "results.csv").write_text("input\n../in/a.wav\n")
    (tmp_path / "shared").mkdir()
    (tmp_path / "shared" / "same_settings.json").write_text("mine")
    (tmp_path / "bad.wav").write_bytes(b"no recording")
    sf.write(tmp_path / "cut.flac", np.random.default_rng(0).normal(0, 0.1, 60000), 8000)
    whole = (tmp_path / "cut.flac").read_bytes()
    (tmp_path / "cut.flac").write_bytes(whole[:2000] + bytes(len(whole) // 2))
    names = {
        "IN": "in",
        "BAD": "bad.wav",
        "CUT": "cut.flac",
        "OTHER": "other",
        "REF": "ref.wav",
        "TABLE": "table",
        "SHARED": "shared",
    }
    given = []
    for word in words:
        first, dot, rest = word.partition(".")
        first, slash, below = first.partition("/")
        if word == "SET":
            word = str(settings)
        elif first in names:
            word = str(tmp_path / names[first]) + slash + below + dot + rest
        given.append(word)
    before = tree(tmp_path), set(tmp_path.rglob("*"))
    code, _, error = retone(*given, "--jobs", 0)
    assert code == 2 and part in error
    assert (tree(tmp_path), set(tmp_path.rglob("*"))) == before


@pytest.mark.parametrize("verb", ["match", "enhance", "apply", "inspect", "inspect into a folder"])
@pytest.mark.parametrize(
    ("good", "bad", "expected"),
    [(1, 0, 0), (2, 0, 0), (2, 1, 1), (1, 2, 1), (0, 1, 2), (0, 2, 2)],
)
@pytest.mark.parametrize("bad_kind", ["unreadable", "missing"])
def test_every_command_ends_with_the_same_exit_code(
    retone, clip, settings: Path, tmp_path: Path, verb: str, good: int, bad: int, expected: int,
    bad_kind: str,
) -> None:  # fmt: skip
    """0 all done, 1 some failed, 2 none done; twice, as a job goes on."""
    names: list[Path] = [clip(f"good{i}.wav", seed=i, seconds=1.0) for i in range(good)]
    for i in range(bad):
        names.append(tmp_path / f"bad{i}.wav")
        if bad_kind == "unreadable":
            names[-1].write_bytes(b"no recording")
    what = {"match": ("--preset", "podcast"), "apply": ("--settings", settings)}.get(verb, ())
    out = tmp_path / ("out" if len(names) > 1 or "inspect" in verb else "out.wav")
    where = ("--jobs", 0, "-o", out) if verb != "inspect" else ()
    for again in ((), ("--force",) if len(names) == 1 and "inspect" not in verb else ()):
        words = (verb.split()[0], *names, *what, *where, *again, "-q")
        assert retone(*words)[0] == expected


def test_a_job_replaces_its_own_table(retone, clip, settings: Path, tmp_path: Path) -> None:
    clip("in/a.wav")
    words = ("apply", tmp_path / "in", "--settings", settings, "-o", tmp_path / "out", "--jobs", 0)
    assert retone(*words)[0] == 0
    clip("in/b.wav", seed=1)
    assert retone(*words)[0] == 0
    assert len((tmp_path / "out" / "results.csv").read_text().splitlines()) == 3


def test_a_table_that_cannot_be_written_is_refused_first(
    retone, clip, settings: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    clip("in/a.wav")
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    words = ("--settings", settings, "-o", tmp_path / "out", "--jobs", 0, "--table", "parquet")
    code, _, error = retone("apply", tmp_path / "in", *words)
    assert code == 2 and "pyarrow" in error and not (tmp_path / "out").exists()


@pytest.mark.skipif(os.name != "posix", reason="where a name may have 255 bytes")
def test_a_row_whose_settings_cannot_be_written_leaves_no_recording(
    retone, settings: Path, repository: Path, tmp_path: Path
) -> None:
    source = voices(repository, tmp_path / "in", 1)
    (source / "v0.wav").rename(source / f"{'x' * 248}.wav")  # with .json it is too long
    voices(repository, tmp_path / "more", 1)
    out = tmp_path / "out"
    words = ("apply", source, tmp_path / "more", "--settings", settings, "-o", out, "--jobs", 1)
    code, _, error = retone(*words)
    assert code == 1 and "too long" in error and "link" not in error
    found = {p.name for p in out.rglob("*") if p.is_file() and p.name.endswith((".wav", ".part"))}
    assert found == {"v0.wav"}
