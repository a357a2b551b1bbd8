"""What every command line of retone shares: its parser, its exit codes and its progress line.

A command is a module with ``add_arguments(parser)`` and ``run(args)``; the first line of its text
is its help line.
"""

from __future__ import annotations

import argparse
import gc
import importlib
import os
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import NoReturn

from retone import __version__
from retone.errors import RetoneError
from retone.progress import Phase, Progress, silent

DELAY_S = 1.0
EVERY_S = 0.1
_WIDTH = 30


class Parser(argparse.ArgumentParser):
    """A parser whose refusal is one sentence; the usage stays in ``--help``."""

    def error(self, message: str) -> NoReturn:
        self.exit(2, f"{self.prog}: {message.rstrip('.')}. See '{self.prog} --help'.\n")


def build_parser(
    program: str, description: str, epilog: str, commands: Mapping[str, str]
) -> argparse.ArgumentParser:
    """The parser of a program.

    Args:
        program: what a person types.
        description, epilog: text around the list of commands.
        commands: each command's name and the module that holds it.
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


def run_command(parser: argparse.ArgumentParser, words: Sequence[str] | None) -> int:
    """Parse and run a command; returns its exit code (0 done, 2 refused, 130 interrupted)."""
    args = parser.parse_args(words)
    try:
        code = args.run(args)
        sys.stdout.flush()
        return int(code or 0)
    except RetoneError as e:
        print(f"{parser.prog} {args.command}: {e}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print(f"\n{parser.prog}: stopped; nothing half-written is left behind.", file=sys.stderr)
        return 130
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 141
    except OSError as e:  # a name no disk can hold, a folder that vanished meanwhile
        where = f"{e.filename}: " if e.filename else ""
        print(f"{parser.prog} {args.command}: {where}{e.strerror or e}.", file=sys.stderr)
        return 2


def run_process(main: Callable[[], int]) -> int:
    """Run a program's ``main`` in a process of its own, with little garbage collection.

    What is imported lives to the end. Python's collector would walk through it time and again
    while it grows, and once more when the process ends: a quarter of a short command's time.
    """
    gc.set_threshold(50_000, 20, 20)
    try:
        return main()
    finally:
        gc.freeze()


@contextmanager
def progress_bar(title: str = "") -> Iterator[Progress]:
    """A line on stderr that appears after a second, and only on a terminal.

    Yields a ``Progress``; each phase is shown with its own unit and its own time left. The line is
    gone at the end.

    Args:
        title: shown before the phase, for work that is done several times.
    """
    if not sys.stderr.isatty():
        yield silent
        return
    started = time.monotonic()
    shown = [started + DELAY_S - EVERY_S, 0.0]  # when last, and how wide
    running: dict[Phase, float] = {}  # the phase, and when it began

    def show(phase: Phase, done: float, total: float, /) -> None:
        now = time.monotonic()
        if phase not in running:
            running.clear()
            running[phase] = now
        if now - shown[0] < EVERY_S:
            return
        line = progress_line(phase, done, total, now - running[phase], title)
        sys.stderr.write(f"\r{line:{int(shown[1])}}")
        sys.stderr.flush()
        shown[:] = now, len(line)

    try:
        yield show
    finally:
        if shown[1]:
            sys.stderr.write(f"\r{'':{int(shown[1])}}\r")
            sys.stderr.flush()


def progress_line(
    phase: Phase, done: float, total: float, elapsed_s: float, title: str = ""
) -> str:
    """``rendering [#####-----] 12 of 24 s, 3 s left``."""
    share = min(max(done / total, 0.0), 1.0) if total > 0 else 0.0
    bar = "#" * round(share * _WIDTH)
    left = f", {elapsed_s * (1 - share) / share:.0f} s left" if 0 < share < 1 else ""
    what = f"{title}: {phase.name}" if title else phase.name
    return f"{what} [{bar:-<{_WIDTH}}] {done:.0f} of {total:.0f} {phase.unit}{left}"
