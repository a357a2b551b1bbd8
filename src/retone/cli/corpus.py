"""List the known corpora, build the free ones, or check a folder.

retone corpus list
retone corpus build debian-speech FOLDER    free recordings from Debian packages (needs apt, dpkg)
retone corpus check NAME FOLDER             check which files are usable
retone corpus pack FOLDER --corpus NAME=FOLDER --sample-rate HZ
                                            excerpts as Opus, to train elsewhere
retone corpus index URL --sample-rate HZ    index WebDataset shards, to train from them
"""

from __future__ import annotations

import argparse
from pathlib import Path


def add_arguments(parser: argparse.ArgumentParser) -> None:
    actions = parser.add_subparsers(dest="action", metavar="ACTION", required=True)
    actions.add_parser("list", help="list the known corpora, their licences and sources")
    build = actions.add_parser("build", help="build a free corpus from Debian packages")
    build.add_argument("name", metavar="NAME", help="debian-speech, debian-voices or debian-music")
    build.add_argument("folder", type=Path, metavar="FOLDER", help="folder to create")
    check = actions.add_parser("check", help="check which files are usable")
    check.add_argument("name", metavar="NAME", help="a name that 'list' shows")
    check.add_argument("folder", type=Path, metavar="FOLDER", help="the corpus folder")
    check.add_argument("--sample-rate", type=int, required=True, help="training sample rate in Hz")
    check.add_argument("--cache", type=Path, help="cache directory for resampled audio")
    pack = actions.add_parser("pack", help="pack excerpts of corpora to train elsewhere")
    pack.add_argument("folder", type=Path, metavar="FOLDER", help="folder to create")
    pack.add_argument("--corpus", action="append", default=[], metavar="NAME=FOLDER", required=True,
                      help="a corpus and its folder (repeatable)")  # fmt: skip
    pack.add_argument("--kind", choices=("speech", "music"), default="speech",
                      help="which recordings of mixed corpora (default: speech)")  # fmt: skip
    pack.add_argument("--sample-rate", type=int, required=True, help="training sample rate in Hz")
    pack.add_argument("--seconds", type=float, default=20.0,
                      help="of each speaker or track (default: 20)")  # fmt: skip
    pack.add_argument("--min-seconds", type=float, default=0.0,
                      help="leave out speakers or tracks with less (default: 0)")  # fmt: skip
    pack.add_argument("--kbps", type=float, default=20.0, help="bit rate (default: 20)")
    pack.add_argument("--full-band-kbps", type=float, default=32.0,
                      help="bit rate of full-band recordings (default: 32)")  # fmt: skip
    pack.add_argument("--cache", type=Path, help="cache directory for resampled audio")
    index = actions.add_parser("index", help="index shards (tar files), to train from them")
    index.add_argument("url", metavar="URL", help="folder of .tar files: a path, s3://..., ...")
    index.add_argument("--sample-rate", type=int, required=True, help="training sample rate in Hz")


def run(args: argparse.Namespace) -> int:
    from retone.training.data.corpora import CORPORA, corpus_manifest, open_corpus
    from retone.training.data.splits import default_cache

    if args.action == "list":
        for source in CORPORA.values():
            print(f"{source.name:15} {source.kind:7} {source.licence}\n{'':15} {source.where}")
        return 0
    if args.action == "build":
        from retone.training.debian import build

        build(args.name, args.folder, print)
        return 0
    if args.action == "pack":
        return _pack(args)
    if args.action == "index":
        from retone.training.data.shards import index_shards

        print(f"{index_shards(args.url, sample_rate=args.sample_rate, say=print)} clips")
        return 0
    said: list[str] = []

    def say(text: str) -> None:
        said.append(text)
        print(text)

    corpus = open_corpus(
        args.name,
        args.folder,
        sample_rate=args.sample_rate,
        cache=args.cache or default_cache(),
        progress=say,
    )
    summary = corpus_manifest(corpus).summary()
    if summary not in said:  # it was in the cache
        print(summary)
    print(f"{corpus.hours:.2f} hours from {len(corpus.tracks)} speakers or tracks")
    return 0


def _pack(args: argparse.Namespace) -> int:
    from retone.training.data.pack import Packing, pack
    from retone.training.data.splits import named_folders, open_splits

    splits = open_splits(
        named_folders(args.corpus),
        sample_rate=args.sample_rate,
        cache=args.cache,
        kind=args.kind,
        need=("train",),
        progress=print,
    )
    packing = Packing(
        seconds=args.seconds,
        kbps=args.kbps,
        full_band_kbps=args.full_band_kbps,
        min_seconds=args.min_seconds,
    )
    size = pack((splits["train"], splits["val"]), args.folder, packing, print)
    print(f"{size / 1e6:.1f} MB in {args.folder}: use it as --corpus folder={args.folder}")
    return 0
