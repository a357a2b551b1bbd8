"""Files appear complete or not at all, whoever writes them and whenever it fails."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import retone
from retone.errors import AudioError, DataError, OutputExistsError
from retone.files import atomic
from retone.files.atomic import AtomicFile, write_text_atomic

SOURCE = Path(retone.__file__).parent


def names(folder: Path) -> list[str]:
    return sorted(p.name for p in folder.iterdir())


@pytest.mark.parametrize("force", [False, True])
@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt])
def test_a_failure_in_the_middle_leaves_everything_as_it_was(
    tmp_path: Path, force: bool, error: type[BaseException]
) -> None:
    target = tmp_path / "a.txt"
    if force:
        target.write_text("old")
    with pytest.raises(error), AtomicFile(target, force=force) as file:
        file.path.write_text("half")
        assert not force or target.read_text() == "old"
        raise error
    assert names(tmp_path) == (["a.txt"] if force else [])
    assert not force or target.read_text() == "old"


@pytest.mark.parametrize("step", ["content", "sync", "rename"])
def test_a_full_disk_leaves_everything_as_it_was(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    target = tmp_path / "a.txt"
    target.write_text("old")

    def full(*args: object, **kw: object) -> None:
        raise OSError(28, "No space left on device")

    owner, name = {"content": (Path, "write_bytes"), "sync": (os, "fsync"),
                   "rename": (Path, "replace")}[step]  # fmt: skip
    monkeypatch.setattr(owner, name, full)
    with pytest.raises(
        AudioError, match=r"No space left on device in .* MB are free.*Free some space"
    ):
        write_text_atomic(target, "new", force=True)
    assert names(tmp_path) == ["a.txt"] and target.read_text() == "old"


def test_nothing_is_overwritten_unasked(tmp_path: Path) -> None:
    target = tmp_path / "a.txt"
    target.write_text("old")
    with pytest.raises(OutputExistsError, match="exists. Choose another name or allow") as found:
        AtomicFile(target)
    assert found.value.path == target
    dangling = tmp_path / "link"
    dangling.symlink_to(tmp_path / "nowhere")
    with pytest.raises(OutputExistsError):
        AtomicFile(dangling)
    with pytest.raises(OutputExistsError), AtomicFile(tmp_path / "b.txt"):
        (tmp_path / "b.txt").write_text("theirs")  # appears while this one is written
    assert (tmp_path / "b.txt").read_text() == "theirs"
    assert names(tmp_path) == ["a.txt", "b.txt", "link"]


def test_without_hard_links_it_still_refuses(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def none(*args: object) -> None:
        raise OSError(95, "not supported")

    monkeypatch.setattr(os, "link", none)
    write_text_atomic(tmp_path / "a.txt", "new")
    with pytest.raises(OutputExistsError), AtomicFile(tmp_path / "b.txt"):
        (tmp_path / "b.txt").write_text("theirs")
    assert names(tmp_path) == ["a.txt", "b.txt"]


@pytest.mark.skipif(os.name == "nt", reason="permissions are POSIX's")
def test_permissions_and_links_are_kept(tmp_path: Path) -> None:
    target = tmp_path / "a.txt"
    target.write_text("old")
    target.chmod(0o640)
    link = tmp_path / "link.txt"
    link.symlink_to(target)
    write_text_atomic(link, "new", force=True)
    assert link.is_symlink() and target.read_text() == "new"
    assert target.stat().st_mode & 0o777 == 0o640
    before = os.umask(0o027)
    try:
        write_text_atomic(tmp_path / "b.txt", "new")
    finally:
        os.umask(before)
    assert (tmp_path / "b.txt").stat().st_mode & 0o777 == 0o640


def test_the_longest_name_that_fits_can_be_written(tmp_path: Path) -> None:
    path = tmp_path / ("x" * 251 + ".txt")
    write_text_atomic(path, "new")
    assert names(tmp_path) == [path.name]


def test_a_name_that_does_not_fit_is_refused(tmp_path: Path) -> None:
    with pytest.raises(AudioError, match="too long|could not be written") as found:
        write_text_atomic(tmp_path / ("x" * 300), "new", force=True)
    assert "link" not in str(found.value)
    assert names(tmp_path) == []


def test_what_a_library_says_of_a_full_disk_becomes_one_sentence(tmp_path: Path) -> None:
    """libsndfile and safetensors raise errors of their own, which say only that they failed."""
    resource = pytest.importorskip("resource")
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 10, before[1]))
    try:
        with pytest.raises(AudioError, match="a could not be written"):
            with AtomicFile(tmp_path / "a"):
                raise RuntimeError("System error.")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    with pytest.raises(RuntimeError, match="System error"):
        with AtomicFile(tmp_path / "a"):
            raise RuntimeError("System error.")
    assert names(tmp_path) == []


def test_little_space_is_named_to_a_tenth_of_a_megabyte(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    usage = type("Usage", (), {"free": 614_400})
    monkeypatch.setattr(atomic.shutil, "disk_usage", lambda folder: usage)
    error = atomic.write_error(tmp_path / "a", OSError(28, "full"), 1_234_000)
    assert "(0.6 MB are free, about 1.2 MB are needed)" in str(error)


def test_weights_survive_a_failed_save(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import torch

    from retone.nets import checkpoint

    path = tmp_path / "w.safetensors"
    checkpoint.write(path, {"a": torch.ones(3)}, {"step": 1})

    def fail(*args: object, **kw: object) -> None:
        Path(str(args[1])).write_bytes(b"half")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("safetensors.torch.save_file", fail)
    with pytest.raises(DataError, match="No space left"):
        checkpoint.write(path, {"a": torch.zeros(3)}, {"step": 2})
    assert names(tmp_path) == [path.name]
    assert checkpoint.read(path)[1]["step"] == 1


def test_example_audio_is_written_as_a_whole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from retone.training.log import write_examples

    write_examples(tmp_path / "e", 8000, [{"input": np.zeros(80)}])
    old = (tmp_path / "e" / "1_input.flac").read_bytes()

    def fail(path: Path, *args: object, **kw: object) -> None:
        path.write_bytes(b"half")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("soundfile.write", fail)
    with pytest.raises(AudioError, match="No space left"):
        write_examples(tmp_path / "e", 8000, [{"input": np.ones(80)}])
    assert (tmp_path / "e" / "1_input.flac").read_bytes() == old
    assert names(tmp_path / "e") == ["1_input.flac"]


def test_it_is_the_only_place_that_writes_and_renames() -> None:
    """A second implementation would have its own gaps."""
    renames = re.compile(
        r"os\.(replace|rename|link)\(|\.(replace|rename)\((self\.)?(path|target)\)"
    )
    found = {
        str(p.relative_to(SOURCE)) for p in SOURCE.rglob("*.py") if renames.search(p.read_text())
    }
    moves = {  # of whole files and folders that are complete already
        str(Path("studio", "intake.py")),
        # rewrite what an AtomicWriter has not put in place yet
        *(
            str(Path("audio", "metadata", f"{n}.py"))
            for n in ("id3", "ogg_pages", "vorbis", "waves")
        ),
    }  # fmt: skip
    assert found == {str(Path("files", "atomic.py")), *moves}
    assert renames.search(Path(atomic.__file__).read_text())


def committed(folder: Path, name: str, text: str, force: bool = False) -> None:
    write_text_atomic(folder / name, text, force)


def test_files_that_belong_together_appear_together(tmp_path: Path) -> None:
    with atomic.together():
        committed(tmp_path, "a", "1")
        committed(tmp_path, "b", "2")
        assert not [n for n in names(tmp_path) if not n.startswith(".")]
    assert names(tmp_path) == ["a", "b"]


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt])
def test_a_failure_after_the_first_file_leaves_none(
    tmp_path: Path, error: type[BaseException]
) -> None:
    committed(tmp_path, "old", "old")
    with pytest.raises(error), atomic.together():
        committed(tmp_path, "a", "1")
        committed(tmp_path, "old", "new", force=True)
        raise error
    assert names(tmp_path) == ["old"] and (tmp_path / "old").read_text() == "old"


def test_where_one_cannot_take_its_name_the_others_are_taken_back(tmp_path: Path) -> None:
    committed(tmp_path, "old", "old")
    with pytest.raises(OutputExistsError), atomic.together():
        committed(tmp_path, "a", "1")
        committed(tmp_path, "old", "new", force=True)
        committed(tmp_path, "late", "mine")
        (tmp_path / "late").write_text("somebody else's")
    assert names(tmp_path) == ["late", "old"]
    assert (tmp_path / "old").read_text() == "old"
    assert (tmp_path / "late").read_text() == "somebody else's"


def test_what_a_killed_process_left_is_removed(tmp_path: Path) -> None:
    """Only files of the same name whose process has ended; those of a running one stay."""
    code = (
        "import os, signal, sys; from retone.files.atomic import AtomicFile; "
        "AtomicFile(sys.argv[1]); os.kill(os.getpid(), signal.SIGKILL)"
    )
    subprocess.run([sys.executable, "-c", code, str(tmp_path / "a")], check=False)
    (left,) = tmp_path.iterdir()
    running = AtomicFile(tmp_path / "a")
    for path in (left, running.path):
        os.utime(path, (1e9, 1e9))
    committed(tmp_path, "a", "1")
    assert not left.exists() and running.path.exists()
    running.discard()
    assert names(tmp_path) == ["a"]


def test_the_reason_is_found_where_a_library_hides_it(tmp_path: Path) -> None:
    file = AtomicFile(tmp_path / "a")
    lost = RuntimeError("System error.")
    assert file.reason(lost) is lost
    resource = pytest.importorskip("resource")
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 10, before[1]))
    try:
        assert getattr(file.reason(lost), "errno", None) == 27
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    file.discard()


@pytest.mark.parametrize("kind", ["name", "symlink", "hard link", "dots"])
def test_a_file_that_is_read_is_not_written(tmp_path: Path, kind: str) -> None:
    read, output = tmp_path / "read", tmp_path / "other"
    read.write_text("x")
    if kind == "symlink":
        output.symlink_to(read)
    elif kind == "hard link":
        os.link(read, output)
    else:
        output = read if kind == "name" else tmp_path / ".." / tmp_path.name / "read"
    with pytest.raises(AudioError, match="is the preset"):
        atomic.protect({read: "the preset"}, [output])
    atomic.protect({read: "the preset"}, [tmp_path / "new", tmp_path / "newer"])
    with pytest.raises(AudioError, match="one file"):
        atomic.protect({}, [tmp_path / "new", tmp_path / "new"])


def test_a_link_that_leads_back_to_itself_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a").symlink_to(tmp_path / "b")
    (tmp_path / "b").symlink_to(tmp_path / "a")
    with pytest.raises(AudioError, match="leads back|could not be written"):
        AtomicFile(tmp_path / "a", force=True)
    assert names(tmp_path) == ["a", "b"]


def test_a_signal_between_the_making_and_the_with_block_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The file is there, and nobody looks after it yet."""
    from retone.cli import apply, main

    def run(args: object) -> int:
        AtomicFile(tmp_path / "o.wav")  # nobody holds it
        assert len(list(tmp_path.iterdir())) == 1
        raise KeyboardInterrupt

    monkeypatch.setattr(apply, "run", run)
    (tmp_path.parent / "in.wav").write_bytes(b"")
    words = ["apply", str(tmp_path.parent / "in.wav"), "--settings", "s.json"]
    assert main.main(words) == 130
    assert not list(tmp_path.iterdir())
