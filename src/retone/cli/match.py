"""Make a recording sound like another one.

Writes the processed recording and, next to it, its settings (OUT.json, for `retone apply`) and a
report (OUT.html). Nothing is overwritten unless --force is given.
"""

from __future__ import annotations

import argparse
import functools
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from retone.cli.many import (
    add_many_arguments,
    is_many,
    output_options,
    path_or_url,
    run_many,
)
from retone.cli.streams import add_format_arguments
from retone.estimators.choose import CHOICES


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


def loudness_target(text: str) -> str | float:
    """``off`` or a target in LUFS, for commands without a reference."""
    if text == "match":
        raise argparse.ArgumentTypeError(
            "'match' needs a reference: give a target in LUFS, or 'off'"
        )
    return loudness(text)


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
    return _within(text, 0.0, 1.0, "a number from 0 to 1")


def _within(text: str, low: float, high: float, expected: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = low - 1
    if not low <= value <= high:
        raise argparse.ArgumentTypeError(f"{text!r}: expected {expected}")
    return value


class _Lock(argparse.Action):
    """Collects locks; ``--lock list`` prints all parameters and exits, like ``--help``."""

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
        help=f"keep a parameter at a value, e.g. {example} (repeatable; --lock list shows all)",
    )


def parse_locks(texts: Sequence[str]) -> dict[str, float]:
    """``["compressor.ratio=2"]`` to a mapping; names and ranges are checked later.

    Raises:
        SettingError: a text is not ``NAME=NUMBER``, or a name is locked twice.
    """
    from retone.errors import SettingError

    locks: dict[str, float] = {}
    for count, text in enumerate(texts, start=1):
        name, equals, value = text.partition("=")
        try:
            locks[name.strip()] = float(value)
        except ValueError:
            equals = ""
        if not equals or not name.strip():
            raise SettingError(f"--lock {text}: expected PARAM=VALUE, as in compressor.ratio=2.")
        if len(locks) < count:
            raise SettingError(f"--lock {text}: {name.strip()} is locked twice. Leave one out.")
    return locks


def opened_plugin(args: argparse.Namespace, on_failure: str = "stop") -> Any:
    """The plug-in of ``--plugin`` with the fixed values of ``--plugin-set``."""
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
        "--plugin",
        metavar="PATH",
        help=f"allow running the plug-in named in {what}, loaded from PATH",
    )


LOUDNESS_HELP = (
    "match the reference (scaled by --amount), off (leave as rendered), or a target in LUFS "
    "(default: match)"
)


def add_output_arguments(
    parser: argparse.ArgumentParser,
    *,
    reference: bool = True,
    settings: bool = False,
    loudness_help: str = LOUDNESS_HELP,
) -> None:
    """Options that every command which writes audio has.

    Args:
        reference: whether ``--loudness match`` is possible.
        settings: whether a settings file holds amount and ceiling.
        loudness_help: help of ``--loudness``.
    """
    parser.add_argument(
        "-o",
        "--output",
        type=path_or_url,
        metavar="OUT",
        help="where to write (default: beside INPUT), a folder for several recordings; - is "
        "standard output",
    )
    parser.add_argument("--force", action="store_true", help="overwrite existing files")
    parser.add_argument(
        "--amount",
        type=amount,
        default=None if settings else 1.0,
        metavar="0..1",
        help=f"scale the change, 0 to 1 (default: {'that of the settings' if settings else '1'})",
    )
    parser.add_argument(
        "--loudness",
        type=loudness if reference else loudness_target,
        default=None,
        metavar="match|off|LUFS" if reference else "off|LUFS",
        help=loudness_help,
    )
    parser.add_argument(
        "--true-peak",
        type=true_peak,
        default=Ellipsis if settings else -1.0,
        metavar="off|DBTP",
        help=f"true-peak ceiling (default: {'that of the settings' if settings else '-1'})",
    )
    add_format_arguments(parser)
    parser.add_argument("--no-report", action="store_true", help="do not write OUT.html")
    parser.add_argument(
        "--report-sound",
        choices=("embedded", "beside", "none"),
        default="embedded",
        help="what OUT.html plays: sound in it, OUT.before.opus and so on beside it, or nothing",
    )
    parser.add_argument(
        "--no-report-sound", action="store_true", help="the same as --report-sound none"
    )
    parser.add_argument("-q", "--quiet", action="store_true", help="print errors only")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_many_arguments(parser, together=True)
    goal = parser.add_mutually_exclusive_group(required=True)
    goal.add_argument(
        "--to",
        type=path_or_url,
        nargs="+",
        action="extend",
        metavar="REFERENCE",
        help="reference recording(s); several are averaged",
    )
    goal.add_argument(
        "--preset",
        metavar="NAME|FILE",
        help="a style instead of a recording: broadcast, podcast, warm, ... ('retone preset list')",
    )
    goal.add_argument(
        "--auto", action="store_true", help="choose the default preset for speech or for music"
    )
    add_output_arguments(parser)
    parser.add_argument(
        "--strength",
        type=amount,
        default=None,
        metavar="0..1",
        help="what to match: 0 only the reference's processing, 1 its whole sound "
        "(default: 0.9; 0 for presets)",
    )
    parser.add_argument(
        "--eq",
        choices=("bands", "curve"),
        default="bands",
        help="six bands, or a smooth curve with a gain per third octave (default: bands)",
    )
    parser.add_argument(
        "--eq-phase",
        choices=("minimum", "linear"),
        default=None,
        help="phase of the curve (default: minimum)",
    )
    parser.add_argument(
        "--eq-smooth",
        type=_octaves,
        default=None,
        metavar="OCTAVES",
        help="smooth the curve over so many octaves, 0 to 3 (default: 0)",
    )
    parser.add_argument(
        "--eq-range",
        type=_hertz,
        nargs=2,
        default=None,
        metavar=("LOW", "HIGH"),
        help="lowest and highest frequency that the curve changes, in Hz (default: all)",
    )
    parser.add_argument(
        "--dynamics",
        choices=("broadband", "multiband"),
        default="broadband",
        help="one compressor, or six bands in front of it that follow the reference octave by "
        "octave (default: broadband)",
    )
    parser.add_argument(
        "--stereo",
        choices=("linked", "mid-side"),
        default="linked",
        help="both channels alike, or the tone of mid and side apart, and the width "
        "(default: linked)",
    )
    parser.add_argument(
        "--mono-as",
        choices=("dual", "single"),
        default="dual",
        help="where mono meets stereo, mono is played by two loudspeakers or by one "
        "(default: dual)",
    )
    part = parser.add_mutually_exclusive_group()
    part.add_argument("--eq-only", action="store_true", help="do not change the dynamics")
    part.add_argument("--dynamics-only", action="store_true", help="do not change the spectrum")
    add_lock_argument(parser, "SOUND_CHAIN", "compressor.ratio=2")
    parser.add_argument(
        "--estimator",
        choices=CHOICES,
        default=None,
        metavar="NAME",
        help="another estimator, for research: %(choices)s",
    )
    parser.add_argument(
        "--plugin",
        metavar="SOURCE",
        help="set a plug-in PATH.vst3, or a Python function FILE.py:NAME, instead",
    )
    parser.add_argument(
        "--plugin-set",
        action="append",
        default=[],
        metavar="NAME=VALUE",
        help="fix a switch or parameter of the plug-in (repeatable)",
    )


def _octaves(text: str) -> float:
    return _within(text, 0.0, 3.0, "0 to 3 (octaves)")


def _hertz(text: str) -> float:
    return _within(text, 20.0, 20000.0, "20 to 20000 (Hz)")


def _dial(args: argparse.Namespace) -> dict[str, Any]:
    """Options of the default estimator: its dial and its equaliser."""
    from retone.errors import SettingError

    given = {
        "--eq-phase": args.eq_phase, "--eq-smooth": args.eq_smooth, "--eq-range": args.eq_range,
    }  # fmt: skip
    if args.eq != "curve" and any(v is not None for v in given.values()):
        names = ", ".join(n for n, v in given.items() if v is not None)
        raise SettingError(f"{names}: for --eq curve. Add it, or leave this out.")
    low, high = args.eq_range or (20.0, 20000.0)
    if low >= high:
        raise SettingError(f"--eq-range {low:g} {high:g}: give the lowest frequency first.")
    found: dict[str, Any] = {"strength": args.strength, "eq": args.eq, "phase": args.eq_phase}
    found |= {"dynamics": args.dynamics, "stereo": args.stereo}
    if args.eq_smooth or args.eq_range:
        from retone.estimators.curve_fit import CurveRules

        found["curve"] = CurveRules(args.eq_smooth or 0.0, low, high)
    return found


def _preset(args: argparse.Namespace, recording: Path) -> str:
    """Name or file of the preset that the user chose, or that ``--auto`` chooses."""
    if not args.auto:
        return str(args.preset)
    from retone.presets import AUTO
    from retone.process.excerpt import content_of_recording

    return AUTO[content_of_recording(recording).kind]


def run(args: argparse.Namespace) -> int:
    from retone.errors import SettingError

    if args.plugin and (args.estimator or args.eq_only or args.dynamics_only):
        raise SettingError(
            "--plugin finds settings by trying them and is one effect: leave out --estimator, "
            "--eq-only and --dynamics-only."
        )
    if args.plugin == "":
        raise SettingError("--plugin is empty: give PATH.vst3 or FILE.py:NAME, or leave it out.")
    if args.plugin_set and not args.plugin:
        raise SettingError("--plugin-set needs --plugin.")
    if is_many(args):
        return _run_many(args)

    from retone import api
    from retone.cli.streams import ends, output_format
    from retone.estimators import choose
    from retone.estimators.base import Estimator
    from retone.terminal import progress_bar

    locks = parse_locks(args.lock)
    wanted = output_format(args)
    with ends(args, "matched", args.to or (), wanted) as files:
        preset = None if args.to else _preset(args, files.input)
        estimator: Estimator
        if args.plugin:
            from retone.estimators.black_box import BlackBoxFit

            estimator = BlackBoxFit(opened_plugin(args))
        else:
            estimator = choose.estimator_named(args.estimator, **_dial(args))
        with progress_bar() as progress:
            result = api.match(
                files.input,
                args.to,
                files.output,
                preset=preset,
                amount=args.amount,
                part="eq" if args.eq_only else "dynamics" if args.dynamics_only else "all",
                locks=locks,
                loudness="match" if args.loudness is None else args.loudness,
                true_peak_dbtp=args.true_peak,
                mono_as=args.mono_as,
                estimator=estimator,
                force=args.force,
                output_format=wanted,
                progress=progress,
            )
        files.finish(result, args)
    return 0


def _run_many(args: argparse.Namespace) -> int:
    options = {"loudness": "match", **output_options(args), "mono_as": args.mono_as}
    options["locks"] = parse_locks(args.lock)
    options["part"] = "eq" if args.eq_only else "dynamics" if args.dynamics_only else "all"
    if args.to:
        options["to"] = [str(reference) for reference in args.to]
    else:
        options["preset"] = "auto" if args.auto else preset_file(args.preset)
    if args.plugin:
        stamp = " ".join((args.plugin, *args.plugin_set))
        return run_many("match", args, options, estimator=_Black(args), stamp=stamp)
    dial = _dial(args)  # refuses what does not go together
    options |= {"strength": dial["strength"], "eq": args.eq, "estimator": args.estimator}
    options |= {"eq_phase": args.eq_phase, "eq_smooth_octaves": args.eq_smooth or 0.0}
    options |= {"eq_range_hz": args.eq_range, "dynamics": args.dynamics, "stereo": args.stereo}
    return run_many("match", args, options)


def preset_file(name: str) -> str:
    """The file of one of the user's own presets, which may change; else the name."""
    from retone.presets.library import SUFFIX, is_own, own_folder

    return str(own_folder() / f"{name}{SUFFIX}") if is_own(name) else name


class _Black:
    """Makes the estimator of a plug-in in each worker process."""

    def __init__(self, args: argparse.Namespace) -> None:
        self.plugin, self.plugin_set = args.plugin, args.plugin_set

    def __call__(self) -> Any:
        from retone.estimators.black_box import BlackBoxFit

        given = argparse.Namespace(plugin=self.plugin, plugin_set=self.plugin_set)
        return BlackBoxFit(opened_plugin(given))
