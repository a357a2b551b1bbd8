"""Measure speed and exactness, side by side with other libraries, on this machine.

Every method runs with one thread, in interleaved rounds, beside an exact float64 reference.
Other libraries are optional (pip install 'retone[peers]'); a missing one is a row that says so.
`render-docs` turns the results in docs/results into docs/benchmarks.md.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from retone.lab.bench.result import Report

RESULTS = Path("docs/results")
PAGE = Path("docs/benchmarks.md")
KINDS = ("effects", "loss", "training", "strategies", "match", "enhance")
EXAMPLES = (Path("examples/game_music.ogg"), Path("examples/orchestra.ogg"))
VOICE = Path("examples/dull_voice.flac")
ENTRY = "retone.cli.main:main"


def _positive(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = 0.0
    if not 0 < value < 1e9:
        raise argparse.ArgumentTypeError(f"{text!r}: expected a number above 0")
    return value


def _count(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r}: expected a whole number, 1 or more")
    return int(text)


def _common(parser: argparse.ArgumentParser, rounds: int) -> None:
    parser.add_argument(
        "--rounds", type=_count, default=rounds, help="timed calls per method (default %(default)s)"
    )
    parser.add_argument("--seed", type=int, default=0, help="of signals and order")
    parser.add_argument(
        "--sample-rate", type=_count, default=44100, metavar="HZ", help="default %(default)s"
    )
    parser.add_argument("--output", type=Path, metavar="JSON", help="where to write the record")


def _batch(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--batch", type=_count, default=16, help="items (default %(default)s)")
    parser.add_argument(
        "--length", type=_count, default=131072, help="samples per item (default %(default)s)"
    )


def add_arguments(parser: argparse.ArgumentParser) -> None:
    what = parser.add_subparsers(dest="what", metavar="WHAT", required=True)
    effects = what.add_parser("effects", help="equaliser, compressor, and their gradients")
    _common(effects, rounds=7)
    _batch(effects)
    effects.add_argument(
        "--seconds", type=_positive, default=60.0, help="length of the stream (default 60)"
    )
    loss = what.add_parser("loss", help="the multi-resolution STFT loss, beside auraloss")
    _common(loss, rounds=9)
    _batch(loss)
    training = what.add_parser("training", help="training steps, compact and as DeepAFx-ST")
    training.add_argument("--rounds", type=_count, default=3, help="default %(default)s")
    training.add_argument("--seed", type=int, default=0, help="of signals and order")
    training.add_argument("--threads", type=_count, default=1, help="default %(default)s")
    training.add_argument(
        "--length", type=_count, default=131072, help="samples per signal (default %(default)s)"
    )
    training.add_argument("--output", type=Path, metavar="JSON", help="where to write the record")
    strategies = what.add_parser("strategies", help="what each differentiation strategy costs")
    strategies.add_argument("--rounds", type=_count, default=3, help="default %(default)s")
    strategies.add_argument("--seed", type=int, default=0, help="of signals and order")
    strategies.add_argument("--threads", type=_count, default=1, help="default %(default)s")
    strategies.add_argument(
        "--family", choices=("compact", "deepafx"), default="compact", help="whose recipes"
    )
    strategies.add_argument("--batch", type=_count, default=4, help="default %(default)s")
    strategies.add_argument(
        "--length", type=_count, default=49152, help="samples per example (default %(default)s)"
    )
    strategies.add_argument("--output", type=Path, metavar="JSON", help="where to write the record")
    match = what.add_parser("match", help="whole files, beside matchering")
    _common(match, rounds=5)
    match.add_argument(
        "--audio",
        type=Path,
        nargs=2,
        default=EXAMPLES,
        metavar="FILE",
        help="recording to change and reference (default: two of examples/)",
    )
    match.add_argument(
        "--seconds", type=_positive, default=60.0, help="both are repeated to this (default 60)"
    )
    match.add_argument(
        "--long-minutes",
        type=_positive,
        default=0.0,
        metavar="M",
        help="also measure memory on a recording this long",
    )
    enhance = what.add_parser("enhance", help="whole files of speech, without a reference")
    _common(enhance, rounds=5)
    enhance.add_argument(
        "--audio", type=Path, default=VOICE, metavar="FILE", help="default %(default)s"
    )
    enhance.add_argument("--weights", type=Path, metavar="FILE", help="instead of those that ship")
    enhance.add_argument(
        "--seconds", type=_positive, default=60.0, help="it is repeated to this (default 60)"
    )
    enhance.add_argument(
        "--long-minutes",
        type=_positive,
        default=0.0,
        metavar="M",
        help="also measure memory on a recording this long",
    )
    exports = what.add_parser("exports", help="every export beside retone's own render")
    exports.add_argument(
        "--audio", type=Path, default=VOICE, metavar="FILE", help="default %(default)s"
    )
    exports.add_argument("-o", "--output", type=Path, metavar="MD", help="also write the page")
    studio = what.add_parser("studio", help="how fast the page starts and follows a change")
    studio.add_argument("--audio", type=Path, default=VOICE, metavar="FILE", help="%(default)s")
    studio.add_argument("--seconds", type=_positive, default=60.0, help="default %(default)s")
    studio.add_argument("--rounds", type=_count, default=20, help="default %(default)s")
    studio.add_argument("--seed", type=int, default=0, help="of the changes")
    studio.add_argument(
        "--starts", type=_count, default=2, help="the last one counts (default %(default)s: warm)"
    )
    docs = what.add_parser("render-docs", help="write docs/benchmarks.md from the results")
    docs.add_argument(
        "results", type=Path, nargs="*", help=f"JSON files (default: those in {RESULTS})"
    )
    docs.add_argument("-o", "--output", type=Path, default=PAGE, help="default %(default)s")


def run(args: argparse.Namespace) -> int:
    if args.what == "render-docs":
        return _render_docs(args.results, args.output)
    if args.what == "exports":
        return _exports(args.audio, args.output)
    if args.what == "studio":
        return _studio(args)
    from retone.lab.bench import run as benchmark

    question = {"rounds": args.rounds, "seed": args.seed}
    if args.what == "training":
        question |= {"threads": args.threads, "length": args.length}
        return _show(benchmark.run_training(question), args.output)
    if args.what == "strategies":
        question |= {"threads": args.threads, "family": args.family}
        question |= {"batch": args.batch, "length": args.length}
        return _show(benchmark.run_strategies(question), args.output)
    question |= {"sample_rate": args.sample_rate}
    if args.what == "enhance":
        weights = str(args.weights.resolve()) if args.weights else ""
        question |= {"audio": _recordings((args.audio,))[0], "weights": weights}
        question |= {"seconds": args.seconds}
        report = benchmark.run_enhance(question, entry=ENTRY, long_minutes=args.long_minutes)
        return _show(report, args.output)
    if args.what == "match":
        question |= {"audio": _recordings(args.audio), "seconds": args.seconds}
        report = benchmark.run_match(question, entry=ENTRY, long_minutes=args.long_minutes)
    else:
        question |= {"batch": args.batch, "length": args.length}
        if args.what == "effects":
            report = benchmark.run_effects({**question, "seconds": args.seconds})
        else:
            report = benchmark.run_loss(question)
    return _show(report, args.output)


def _show(report: Report, output: Path | None) -> int:
    from retone.lab.bench.tables import report_text

    if output:
        report.save(output)
    print(report_text(report))
    return 0


def _recordings(paths: tuple[Path, ...]) -> list[str]:
    from retone.errors import AudioError

    what = "two recordings" if len(paths) > 1 else "a recording"
    for path in paths:
        if not path.is_file():
            raise AudioError(f"{path} is not there: pass {what} with --audio.")
    return [str(path.resolve()) for path in paths]


def _studio(args: argparse.Namespace) -> int:
    import sys

    from retone.lab.bench.studio import measure_studio, report

    times = measure_studio(
        args.audio,
        seconds=args.seconds,
        rounds=args.rounds,
        seed=args.seed,
        starts=args.starts,
        say=lambda text: print(text, file=sys.stderr),
    )
    print(report(times), end="")
    return 0


def _exports(recording: Path, output: Path | None) -> int:
    import sys

    from retone.atomic import write_text_atomic
    from retone.audio import info
    from retone.lab.bench.exports import measure_exports, page

    rate = info(recording).sample_rate
    results = measure_exports(recording, lambda text: print(text, file=sys.stderr))
    text = page(results, recording, rate)
    if output:
        write_text_atomic(output, text, force=True)
    print(text)
    return 0


def _render_docs(results: list[Path], output: Path) -> int:
    from retone.atomic import write_text_atomic
    from retone.errors import DataError
    from retone.lab.bench.result import Report
    from retone.lab.bench.tables import docs_page

    paths = results or [p for k in KINDS if (p := RESULTS / f"bench_{k}.json").is_file()]
    if not paths:
        raise DataError(
            f"no benchmark results in {RESULTS}: run python -m retone.lab bench effects "
            f"--output {RESULTS}/bench_effects.json first."
        )
    page = docs_page([(path.as_posix(), Report.load(path)) for path in paths])
    output.parent.mkdir(parents=True, exist_ok=True)
    write_text_atomic(output, page, force=True)
    print(f"{output}: {len(paths)} results")
    return 0
