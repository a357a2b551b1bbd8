"""Master a song: tone and dynamics of a preset or a reference, a loudness and a true-peak ceiling.

python examples/master_song.py mix.wav master.wav --loudness -14
python examples/master_song.py mix.wav master.wav --to released_song.flac
"""

from __future__ import annotations

import argparse
from pathlib import Path

import retone


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("mix", type=Path)
    parser.add_argument("master", type=Path)
    parser.add_argument("--to", type=Path, help="reference song")
    parser.add_argument("--preset", default="master-neutral", help="used without a reference")
    parser.add_argument("--loudness", type=float, default=-14.0, help="in LUFS")
    parser.add_argument("--ceiling", type=float, default=-1.0, help="true peak, in dBTP")
    args = parser.parse_args()

    result = retone.match(
        args.mix,
        to=args.to,
        preset=None if args.to else args.preset,
        output=args.master,
        loudness=args.loudness,
        true_peak_dbtp=args.ceiling,
        locks={"compressor.ratio": 1.5},  # glue rather than squeeze
    )
    print(f"{'':9}   LUFS   dBTP   crest dB")
    for side in result.sides:
        if side.levels is not None:
            levels = side.levels
            print(
                f"{side.role:9} {levels.integrated_lufs:6.1f} {levels.true_peak_dbtp:6.1f} "
                f"{levels.crest_db:6.1f}"
            )
    print(
        f"The limiter reduced peaks by at most {result.limiter_most_db:.1f} dB, "
        f"{result.limiter_active_percent:.1f} % of the time."
    )
    for warning in result.warnings:
        print(warning)


if __name__ == "__main__":
    main()
