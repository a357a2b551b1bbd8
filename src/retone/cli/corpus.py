"""List the known corpora, build the free ones, or check a folder.

retone corpus list
retone corpus build debian-speech FOLDER    free recordings from Debian packages (needs apt, dpkg)
retone corpus check NAME FOLDER             check which files are usable
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
    corpus = open_corpus(
        args.name,
        args.folder,
        sample_rate=args.sample_rate,
        cache=args.cache or default_cache(),
        progress=print,
    )
    print(corpus_manifest(corpus).summary())
    print(f"{corpus.hours:.2f} hours from {len(corpus.tracks)} speakers or tracks")
    return 0
