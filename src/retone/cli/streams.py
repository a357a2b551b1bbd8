"""Standard input and output as recordings, and the options for the output's format."""

from __future__ import annotations

import argparse
import contextlib
import os
import shutil
import sys
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from retone.cli.writing import (
    Paths,
    other_files,
    print_result,
    report_paths,
    write_companions,
)
from retone.files.atomic import together

if TYPE_CHECKING:
    from retone.audio.formats import OutputFormat
    from retone.report.result import Result

STREAM = Path("-")


def add_format_arguments(parser: argparse.ArgumentParser) -> None:
    """``--format``, ``--bit-depth`` and ``--sample-rate``."""
    parser.add_argument(
        "--format",
        metavar="NAME",
        help="format of the output whatever its name: wav, flac, alac, aac, opus, mp3, ...",
    )
    parser.add_argument(
        "--bit-depth",
        choices=("16", "24", "32", "float"),
        help="sample format of the output; 16 bits are dithered (default: the input's)",
    )
    parser.add_argument(
        "--sample-rate", type=int, metavar="HZ", help="sample rate of the output in Hz"
    )


def output_format(args: argparse.Namespace) -> OutputFormat | None:
    """What the options ask for; None if they ask for nothing.

    Raises:
        AudioError: there is no such format, or it is out of range.
    """
    from retone.audio.formats import OutputFormat

    asked = (args.format, args.bit_depth, args.sample_rate)
    return None if asked == (None, None, None) else OutputFormat(*asked)


@dataclass(frozen=True)
class Ends:
    """Where a command reads and writes.

    ``paths`` is None where the output goes to standard output, which has no files next to it.
    """

    input: Path
    output: Path
    paths: Paths | None

    def finish(self, result: Result, args: argparse.Namespace) -> None:
        """Write what stands next to the output, and print the summary."""
        if self.paths is None:
            for sentence in () if args.quiet else (*result.decision.notes, *result.warnings):
                print(f"note: {sentence}", file=sys.stderr)
            return
        sound = "none" if args.no_report_sound else args.report_sound
        write_companions(result, self.paths, force=args.force, sound=sound)
        if not args.quiet:
            print_result(result, self.paths)


@contextlib.contextmanager
def kept_streams() -> Iterator[Path]:
    """A folder for standard input and output as files, which errors name without it."""
    from retone.errors import RetoneError

    with tempfile.TemporaryDirectory(prefix="retone-") as name:
        try:
            yield Path(name)
        except RetoneError as error:
            error.args = (str(error).replace(f"{name}{os.sep}", ""),)
            raise


def kept_input(folder: Path) -> Path:
    """Standard input as a file in a folder."""
    source = folder / "standard input"
    with source.open("wb") as file:
        shutil.copyfileobj(sys.stdin.buffer, file, 1 << 20)
    return source


def refuse_stream(names: Sequence[Path | str]) -> None:
    """Refuse ``-`` among files that are read besides the recording to change."""
    from retone.errors import AudioError

    if any(str(name) == str(STREAM) for name in names) and not STREAM.exists():
        raise AudioError("standard input (-) can only be the recording to change: name a file.")


def refuse_output_stream(output: Path | None) -> None:
    """Refuse ``-`` where a command writes something else than a recording."""
    from retone.errors import AudioError

    if output == STREAM:
        raise AudioError("only recordings can go to standard output (-): name a file or folder.")


@contextlib.contextmanager
def ends(
    args: argparse.Namespace,
    suffix: str,
    references: Sequence[Path] = (),
    wanted: OutputFormat | None = None,
) -> Iterator[Ends]:
    """The files to read and write; ``-`` stands for standard input or output.

    Args:
        args: ``input``, ``output``, ``force`` and ``no_report``.
        suffix: of the output's name when none is given.
        references: recordings that are read too.
        wanted: what the user asks of the output's format.

    Raises:
        AudioError: a recording does not exist, an output exists, or standard input is given
            without an output's name.
    """
    from retone.audio.formats import extension_of
    from retone.errors import AudioError
    from retone.process.render import output_beside

    refuse_stream(references)
    with contextlib.ExitStack() as stack:
        source, output = args.input, args.output
        folder = None
        if STREAM in (source, output):
            folder = stack.enter_context(kept_streams())
        if source == STREAM:
            assert folder is not None
            if output is None:
                raise AudioError("standard input has no name to derive the output's from: give -o.")
            source = kept_input(folder)
        if output == STREAM:
            assert folder is not None
            name = (wanted.name if wanted else None) or "wav"
            piped = folder / f"standard output{extension_of(name)}"
            yield Ends(source, piped, None)
            with piped.open("rb") as file:
                shutil.copyfileobj(file, sys.stdout.buffer, 1 << 20)
            sys.stdout.buffer.flush()
            return
        if output is None:
            output = output_beside(source, suffix)
            if wanted and wanted.name:
                output = output.with_suffix(extension_of(wanted.name))
        inputs = (source, *references)
        for path in inputs:
            if not path.exists() and not path.is_symlink():
                raise AudioError(f"{path} does not exist; expected a recording. Check the name.")
        named = bool(wanted and wanted.name)
        paths = report_paths(
            output, inputs, report=not args.no_report, force=args.force, any_name=named,
            others=other_files(args),
        )  # fmt: skip
        with together():  # the recording appears with its settings and report, or not at all
            yield Ends(source, output, paths)
