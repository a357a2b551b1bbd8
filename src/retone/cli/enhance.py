"""Make a speech recording sound as if made in a studio, without a reference.

A trained network analyses the recording and sets an equaliser and six bands of dynamics. Writes
the processed recording and, next to it, its settings (OUT.json, for `retone apply`) and a report
(OUT.html). Nothing is overwritten unless --force is given.
"""

from __future__ import annotations

import argparse
import functools
from pathlib import Path

from retone.cli.many import add_many_arguments, is_many, output_options, run_many
from retone.cli.match import (
    add_lock_argument,
    add_output_arguments,
    add_plugin_permission,
    parse_locks,
)
from retone.process.level import SPEECH_LUFS, speech_loudness


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_many_arguments(parser)
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
    from retone.plugins import allow

    locks = parse_locks(args.lock)
    if args.plugin:
        allow(args.plugin)
    if is_many(args):
        options = {**output_options(args), "locks": locks}
        if args.weights:
            options["weights"] = str(args.weights)
        prepare = functools.partial(allow, args.plugin) if args.plugin else None
        return run_many("enhance", args, options, prepare=prepare, stamp=args.plugin or "")

    from retone import api
    from retone.cli.streams import ends, output_format
    from retone.terminal import progress_bar

    wanted = output_format(args)
    with ends(args, "enhanced", (), wanted) as files:
        with progress_bar() as progress:
            result = api.enhance(
                files.input,
                files.output,
                weights=args.weights,
                amount=args.amount,
                locks=locks,
                loudness=args.loudness,
                true_peak_dbtp=args.true_peak,
                force=args.force,
                output_format=wanted,
                progress=progress,
            )
        files.finish(result, args)
    return 0
