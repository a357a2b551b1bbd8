"""What several commands share comes from one place."""

from __future__ import annotations

import argparse
import re
from pathlib import Path

import pytest

from retone.cli import enhance, match
from retone.estimators.choose import CHOICES, ESTIMATORS
from retone.process.level import SPEECH_LUFS

from .conftest import Record, Run


def option(command: object, name: str) -> argparse.Action:
    parser = argparse.ArgumentParser()
    command.add_arguments(parser)  # type: ignore[attr-defined]
    return next(a for a in parser._actions if name in a.option_strings)


def test_match_offers_every_estimator() -> None:
    assert tuple(option(match, "--estimator").choices or ()) == tuple(CHOICES)
    assert set(ESTIMATORS) <= set(CHOICES)


def test_the_usual_loudness_of_speech_is_written_once(repository: Path) -> None:
    assert f"{SPEECH_LUFS:g}" in (option(enhance, "--loudness").help or "")
    constant = re.compile(r"^\w*LUFS\w*\s*(:.*)?= -19(\.0)?$", re.MULTILINE)
    found = [
        file.name
        for file in (repository / "src").rglob("*.py")
        if constant.search(file.read_text(encoding="utf-8"))
    ]
    assert found == ["level.py"]


@pytest.mark.parametrize("command", ["enhance", "apply"])
def test_matching_no_reference_is_refused_in_the_same_words(
    retone: Run, record: Record, tmp_path: Path, command: str
) -> None:
    more = ("--settings", tmp_path / "m.json") if command == "apply" else ()
    ended = retone(command, record("a.wav"), *more, "--loudness", "match")
    assert ended.code == 2
    assert "'match' needs a reference: give a target in LUFS, or 'off'" in ended.err
