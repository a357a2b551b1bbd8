"""Diff-DEQ's Table I and Figures 3 to 5."""

from __future__ import annotations

import functools
from typing import Any

from retone.errors import DataError, MissingExtraError
from retone.lab.evaluate import distributions
from retone.lab.evaluate import enhance as evaluation
from retone.lab.evaluate.methods import Input
from retone.lab.evaluate.result import Result
from retone.lab.evaluate.strategies import Trained
from retone.lab.published import METRIC_OF_ROW, NISQA_ROWS, TABLES, Column, Group
from retone.lab.reproduce.filled import NOT_PRINTED, Filled, cell_of
from retone.lab.reproduce.systems import DIFFDEQ
from retone.lab.reproduce.work import Work, about_runs, deviation_notes
from retone.metrics import METRICS
from retone.training.recipes.diffdeq import diffdeq_paper, scoring_pairs

CASE = "degraded by the paper's bands"
INPUT = Column("input", "")


def _trained(work: Work, filled: Filled) -> list[Trained]:
    from retone.lab.reproduce.systems import budget

    found = []
    for name, system in DIFFDEQ.items():
        method = work.runs.method(name, system)
        if method is not None:
            found.append(method)
            filled.facts[name] = budget(work.runs.folder / system.run)
    return found


def _missing(work: Work, name: str) -> str:
    return work.runs.missing.get(DIFFDEQ[name].run, "") if name in DIFFDEQ else ""


def measured(work: Work, group: Group, trained: list[Trained], quality: bool) -> Result:
    """Degraded clips of a group, restored by both systems."""
    corpus = work.recordings.corpus(group)
    maker = scoring_pairs(diffdeq_paper())
    metrics = tuple(METRICS[n] for n in dict.fromkeys(METRIC_OF_ROW.values()))
    work.say(f"diff-deq, {group.name}: {work.scale.pairs} clips{', NISQA' if quality else ''}")
    name = "diff-deq_nisqa" if quality else "diff-deq_table-1"
    methods: list[Any] = [Input("input"), *trained]
    return evaluation.evaluate(
        corpus, methods, pairs=work.scale.pairs, seed=work.seed,
        cases={CASE: maker}, quality=("nisqa",) if quality else (), path=work.raw(name, group),
        metrics=() if quality else metrics, workers=work.workers, progress=work.progress,
        about=about_runs(trained),
    )  # fmt: skip


def table_i(work: Work) -> Filled:
    """13 metrics of both systems; the untouched input beside them."""
    filled = work.start(TABLES["diff-deq", "table-1"],
                        [r for r in METRIC_OF_ROW if r.endswith(NOT_PRINTED)])  # fmt: skip
    filled.columns.append(INPUT)
    filled.question |= {"pairs": work.scale.pairs}
    with work.timed(filled):
        trained = _trained(work, filled)
        for group in filled.groups:
            try:
                result = measured(work, group, trained, quality=False)
            except DataError as error:
                filled.leave(str(error).rstrip("."), group=group.name)
                continue
            for row, metric in METRIC_OF_ROW.items():
                for column in filled.columns:
                    values = list(result.values(CASE, column.name, metric).values())
                    if row == "Transient Preservation":
                        values = [(g, 10 ** (v / 20)) for g, v in values]
                    cell = cell_of(values, _missing(work, column.name))
                    filled.put(row, group.name, column.name, cell)
    filled.notes += [
        "The column input, the degraded clip as it is, is not printed; ratios refer to it.",
        "LUFS diff has a sign as printed, output minus target; the paper calls lower better, which "
        "rewards a quiet output. The row without a sign is retone's.",
        'Transient Preservation has no formula in the paper, values from 1 to 11, and "higher is '
        'better". As found: spectral flux of the output over that of the target, 1 is ideal. '
        "retone's own is the correlation of the onset strengths, from 0 to 1.",
        "MSD is DeepAFx-ST's newer scale; crest factors are in decibels.",
        "Outputs are not brought to the target's loudness, as in the paper.",
        *deviation_notes(DIFFDEQ.items()),
    ]
    return filled


def _figure(name: str, work: Work) -> Filled:
    filled = work.start(TABLES["diff-deq", name])
    filled.columns.append(INPUT)
    filled.question |= {"pairs": work.scale.pairs}
    with work.timed(filled):
        trained = [t for t in _trained(work, filled) if t.name == "deq"]
        for group in filled.groups:
            try:
                result = measured(work, group, trained, quality=True)
            except (DataError, MissingExtraError) as error:
                filled.leave(str(error).rstrip("."), group=group.name)
                continue
            for row in NISQA_ROWS:
                for column, method in (
                    ("predicted", "deq"), ("target", evaluation.TARGET), ("input", "input"),
                ):  # fmt: skip
                    values = result.values(CASE, method, f"nisqa.{row}").values()
                    missing = _missing(work, method)
                    filled.put(row, group.name, column, cell_of(values, missing))
            picture = distributions.plot(result, CASE, "nisqa.overall")
            path = work.raw(f"diff-deq_{name}", group).with_suffix(".svg")
            path.write_text(picture.render(standalone=True), encoding="utf-8")
            filled.notes.append(f"Distribution for {group.name}: `raw/{path.name}`.")
    filled.notes += [
        "The paper draws distributions without numbers; means are given here.",
        "NISQA v2.0 by torchmetrics, from 1 to 5, on outputs at -19 LUFS; it predicts listeners, "
        "nobody listened.",
        *deviation_notes([("predicted", DIFFDEQ["deq"])]),
    ]
    return filled


figure_3 = functools.partial(_figure, "figure-3")
figure_4 = functools.partial(_figure, "figure-4")
figure_5 = functools.partial(_figure, "figure-5")
