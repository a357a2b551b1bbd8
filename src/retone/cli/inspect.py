"""Say what is known about a recording: rate, level, loudness, true peak, bandwidth, faults."""

from __future__ import annotations

import argparse
from pathlib import Path


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("files", nargs="+", type=Path, metavar="FILE", help="recordings")
    parser.add_argument("--json", action="store_true", help="print JSON, one object per file")


def run(args: argparse.Namespace) -> int:
    import json

    from retone.audio.inspect import inspect
    from retone.cli.progress import progress_bar

    for i, path in enumerate(args.files):
        with progress_bar(path.name, "s") as progress:
            found = inspect(path, progress=progress)
        if args.json:
            print(json.dumps({"file": path.name, **found.to_dict()}))
        else:
            print(("\n" if i else "") + str(found))
    return 0
