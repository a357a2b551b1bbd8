"""Parser, exit codes and progress bar of retone's command lines.

A command is a module with ``add_arguments(parser)`` and ``run(args)``; the first line of its
docstring is its help line.
"""

from __future__ import annotations

import _thread
import argparse
import contextlib
import difflib
import gc
import importlib
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from types import FrameType
from typing import Any, NoReturn

from retone import __version__
from retone.errors import (
    OVERWRITE,
    OutputExistsError,
    PluginNotAllowedError,
    RetoneError,
    lacks_memory,
    printable,
)
from retone.progress import Phase

DELAY_S = 1.0
EVERY_S = 0.1
_WIDTH = 30


class Parser(argparse.ArgumentParser):
    """A parser whose errors are one sentence with the nearest known name."""

    def parse_known_args(self, args: Any = None, namespace: Any = None) -> Any:
        """Report unknown options before missing arguments, which may only be misspelt."""
        words = list(sys.argv[1:] if args is None else args)
        known = self._option_string_actions
        self.words = words
        for word in words:
            if word == "--" or (self._subparsers is not None and not word.startswith("-")):
                break  # the rest is not for this parser
            name = word.partition("=")[0]
            if name.startswith("--") and not any(option.startswith(name) for option in known):
                self.error(f"there is no option '{name}'{_nearest(name, known)}")
        found, extra = super().parse_known_args(words, namespace)
        if extra and self._subparsers is None:
            self.error(f"unrecognized arguments: {' '.join(extra)}")
        return found, extra

    words: Sequence[str] = ()

    def _dashed(self) -> str | None:
        """The first word that begins with a dash and is none of the options."""
        known = self._option_string_actions
        words = self.words[: self.words.index("--")] if "--" in self.words else self.words
        for word in words:
            short = word[:2] in known and not word.startswith("--")
            if len(word) > 1 and word.startswith("-") and word.partition("=")[0] not in known:
                if not short and not word[1:2].isdigit() and not word.startswith("--"):
                    return word
        return None

    def _check_value(self, action: argparse.Action, value: Any) -> None:
        if action.choices is not None and value not in action.choices:
            known = [str(choice) for choice in action.choices]
            what = " or ".join(action.option_strings) or str(action.metavar or action.dest)
            hint = _nearest(str(value), known) or f": expected one of {', '.join(known)}"
            raise argparse.ArgumentError(None, f"{what.lower()} '{value}' is unknown{hint}")

    def error(self, message: str) -> NoReturn:
        end = "" if message.endswith(("?", ".")) else "."
        if dashed := self._dashed():
            end += (
                f" If '{dashed}' is a name, write './{dashed}', or join it to its option with '='."
            )
        self.exit(2, f"{self.prog}: {message}{end} See '{self.prog} --help'.\n")


def _nearest(name: str, known: Iterable[str]) -> str:
    near = difflib.get_close_matches(name, [k for k in known if k != "-h"], n=1, cutoff=0.6)
    return f". Did you mean '{near[0]}'?" if near else ""


def build_parser(
    program: str, description: str, epilog: str, commands: Mapping[str, str]
) -> argparse.ArgumentParser:
    """The parser of a program.

    Args:
        program: name of the program.
        description, epilog: text above and below the list of commands.
        commands: name of each command and its module.
    """
    parser = Parser(prog=program, description=description, epilog=epilog)
    parser.add_argument("--version", action="version", version=f"retone {__version__}")
    known = parser.add_subparsers(dest="command", metavar="COMMAND", required=True)
    for name, home in commands.items():
        module = importlib.import_module(home)
        text = (module.__doc__ or "").strip()
        sub = known.add_parser(
            name,
            help=text.splitlines()[0],
            description=text,
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )
        module.add_arguments(sub)
        sub.set_defaults(run=module.run)
    return parser


def as_options(text: str) -> str:
    """What a message asks for, as the option that does it."""
    return text.replace(OVERWRITE, "pass --force")


def run_command(parser: argparse.ArgumentParser, words: Sequence[str] | None) -> int:
    """Parse and run a command; without any words, print the help.

    Returns:
        The exit code: 0 done, 1 some of many failed, 2 refused or all failed, 130 interrupted.
    """
    words = sys.argv[1:] if words is None else words
    with printable_output(), _ended_by_signals() as signals:
        if not words:
            parser.print_help()
            return 0
        return _run(parser, words, signals)


def _run(parser: argparse.ArgumentParser, words: Sequence[str], signals: _Signals) -> int:
    try:
        signals.begin()
        code = _outcome(parser, words)
        signals.over = True  # too late to stop anything
        return code
    except SystemExit:  # what the parser says of the words
        signals.over = True
        raise
    except Terminated:
        signals.over = True
        print(f"{parser.prog}: ended; no incomplete file is left behind.", file=sys.stderr)
        return 143
    except KeyboardInterrupt:
        signals.over = True
        print(f"\n{parser.prog}: stopped; no incomplete file is left behind.", file=sys.stderr)
        return 130


def _outcome(parser: argparse.ArgumentParser, words: Sequence[str]) -> int:
    args = parser.parse_args(words)
    try:
        code = args.run(args)
        sys.stdout.flush()
        return int(code or 0)
    except OutputExistsError as e:
        option = " with -o" if hasattr(args, "output") else ""
        fix = f"Choose another name{option} or pass --force."
        print(f"{parser.prog} {args.command}: {e.path} exists. {fix}", file=sys.stderr)
        return 2
    except PluginNotAllowedError as e:
        print(f"{parser.prog} {args.command}: {e} Pass --plugin PATH.", file=sys.stderr)
        return 2
    except RetoneError as e:
        print(f"{parser.prog} {args.command}: {as_options(str(e))}", file=sys.stderr)
        return 2
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 141
    except OSError as e:  # a name no disk can hold, a folder that vanished meanwhile
        where = f"{e.filename}: " if e.filename else ""
        print(f"{parser.prog} {args.command}: {where}{e.strerror or e}.", file=sys.stderr)
        return 2
    except ImportError as e:  # a broken installation, or too little memory for a library
        print(
            f"{parser.prog} {args.command}: a part of retone cannot be loaded ({e}). Install "
            "retone again, or close other programs if memory is short.",
            file=sys.stderr,
        )
        return 2
    except (MemoryError, RuntimeError) as e:
        if not lacks_memory(e):
            raise
        print(
            f"{parser.prog} {args.command}: there is not enough memory. Close other programs, or "
            "process a shorter recording.",
            file=sys.stderr,
        )
        return 2


class Terminated(BaseException):
    """SIGTERM or SIGHUP came: everything open is cleaned up, as for Ctrl-C."""


LATER_S = 0.01
"""A signal that comes where an exception would be lost is tried again after this time."""


class _Signals:
    """What signals do to a command: they wait until it has begun, and do nothing once it is
    ``over``."""

    begun, over = False, False
    came = 0

    def begin(self) -> None:
        """From here on signals raise; one that came before does so now."""
        self.begun = True
        if self.came:
            self(self.came, None)

    def __call__(self, number: int, frame: FrameType | None) -> None:
        if not self.begun:
            self.came = number
        if not self.begun or self.over:
            return
        if _would_be_lost(frame):
            _thread.start_new_thread(_again, (number,))
            return
        if number == signal.SIGINT:
            raise KeyboardInterrupt
        raise Terminated


def _again(number: int) -> None:
    time.sleep(LATER_S)
    _thread.interrupt_main(signal.Signals(number))


def _would_be_lost(frame: FrameType | None) -> bool:
    """Whether Python would only print an exception that is raised here: in finalisers, and in what
    the import system calls when a lock of its own is freed."""
    while frame is not None:
        where, name = frame.f_code.co_filename, frame.f_code.co_name
        if name == "__del__" or (where == "<frozen importlib._bootstrap>" and name == "cb"):
            return True
        frame = frame.f_back
    return False


@contextmanager
def _ended_by_signals() -> Iterator[_Signals]:
    """SIGTERM and SIGHUP raise ``Terminated``, and Ctrl-C KeyboardInterrupt, until the end."""
    end = _Signals()
    if threading.current_thread() is not threading.main_thread():
        yield end
        return

    wanted = {signal.SIGINT: end, signal.SIGTERM: end}
    if hasattr(signal, "SIGHUP"):
        wanted[signal.SIGHUP] = end
    for which in list(wanted):
        if signal.getsignal(which) == signal.SIG_IGN:  # as for a program in the background
            del wanted[which]
    before = {which: signal.signal(which, handler) for which, handler in wanted.items()}
    try:
        yield end
    finally:
        for which, handler in before.items():
            signal.signal(which, handler)


class Printable:
    """A text stream that shows control characters instead of sending them to the terminal.

    Names, tags, notes and messages of plug-ins come from files, and a terminal obeys the escape
    sequences in them. Line ends and tabs pass; other control characters, and characters that the
    stream's encoding does not have, are written as escapes such as ``\\x1b``. ``raw`` is the stream
    itself.
    """

    def __init__(self, raw: Any) -> None:
        self.raw = raw

    def __getattr__(self, name: str) -> Any:
        return getattr(self.raw, name)

    def write(self, text: str) -> int:
        """Write text; returns its length."""
        shown = printable(text)
        encoding = getattr(self.raw, "encoding", None) or "utf-8"
        with contextlib.suppress(LookupError):
            shown = shown.encode(encoding, "backslashreplace").decode(encoding)
        self.raw.write(shown)
        return len(text)

    def writelines(self, lines: Iterable[str]) -> None:
        for line in lines:
            self.write(line)


@contextmanager
def printable_output() -> Iterator[None]:
    """Standard output and standard error as ``Printable`` streams, until the end."""
    before = sys.stdout, sys.stderr
    sys.stdout, sys.stderr = (s if isinstance(s, Printable) else Printable(s) for s in before)
    try:
        yield
    finally:
        sys.stdout, sys.stderr = before


def run_process(main: Callable[[], int]) -> int:
    """Run a program's ``main`` with most garbage collection disabled at start-up and exit.

    Imported modules live until the end. Collecting them again and again while they load, and once
    more at exit, takes a quarter of a short command's time.

    While they load nothing is open that would have to be cleaned up, so Ctrl-C ends the process at
    once, without a traceback.
    """
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, signal.SIG_DFL)
    gc.set_threshold(50_000, 20, 20)
    try:
        return main()
    finally:
        gc.freeze()


def _terminal() -> Any:
    """Standard error as it is, for what moves the cursor."""
    return (
        getattr(sys.stderr, "raw", sys.stderr) if isinstance(sys.stderr, Printable) else sys.stderr
    )


class ProgressBar:
    """A line on stderr that appears after a second, and only on a terminal.

    It is a ``Progress``: each phase is shown with its own unit and its own time left.

    Args:
        title: shown before the phase, for work that is done several times.
    """

    def __init__(self, title: str = "") -> None:
        self._title = title
        self._on = sys.stderr.isatty()
        self._phase: Phase | None = None
        self._began = time.monotonic()
        self._last = self._began + DELAY_S - EVERY_S
        self._width = 0

    def __call__(self, phase: Phase, done: float, total: float, /) -> None:
        now = time.monotonic()
        if phase != self._phase:
            self._phase, self._began = phase, now
        if not self._on or now - self._last < EVERY_S:
            return
        line = printable(progress_line(phase, done, total, now - self._began, self._title))
        _terminal().write(f"\r{line:{self._width}}")
        sys.stderr.flush()
        self._last, self._width = now, len(line)

    def print(self, line: str) -> None:
        """Print a line to stdout, above the bar where there is one."""
        self.clear()
        print(line, flush=True)
        if self._width:
            self._last = 0.0  # the next call draws the bar again
            self._width = 0

    def clear(self) -> None:
        """Remove the bar from the terminal."""
        if self._width:
            _terminal().write(f"\r{'':{self._width}}\r")
            sys.stderr.flush()


@contextmanager
def progress_bar(title: str = "") -> Iterator[ProgressBar]:
    """A ``ProgressBar`` for a ``with`` block, removed at its end."""
    bar = ProgressBar(title)
    try:
        yield bar
    finally:
        bar.clear()


def progress_line(
    phase: Phase, done: float, total: float, elapsed_s: float, title: str = ""
) -> str:
    """``rendering [#####-----] 12 of 24 s, 3 s left``."""
    share = min(max(done / total, 0.0), 1.0) if total > 0 else 0.0
    bar = "#" * round(share * _WIDTH)
    left = f", {elapsed_s * (1 - share) / share:.0f} s left" if 0 < share < 1 else ""
    what = f"{title}: {phase.name}" if title else phase.name
    return f"{what} [{bar:-<{_WIDTH}}] {done:.0f} of {total:.0f} {phase.unit}{left}"
