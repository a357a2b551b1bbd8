"""Make a recording sound like another one.

Writes the processed recording, its settings (OUT.json, for `retone apply`) and a picture of what
was done (OUT.html), beside each other. Nothing is overwritten unless --force is given.
"""

from __future__ import annotations

import argparse
import functools
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from retone.estimators.profile import Profile

ESTIMATORS = ("auto", "network", "closed-form", "full-match", "faithful", "refined", "rules")


def loudness(text: str) -> str | float:
    """``match``, ``off`` or a target in LUFS."""
    if text in ("match", "off"):
        return text
    try:
        value = float(text)
    except ValueError:
        value = 0.0
    if not -70 <= value <= -5:
        raise argparse.ArgumentTypeError(
            f"{text!r}: expected 'match', 'off' or a target such as -16 (LUFS, -70 to -5)"
        )
    return value


def true_peak(text: str) -> float | None:
    """A ceiling in dBTP or ``off``."""
    if text == "off":
        return None
    try:
        value = float(text)
    except ValueError:
        value = 1.0
    if not -20 <= value <= 0:
        raise argparse.ArgumentTypeError(f"{text!r}: expected 'off' or -20 to 0 (dBTP)")
    return value


def amount(text: str) -> float:
    """A share from 0 to 1."""
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not 0 <= value <= 1:
        raise argparse.ArgumentTypeError(f"{text!r}: expected a number from 0 to 1")
    return value


class _Lock(argparse.Action):
    """Collects locks; ``--lock list`` prints what can be locked and ends, like ``--help``."""

    def __init__(self, *args: Any, chain: str, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.chain = chain

    def __call__(
        self,
        parser: argparse.ArgumentParser,
        namespace: argparse.Namespace,
        values: Any,
        option_string: str | None = None,
    ) -> None:
        if values == "list":
            from retone import effects

            effect = getattr(effects, self.chain)
            if getattr(namespace, "plugin", None):
                effect = opened_plugin(namespace)
            for p in effect.params:
                print(f"{p.name:34} {p.low:>8g} .. {p.high:<8g} {p.unit:3} {p.help}")
            parser.exit()
        setattr(namespace, self.dest, [*getattr(namespace, self.dest), values])


def add_lock_argument(parser: argparse.ArgumentParser, chain: str, example: str) -> None:
    """``--lock``, for the parameters of an effect that ``retone.effects`` calls ``chain``."""
    parser.add_argument(
        "--lock",
        action=functools.partial(_Lock, chain=chain),  # type: ignore[arg-type]
        default=[],
        metavar="PARAM=VALUE",
        help=f"hold a parameter whatever else is asked for, e.g. {example} (repeatable; --lock "
        "list shows all)",
    )


def opened_plugin(args: argparse.Namespace, on_failure: str = "stop") -> Any:
    """The plug-in of ``--plugin``, its ``--plugin-set`` values held."""
    from retone.effects.plugin import Plugin
    from retone.errors import SettingError

    fixed = {}
    for text in args.plugin_set:
        name, equals, value = text.partition("=")
        try:
            fixed[name.strip()] = float(value)
        except ValueError:
            raise SettingError(f"--plugin-set {text}: expected NAME=NUMBER.") from None
    return Plugin.open(args.plugin, fixed=fixed, on_failure=on_failure)


def add_plugin_permission(parser: argparse.ArgumentParser, what: str) -> None:
    """``--plugin``, for commands that may meet one in a file."""
    parser.add_argument(
        "--plugin", metavar="PATH", help=f"let the plug-in that {what} drive be run, from here"
    )


LOUDNESS_HELP = (
    "loudness: the reference's (or so far as --amount goes), as the effect leaves it, or a target "
    "(default: match, or what the settings file says)"
)


def add_output_arguments(
    parser: argparse.ArgumentParser,
    *,
    loudness_words: str = "match|off|LUFS",
    loudness_help: str = LOUDNESS_HELP,
) -> None:
    """Options that every command which writes audio has."""
    parser.add_argument("-o", "--output", type=Path, metavar="OUT", help="where to write")
    parser.add_argument("--force", action="store_true", help="overwrite existing files")
    parser.add_argument(
        "--amount",
        type=amount,
        default=1.0,
        metavar="0..1",
        help="how much of the change (default: all, or what the settings file says)",
    )
    parser.add_argument(
        "--loudness",
        type=loudness,
        default=None,
        metavar=loudness_words,
        help=loudness_help,
    )
    parser.add_argument(
        "--true-peak",
        type=true_peak,
        default=-1.0,
        metavar="off|DBTP",
        help="ceiling of the true peak (default: -1, or what the settings file says)",
    )
    parser.add_argument("--no-report", action="store_true", help="do not write OUT.html")
    parser.add_argument("-q", "--quiet", action="store_true", help="print errors only")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("input", type=Path, metavar="INPUT", help="recording to change")
    goal = parser.add_mutually_exclusive_group(required=True)
    goal.add_argument(
        "--to",
        type=Path,
        nargs="+",
        action="extend",
        metavar="REFERENCE",
        help="recording(s) that sound right; several are averaged",
    )
    goal.add_argument(
        "--preset",
        metavar="NAME|FILE",
        help="a style instead of a recording: broadcast, podcast, warm, ... ('retone preset list')",
    )
    goal.add_argument(
        "--auto", action="store_true", help="choose for me: a preset for speech or for music"
    )
    add_output_arguments(parser)
    part = parser.add_mutually_exclusive_group()
    part.add_argument("--eq-only", action="store_true", help="leave the dynamics alone")
    part.add_argument("--dynamics-only", action="store_true", help="leave the spectrum alone")
    add_lock_argument(parser, "MATCH_CHAIN", "compressor.ratio=2")
    parser.add_argument(
        "--estimator", choices=ESTIMATORS, default=None, help="how settings are found"
    )
    parser.add_argument(
        "--plugin",
        metavar="SOURCE",
        help="drive a plug-in PATH.vst3, or a Python function FILE.py:NAME, instead",
    )
    parser.add_argument(
        "--plugin-set",
        action="append",
        default=[],
        metavar="NAME=VALUE",
        help="hold a switch or a parameter of the plug-in (repeatable)",
    )


def _profile(args: argparse.Namespace) -> Profile:
    """Of the preset that was asked for, or that ``--auto`` chooses."""
    from retone.presets import AUTO, open_preset
    from retone.process.decide import content_of_file

    name = AUTO[content_of_file(args.input).kind] if args.auto else args.preset
    return open_preset(name).profile


def run(args: argparse.Namespace) -> int:
    from retone.cli.writing import print_result, report_paths, write_result
    from retone.errors import SettingError
    from retone.estimators.choose import estimator_named
    from retone.process.decide import Matcher, Options, parse_locks
    from retone.process.render import output_beside
    from retone.report.collect import CompressorLevels
    from retone.terminal import progress_bar

    if args.plugin and (args.estimator or args.eq_only or args.dynamics_only):
        raise SettingError(
            "--plugin finds settings by trying them and is one effect: leave out --estimator, "
            "--eq-only and --dynamics-only."
        )
    if args.plugin_set and not args.plugin:
        raise SettingError("--plugin-set needs --plugin.")
    options = Options(
        amount=args.amount,
        part="eq" if args.eq_only else "dynamics" if args.dynamics_only else "all",
        locks=parse_locks(args.lock),
        loudness="match" if args.loudness is None else args.loudness,
        true_peak_dbtp=args.true_peak,
    )
    output = args.output or output_beside(args.input, "matched")
    recordings = (args.input, *(args.to or ()))
    paths = report_paths(output, recordings, report=not args.no_report, force=args.force)
    references = args.to or [_profile(args)]
    if args.plugin:
        from retone.estimators.black_box import BlackBoxFit

        matcher = Matcher(BlackBoxFit(opened_plugin(args)))
    else:
        matcher = Matcher(estimator_named(args.estimator))
    with progress_bar("matching", "s") as progress:
        result = matcher.match(
            args.input,
            references,
            output,
            options,
            force=args.force,
            progress=progress,
            observe=CompressorLevels,
        )
    write_result(result, paths, force=args.force)
    if not args.quiet:
        print_result(result, paths)
    return 0
