"""The ``retone`` command."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import argparse

COMMANDS = (
    "match", "enhance", "preset", "apply", "live", "export", "plugins", "studio", "listen",
    "inspect", "corpus", "train", "doctor",
)  # fmt: skip
"""Each is a module of ``retone.cli``."""

MOVED = ("evaluate", "figure", "bench")
"""Commands that moved to ``python -m retone.lab``; these words still run them for one release."""


def build_parser() -> argparse.ArgumentParser:
    """The parser of every command; imports only the light modules of ``retone.cli``."""
    from retone import terminal

    return terminal.build_parser(
        "retone",
        "Make a recording sound like another one, with settings you can read.",
        "Example: retone match voice.wav --to podcast.wav",
        {name: f"retone.cli.{name}" for name in COMMANDS},
    )


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command line; returns the exit code as of ``terminal.run_command``."""
    from retone import terminal

    words = list(sys.argv[1:] if argv is None else argv)
    if words and words[0] in MOVED:
        print(f"retone {words[0]} is now: python -m retone.lab {words[0]}", file=sys.stderr)
        return run_lab(words)
    code = terminal.run_command(build_parser(), argv)
    if code in (130, 143):
        from retone.files.atomic import discard_all

        discard_all()
    return code


def run_lab(words: list[str]) -> int:
    """Run a command of the lab as ``python -m retone.lab`` would."""
    import runpy

    try:
        sys.argv[1:] = words
        runpy.run_module("retone.lab", run_name="__main__", alter_sys=True)
    except SystemExit as end:
        return end.code if isinstance(end.code, int) else 0
    return 0


def console() -> int:
    """``main`` in a process of its own."""
    from retone import terminal

    return terminal.run_process(main)
