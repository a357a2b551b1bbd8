"""Install retone's LV2 and CLAP plug-ins for DAWs and other hosts.

retone plugins install     copy them to your plug-in folders
retone plugins list        what they are, and where they are installed

`retone export SETTINGS --to lv2` or `--to clap` turns settings into their presets.
"""

from __future__ import annotations

import argparse
from pathlib import Path


def add_arguments(parser: argparse.ArgumentParser) -> None:
    actions = parser.add_subparsers(dest="action", metavar="ACTION", required=True)
    install = actions.add_parser("install", help="copy the plug-ins to your plug-in folders")
    install.add_argument("--lv2", type=Path, metavar="FOLDER", help="other folder for LV2")
    install.add_argument("--clap", type=Path, metavar="FOLDER", help="other folder for CLAP")
    actions.add_parser("list", help="list the plug-ins and their folders")


def run(args: argparse.Namespace) -> int:
    from retone.exports import install

    if args.action == "install":
        bundle, clap, presets = install.install(args.lv2, args.clap)
        print(f"LV2            {bundle}")
        print(f"CLAP           {clap}")
        print(f"CLAP presets   {presets}")
        print("Let your host scan for new plug-ins.")
        return 0
    for title, about, count in install.described():
        print(f"{title:16} {about} {count} parameters, mono and stereo.")
    for kind, path in (
        ("LV2", install.lv2_folder() / install.LV2_BUNDLE),
        ("CLAP", install.clap_folder() / install.CLAP_FILE),
    ):
        print(f"{kind:16} {path}" if path.exists() else f"{kind:16} not installed ({path})")
    return 0
