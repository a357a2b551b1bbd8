"""``evaluate gate``: how much of a network's change is best, and a gate trained to say so."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from retone.lab.commands.corpora import add_corpus, add_number, add_output, add_seed, corpus_of
from retone.lab.commands.verbs import Verb


def _add_arguments(parser: argparse.ArgumentParser) -> None:
    add_corpus(parser)
    parser.add_argument("--sample-rate", type=int, required=True, help="in Hz, such as 24000")
    add_number(parser, "--length", 131072, "samples per clip")
    add_number(parser, "--pairs", 400, "pairs per case")
    add_seed(parser, 22)
    parser.add_argument(
        "--rows", type=Path, required=True, metavar="JSON",
        help="file for what was measured; an existing one is continued",
    )  # fmt: skip
    parser.add_argument(
        "--also", type=Path, nargs="*", default=[], metavar="JSON",
        help="such files of other corpora or rates, to train on as well",
    )  # fmt: skip
    add_output(parser, "what the gate gains (JSON)")
    parser.add_argument("--gate", type=Path, metavar="JSON", help="file for the trained gate")


def _run(args: argparse.Namespace) -> int:
    import json
    from dataclasses import replace

    import numpy as np

    from retone.estimators.network import Network
    from retone.files.atomic import write_text_atomic
    from retone.lab.evaluate import gate
    from retone.terminal import progress_bar
    from retone.training.data.pairs import PairMaker
    from retone.training.provenance import provenance

    corpus = corpus_of(args, args.sample_rate)
    long = tuple(track for track in corpus.tracks if track.samples >= 2 * args.length)
    corpus = replace(corpus, tracks=long)
    maker = PairMaker(sample_rate=args.sample_rate, length=args.length, min_mean_square=1e-5)
    network = Network(weights=args.kind, caution=0.0)
    with progress_bar() as progress:
        rows = gate.measure_pairs(
            corpus, maker, network, pairs=args.pairs, seed=args.seed, path=args.rows,
            progress=progress,
        )  # fmt: skip
    parts = [gate.load_rows(path) for path in (args.rows, *args.also)]
    parts[0] = (parts[0][0], rows)
    rows = [row for _, part in parts for row in part]
    gated = gate.cross_validated(rows)
    found = {
        "whole": gate.summary(rows, np.ones_like(gated)),
        "gated": gate.summary(rows, gated),
        **{
            f"favour {favour:g}": gate.summary(rows, gate.cross_validated(rows, favour))
            for favour in gate.FAVOURS
        },
    }
    for what, cases in found.items():
        for case, numbers in cases.items():
            print(f"{what}, {case}: " + ", ".join(f"{k} {v:.3g}" for k, v in numbers.items()))
    if args.output:
        question = {"parts": [about for about, _ in parts], "seed": args.seed,
                    "pairs": len(rows), "groups": len({row["group"] for row in rows}),
                    "groups_with_references": gate.groups_of(rows)}  # fmt: skip
        by_part: list[dict[str, Any]] = []
        first = 0
        for _, part in parts:
            kept = slice(first, first + len(part))
            shares = {"whole": np.ones_like(gated[kept]), "gated": gated[kept]}
            scored = {what: gate.summary(part, s) for what, s in shares.items()}
            by_part.append({**scored, "groups_with_references": gate.groups_of(part)})
            first = kept.stop
        record = {"provenance": provenance(), "question": question, "found": found,
                  "by_part": by_part}  # fmt: skip
        write_text_atomic(args.output, json.dumps(record, indent=1) + "\n", force=True)
    if args.gate:
        gate.fit_gate(rows).write(args.gate)
    return 0


VERBS = (Verb("gate", "train the share of a network's change to make", _add_arguments, _run),)
