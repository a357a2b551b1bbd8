"""Export settings to ffmpeg, SoX, pedalboard, REAPER, EasyEffects and more.

Converts a settings file of `retone match` or `retone enhance` to another program's format and lists
what that program cannot express. --to csv writes gain over time for a recording; --to onnx takes
a network's weights instead of settings.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from retone.exports import TARGETS
from retone.files.names import shell_word

OTHERS = {"csv": ".curves.csv", "onnx": ".onnx"}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "settings",
        type=Path,
        metavar="SETTINGS",
        help="settings file (JSON); for onnx: weights, or 'speech' or 'music'",
    )
    parser.add_argument(
        "--to",
        required=True,
        choices=(*TARGETS, *OTHERS),
        metavar="TARGET",
        help=f"one of {', '.join((*TARGETS, *OTHERS))}",
    )
    parser.add_argument(
        "-o",
        "--output",
        type=Path,
        metavar="OUT",
        help="file to write, a folder for lv2 (default: next to SETTINGS)",
    )
    parser.add_argument("--force", action="store_true", help="overwrite an existing file")
    parser.add_argument(
        "--audio", type=Path, metavar="FILE", help="recording for --to csv and --verify"
    )
    parser.add_argument(
        "--verify",
        action="store_true",
        help="also render --audio with the target and print the difference in dB",
    )
    parser.add_argument("-q", "--quiet", action="store_true", help="print errors only")


def run(args: argparse.Namespace) -> int:
    from retone.cli.streams import refuse_output_stream
    from retone.errors import SettingError

    refuse_output_stream(args.output)
    if args.verify and args.to in OTHERS:
        raise SettingError(f"--to {args.to}: there is nothing to verify. Leave out --verify.")
    if args.verify and args.audio is None:
        raise SettingError(
            "--verify renders a recording with the target: give one with --audio FILE."
        )
    if args.to == "onnx":
        return _onnx(args)
    from retone.files.atomic import write_text_atomic
    from retone.process.settings_file import SettingsFile

    settings = SettingsFile.read(args.settings)
    if args.to == "csv":
        from retone.exports.curves import curves_csv

        if args.audio is None:
            raise SettingError("--to csv needs the recording: --audio FILE.")
        output = args.output or _default_output(args.settings, OTHERS["csv"])
        _check(output, args)
        write_text_atomic(output, curves_csv(settings, args.audio), args.force)
        if not args.quiet:
            print(f"curves    {output}")
        return 0
    from retone.exports import target_named
    from retone.exports.base import write_exported
    from retone.exports.plan import plan_of

    target = target_named(args.to)
    output = args.output or _default_output(args.settings, target.suffix)
    if not target.inside:
        _check(output, args)
    exported = target.write(plan_of(settings))
    beside = write_exported(
        exported, output, force=args.force, reads=_reads(args), inside=target.inside
    )
    if not args.quiet:
        for note in exported.notes:
            print(f"note: {note}")
        print(f"{target.title}: {output}")
        for path in beside:
            print(
                f"{'impulse response' if path.suffix in ('.wav', '.irs') else 'beside it'}: {path}"
            )
        print(f"use: {target.usage.format(file=shell_word(output))}")
    if args.verify:
        _verify(args, settings)
    return 0


def _check(output: Path, args: argparse.Namespace) -> None:
    from retone.errors import AudioError, OutputExistsError
    from retone.files.atomic import protect

    protect(_reads(args), [output])
    if output.is_dir():
        raise AudioError(f"{output} is a folder; expected a file name. Name a file inside it.")
    if output.exists() and not args.force:
        raise OutputExistsError(output)


def _reads(args: argparse.Namespace) -> dict[Path, str]:
    """The files that an export reads, and what each is."""
    reads = {args.settings: "the weights" if args.to == "onnx" else "the settings file"}
    return reads | ({args.audio: "the recording"} if args.audio else {})


def _default_output(settings: Path, suffix: str) -> Path:
    return settings.with_name(settings.name.removesuffix(".json") + suffix)


def _onnx(args: argparse.Namespace) -> int:
    from retone.estimators.onnx_file import export_onnx

    output = args.output or args.settings.with_name(
        args.settings.name.removesuffix(".safetensors") + OTHERS["onnx"]
    )
    _check(output, args)
    found = export_onnx(args.settings, output, force=args.force)
    if not args.quiet:
        print(
            f"{output}: {' and '.join(found.inputs)} [1, {found.length}] at {found.sample_rate} Hz "
            f"to {found.outputs} unit parameters"
        )
        print(f"largest difference between onnxruntime and the network: {found.difference:.1e}")
    return 0


def _verify(args: argparse.Namespace, settings: object) -> None:
    from retone.audio import load
    from retone.exports.verify import compare

    clip = load(args.audio, duration_s=10.0)
    mono = clip.samples.mean(axis=0, keepdims=True).astype("float32")
    found = compare(args.to, settings, mono, clip.sample_rate)  # type: ignore[arg-type]
    if found.missing:
        print(f"not verified: {found.missing}")
        return
    if found.eq_db is not None:
        print(f"equaliser response: at most {found.eq_db:.4f} dB from retone's")
    print(
        f"whole render: residual {found.residual_db:.1f} dB; level of 20 ms frames differs by "
        f"{found.level_median_db:.2f} dB (median), {found.level_p95_db:.2f} dB (95 %)"
    )
