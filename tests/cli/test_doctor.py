"""``retone doctor``: one screen that says what works, without names of people and places."""

from __future__ import annotations

import getpass
import json
import socket
from pathlib import Path

import pytest

from retone.cli import doctor
from retone.cli.main import main


def test_it_says_what_is_here_and_no_private_path(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["doctor"]) == 0
    shown = capsys.readouterr().out
    lines = shown.splitlines()
    assert len(lines) <= 40 and max(map(len, lines)) <= 120
    for word in ("retone", "Python", "native core", "instruction level", "temporary folder"):
        assert word in shown
    for private in (str(Path.home()), str(tmp_path), socket.gethostname()):
        assert private not in shown
    assert getpass.getuser() not in shown or getpass.getuser() in ("root", "user", "runner")


def test_a_missing_part_comes_with_how_to_get_it(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    version = doctor._version
    gone = {package for _, package in doctor.PARTS.values()}
    monkeypatch.setattr(doctor, "_version", lambda name: None if name in gone else version(name))
    assert main(["doctor", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    for extra, (what, _) in doctor.PARTS.items():
        assert f"pip install 'retone[{extra}]'" in found[what]


def test_a_core_that_does_not_load_is_said(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RETONE_CORE_LEVEL", "abacus")
    assert main(["doctor"]) == 2
    shown = capsys.readouterr().out
    assert "x native core" in shown and "abacus" in shown


def test_a_folder_that_cannot_be_written_to_is_said(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    text, fine = doctor._folder(tmp_path / "new" / "deeper")
    assert fine and "can be written to" in text
    text, fine = doctor._folder(tmp_path / "file")
    assert not fine and "cannot be written to" in text
