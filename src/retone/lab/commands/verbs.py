"""Verbs of a lab command: a table of help, options and function of each."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import NamedTuple

from retone.errors import DataError


class Verb(NamedTuple):
    """One verb, such as ``evaluate synthetic``."""

    name: str
    help: str
    add_arguments: Callable[[argparse.ArgumentParser], None]
    run: Callable[[argparse.Namespace], int]


def add_verbs(parser: argparse.ArgumentParser, verbs: Iterable[Verb]) -> None:
    """Add a parser for each verb; ``run_verb`` then runs the chosen one."""
    parsers = parser.add_subparsers(dest="verb", metavar="VERB", required=True)
    for verb in verbs:
        sub = parsers.add_parser(verb.name, help=verb.help, description=verb.help)
        verb.add_arguments(sub)
        sub.set_defaults(run_verb=verb.run)


def run_verb(args: argparse.Namespace) -> int:
    """Run the verb of a parsed command line."""
    return int(args.run_verb(args))


def docs_folder() -> Path:
    """The ``docs`` folder of retone's repository, with ``results``, below the current folder.

    Raises:
        DataError: the current folder is not the repository.
    """
    docs = Path("docs")
    if not (docs / "results").is_dir():
        raise DataError(
            "there is no folder docs/results here. Run this command in a clone of the repository."
        )
    return docs
