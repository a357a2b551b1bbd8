"""Apply a settings file to a recording: the same effect, with no estimation.

The settings file is what `retone match` wrote, or an edited copy of it. The gain after the effect
is the file's own unless --loudness is given.
"""

from __future__ import annotations

import argparse
import functools
from pathlib import Path

from retone.cli.many import add_many_arguments, is_many, output_options, run_many
from retone.cli.match import add_output_arguments, add_plugin_permission


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_many_arguments(parser)
    parser.add_argument(
        "--settings", type=Path, required=True, metavar="JSON", help="settings file to apply"
    )
    add_output_arguments(
        parser,
        reference=False,
        settings=True,
        loudness_help="a target in LUFS, or off: no loudness change (default: the settings' own "
        "gain)",
    )
    add_plugin_permission(parser, "the settings")


def run(args: argparse.Namespace) -> int:
    from retone.plugins import allow

    if args.plugin:
        allow(args.plugin)
    if is_many(args):
        options = output_options(args)
        if args.settings:
            options["settings"] = str(args.settings)
        prepare = functools.partial(allow, args.plugin) if args.plugin else None
        return run_many("apply", args, options, prepare=prepare, stamp=args.plugin or "")

    from retone import api
    from retone.cli.streams import ends, output_format
    from retone.process.settings_file import SettingsFile
    from retone.terminal import progress_bar

    settings = SettingsFile.read(args.settings, str(args.settings))
    wanted = output_format(args)
    with ends(args, "applied", (), wanted) as files:
        with progress_bar() as progress:
            result = api.apply(
                files.input,
                settings,
                files.output,
                amount=args.amount,
                loudness=args.loudness,
                true_peak_dbtp="file" if args.true_peak is Ellipsis else args.true_peak,
                force=args.force,
                output_format=wanted,
                progress=progress,
            )
        files.finish(result, args)
    return 0
