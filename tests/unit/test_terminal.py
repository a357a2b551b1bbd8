"""The command lines' shared parts: the progress bar, and help for every option."""

from __future__ import annotations

import argparse
import io
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from retone import terminal
from retone.cli.main import build_parser
from retone.errors import RetoneError
from retone.lab.main import build_parser as build_lab_parser
from retone.lab.main import main as lab
from retone.progress import TRAINING


class Screen(io.StringIO):
    """A terminal that takes what is written."""

    def isatty(self) -> bool:
        return True


def a_screen(monkeypatch: pytest.MonkeyPatch) -> Screen:
    """A terminal in the place of stdout and stderr; pytest resets them before each test's body."""
    found = Screen()
    monkeypatch.setattr(sys, "stderr", found)
    monkeypatch.setattr(sys, "stdout", found)
    monkeypatch.setattr(terminal, "DELAY_S", 0.0)
    monkeypatch.setattr(terminal, "EVERY_S", 0.0)
    return found


def shown(text: str) -> list[str]:
    """The lines of a terminal after carriage returns have overwritten what they did."""
    lines = []
    for line in text.split("\n"):
        cells: list[str] = []
        for part in line.split("\r"):
            cells[: len(part)] = part
        lines.append("".join(cells).rstrip())
    return lines


def test_a_line_goes_above_the_bar(monkeypatch: pytest.MonkeyPatch) -> None:
    screen = a_screen(monkeypatch)
    with terminal.progress_bar() as bar:
        bar(TRAINING, 1, 10)
        bar.print("step 1  loss 0.5")
        bar(TRAINING, 2, 10)
        assert shown(screen.getvalue())[0] == "step 1  loss 0.5"
        assert shown(screen.getvalue())[1].startswith("training [######")
    assert shown(screen.getvalue()) == ["step 1  loss 0.5", ""]


def test_training_prints_without_further_packages(monkeypatch: pytest.MonkeyPatch) -> None:
    """Many users have the core only; a log row on a terminal needs no more."""
    from retone.cli import train

    screen = a_screen(monkeypatch)
    monkeypatch.setitem(sys.modules, "tqdm", None)
    row = {"step": 3, "loss": 0.25, "examples_per_s": 8.0, "eta_s": 3600.0}

    def one_row(*args: object, report: object, progress: object, **how: object) -> object:
        progress(TRAINING, 3, 10)  # type: ignore[operator]
        report(row)  # type: ignore[operator]
        return Path("nowhere")

    monkeypatch.setattr("retone.training.loop.train", one_row)
    monkeypatch.setattr("retone.training.data.splits.open_splits", lambda *a, **k: {})
    parser = argparse.ArgumentParser()
    train.add_arguments(parser)
    words = ["compact_speech", "--corpus", "kit=x", "--run", "r"]
    assert train.run(parser.parse_args(words)) == 0
    assert any(x.startswith("step       3  loss 0.2500") for x in shown(screen.getvalue()))


def parsers(parser: argparse.ArgumentParser) -> Iterator[tuple[str, argparse.Action]]:
    """Every action of a parser and of its commands, with the words that lead to it."""
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            for choice in action._choices_actions:
                yield f"{parser.prog} {choice.dest}", choice
            for sub in action.choices.values():
                yield from parsers(sub)
        else:
            yield parser.prog, action


@pytest.mark.parametrize("build", [build_parser, build_lab_parser])
def test_every_option_has_help(build: object) -> None:
    found = list(parsers(build()))  # type: ignore[operator]
    assert len(found) > 20
    silent = [f"{words} {' '.join(a.option_strings) or a.dest}" for words, a in found if not a.help]
    assert not silent, "\n".join(silent)


def test_the_lab_alone_prints_its_help(capsys: pytest.CaptureFixture[str]) -> None:
    assert lab([]) == 0
    assert capsys.readouterr().out.startswith("usage: python -m retone.lab")


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["evalute"], "command 'evalute' is unknown. Did you mean 'evaluate'?"),
        (["bench", "efects"], "Did you mean 'effects'?"),
        (["bench", "effects", "--roundz", "3"], "no option '--roundz'. Did you mean '--rounds'?"),
    ],
)
def test_a_mistyped_word_gets_the_nearest(
    words: list[str], says: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as end:
        lab(words)
    err = capsys.readouterr().err
    assert end.value.code == 2 and says in err and err.count("\n") == 1, err


NASTY = (
    "\x1b[2J\x1b]0;owned\x07",
    "\x9b31m",
    "\rover",
    "\x08\x08",
    "\u202egnp.exe",
    "\u2028x",
    "\udce9",
)


@pytest.mark.parametrize("text", NASTY, ids=ascii)
def test_text_from_files_does_not_command_the_terminal(
    monkeypatch: pytest.MonkeyPatch, text: str
) -> None:
    screen = a_screen(monkeypatch)
    with terminal.printable_output():
        print(f"note: {text}.")
        print(text, file=sys.stderr)
    shown = screen.getvalue()
    assert not any(c in shown for c in "\x1b\x9b\r\x08\x07\u202e\u2028\udce9")
    assert "\\" in shown and shown.count("\n") == 2


@pytest.mark.parametrize("encoding", ["ascii", "latin-1", "utf-8", "cp1252"])
def test_every_text_can_be_printed_in_every_encoding(encoding: str) -> None:
    raw = io.TextIOWrapper(io.BytesIO(), encoding=encoding)
    stream = terminal.Printable(raw)
    assert stream.write("a é \u4e2d \U0001f3b5 \udce9\n") == 10
    stream.flush()
    assert raw.buffer.getvalue().startswith(b"a ")  # type: ignore[attr-defined]


def test_every_command_prints_through_it(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Also what the parser says of the words that it was given."""
    from retone.cli.main import COMMANDS, main

    for command in COMMANDS:
        for words in ([command, "--nonsense\x1b[2J"], [command, "\x1b[31m", "\x1b[31m"]):
            if command == "train" and len(words) == 3:
                continue
            try:
                main(words)
            except SystemExit:
                pass
            got = capsys.readouterr()
            assert "\x1b" not in got.out + got.err, words


@pytest.mark.parametrize("name", ["SIGINT", "SIGTERM", "SIGHUP"])
def test_a_signal_cleans_up_and_is_said(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    import os
    import signal
    import time

    number = getattr(signal, name, None)
    if number is None:
        pytest.skip("this system has no such signal")
    cleaned = []

    def run(args: argparse.Namespace) -> int:
        try:
            os.kill(os.getpid(), number)
            time.sleep(5)
        finally:
            cleaned.append(True)
        return 0

    parser = terminal.Parser(prog="p")
    parser.set_defaults(run=run, command="c", x=None)
    parser.add_argument("x")
    before = signal.getsignal(number)
    if before is signal.SIG_IGN:
        pytest.skip("the tests were started with this signal ignored")
    assert terminal.run_command(parser, ["x"]) == (130 if name == "SIGINT" else 143)
    assert cleaned and signal.getsignal(number) == before
    assert "Traceback" not in capsys.readouterr().err


@pytest.mark.parametrize(("name", "code"), [("SIGINT", 130), ("SIGTERM", 143)])
def test_a_signal_in_a_finaliser_is_not_lost(
    name: str, code: int, capsys: pytest.CaptureFixture[str]
) -> None:
    """There Python prints an exception and goes on."""
    import os
    import signal
    import time

    ended = []

    class Freed:
        def __del__(self) -> None:
            os.kill(os.getpid(), getattr(signal, name))
            time.sleep(0.05)
            ended.append("finaliser")

    def run(args: argparse.Namespace) -> int:
        one = Freed()
        del one
        time.sleep(5)
        ended.append("command")
        return 0

    parser = terminal.Parser(prog="p")
    parser.set_defaults(run=run, command="c", x=None)
    parser.add_argument("x")
    assert terminal.run_command(parser, ["x"]) == code
    assert ended == ["finaliser"]
    assert "Traceback" not in capsys.readouterr().err


@pytest.mark.parametrize(
    "error",
    [MemoryError(), RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to")],
    ids=["of Python", "of PyTorch"],
)
def test_a_lack_of_memory_is_said_in_a_sentence(
    error: Exception, capsys: pytest.CaptureFixture[str]
) -> None:
    def run(args: argparse.Namespace) -> int:
        raise error

    parser = terminal.Parser(prog="p")
    parser.set_defaults(run=run, command="c", x=None)
    parser.add_argument("x")
    assert terminal.run_command(parser, ["x"]) == 2
    assert "there is not enough memory" in capsys.readouterr().err


def test_a_signal_while_the_words_are_read_is_said(capsys: pytest.CaptureFixture[str]) -> None:
    class Slow(terminal.Parser):
        def parse_args(self, *args: object, **more: object) -> argparse.Namespace:  # type: ignore[override]
            raise KeyboardInterrupt

    assert terminal.run_command(Slow(prog="p"), ["x"]) == 130
    assert "stopped" in capsys.readouterr().err


def test_a_signal_before_the_command_begins_ends_it_then(
    capsys: pytest.CaptureFixture[str],
) -> None:
    def run(args: argparse.Namespace) -> int:
        raise AssertionError("the command ran")

    parser = terminal.Parser(prog="p")
    parser.set_defaults(run=run, command="c")
    for number, code in ((2, 130), (15, 143)):
        signals = terminal._Signals()
        signals(number, None)
        assert terminal._run(parser, [], signals) == code
    assert "ended; no incomplete file" in capsys.readouterr().err


def test_a_signal_after_the_end_changes_nothing() -> None:
    signals = terminal._Signals()
    signals.begin()
    with pytest.raises(KeyboardInterrupt):
        signals(2, None)
    with pytest.raises(terminal.Terminated):
        signals(15, None)
    signals.over = True
    signals(2, None)
    signals(15, None)


def test_a_signal_while_an_error_is_said_is_said_itself(
    capsys: pytest.CaptureFixture[str],
) -> None:
    class Late(RetoneError):
        def __str__(self) -> str:
            raise terminal.Terminated

    def run(args: argparse.Namespace) -> int:
        raise Late("x")

    parser = terminal.Parser(prog="p")
    parser.set_defaults(run=run, command="c")
    parser.add_argument("x")
    assert terminal.run_command(parser, ["x"]) == 143
    assert "ended" in capsys.readouterr().err
