"""Make a speech recording sound like a studio's, without any reference.

A trained network listens to the recording and sets an equaliser and six bands of dynamics. Writes
the processed recording, its settings (OUT.json, for `retone apply`) and a picture of what was done
(OUT.html), beside each other. Nothing is overwritten unless --force is given.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from retone.cli.match import (
    add_lock_argument,
    add_output_arguments,
    add_plugin_permission,
)

LOUDNESS_LUFS = -19.0
"""Usual for speech in one channel; in two channels -16 sounds as loud."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("input", type=Path, metavar="INPUT", help="speech recording to change")
    add_output_arguments(
        parser,
        loudness_words="off|LUFS",
        loudness_help=f"loudness of the result, such as -16 or -23 (default: {LOUDNESS_LUFS:g}, or "
        "so far as --amount goes); off leaves it as the effect gives it",
    )
    add_lock_argument(parser, "ENHANCE_CHAIN", "multiband.band_1_gain_db=-3")
    parser.add_argument(
        "--weights", type=Path, metavar="FILE", help="a network that retone train made"
    )
    add_plugin_permission(parser, "the weights")


def run(args: argparse.Namespace) -> int:
    from retone.cli.writing import print_result, report_paths, write_result
    from retone.errors import SettingError
    from retone.estimators.reference_free import ReferenceFree
    from retone.plugins import allow
    from retone.process.decide import Matcher, Options, parse_locks
    from retone.process.render import output_beside
    from retone.terminal import progress_bar

    if args.loudness == "match":
        raise SettingError("--loudness match needs a reference: give a target in LUFS, or 'off'.")
    options = Options(
        amount=args.amount,
        locks=parse_locks(args.lock),
        loudness=LOUDNESS_LUFS if args.loudness is None else args.loudness,
        true_peak_dbtp=args.true_peak,
        usual_loudness=args.loudness is None,
    )
    if args.plugin:
        allow(args.plugin)
    output = args.output or output_beside(args.input, "enhanced")
    paths = report_paths(output, (args.input,), report=not args.no_report, force=args.force)
    matcher = Matcher(ReferenceFree(weights=args.weights))
    with progress_bar("enhancing", "s") as progress:
        result = matcher.match(args.input, (), output, options, force=args.force, progress=progress)
    write_result(result, paths, force=args.force)
    if not args.quiet:
        print_result(result, paths)
    return 0
