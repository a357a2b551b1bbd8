"""Verbs of a lab command: a table of help, options and function of each."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterable, Iterator
from importlib import import_module
from pathlib import Path
from typing import NamedTuple

from retone.errors import AudioError, DataError


class Verb(NamedTuple):
    """One verb, such as ``evaluate synthetic``."""

    name: str
    help: str
    add_arguments: Callable[[argparse.ArgumentParser], None]
    run: Callable[[argparse.Namespace], int]


class Names:
    """Names of a table that takes seconds to import: only to check or to list them.

    Args:
        table: ``"module:name"``.
    """

    def __init__(self, table: str) -> None:
        self._table = table

    def __iter__(self) -> Iterator[str]:
        module, _, name = self._table.partition(":")
        return iter(tuple(getattr(import_module(module), name)))

    def __contains__(self, name: object) -> bool:
        return name in tuple(self)


DEVICE_NAMES = Names("retone.lab.evaluate.devices:DEVICES")


def add_verbs(parser: argparse.ArgumentParser, verbs: Iterable[Verb]) -> None:
    """Add a parser for each verb; ``run_verb`` then runs the chosen one."""
    parsers = parser.add_subparsers(dest="verb", metavar="VERB", required=True)
    for verb in verbs:
        sub = parsers.add_parser(verb.name, help=verb.help, description=verb.help)
        verb.add_arguments(sub)
        sub.set_defaults(run_verb=verb.run)


WRITTEN = ("output", "record", "rows", "gate", "picture", "readings")
"""Options that name a file to write once everything is measured."""


def run_verb(args: argparse.Namespace) -> int:
    """Run the verb of a parsed command line; refuse files that cannot be written before it."""
    from retone.files.atomic import AtomicFile

    for option in () if args.verb.endswith("-docs") else WRITTEN:
        path = getattr(args, option, None)
        if isinstance(path, Path):
            AtomicFile(path, force=getattr(args, "force", True)).discard()
    return int(args.run_verb(args))


def recordings(paths: tuple[Path, ...], option: str = "--audio") -> list[str]:
    """The absolute names of recordings that an option gave.

    Raises:
        AudioError: one of them does not exist.
    """
    what = "two recordings" if len(paths) > 1 else "a recording"
    for path in paths:
        if not path.is_file():
            raise AudioError(
                f"{path} does not exist. Pass {what} with {option}, or run this in a clone of "
                "retone's repository."
            )
    return [str(path.resolve()) for path in paths]


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
