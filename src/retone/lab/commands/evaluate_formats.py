"""``evaluate formats``: every format in and out, and damaged files."""

from __future__ import annotations

import argparse
from pathlib import Path

from retone.lab.commands.verbs import Verb, docs_folder

BEGIN, END = "<!-- matrix: evaluate formats -->", "<!-- end of matrix -->"


def _add_formats(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--sample-rate", type=int, required=True, help="in Hz, such as 48000")
    parser.add_argument(
        "--mutated", type=int, default=0, metavar="N", help="also read N damaged files"
    )
    parser.add_argument(
        "--folder", type=Path, required=True, help="empty folder for the recordings that are made"
    )
    parser.add_argument(
        "--output", type=Path, metavar="JSON",
        help="write the result, and docs/formats.md in a clone of the repository",
    )  # fmt: skip


def _run_formats(args: argparse.Namespace) -> int:
    import datetime
    import json
    import subprocess

    from retone import __version__
    from retone.files.atomic import write_text_atomic
    from retone.lab.evaluate import formats, mutated

    args.folder.mkdir(parents=True, exist_ok=True)
    cells = formats.matrix(args.folder, args.sample_rate, print)
    version = subprocess.run(["ffmpeg", "-version"], capture_output=True, text=True).stdout
    about = {
        "retone": __version__,
        "date": datetime.date.today().isoformat(),
        "ffmpeg": " ".join(version.split()[:3]).split("-")[0],
        "sample_rate": args.sample_rate,
        "seconds": 3 + 333 / args.sample_rate,
    }
    if args.mutated:
        files = [args.folder / name for name in formats.INPUTS]
        about["mutated"] = mutated.run(files, args.mutated, args.folder)
    text = formats.as_json(cells, about)
    found = formats.table(json.loads(text))
    print(found)
    if args.output:
        write_text_atomic(args.output, text, force=True)
        page = docs_folder() / "formats.md"
        before, _, rest = page.read_text(encoding="utf-8").partition(BEGIN)
        after = rest.partition(END)[2]
        write_text_atomic(page, f"{before}{BEGIN}\n{found}\n{END}{after}", force=True)
    return 0


VERBS = (Verb("formats", "every format in and out, checked by ffmpeg", _add_formats, _run_formats),)
