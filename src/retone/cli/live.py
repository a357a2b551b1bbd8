"""Run settings on live audio through JACK, PipeWire or PortAudio.

The input is processed and played at once. When the settings file changes, the new settings take
over without a click. Ctrl-C ends. There is no limiter: limiters delay the sound.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from retone.cli.match import add_plugin_permission

if TYPE_CHECKING:
    from retone.process.live_engines import Engine


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("settings", type=Path, nargs="?", metavar="SETTINGS", help="settings file")
    parser.add_argument(
        "--engine", default="auto", choices=("auto", "jack", "portaudio"),
        help="audio system (default: JACK if a server runs, else PortAudio)",
    )  # fmt: skip
    parser.add_argument(
        "--input", metavar="NAME",
        help="JACK ports (names or their start, with commas; '' connects nothing) or PortAudio "
        "device (default: the system's)",
    )  # fmt: skip
    parser.add_argument("--output", metavar="NAME", help="the same for the output")
    parser.add_argument(
        "--channels", type=int, default=2, metavar="N", help="number of channels (default: 2)"
    )
    parser.add_argument(
        "--block", type=int, metavar="FRAMES", help="block size (default: the system's)"
    )
    parser.add_argument(
        "--seconds", type=float, metavar="S", help="end after this time (default: on Ctrl-C)"
    )
    parser.add_argument("--list", action="store_true", help="list ports and devices, and end")
    add_plugin_permission(parser, "the settings")
    parser.add_argument("-q", "--quiet", action="store_true", help="print errors only")


def run(args: argparse.Namespace) -> int:
    from retone.errors import SettingError
    from retone.plugins import allow
    from retone.process import live_engines
    from retone.process.settings_file import SettingsFile

    if args.plugin:
        allow(args.plugin)

    if args.list:
        print("\n".join(live_engines.listed()))
        return 0
    if args.settings is None:
        raise SettingError("Name a settings file, or pass --list.")
    for name in ("channels", "block"):
        value = getattr(args, name)
        if value is not None and value < 1:
            raise SettingError(f"--{name} {value}: expected 1 or more.")
    SettingsFile.read(args.settings)  # report an unusable file before opening an audio system
    engine = live_engines.open_engine(
        args.engine, args.settings,
        source=args.input, to=args.output, channels=args.channels, block=args.block,
    )  # fmt: skip
    _run(engine, args)
    return 0


def _run(running: Engine, args: argparse.Namespace) -> None:
    import gc
    import sys
    import time

    from retone.errors import AudioError
    from retone.process.live import watch

    chain = running.chain

    def say(sentence: str) -> None:
        if not args.quiet:
            print(sentence, flush=True)

    gc.collect()
    gc.freeze()  # what is alive now is never searched again while audio runs
    sys.setswitchinterval(0.0005)  # the audio thread waits less for this one
    end = time.monotonic() + args.seconds if args.seconds is not None else None

    def wait(seconds: float) -> bool:
        left = seconds if end is None else min(seconds, max(0.0, end - time.monotonic()))
        return running.ended.wait(left) or (end is not None and time.monotonic() >= end)

    try:
        with running:
            say(running.title)
            say(running.latency().sentence())
            for note in chain.notes:
                say(f"note: {note}")
            say("Running. Ctrl-C ends; a changed settings file is reloaded.")
            watch(chain, say, wait)
    except KeyboardInterrupt:
        say("")
    for sentence in chain.statistics.sentences(chain.sample_rate):
        say(sentence)
    if running.ended.is_set():
        raise AudioError("the audio system ended the connection.")
