"""The ``retone`` command: finds the subcommand, runs it, turns errors into one sentence."""

from __future__ import annotations

import argparse
import gc
import importlib
import os
import sys
from collections.abc import Sequence
from typing import NoReturn

from retone import __version__
from retone.errors import RetoneError

COMMANDS = (
    "match", "enhance", "preset", "apply", "export", "studio", "inspect", "corpus", "train",
    "evaluate", "figure", "bench",
)  # fmt: skip
"""Each is a module of ``retone.cli`` with ``add_arguments(parser)`` and ``run(args)``; the first
line of its text is the help line."""


class Parser(argparse.ArgumentParser):
    """A parser whose refusal is one sentence; the usage stays in ``--help``."""

    def error(self, message: str) -> NoReturn:
        self.exit(2, f"{self.prog}: {message.rstrip('.')}. See '{self.prog} --help'.\n")


def build_parser() -> argparse.ArgumentParser:
    """The parser of every command; imports only the light modules of ``retone.cli``."""
    parser = Parser(
        prog="retone",
        description="Make a recording sound like another one, with settings you can read.",
        epilog="Example: retone match voice.wav --to podcast.wav",
    )
    parser.add_argument("--version", action="version", version=f"retone {__version__}")
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", required=True)
    for name in COMMANDS:
        module = importlib.import_module(f"retone.cli.{name}")
        text = (module.__doc__ or "").strip()
        sub = commands.add_parser(
            name,
            help=text.splitlines()[0],
            description=text,
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )
        module.add_arguments(sub)
        sub.set_defaults(run=module.run)
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command line; returns the exit code (0 done, 2 refused, 130 interrupted)."""
    args = build_parser().parse_args(argv)
    try:
        code = args.run(args)
        sys.stdout.flush()
        return int(code or 0)
    except RetoneError as e:
        print(f"retone {args.command}: {e}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("\nretone: stopped; nothing half-written is left behind.", file=sys.stderr)
        return 130
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 141
    except OSError as e:  # a name no disk can hold, a folder that vanished meanwhile
        where = f"{e.filename}: " if e.filename else ""
        print(f"retone {args.command}: {where}{e.strerror or e}.", file=sys.stderr)
        return 2


def console() -> int:
    """``main`` for a process of its own, which does not look for garbage where there is none.

    What is imported lives to the end. Python's collector would walk through it time and again
    while it grows, and once more when the process ends: together a quarter of a short command.
    """
    gc.set_threshold(50_000, 20, 20)
    try:
        return main()
    finally:
        gc.freeze()
