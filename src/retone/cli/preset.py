"""List, show, make and share presets: styles that `retone match --preset NAME` adapts.

retone preset list                          every preset and its use
retone preset show NAME                     what it was made from, its spectrum and levels
retone preset make NAME FILE...             blend recordings into one preset of your own
retone preset export NAME FILE.json         to share; it contains no audio
retone preset import FILE.json
"""

from __future__ import annotations

import argparse
from pathlib import Path

from retone.cli.match import loudness


def _loudness(text: str) -> str | float | None:
    return None if text == "off" else loudness(text)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    actions = parser.add_subparsers(dest="action", metavar="ACTION", required=True)
    listing = actions.add_parser("list", help="list all presets")
    listing.add_argument("--kind", choices=("speech", "music"), help="list this kind only")
    show = actions.add_parser("show", help="show what a preset does")
    show.add_argument("name", metavar="NAME|FILE", help="a preset's name or file")
    make = actions.add_parser("make", help="blend recordings into a preset of your own")
    make.add_argument("name", metavar="NAME", help="lower-case letters, digits and hyphens")
    make.add_argument("files", nargs="+", type=Path, metavar="FILE", help="reference recordings")
    make.add_argument("--description", default="", help="one sentence about the sound")
    make.add_argument(
        "--kind", default="speech", choices=("speech", "music"),
        help="what the recordings hold (default: speech)",
    )  # fmt: skip
    make.add_argument(
        "--voices", type=int, default=1, metavar="N",
        help="how many different voices or pieces the recordings hold (default: 1, not known)",
    )  # fmt: skip
    make.add_argument(
        "--loudness", type=_loudness, default="match", metavar="match|off|LUFS",
        help="target loudness: match the recordings, off (no change), or LUFS (default: match)",
    )  # fmt: skip
    make.add_argument(
        "--licence", default="", help="licence of the recordings, if you share the preset"
    )
    make.add_argument("--force", action="store_true", help="replace a preset of that name")
    export = actions.add_parser("export", help="write a preset to a file")
    export.add_argument("name", metavar="NAME", help="the preset's name")
    export.add_argument("file", type=Path, metavar="FILE.json", help="file to write")
    export.add_argument("--force", action="store_true", help="overwrite an existing file")
    importing = actions.add_parser("import", help="add a preset from a file")
    importing.add_argument("file", type=Path, metavar="FILE.json", help="file to read")
    importing.add_argument("--force", action="store_true", help="replace a preset of that name")


def run(args: argparse.Namespace) -> int:
    from retone import presets

    match args.action:
        case "list":
            _list(args.kind)
        case "show":
            _show(args.name)
        case "make":
            from retone.errors import SettingError
            from retone.terminal import progress_bar

            if args.voices < 1:
                raise SettingError(f"--voices {args.voices}: expected 1 or more.")
            presets.require_free(args.name, force=args.force)
            with progress_bar() as progress:
                made = presets.make_preset(
                    args.name, args.files, description=args.description, kind=args.kind,
                    voices=args.voices, loudness_lufs=args.loudness, licence=args.licence,
                    progress=progress,
                )  # fmt: skip
            print(presets.save_preset(made, force=args.force))
        case "export":
            from retone.cli.streams import refuse_output_stream

            refuse_output_stream(args.file)
            print(presets.export_preset(args.name, args.file, force=args.force))
        case "import":
            got, path = presets.import_preset(args.file, force=args.force)
            print(f"{got.name}: {path}")
    return 0


def _list(kind: str | None) -> None:
    import textwrap

    from retone.presets import AUTO, available
    from retone.presets.library import broken, is_own

    for preset in available():
        if kind in (None, preset.kind):
            tags = [preset.kind]
            tags += ["yours"] if is_own(preset.name) else []
            tags += ["--auto"] if preset.name in AUTO.values() else []
            head = f"{preset.name:18} {', '.join(tags)}"
            print(head)
            print(textwrap.indent(textwrap.fill(preset.description, 90), " " * 4))
    for sentence in broken():
        print(f"cannot be used: {sentence}")


def _show(name: str) -> None:
    import numpy as np

    from retone.presets import open_preset

    preset = open_preset(name)
    p = preset.profile
    s = p.statistics
    print(f"{preset.name} ({preset.kind})\n{preset.description}")
    level = "keeps the recording's own" if p.loudness_lufs is None else f"{p.loudness_lufs:g} LUFS"
    print(f"loudness      {level}")
    many = f"{p.voices} voices or pieces" if p.voices > 1 else "one voice or piece, or not known"
    print(f"made from     {many}, {p.seconds / 60:.1f} min of sound")
    print(f"crest         {s.crest_db[0]:.1f} dB (peak over the level of active parts)")
    short = s.level_percentiles_db[0]
    print(f"level spread  {short[4] - short[0]:.1f} dB (10 ms levels, 10 to 95 %)")
    bands = np.array([100, 200, 400, 800, 1600, 3150, 6300, 10000, 14000.0])
    tilt = p.spectrum(bands) - p.spectrum(np.array([1000.0]))[0]
    print("spectrum      " + "  ".join(
        f"{f / 1000:g}k {v:+.0f}" if f >= 1000 else f"{f:g} {v:+.0f}"
        for f, v in zip(bands, tilt, strict=True) if np.isfinite(v)
    ) + "  (Hz, dB re 1 kHz)")  # fmt: skip
    frames = 0 if p.typical is None else p.typical.frames.shape[1]
    print(f"for networks  {frames} typical frames; no sound, no order, no phase")
    for line in (f"licence: {preset.licence}" if preset.licence else "", *preset.credits):
        if line:
            print(f"  {line}")
    print(f"made with     {preset.made_with}")
