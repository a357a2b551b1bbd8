"""``evaluate peers-tests`` and ``peers-suites``: neighbouring packages' tests, asked of retone."""

from __future__ import annotations

import argparse
from pathlib import Path

from retone.lab.commands.corpora import add_output
from retone.lab.commands.verbs import Verb


def _run(args: argparse.Namespace) -> int:
    import json
    from dataclasses import asdict

    from retone.files.atomic import write_text_atomic
    from retone.lab.evaluate.peers_tests import NOT_OFFERED, run_checks, text
    from retone.training.provenance import provenance

    outcomes = run_checks()
    print(text(outcomes))
    if args.output:
        data = {
            "retone_peers_tests": 1, "question": {"seed": 0, "checks": len(outcomes)},
            "provenance": provenance(), "checks": [asdict(o) for o in outcomes],
            "not_offered": NOT_OFFERED,
        }  # fmt: skip
        write_text_atomic(args.output, json.dumps(data, indent=1) + "\n", force=True)
    return 1 if any(o.status.startswith("failed") for o in outcomes) else 0


def _add_suites(parser: argparse.ArgumentParser) -> None:
    from retone.lab.bench.peers_suites import SUITES

    parser.add_argument(
        "peers", nargs="*", metavar="PEER", help=f"default: all of {', '.join(SUITES)}"
    )
    parser.add_argument(
        "--sdists", type=Path, metavar="DIR",
        help="source distributions; those that are not there are fetched by pip (default: all "
        "are fetched, and deleted afterwards)",
    )  # fmt: skip
    add_output(parser)


def _run_suites(args: argparse.Namespace) -> int:
    import json
    import sys
    import tempfile
    from dataclasses import asdict

    from retone.errors import SettingError
    from retone.files.atomic import write_text_atomic
    from retone.lab.bench.peers_suites import FAILED, SUITES, run_suite, text
    from retone.training.provenance import provenance

    for name in args.peers:
        if name not in SUITES:
            raise SettingError(f"'{name}' has no suite: choose among {', '.join(SUITES)}.")
    suites = []
    with tempfile.TemporaryDirectory(prefix="retone-sdists-") as place:
        for name in args.peers or SUITES:
            print(name, file=sys.stderr, flush=True)
            suites.append(run_suite(name, args.sdists or Path(place)))
    print(text(suites))
    if args.output:
        data = {
            "retone_peers_suites": 1,
            "question": {"seed": "each test's own", "checks": sum(len(s.cases) for s in suites)},
            "provenance": provenance(),
            "suites": [{**asdict(s), "counts": s.counts()} for s in suites],
        }  # fmt: skip
        write_text_atomic(args.output, json.dumps(data, indent=1) + "\n", force=True)
    return 1 if any(s.counts()[FAILED] for s in suites) else 0


VERBS = (
    Verb(
        "peers-tests", "check what the tests of neighbouring packages ask, and list what is not "
        "offered", add_output, _run,
    ),
    Verb(
        "peers-suites", "run neighbouring packages' own tests on retone", _add_suites, _run_suites
    ),
)  # fmt: skip
