"""Recordings, folders, systems and listeners whose names begin with a dash."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile as sf

from retone.cli.main import main
from retone.files.names import shell_word

RATE = 16000


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working folder with results whose names begin with a dash."""
    rng = np.random.default_rng(0)
    for system in ("-ours", "input", "reference"):
        (tmp_path / "-results" / system).mkdir(parents=True)
        for item in ("-one", "two"):
            audio = 0.1 * rng.standard_normal(RATE // 2)
            sf.write(tmp_path / "-results" / system / f"{item}.wav", audio, RATE)
    sf.write(tmp_path / "-take.wav", 0.1 * rng.standard_normal(2 * RATE), RATE)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_words_of_a_shell() -> None:
    for name in ("-a", "a b.wav", "--x=1", "plain.wav", "it's", "-"):
        word = shell_word(name)
        assert len(shlex.split(word)) == 1 and Path(shlex.split(word)[0]) == Path(name)
        assert not shlex.split(word)[0].startswith("-")


def test_a_listening_test_with_dashes_everywhere(place: Path, capsys: Any) -> None:
    from retone.studio.listening.prepare import read_study
    from retone.studio.listening.results import store
    from retone.studio.listening.simulate import answers
    from studio.listeners import sent

    assert main(["listen", "make", "-o=-test", "--design=ab", "--pair=-ours,input", "--title=-t",
                 "--", "-results"]) == 0  # fmt: skip
    next_step = capsys.readouterr().out.splitlines()[-1]
    assert next_step.startswith("next: retone listen serve ./-test, or")
    study = read_study(Path("-test"))
    for name in ("-ann", "--"):
        store(Path("-test"), sent(study, name, answers(study, name)), study)
    assert main(["listen", "analyse", "./-test"]) == 0
    assert "2 of 2 listeners count" in capsys.readouterr().out


def test_a_report_of_a_dashed_recording(place: Path, capsys: Any) -> None:
    assert main(["match", "--preset", "podcast", "-o=-out.wav", "--report-sound", "beside",
                 "--", "-take.wav"]) == 0  # fmt: skip
    assert {p.name for p in place.glob("-out.*")} == {
        "-out.wav", "-out.json", "-out.html", "-out.before.opus", "-out.after.opus"}  # fmt: skip
    assert '"file": "-out.before.opus"' in (place / "-out.html").read_text()
    assert main(["export", "--to", "sox", "-o=-fx.txt", "--", "-out.json"]) == 0
    assert "./-fx.txt" in capsys.readouterr().out
