"""The papers' tables: every row and column as printed, and a reason in every empty cell."""

from __future__ import annotations

import math
import os
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from retone.errors import DataError
from retone.lab.evaluate.result import Result, Row
from retone.lab.evaluate.strategies import Trained
from retone.lab.main import main
from retone.lab.published import (
    ITEMS,
    METRIC_OF_ROW,
    NISQA_ROWS,
    TABLE_1,
    TABLE_2,
    TABLE_5,
    TABLES,
    Group,
)
from retone.lab.reproduce import run, runtime, style
from retone.lab.reproduce.filled import Cell, Filled, cell_of
from retone.lab.reproduce.recordings import Given, Recordings
from retone.lab.reproduce.scales import SCALES
from retone.lab.reproduce.systems import DIFFDEQ, Runs, System, systems
from retone.lab.reproduce.work import Work, deviation_notes, rows_of
from retone.metrics import METRICS
from retone.training.recipes.deviations import deviations
from retone.training.recipes.table import RECIPES, recipe_named

SHARED = Path(os.environ.get("RETONE_SHARED") or Path(__file__).parents[3] / "shared")
PAPERS = {"deepafx-st": "003_d5a0600ee5b6cd18.txt", "diff-deq": "000_ad4fe3578126ece2.txt"}
ALL = pytest.mark.parametrize("printed", TABLES.values(), ids=lambda t: f"{t.paper} {t.name}")


def text_of(paper: str) -> str:
    file = SHARED / "papers" / PAPERS[paper]
    if not file.is_file():
        pytest.skip("needs the papers' text")
    return " ".join(file.read_text(encoding="utf-8").split())


@ALL
def test_rows_are_in_the_paper_in_this_order(printed: Any) -> None:
    text = text_of(printed.paper)
    start = 0
    for words in as_printed(printed):
        found = text.find(words, start)
        assert found >= start, words
        start = found + len(words)


def as_printed(printed: Any) -> list[str]:
    """The table's lines of text, in the paper's own order."""
    if printed.lines == NISQA_ROWS:
        return []  # a figure without numbers
    if printed is TABLE_5:  # dashes, "174 k" and ticks stand for some values
        lines = [re.sub(r" (\d+)000 (nan|1)$", r" \1 k", line) for line in printed.lines]
        return [re.sub(r" 0 (nan|1)$", " 0", line).replace(" nan", " -") for line in lines]
    if printed.name == "table-4":  # one group below the other
        halves = []
        for group in range(2):
            halves.append(printed.groups[group].name)
            for line in printed.lines:
                words = line.split()
                values = words[-12:][6 * group : 6 * group + 6]
                halves.append(" ".join([*words[:-12], *values]))
        return halves
    return list(printed.lines)


@ALL
def test_columns_are_in_the_paper_in_this_order(printed: Any) -> None:
    text = text_of(printed.paper)
    if printed.name.startswith("figure"):
        assert f"Fig. {printed.name[-1]}" in text
        assert all(g.name in text for g in printed.groups)
        return
    heads = " ".join(c.name for c in printed.columns)
    if printed is TABLE_5:
        assert "Method Train step (s) CPU GPU Parameters Interpretable" in text
        return
    groups = " ".join(g.name for g in printed.groups)
    repeated = " ".join([heads] * (1 if printed.name == "table-4" else len(printed.groups)))
    assert repeated in text
    assert all(name in text for name in groups.split(" "))


def test_every_measured_table_and_figure_has_a_command_and_no_other() -> None:
    assert set(run.MEASURE) == {(p, n) for p, names in ITEMS.items() for n in names}
    assert ITEMS["deepafx-st"] == (
        "table-1", "table-2", "table-3", "table-4", "table-5", "figure-4", "figure-5",
    )  # fmt: skip
    assert ITEMS["diff-deq"] == ("table-1", "figure-1", "figure-3", "figure-4", "figure-5")


@ALL
def test_rows_have_as_many_numbers_as_columns(printed: Any) -> None:
    for values in printed.rows.values():
        assert len(values) == len(printed.groups) * len(printed.columns)
    for row, values in printed.rows.items():
        for i, group in enumerate(printed.groups):
            for j, column in enumerate(printed.columns):
                own = printed.value(row, group.name, column.name)
                want = values[i * len(printed.columns) + j]
                assert own == want or (math.isnan(own) and math.isnan(want))


def test_columns_and_rows_are_metrics() -> None:
    for printed in (TABLE_1, TABLE_2):
        assert all(c.metric in METRICS for c in printed.columns)
    assert all(m in METRICS for m in METRIC_OF_ROW.values())


def test_every_trained_row_has_a_recipe_and_its_deviations() -> None:
    for name, kinds in (("table-1", ("speech",)), ("table-2", ("music",)),
                        ("table-3", ("speech", "music"))):  # fmt: skip
        for kind in kinds:
            rows = set(TABLES["deepafx-st", name].rows) - {"Input", "RB-DSP"}
            assert rows <= set(systems(kind))
    every = [*systems("speech").values(), *systems("music").values(), *DIFFDEQ.values()]
    for system in every:
        assert system.recipe in RECIPES and deviations(system.recipe)
    assert set(runtime.RECIPE_OF_ROW) >= set(TABLE_5.rows) - {"RB-DSP"}


def test_the_report_prints_each_deviation_beside_its_row() -> None:
    for kind in ("speech", "music"):
        text = "\n".join(deviation_notes(systems(kind).items()))
        for row, system in systems(kind).items():
            assert row.removesuffix(" (not printed)") in text
            for d in deviations(system.recipe):
                assert f"{d.what}: {d.here}" in text
    page = "\n".join(run.deviations_page())
    for recipe in run.PAPER_RECIPES:
        assert all(f"| {d.what} | {d.published} | {d.here} |" in page for d in deviations(recipe))


def test_music_runs_of_both_proxies_stand_side_by_side() -> None:
    known = systems("music")
    assert known["NP S"].run != known["NP M"].run
    assert known["NP-HH (S)"].run == known["NP S"].run and known["NP-HH (S)"].hybrid
    assert len({known[r].run for r in ("NP-FH (S)", "NP-FH (M)", "NP S", "NP M")}) == 4


@pytest.mark.parametrize("scale", SCALES.values(), ids=lambda s: s.name)
def test_a_scale_changes_sizes_only(scale: Any) -> None:
    from retone.training.recipes.record import describe, differences

    allowed = (
        "steps", "validate_every", "batch_size", "validation_pairs", "pairs.length",
        "network.encoder.", "network.channels", "network.gru", "gradient.sizes.",
    )  # fmt: skip
    for name in ("deepafx_speech", "deepafx_np_speech", "proxy_equalizer", "diffdeq_paper"):
        recipe = recipe_named(name)
        changed = differences(describe(recipe), scale.sized(recipe))
        assert all(c.startswith(allowed) for c in changed), changed
        assert bool(changed) == (scale.name != "paper")


def table(**cells: float) -> Filled:
    """Table 1 with a group of other recordings."""
    groups = [*TABLE_1.groups, Group("mine", "mine", "speech", 24000)]
    filled = Filled(TABLE_1, groups, list(TABLE_1.rows), list(TABLE_1.columns), {}, {})
    filled.put("Input", "mine", "STFT", Cell(2.0, 1.5, 2.5, 8))
    filled.put("AD", "mine", "STFT", cell_of([("a", 0.5), ("a", 0.5), ("b", 1.5)]))
    filled.leave("LibriTTS was not given", group="LibriTTS")
    filled.leave("no weights", row="SPSA")
    return filled


def test_cells_carry_ratios_intervals_and_the_published_numbers(tmp_path: Path) -> None:
    filled = table()
    assert filled.ratio("AD", "mine", "STFT", published=False) == pytest.approx(2.5 / 3 / 2)
    assert filled.ratio("AD", "DAPS", "STFT", published=True) == pytest.approx(0.416 / 1.179)
    assert math.isnan(filled.ratio("AD", "DAPS", "PESQ", published=True))  # higher is better
    text = filled.markdown()
    assert "0.833 [0.5, 1.5] x0.42" in text and "*0.388 x0.33*" in text
    for row in TABLE_1.rows:
        assert f"\n| {row} | " in text
    assert "- (1) LibriTTS was not given" in text and ") no weights" in text
    filled.save(tmp_path / "t.json")
    again = Filled.load(tmp_path / "t.json")
    assert again.markdown() == text and again.groups == filled.groups
    (tmp_path / "t.json").write_text("{}")
    with pytest.raises(DataError, match="not a table"):
        Filled.load(tmp_path / "t.json")


def test_nothing_at_hand_gives_every_row_with_reasons(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["reproduce", "deepafx-st", "table-1", "table-2", "table-3", "table-4", "figure-4"]
    words += ["--scale", "tiny", "--no-training", "-o", str(tmp_path)]
    assert main(words) == 0
    report = (tmp_path / "report.md").read_text()
    for name in ("table-1", "table-2", "table-3", "table-4"):
        for row in TABLES["deepafx-st", name].rows:
            assert f"\n| {row} | " in report
    assert "LibriTTS (train-clean-360 in the paper) was not given" in report
    assert "Empty: " in report and "trained" in report
    for name in ("table-1", "table-2", "table-3", "table-4"):  # each recipe's, measured or not
        notes = "\n".join(Filled.load(tmp_path / f"deepafx-st_{name}.json").notes)
        for row, system in rows_of(TABLES["deepafx-st", name]):
            line = next(n for n in notes.splitlines() if f"`{system.recipe}`" in n)
            assert row in line and all(f"{d.what}: {d.here}" in line
                                       for d in deviations(system.recipe))  # fmt: skip


def test_unknown_items_are_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["reproduce", "diff-deq", "table-5", "-o", str(tmp_path)]) == 2
    assert "'table-5' is not measured in diff-deq" in capsys.readouterr().err


def test_corpora_by_name_and_prefix(tmp_path: Path) -> None:
    given = Given.parse(f"kit/vctk={tmp_path}")
    assert (given.name, given.prefix, given.holds("music")) == ("kit", "vctk", True)
    assert not Given.parse(f"vctk={tmp_path}").holds("music")
    for text in ("vctk", "=x", "vctk=", f"unknown={tmp_path}"):
        with pytest.raises(DataError):
            Given.parse(text)
    groups = Recordings([given, Given.parse(f"vctk={tmp_path}")]).groups(TABLE_1)
    assert [g.name for g in groups] == ["LibriTTS", "DAPS", "VCTK", "kit/vctk"]
    with pytest.raises(DataError, match="nothing|no speech"):
        Recordings([]).splits("speech")


def test_a_run_that_cannot_be_had_is_tried_once(tmp_path: Path) -> None:
    said: list[str] = []

    def no_recordings(kind: str) -> Any:
        raise DataError(f"no {kind} to train on was given")

    runs = Runs(tmp_path, SCALES["tiny"], no_recordings, say=said.append)
    np = systems("speech")["NP"]
    assert runs.method("NP", np) is None and runs.method("NP-HH", replace(np, hybrid=True)) is None
    assert "its proxy is missing" in runs.missing[np.run]
    assert len(said) == 2  # the proxy and the run, once each


def test_measured_pairs_fill_the_rows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    names = [c.metric for c in TABLE_1.columns]

    def evaluate(corpus: Any, maker: Any, methods: Any, **options: Any) -> Result:
        assert maker.silence_of_clip and maker.balance == 0.0 and maker.min_mean_square == 1e-3
        rows = []
        for number, method in enumerate(methods):
            for item in range(2):
                values = {m: float(number + item) for m in names}
                rows.append(Row(item, f"v{item}", style.CASE, method.name, values))
        return Result({}, {}, rows)

    monkeypatch.setattr(style.synthetic, "evaluate", evaluate)
    monkeypatch.setattr(style, "about_runs", lambda methods: {})
    monkeypatch.setattr(
        Runs, "method", lambda self, row, system, state="": Trained(row, "x", state="s")
    )
    monkeypatch.setattr("retone.lab.reproduce.work.budget", lambda folder: {"steps": 4})
    monkeypatch.setattr(Recordings, "corpus", lambda self, group: None)
    recordings = Recordings([])
    runs = Runs(tmp_path, SCALES["tiny"], recordings.splits)
    filled = style.table_1(Work(tmp_path, recordings, runs, SCALES["tiny"]))
    assert not [k for k, c in filled.cells.items() if c.missing]
    assert {r for r, *_ in filled.cells} == set(filled.rows)
    assert filled.get("Input", "VCTK", "STFT").mean == 0.5
    assert isinstance(System("x"), System)


def test_published_numbers_stand_in_one_place() -> None:
    """No other module keeps a row of a table, or some columns of one, as a tuple or list."""
    import ast

    import retone

    rows = [
        {v for v in row if math.isfinite(v)} for t in TABLES.values() for row in t.rows.values()
    ]
    source = Path(retone.__file__).parent
    for file in source.rglob("*.py"):
        if file == source / "lab" / "published.py":
            continue
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Tuple | ast.List):
                known = {e.value for e in node.elts if isinstance(e, ast.Constant)}
                numbers = {v for v in known if isinstance(v, float) and v not in (0.0, 0.5, 1.0)}
                if len(numbers) >= 4:
                    assert not any(numbers <= row for row in rows), f"{file}:{node.lineno}"


def test_table_5_reads_as_printed(tmp_path: Path) -> None:
    """Thousands, ticks, and a dash where the paper prints one."""
    filled = Filled(
        TABLE_5, list(TABLE_5.groups), list(TABLE_5.rows), list(TABLE_5.columns), {}, {}
    )
    filled.put("cTCN 1", "", "Parameters", Cell(173569.0, 173569.0, 173569.0, 1))
    filled.put("AD", "", "Interpretable", Cell(1.0, 1.0, 1.0, 1))
    filled.put("RB-DSP", "", "Interpretable", Cell(0.0, 0.0, 0.0, 1))
    lines = {line.split(" | ")[0].strip("| "): line for line in filled.markdown().splitlines()}
    assert "| Method | Train step (s) | CPU | GPU | Parameters | Interpretable |" in lines.values()
    assert "174 k<br>*174 k*" in lines["cTCN 1"] and "*0.002*" in lines["cTCN 1"]
    assert lines["AD"].endswith("\u2713<br>*\u2713* |") and lines["RB-DSP"].endswith("-<br>*-* |")
    assert "*-* | " in lines["SPSA"]  # no GPU in the paper either
    recipe = recipe_named("deepafx_ctcn1_speech")
    networks = recipe.gradient.build(recipe.effect, pretrained=False)
    assert round(sum(p.numel() for p in networks.parameters()) / 1000) == 174


def test_every_row_and_proxy_has_its_hours_on_the_page() -> None:
    from retone.lab.reproduce.page import page

    steps = {r: 0.5 for r in (*runtime.RECIPE_OF_ROW, *runtime.OTHER_RECIPES)}
    made = {"processor": "a CPU", "date": "2026-01-01"}
    table_5 = {
        "step_s": steps, "question": {"batch": 2, "length": 32768}, "provenance": made,
        "cpu_s": 1.0, "trained_s": 0.0, "groups": [""], "cells": 1, "measured": 1,
    }  # fmt: skip
    text = page({"items": {"deepafx-st table-5": table_5}})
    every = [*systems("speech").items(), *systems("music").items(), *DIFFDEQ.items()]
    for row, system in every:
        if "not printed" not in row:
            line = next(n for n in text.splitlines() if n.startswith(f"| {row} | `{system.run}`"))
            assert line.endswith(" h |"), line
    assert text.count(", for NP rows | ") == 2
    assert "| AD | `deepafx_speech`" in text and "2222 h" in text
