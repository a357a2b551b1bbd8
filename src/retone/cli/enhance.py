"""Make a speech recording sound as if made in a studio, without a reference.

A trained network analyses the recording and sets an equaliser and six bands of dynamics. Writes
the processed recording and, next to it, its settings (OUT.json, for `retone apply`) and a report
(OUT.html). Nothing is overwritten unless --force is given.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from retone.cli.match import (
    add_lock_argument,
    add_output_arguments,
    add_plugin_permission,
    parse_locks,
)
from retone.process.level import SPEECH_LUFS, speech_loudness


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("input", type=Path, metavar="INPUT", help="speech recording to change")
    add_output_arguments(
        parser,
        reference=False,
        loudness_help=f"a target in LUFS, such as -16 or -23 (default: {SPEECH_LUFS:g} for mono, "
        f"{speech_loudness(2):g} for stereo, scaled by --amount); off: no loudness change",
    )
    add_lock_argument(parser, "ENHANCE_CHAIN", "multiband.band_1_gain_db=-3")
    parser.add_argument(
        "--weights",
        type=Path,
        metavar="FILE",
        help="weights of a network trained with retone train",
    )
    add_plugin_permission(parser, "the weights")


def run(args: argparse.Namespace) -> int:
    from retone import api
    from retone.cli.writing import print_result, report_paths, write_companions
    from retone.plugins import allow
    from retone.process.render import output_beside
    from retone.terminal import progress_bar

    locks = parse_locks(args.lock)
    if args.plugin:
        allow(args.plugin)
    output = args.output or output_beside(args.input, "enhanced")
    paths = report_paths(output, (args.input,), report=not args.no_report, force=args.force)
    with progress_bar() as progress:
        result = api.enhance(
            args.input,
            output,
            weights=args.weights,
            amount=args.amount,
            locks=locks,
            loudness=args.loudness,
            true_peak_dbtp=args.true_peak,
            force=args.force,
            progress=progress,
        )
    write_companions(result, paths, force=args.force)
    if not args.quiet:
        print_result(result, paths)
    return 0
