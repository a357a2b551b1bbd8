"""Measure speed and exactness, side by side with other libraries, on this machine.

Every method runs with one thread, in interleaved rounds, and is compared with an exact float64
reference. Other libraries are optional (pip install 'retone[peers]'); a missing one gets a row that
says so. The default recordings are in the examples folder of retone's repository. `render-docs`
turns the results in docs/results of the repository into docs/benchmarks.md.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

from retone.lab.commands import bench_shards, bench_studio
from retone.lab.commands.verbs import Verb, add_verbs, docs_folder, recordings, run_verb

if TYPE_CHECKING:
    from retone.lab.bench.result import Report

RESULTS = Path("docs/results")
PAGE = Path("docs/benchmarks.md")
KINDS = ("effects", "loss", "training", "strategies", "match", "enhance")
EXAMPLES = (Path("examples/game_music.ogg"), Path("examples/orchestra.ogg"))
VOICE = Path("examples/dull_voice.flac")
ENTRY = "retone.cli.main:main"
"""The program under test. The measuring process imports it by name to time a warm call;
nothing else in the lab uses the command line."""


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
        "--rounds",
        type=_count,
        default=rounds,
        help="timed calls per method (default: %(default)s)",
    )
    parser.add_argument(
        "--seed",
        type=int,
        default=0,
        help="random seed for signals and ordering (default: %(default)s)",
    )
    parser.add_argument(
        "--sample-rate",
        type=_count,
        default=44100,
        metavar="HZ",
        help="sample rate (default: %(default)s)",
    )
    parser.add_argument("--output", type=Path, metavar="JSON", help="file for the record")


def _batch(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--batch", type=_count, default=16, help="items per batch (default: %(default)s)"
    )
    parser.add_argument(
        "--length", type=_count, default=131072, help="samples per item (default: %(default)s)"
    )


def _threaded(parser: argparse.ArgumentParser, *, length: int) -> None:
    parser.add_argument(
        "--rounds", type=_count, default=3, help="timed calls per method (default: %(default)s)"
    )
    parser.add_argument(
        "--seed", type=int, default=0,
        help="random seed for signals and ordering (default: %(default)s)",
    )  # fmt: skip
    parser.add_argument(
        "--threads", type=_count, default=1, help="CPU threads (default: %(default)s)"
    )
    parser.add_argument(
        "--length", type=_count, default=length, help="samples per signal (default: %(default)s)"
    )
    parser.add_argument("--output", type=Path, metavar="JSON", help="file for the record")


def _whole_files(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--seconds", type=_positive, default=60.0,
        help="loop the recordings to this length (default: 60)",
    )  # fmt: skip
    parser.add_argument(
        "--long-minutes", type=_positive, default=0.0, metavar="M",
        help="also measure memory on a recording of M minutes",
    )  # fmt: skip


def _one_recording(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--audio", type=Path, default=VOICE, metavar="FILE",
        help="recording of speech (default: %(default)s of the repository)",
    )  # fmt: skip


def _add_effects(parser: argparse.ArgumentParser) -> None:
    _common(parser, rounds=7)
    _batch(parser)
    parser.add_argument(
        "--seconds", type=_positive, default=60.0, help="length of the stream (default: 60)"
    )


def _add_loss(parser: argparse.ArgumentParser) -> None:
    _common(parser, rounds=9)
    _batch(parser)


def _add_training(parser: argparse.ArgumentParser) -> None:
    _threaded(parser, length=131072)


def _add_strategies(parser: argparse.ArgumentParser) -> None:
    _threaded(parser, length=49152)
    parser.add_argument(
        "--family", choices=("compact", "deepafx"), default="compact",
        help="recipe family (default: %(default)s)",
    )  # fmt: skip
    parser.add_argument(
        "--batch", type=_count, default=4, help="items per batch (default: %(default)s)"
    )


def _add_match(parser: argparse.ArgumentParser) -> None:
    _common(parser, rounds=5)
    parser.add_argument(
        "--audio", type=Path, nargs=2, default=EXAMPLES, metavar="FILE",
        help="recording to match and reference (default: two of examples/ of the repository)",
    )  # fmt: skip
    _whole_files(parser)


def _add_enhance(parser: argparse.ArgumentParser) -> None:
    _common(parser, rounds=5)
    _one_recording(parser)
    parser.add_argument(
        "--weights", type=Path, metavar="FILE", help="weights (default: those that ship)"
    )
    _whole_files(parser)


def _add_exports(parser: argparse.ArgumentParser) -> None:
    _one_recording(parser)
    parser.add_argument("-o", "--output", type=Path, metavar="MD", help="also write the page")
    parser.add_argument("--record", type=Path, metavar="JSON", help="also write what was measured")


def _add_studio(parser: argparse.ArgumentParser) -> None:
    _one_recording(parser)
    parser.add_argument(
        "--seconds", type=_positive, default=60.0,
        help="loop the recording to this length (default: 60)",
    )  # fmt: skip
    parser.add_argument(
        "--rounds", type=_count, default=20, help="number of changes (default: %(default)s)"
    )
    parser.add_argument(
        "--seed", type=int, default=0, help="random seed for the changes (default: %(default)s)"
    )
    parser.add_argument(
        "--starts", type=_count, default=2,
        help="number of starts, of which the last is timed (default: %(default)s, a warm start)",
    )  # fmt: skip


def _add_many(parser: argparse.ArgumentParser) -> None:
    def number(name: str, default: int, what: str) -> None:
        parser.add_argument(name, type=int, default=default, help=f"{what} (default: %(default)s)")

    parser.add_argument(
        "--audio", type=Path, nargs=2, default=(VOICE, VOICE.with_name("bright_voice.flac")),
        metavar="FILE", help="recording to cut into pieces, and reference",
    )  # fmt: skip
    number("--files", 1000, "files for CPU per file; 0 leaves a part out, as below")
    parser.add_argument("--seconds", type=_positive, default=5.0, help="of each (default: 5)")
    number("--rounds", 5, "rounds of one and two workers")
    number("--worker-files", 200, "files of each of these jobs")
    number("--many", 10_000, "files for memory, against 100 and 1,000")
    number("--tiny", 100_000, "files to list, plan and resume")
    number("--kills", 50, "kills of a job of 200 files")
    number("--ray-kills", 0, "the same on a Ray cluster on this machine")
    number("--seed", 0, "random seed")
    parser.add_argument("--output", type=Path, metavar="JSON", help="file for the record")


def _add_docs(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "results", type=Path, nargs="*", help=f"JSON files (default: those in {RESULTS})"
    )
    parser.add_argument(
        "-o", "--output", type=Path, default=PAGE, help="page to write (default: %(default)s)"
    )


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_verbs(parser, VERBS)


run = run_verb


def _question(args: argparse.Namespace, *names: str) -> dict[str, Any]:
    return {name: getattr(args, name) for name in names}


def _effects(args: argparse.Namespace) -> int:
    from retone.lab.bench import run as benchmark

    question = _question(args, "rounds", "seed", "sample_rate", "batch", "length", "seconds")
    return _show(benchmark.run_effects(question), args.output)


def _loss(args: argparse.Namespace) -> int:
    from retone.lab.bench import run as benchmark

    question = _question(args, "rounds", "seed", "sample_rate", "batch", "length")
    return _show(benchmark.run_loss(question), args.output)


def _training(args: argparse.Namespace) -> int:
    from retone.lab.bench import run as benchmark

    question = _question(args, "rounds", "seed", "threads", "length")
    return _show(benchmark.run_training(question), args.output)


def _strategies(args: argparse.Namespace) -> int:
    from retone.lab.bench import run as benchmark

    question = _question(args, "rounds", "seed", "threads", "family", "batch", "length")
    return _show(benchmark.run_strategies(question), args.output)


def _match(args: argparse.Namespace) -> int:
    from retone.lab.bench import run as benchmark

    question = _question(args, "rounds", "seed", "sample_rate")
    question |= {"audio": recordings(args.audio), "seconds": args.seconds}
    report = benchmark.run_match(question, entry=ENTRY, long_minutes=args.long_minutes)
    return _show(report, args.output)


def _enhance(args: argparse.Namespace) -> int:
    from retone.lab.bench import run as benchmark

    question = _question(args, "rounds", "seed", "sample_rate")
    weights = str(args.weights.resolve()) if args.weights else ""
    question |= {"audio": recordings((args.audio,))[0], "weights": weights}
    question |= {"seconds": args.seconds}
    report = benchmark.run_enhance(question, entry=ENTRY, long_minutes=args.long_minutes)
    return _show(report, args.output)


def _show(report: Report, output: Path | None) -> int:
    from retone.lab.bench.tables import report_text

    if output:
        report.save(output)
    print(report_text(report))
    return 0


def _studio(args: argparse.Namespace) -> int:
    import sys

    from retone.lab.bench.studio import measure_studio, report

    (recording,) = recordings((args.audio,))
    times = measure_studio(
        Path(recording),
        seconds=args.seconds,
        rounds=args.rounds,
        seed=args.seed,
        starts=args.starts,
        say=lambda text: print(text, file=sys.stderr),
    )
    print(report(times), end="")
    return 0


def _many(args: argparse.Namespace) -> int:
    import json
    import sys
    import tempfile

    from retone.files.atomic import write_text_atomic
    from retone.lab.bench.batch import measure_batch

    names = ("files", "seconds", "rounds", "worker_files", "many", "tiny", "kills", "ray_kills")
    question = _question(args, *names, "seed")
    question["audio"], question["reference"] = recordings(tuple(args.audio))
    with tempfile.TemporaryDirectory(prefix="retone-bench-") as folder:
        found = measure_batch(
            question, ENTRY, Path(folder), lambda text: print(text, file=sys.stderr)
        )
    text = json.dumps(found, indent=1) + "\n"
    if args.output:
        write_text_atomic(args.output, text, force=True)
    print(text, end="")
    return 0


def _exports(args: argparse.Namespace) -> int:
    import json
    import sys

    from retone.audio import info
    from retone.files.atomic import write_text_atomic
    from retone.lab.bench.exports import measure_exports, page, record

    recordings((args.audio,))
    results = measure_exports(args.audio, lambda text: print(text, file=sys.stderr))
    data = json.loads(json.dumps(record(results, args.audio, info(args.audio).sample_rate)))
    text = page(data)
    for path, content in ((args.output, text), (args.record, json.dumps(data, indent=1) + "\n")):
        if path:
            write_text_atomic(path, content, force=True)
    print(text)
    return 0


def _render_docs(args: argparse.Namespace) -> int:
    from retone.errors import DataError
    from retone.files.atomic import write_text_atomic
    from retone.lab.bench.peers_suites import section
    from retone.lab.bench.result import Report
    from retone.lab.bench.tables import docs_page

    if not args.results or args.output == PAGE:
        docs_folder()
    output = args.output
    paths = args.results or [p for k in KINDS if (p := RESULTS / f"bench_{k}.json").is_file()]
    if not paths:
        raise DataError(
            f"no benchmark results in {RESULTS}: run python -m retone.lab bench effects "
            f"--output {RESULTS}/bench_effects.json first."
        )
    page = docs_page([(path.as_posix(), Report.load(path)) for path in paths])
    peers = RESULTS / "peers_suites.json"
    if not args.results and peers.is_file():
        page += "\n" + section(peers)
    output.parent.mkdir(parents=True, exist_ok=True)
    write_text_atomic(output, page, force=True)
    print(f"{output}: {len(paths)} results")
    return 0


VERBS = (
    Verb("effects", "equaliser, compressor, and their gradients", _add_effects, _effects),
    Verb("loss", "the multi-resolution STFT loss, compared with auraloss", _add_loss, _loss),
    Verb("training", "training steps, compact and as DeepAFx-ST", _add_training, _training),
    Verb("strategies", "the cost of each differentiation strategy", _add_strategies, _strategies),
    Verb("match", "whole files, compared with matchering", _add_match, _match),
    Verb("enhance", "whole files of speech, without a reference", _add_enhance, _enhance),
    Verb("batch", "many recordings: cost per file, workers, memory, kills", _add_many, _many),
    *bench_shards.VERBS,
    *bench_studio.VERBS,
    Verb("exports", "every export compared with retone's own render", _add_exports, _exports),
    Verb("studio", "how fast the studio starts and renders changes", _add_studio, _studio),
    Verb("render-docs", "write docs/benchmarks.md from the results", _add_docs, _render_docs),
)
