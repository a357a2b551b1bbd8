"""Match every recording of a folder to a preset or to reference recordings.

python examples/match_folder.py FOLDER OUTPUT --preset podcast --loudness -16
python examples/match_folder.py FOLDER OUTPUT --to reference.wav --workers 2
"""

from __future__ import annotations

import argparse
from pathlib import Path

import retone


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path, help="recordings to match")
    parser.add_argument("output", type=Path, help="folder for the results")
    style = parser.add_mutually_exclusive_group(required=True)
    style.add_argument("--to", nargs="+", type=Path, help="reference recordings")
    style.add_argument("--preset", help="a preset's name or file")
    parser.add_argument("--pattern", default="*.*", help="which files (default: all)")
    parser.add_argument("--loudness", type=float, help="target in LUFS (default: the reference's)")
    parser.add_argument("--workers", type=int, default=0, help="processes (default: this one)")
    args = parser.parse_args()

    outcomes = retone.process_many(
        sorted(args.folder.glob(args.pattern)),
        args.output,
        to=args.to,
        preset=args.preset,
        loudness="match" if args.loudness is None else args.loudness,
        workers=args.workers,
    )
    for outcome in outcomes:
        if outcome.failed:
            print(f"skipped: {outcome.error}")
        elif outcome.status == "done":  # else it was done before
            print(f"{outcome.output}: {outcome.values['gain_db']:+.1f} dB after the effect")


if __name__ == "__main__":
    main()
