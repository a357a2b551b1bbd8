"""Make the presets that ship, from free recordings.

    python scripts/make_presets.py speech debian-speech=FOLDER
    python scripts/make_presets.py music debian-music=FOLDER

Only the train split is used. Writes src/retone/presets/data/NAME.json; for music also the
content statistics (src/retone/estimators/data/content_music.npz); those of speech come from
retone.estimators.content_statistics.learn.
"""

from __future__ import annotations

import argparse
from collections import Counter
from pathlib import Path

from retone.estimators import content_statistics as statistics
from retone.files.atomic import write_text_atomic
from retone.lab.curated_presets import CURATED, make_curated
from retone.training.data.corpora import CORPORA, Corpus, open_corpus
from retone.training.data.excerpts import open_excerpts
from retone.training.data.splits import default_cache

SAMPLE_RATE = 44100
SOURCE = Path(__file__).resolve().parent.parent / "src" / "retone"
PIECES, PIECE_S = 120, 45.0


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("kind", choices=("speech", "music"))
    parser.add_argument("corpus", metavar="NAME=FOLDER")
    parser.add_argument("--cache", type=Path, default=default_cache())
    parser.add_argument("--only", nargs="+", help="names of presets")
    parser.add_argument("--output", type=Path, default=SOURCE / "presets" / "data")
    args = parser.parse_args()
    name, _, folder = args.corpus.partition("=")
    if args.kind == "speech":
        corpus = open_corpus(
            name, Path(folder), sample_rate=SAMPLE_RATE, cache=args.cache, progress=print
        ).split("train")
        per_voice = 6
    else:
        corpus = open_excerpts(
            name, Path(folder), sample_rate=SAMPLE_RATE, split="train", max_groups=PIECES,
            seconds=PIECE_S, cache=args.cache,
        )  # fmt: skip
        per_voice = 2
        if not args.only:
            learn_content(corpus, SOURCE / "estimators" / "data" / "content_music.npz")
    licence, credits = origin(name, Path(folder), {t.group for t in corpus.tracks})
    for preset in CURATED.values():
        if preset.kind == args.kind and (not args.only or preset.name in args.only):
            made = make_curated(
                preset, corpus, licence=licence, credits=credits,
                per_voice=per_voice, progress=print,
            )  # fmt: skip
            write_text_atomic(args.output / f"{preset.name}.json", made.to_json(), force=True)


def learn_content(corpus: Corpus, path: Path) -> None:
    """Learn how pieces of music differ, from passages of 10 s."""
    recordings = (
        statistics.Recording(t.group, t.read(0, t.samples), SAMPLE_RATE) for t in corpus.tracks
    )
    learnt = statistics.learn(recordings, seconds=10.0, seed=0)
    learnt.save(path)
    print(f"{path.name}: {learnt.passages} passages of {learnt.voices} pieces")


def origin(name: str, folder: Path, groups: set[str]) -> tuple[str, tuple[str, ...]]:
    """Licences and sources of the recordings that were used."""
    items = [f for f in CORPORA[name].find(folder) if f.group in groups]
    licence = ", ".join(sorted({f.licence for f in items if f.licence}))
    files = Counter((f.source, f.author) for f in items)
    credits = tuple(
        f"{source}{f', {author}' if author else ''}: {count} recordings"
        for (source, author), count in sorted(files.items())
    )
    return licence, credits


if __name__ == "__main__":
    main()
