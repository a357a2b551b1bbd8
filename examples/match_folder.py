"""Match every recording of a folder to a preset or to reference recordings.

python examples/match_folder.py FOLDER OUTPUT --preset podcast --loudness -16
python examples/match_folder.py FOLDER OUTPUT --to reference.wav
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
    args = parser.parse_args()

    args.output.mkdir(parents=True, exist_ok=True)
    for source in sorted(args.folder.glob(args.pattern)):
        target = args.output / source.name
        if target.exists():
            continue  # already processed
        try:
            result = retone.match(
                source,
                to=args.to,
                preset=args.preset,
                output=target,
                loudness="match" if args.loudness is None else args.loudness,
            )
        except retone.RetoneError as error:
            print(f"skipped: {error}")
            continue
        print(f"{target}: {result.gain_db:+.1f} dB after the effect")


if __name__ == "__main__":
    main()
