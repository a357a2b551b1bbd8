"""Train the speech/music decision of retone.estimators.speech_music and print its accuracy.

    python scripts/fit_content.py --speech debian-speech=data/speech --music data/music/audio \
        --check kit/manifest.csv

Excerpts of 4 to 20 s are drawn from the speech corpus' training voices and from the music files;
``--check`` scores a table of other labelled recordings (columns path, kind, split).
"""

from __future__ import annotations

import argparse
import csv
import random
from pathlib import Path

import numpy as np

from retone.audio import open_reader
from retone.estimators import speech_music as content
from retone.files.atomic import write_text_atomic
from retone.training.data.processing import normalise
from retone.training.data.splits import named_folders, open_splits

RATE = 24000
TARGET = Path(__file__).parents[1] / "src/retone/estimators/data" / content.FILE


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--speech", required=True, metavar="NAME=FOLDER")
    parser.add_argument("--music", required=True, type=Path, metavar="FOLDER")
    parser.add_argument("--cache", type=Path)
    parser.add_argument("--check", type=Path, metavar="CSV")
    parser.add_argument("--each", type=int, default=130, help="excerpts of each kind")
    args = parser.parse_args()
    rng = random.Random(0)
    corpus = open_splits(
        named_folders([args.speech]), sample_rate=RATE, cache=args.cache, kind="speech",
        need=("train",), progress=print,
    )["train"]  # fmt: skip
    speech = []
    while len(speech) < args.each:
        track = corpus.tracks[len(speech) % len(corpus.tracks)]
        count = min(round(RATE * rng.uniform(4, 20)), track.samples)
        start = rng.randrange(0, track.samples - count + 1)
        speech.append(of(np.array(track.read(start, count)), RATE))
    files = sorted(p for p in args.music.rglob("*") if p.suffix in (".ogg", ".flac", ".wav"))
    rng.shuffle(files)
    music = []
    for file in files:
        if len(music) == args.each:
            break
        with open_reader(file) as reader:
            rate, total = reader.info.sample_rate, reader.info.frames
            count = round(rate * rng.uniform(5, 20))
            reader.seek(rng.randrange(0, max(1, total - count)))
            audio = reader.read(count).mean(axis=0)
        if audio.size > 3 * rate and np.abs(audio).max() > 1e-3:
            music.append(of(audio, rate))
    model = content.fit(speech, music)
    seen = {"speech excerpts": len(speech), "music excerpts": len(music)}
    write_text_atomic(TARGET, content.to_json(model, {"learnt_from": seen}), force=True)
    print(f"{TARGET.name}: {seen}")
    for name, weight in zip(content.FEATURES, model.weights, strict=True):
        print(f"  {name:14} {weight:+.2f}")
    if args.check:
        check(args.check)


def of(audio: np.ndarray, rate: int) -> np.ndarray:
    return content.features(normalise(audio).astype(np.float64), rate)


def check(table: Path) -> None:
    """Print the accuracy on labelled recordings, by split and kind."""
    right: dict[tuple[str, str], list[bool]] = {}
    model = content._model()
    for row in csv.DictReader(table.open()):
        with open_reader(table.parent / row["path"]) as reader:
            audio = reader.read(reader.info.frames).mean(axis=0)
            chance = model.speech_chance(of(audio, reader.info.sample_rate))
        correct = (chance >= 0.5) == (row["kind"] == "speech")
        right.setdefault((row["split"], row["kind"]), []).append(correct)
        if not correct:
            print(f"  wrong: {row['path']} ({row['kind']}, speech {chance:.2f})")
    for (split, kind), hits in sorted(right.items()):
        print(f"{split} {kind}: {sum(hits)} of {len(hits)}")


if __name__ == "__main__":
    main()
