"""Measure tables and figures one after another, and write what was found."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from retone.files.atomic import write_text_atomic
from retone.lab.published import DIAGRAMS, ITEMS, TABLE_5, TABLES
from retone.lab.reproduce import enhance, pictures, runtime, style
from retone.lab.reproduce.filled import Filled
from retone.lab.reproduce.pictures import Picture
from retone.lab.reproduce.work import Work
from retone.training.recipes.deviations import RB_DSP, lines

MEASURE: dict[tuple[str, str], Callable[[Work], Filled | Picture]] = {
    ("deepafx-st", "table-1"): style.table_1,
    ("deepafx-st", "table-2"): style.table_2,
    ("deepafx-st", "table-3"): style.table_3,
    ("deepafx-st", "table-4"): style.table_4,
    ("deepafx-st", "table-5"): runtime.table_5,
    ("deepafx-st", "figure-4"): pictures.figure_4,
    ("deepafx-st", "figure-5"): pictures.figure_5,
    ("diff-deq", "table-1"): enhance.table_i,
    ("diff-deq", "figure-1"): pictures.figure_1,
    ("diff-deq", "figure-3"): enhance.figure_3,
    ("diff-deq", "figure-4"): enhance.figure_4,
    ("diff-deq", "figure-5"): enhance.figure_5,
}
PAPER_RECIPES = (
    "deepafx_speech", "deepafx_ctcn1_speech", "deepafx_ctcn2_speech", "deepafx_np_speech",
    "deepafx_np_fh_speech", "deepafx_spsa_speech", "proxy_equalizer", "diffdeq_paper",
    "diffdeq_peq",
)  # fmt: skip
"""Recipes whose deviations the report lists; those for music differ in nothing else."""
REPORT, SUMMARY = "report.md", "summary.json"


def reproduce(work: Work, wanted: Sequence[tuple[str, str]]) -> dict[tuple[str, str], Any]:
    """Measure ``wanted`` items.

    Each is saved as soon as it is complete, and report and summary are written again: they hold
    every item in the folder, also those of earlier calls.
    """
    for paper, name in wanted:
        trained = work.runs.trained_s
        item = MEASURE[paper, name](work)
        item.trained_s = round(work.runs.trained_s - trained, 1)
        item.save(work.folder / f"{paper}_{name}.json")
        found = measured(work.folder)
        write_text_atomic(work.folder / REPORT, report(work, found), force=True)
        text = json.dumps(summary(found), indent=1)
        write_text_atomic(work.folder / SUMMARY, text + "\n", force=True)
    return measured(work.folder)


def measured(folder: Path) -> dict[tuple[str, str], Filled | Picture]:
    """The tables and figures in a folder, in the papers' order."""
    found: dict[tuple[str, str], Filled | Picture] = {}
    for paper, names in ITEMS.items():
        for name in names:
            path = folder / f"{paper}_{name}.json"
            if path.is_file():
                kind = Filled if (paper, name) in TABLES else Picture
                found[paper, name] = kind.load(path)
    return found


def summary(found: Mapping[tuple[str, str], Filled | Picture]) -> dict[str, Any]:
    """What was measured, by which command, what is empty and why, and the CPU time of each item."""
    items = {}
    for (paper, name), item in found.items():
        entry: dict[str, Any] = {
            "cpu_s": round(item.cpu_s, 1), "trained_s": item.trained_s,
            "question": item.question, "provenance": item.provenance,
        }  # fmt: skip
        if isinstance(item, Filled):
            reasons = Counter(c.missing for c in item.cells.values() if c.missing)
            entry |= {
                "cells": len(item.cells), "measured": len(item.cells) - reasons.total(),
                "empty": dict(reasons), "groups": [g.name for g in item.groups],
            }  # fmt: skip
            if item.printed is TABLE_5:
                steps = {r: item.get(r, "", "Train step (s)").mean for r in item.rows}
                steps |= {r: fact["step_s"] for r, fact in item.facts.items()}
                entry["step_s"] = {r: round(v, 4) for r, v in steps.items() if v == v}
        else:
            entry["missing"] = item.missing
        items[f"{paper} {name}"] = entry
    return {"retone_reproduction": 1, "items": items}


def cost(found: Mapping[tuple[str, str], Filled | Picture]) -> str:
    """CPU minutes of everything in a folder, in a sentence."""
    measuring, training = (sum(getattr(i, name) for i in found.values()) / 60
                           for name in ("cpu_s", "trained_s"))  # fmt: skip
    return (f"{len(found)} tables and figures: {measuring:.1f} minutes of CPU time to measure, "
            f"{training:.1f} to train.")  # fmt: skip


def report(work: Work, found: Mapping[tuple[str, str], Filled | Picture]) -> str:
    """Everything that was measured as one Markdown page."""
    lines_ = [f"# Reproduction, scale {work.scale.name}", ""]
    if work.scale.name != "paper":
        lines_ += ["Sizes are far below the papers': that it runs is all that these numbers show.",
                   ""]  # fmt: skip
    for paper, items in ITEMS.items():
        mine = [n for n in items if (paper, n) in found]
        for name in mine:
            item = found[paper, name]
            lines_ += [f"## {paper}, {name}: {item.title}", "", item.markdown(), ""]
        if mine:
            drawn = ", ".join(sorted(n for p, n in DIAGRAMS if p == paper))
            lines_ += [f"{paper}, {drawn}: drawings of the system, nothing to measure.", ""]
    return "\n".join([*lines_, cost(found), "", *deviations_page()]) + "\n"


def deviations_page() -> list[str]:
    """Every recipe's deviations in one table each."""
    found = ["## Where the recipes differ from the papers", ""]
    for recipe in PAPER_RECIPES:
        found += [f"**{recipe}**", "", "| what | published | here |", "|---|---|---|"]
        found += [*lines(recipe), ""]
    found += ["**RB-DSP**", "", "| what | published | here |", "|---|---|---|"]
    found += [f"| {d.what} | {d.published} | {d.here} |" for d in RB_DSP]
    return found
