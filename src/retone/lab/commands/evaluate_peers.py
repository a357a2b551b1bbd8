"""``evaluate peers-tests``: what neighbouring packages' tests ask, asked of retone."""

from __future__ import annotations

import argparse

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


VERBS = (
    Verb(
        "peers-tests", "check what the tests of neighbouring packages ask, and list what is not "
        "offered", add_output, _run,
    ),
)  # fmt: skip
