"""Files appear complete or not at all, whoever writes them and whenever it fails."""

from __future__ import annotations

import os
import re
from pathlib import Path

import numpy as np
import pytest

import retone
from retone import atomic
from retone.atomic import AtomicFile, write_text_atomic
from retone.errors import AudioError, DataError, OutputExistsError

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
    with pytest.raises(AudioError, match="No space left on device. Free some space"):
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
        str(Path("studio", "intake.py")), str(Path("training", "data", "corpora.py")),
        # rewrite what an AtomicWriter has not put in place yet
        *(
            str(Path("audio", "metadata", f"{n}.py"))
            for n in ("id3", "ogg_pages", "vorbis", "waves")
        ),
    }  # fmt: skip
    assert found == {"atomic.py", *moves}
    assert renames.search(Path(atomic.__file__).read_text())
