"""``bench studio-long``: a recording of hours in the studio."""

from __future__ import annotations

import argparse
from pathlib import Path

from retone.lab.commands.corpora import add_number
from retone.lab.commands.verbs import Verb, recordings

VOICE, REFERENCE = Path("examples/dull_voice.flac"), Path("examples/bright_voice.flac")


def _add(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--audio", type=Path, default=VOICE, help="recording (default: %(default)s)"
    )
    parser.add_argument(
        "--reference", type=Path, default=REFERENCE, help="reference (default: %(default)s)"
    )
    add_number(parser, "--minutes", 180.0, "loop the recording to this length")
    parser.add_argument(
        "--formats", nargs="+", default=["flac", "m4a"], metavar="EXT",
        help="endings of files to upload (default: flac m4a)",
    )  # fmt: skip
    parser.add_argument("-o", "--output", type=Path, metavar="JSON", help="file for the record")


def _run(args: argparse.Namespace) -> int:
    import json
    import sys

    from retone.files.atomic import write_text_atomic
    from retone.lab.bench.studio_long import measure_long, text

    recordings((args.audio,))
    recordings((args.reference,), "--reference")
    found = measure_long(
        args.audio, args.reference, minutes=args.minutes, formats=args.formats,
        say=lambda line: print(line, file=sys.stderr, flush=True),
    )  # fmt: skip
    print(text(found), end="")
    if args.output:
        write_text_atomic(args.output, json.dumps(found, indent=1) + "\n", force=True)
    return 0


VERBS = (Verb("studio-long", "a recording of hours in the studio, until its download", _add, _run),)
