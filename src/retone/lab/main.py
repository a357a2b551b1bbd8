"""The command line of the lab, ``python -m retone.lab``."""

from __future__ import annotations

import argparse
from collections.abc import Sequence

from retone import terminal

COMMANDS = ("evaluate", "figure", "bench", "reproduce", "listen-study")
"""Each is a module of ``retone.lab.commands``, with underscores for hyphens."""


def build_parser() -> argparse.ArgumentParser:
    """The parser of every command; imports only the light modules of ``retone.lab.commands``."""
    return terminal.build_parser(
        "python -m retone.lab",
        "Measure retone: the papers' tables and figures, and benchmarks, on any recordings.",
        "Example: python -m retone.lab bench effects",
        {name: f"retone.lab.commands.{name.replace('-', '_')}" for name in COMMANDS},
    )


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command line; returns the exit code as of ``terminal.run_command``."""
    return terminal.run_command(build_parser(), argv)
