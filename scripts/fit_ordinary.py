"""Print the spectrum of ordinary voices and its spread, for retone.estimators.ordinary.

    python scripts/fit_ordinary.py --corpus folder=VOICES --corpus debian-speech=data/speech \
        --readers libri mls librivox

Voices of the training split count if they are full-band, or if their corpus is one of
``--readers``: readers of books with good microphones, whatever their sample rate.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np

from retone.dsp.third_octaves import CENTRES_HZ, DENSE, third_octave_levels_db
from retone.estimators.ordinary import BANDS_HZ
from retone.training.data.corpora import full_band
from retone.training.data.splits import named_folders, open_splits

RATE, SHORTEST_S, LONGEST_S = 24000, 5.0, 40.0
SHARES = (10, 50, 75, 90, 95, 99)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--corpus", required=True, action="append", metavar="NAME=FOLDER")
    parser.add_argument("--readers", nargs="*", default=(), metavar="CORPUS")
    parser.add_argument("--cache", type=Path)
    args = parser.parse_args()
    corpus = open_splits(
        named_folders(args.corpus), sample_rate=RATE, cache=args.cache, kind="speech",
        need=("train",), progress=print,
    )["train"]  # fmt: skip
    inside = (CENTRES_HZ > BANDS_HZ[0]) & (CENTRES_HZ < BANDS_HZ[1])
    rows = []
    for track, full in zip(corpus.tracks, full_band(corpus), strict=True):
        reader = track.group.split("/")[0] in args.readers
        if track.samples < SHORTEST_S * RATE or not (full or reader):
            continue
        audio = np.array(track.read(0, min(track.samples, round(LONGEST_S * RATE))))
        levels = third_octave_levels_db(audio, RATE, DENSE)[inside]
        rows.append(levels - np.median(levels))
    mean, spread = np.mean(rows, axis=0).round(1), np.std(rows, axis=0).round(1)
    print(f"{len(rows)} voices")
    print("VOICE_DB =", tuple(mean.tolist()))
    print("SPREAD_DB =", tuple(spread.tolist()))
    apart = np.array(rows) - mean
    apart -= np.median(apart, axis=1, keepdims=True)
    distances = np.sqrt(np.mean((apart / spread) ** 2, axis=1))
    for share, found in zip(SHARES, np.percentile(distances, SHARES), strict=True):
        print(f"{share} % of the voices are nearer than {found:.2f}")


if __name__ == "__main__":
    main()
