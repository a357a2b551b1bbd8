"""Prepare, hold and analyse listening tests.

retone listen make FOLDER -o TEST --design mushra     FOLDER has one folder of recordings per system
retone listen serve TEST                              hold the test on this machine
retone listen analyse TEST                            screen listeners, estimate, draw
retone listen simulate TEST                           which bad listeners the test would find
retone listen import CONFIG.yaml -o TEST              a configuration of webMUSHRA
retone listen export TEST CONFIG.yaml

Designs: mushra (rating with hidden reference and anchors, BS.1534), abx, ab (preference), acr
(absolute rating, P.808). TEST can also be copied to any web server; listeners then download their
results, which belong into TEST/results.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

DESIGNS = ("mushra", "abx", "ab", "acr")


def _pair(text: str) -> tuple[str, str]:
    a, comma, b = text.partition(",")
    if not comma or not a or not b or "," in b:
        raise argparse.ArgumentTypeError(f"{text!r}: expected two systems, as in input,ours")
    return a, b


def _port(text: str) -> int:
    if not text.isdecimal() or int(text) > 65535:
        raise argparse.ArgumentTypeError(f"{text!r}: expected a port from 0 to 65535")
    return int(text)


def _count(text: str) -> int:
    if not text.isdecimal() or not 0 < int(text) <= 100_000:
        raise argparse.ArgumentTypeError(f"{text!r}: expected a number from 1 to 100000")
    return int(text)


def _output(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "-o",
        "--output",
        type=Path,
        required=True,
        metavar="TEST",
        help="folder to write the test to",
    )
    parser.add_argument(
        "--seconds",
        type=float,
        default=12.0,
        metavar="S",
        help="longest sound (default: %(default)g)",
    )
    parser.add_argument(
        "--loudness",
        type=float,
        default=-23.0,
        metavar="LUFS",
        help="loudness of all sounds (default: %(default)g)",
    )
    parser.add_argument(
        "--one-file", action="store_true", help="put page and sounds into one HTML file"
    )
    parser.add_argument("--force", action="store_true", help="replace a test that is there")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    actions = parser.add_subparsers(dest="action", metavar="ACTION", required=True)
    make = actions.add_parser("make", help="prepare a test from a folder of results")
    make.add_argument("folder", type=Path, metavar="FOLDER", help="holds a folder for each system")
    make.add_argument("--design", choices=DESIGNS, default="mushra", help="default: mushra")
    make.add_argument("--title", default="", help="shown to listeners (default: FOLDER's name)")
    make.add_argument("--question", default="", help="what listeners are asked")
    make.add_argument(
        "--reference",
        default="reference",
        metavar="NAME",
        help="the folder of references (default: reference)",
    )
    make.add_argument(
        "--other-content",
        action="store_true",
        help="references are other recordings that the results should sound like",
    )
    make.add_argument(
        "--pair",
        type=_pair,
        action="append",
        default=[],
        metavar="A,B",
        help="for ab and abx: compare these (repeatable; default: all pairs)",
    )
    make.add_argument(
        "--repeats",
        type=int,
        default=4,
        metavar="N",
        help="for abx: how often each pair is asked (default: 4)",
    )
    make.add_argument("--no-anchors", action="store_true", help="leave out low-passed anchors")
    make.add_argument("--no-tie", action="store_true", help="for ab: no answer 'no preference'")
    _output(make)
    serve = actions.add_parser("serve", help="hold a test on this machine")
    serve.add_argument("test", type=Path, metavar="TEST", help="a prepared test")
    serve.add_argument("--port", type=_port, default=0, metavar="N", help="default: any free port")
    serve.add_argument("--no-browser", action="store_true", help="print the address only")
    analyse = actions.add_parser("analyse", help="analyse the results in TEST/results")
    analyse.add_argument("test", type=Path, metavar="TEST", help="a prepared test")
    analyse.add_argument(
        "-o",
        "--output",
        type=Path,
        metavar="FOLDER",
        help="where to write tables and figure (default: TEST/analysis)",
    )
    analyse.add_argument("--force", action="store_true", help="overwrite an earlier analysis")
    simulate = actions.add_parser(
        "simulate", help="how many simulated good and bad listeners a test leaves out"
    )
    simulate.add_argument("tests", nargs="+", type=Path, metavar="TEST", help="prepared tests")
    simulate.add_argument(
        "--listeners", type=_count, default=500, metavar="N", help="of each kind (default: 500)"
    )
    simulate.add_argument("--json", type=Path, metavar="FILE", help="also write the rates as JSON")
    simulate.add_argument("--force", action="store_true", help="overwrite an existing FILE")
    importing = actions.add_parser("import", help="prepare a test from a webMUSHRA configuration")
    importing.add_argument("config", type=Path, metavar="CONFIG.yaml", help="file to read")
    _output(importing)
    export = actions.add_parser("export", help="write a webMUSHRA configuration")
    export.add_argument("test", type=Path, metavar="TEST", help="a prepared test")
    export.add_argument("config", type=Path, metavar="CONFIG.yaml", help="file to write")
    export.add_argument("--force", action="store_true", help="overwrite an existing file")


def run(args: argparse.Namespace) -> int:
    from retone.cli.streams import refuse_output_stream

    for name in ("output", "json", "config"):
        refuse_output_stream(getattr(args, name, None))
    match args.action:
        case "make":
            from retone.errors import AudioError
            from retone.studio.listening.plan import plan_of_folder

            output = args.output.resolve()
            if args.folder.resolve() in (output, *output.parents):
                raise AudioError(
                    f"{args.output} is inside the folder of results: choose another folder."
                )
            plan = plan_of_folder(
                args.folder, args.design, reference=args.reference, title=args.title,
                question=args.question, aligned=not args.other_content, pairs=tuple(args.pair),
                repeats=args.repeats, tie=not args.no_tie,
                anchors=() if args.no_anchors else (7000.0, 3500.0),
            )  # fmt: skip
            _prepare(plan, args)
        case "import":
            from retone.studio.listening.webmushra import plan_of_config

            _prepare(plan_of_config(args.config), args)
        case "serve":
            from retone.studio.listening.serve import serve

            serve(args.test, port=args.port, browser=not args.no_browser)
        case "analyse":
            _analyse(args)
        case "simulate":
            _simulate(args)
        case "export":
            from retone.files.atomic import write_text_atomic
            from retone.studio.listening.prepare import read_study
            from retone.studio.listening.webmushra import config_of_study

            write_text_atomic(args.config, config_of_study(read_study(args.test)), args.force)
            print(f"{args.config}: copy it into webMUSHRA's configs, {args.test}/sounds beside it")
    return 0


def _prepare(plan: object, args: argparse.Namespace) -> None:
    from retone.files.names import shell_word
    from retone.studio.listening.plan import Plan
    from retone.studio.listening.prepare import prepare

    assert isinstance(plan, Plan)
    study = prepare(plan, args.output, seconds=args.seconds, lufs=args.loudness,
                    one_file=args.one_file, force=args.force)  # fmt: skip
    checks = sum(t["kind"] == "check" for t in study["trials"])
    print(
        f"{args.output}: {len(study['trials'])} questions, {checks} of them attention checks; all "
        f"sounds at {study['loudness_lufs']:.1f} LUFS"
    )
    if args.one_file:
        print(f"open {args.output / 'index.html'}, or send it to listeners")
    else:
        print(
            f"next: retone listen serve {shell_word(args.output)}, or copy the folder to a web "
            "server"
        )


def _simulate(args: argparse.Namespace) -> None:
    import json
    from dataclasses import asdict

    from retone.files.atomic import write_text_atomic
    from retone.studio.listening.prepare import read_study
    from retone.studio.listening.simulate import KINDS, rates

    found: list[dict[str, Any]] = []
    for folder in args.tests:
        study = read_study(folder)
        trials = study["trials"]
        checks = sum(t["kind"] == "check" for t in trials)
        print(f"{study['design']}: {len(trials)} questions, {checks} of them attention checks")
        print(f"{'':11}{'left out':>12}{'share':>8}{'95 % interval':>18}")
        made = rates(study, args.listeners)
        for r in made:
            interval = f"{100 * r.low:.1f} to {100 * r.high:.1f} %"
            share = f"{100 * r.left_out / r.listeners:.1f} %"
            count = f"{r.left_out} of {r.listeners}"
            print(f"{r.kind:11}{count:>12}{share:>8}{interval:>18}   {KINDS[r.kind]}")
        found.append(
            {"design": study["design"], "study": study["id"], "questions": len(trials),
             "checks": checks, "rates": [asdict(r) for r in made]}
        )  # fmt: skip
    if args.json:
        from retone.training.provenance import provenance

        kinds = {r["kind"] for one in found for r in one["rates"]}
        count = args.listeners * len(kinds) * len(found)
        question = {"what": "simulated listeners", "listeners_of_each_kind": args.listeners,
                    "counts": count, "seed": [one["study"] for one in found]}  # fmt: skip
        record = {"question": question, "provenance": provenance(), "tests": found}
        write_text_atomic(args.json, json.dumps(record, indent=1) + "\n", args.force)
        print(args.json)


def _analyse(args: argparse.Namespace) -> None:
    from retone.files.atomic import together, write_text_atomic
    from retone.studio.listening.analysis import analyse_folder, files_of

    found = analyse_folder(args.test)
    folder = args.output or args.test / "analysis"
    folder.mkdir(parents=True, exist_ok=True)
    paths = []
    with together():
        for name, text in files_of(found).items():
            write_text_atomic(folder / name, text, args.force)
            paths.append(folder / name)
    everybody = found.listeners + len(found.left_out)
    print(f"{found.study['title']}: {found.listeners} of {everybody} listeners count")
    for listener, why in found.left_out.items():
        print(f"left out: {listener}: {why}")
    print(f"\n{'':28}{'value':>8}{'95 % interval':>18}{'answers':>9}")
    for x in found.lines:
        name = f"{x.system} / {x.other}" if x.other else x.system
        e = x.estimate
        p = "" if x.p is None else f"   p = {x.p:.2g}"
        print(f"{name:28}{e.value:8.2f}{f'{e.low:.2f} to {e.high:.2f}':>18}{e.answers:9}{p}")
    sure = [c for c in found.contrasts if c.estimate.low > 0 or c.estimate.high < 0]
    if found.contrasts:
        print(f"\n{len(sure)} of {len(found.contrasts)} differences are outside chance at 95 %")
    for path in paths:
        print(path)
