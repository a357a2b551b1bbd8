"""One bar over all: it moves inside long recordings too, whatever the engine."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from retone.batch.at_work import AtWork, progress_of
from retone.batch.job import PROCESSING, _Meter
from retone.batch.rows import Outcome, Recipe, Row
from retone.progress import ESTIMATING, MEASURING, RENDERING, Phase

Seen = list[tuple[float, float]]


def watch(seen: Seen):  # type: ignore[no-untyped-def]
    def progress(phase: Phase, done: float, total: float, /) -> None:
        assert phase == PROCESSING
        seen.append((done * 60, total * 60))

    return progress


@pytest.mark.parametrize("verb", ["apply", "inspect"])
@pytest.mark.parametrize("workers", [0, 2])
def test_the_bar_moves_before_the_first_recording_is_finished(
    job, clip, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, workers: int, verb: str
) -> None:
    monkeypatch.setattr("retone.batch.pool._LOOK_S", 0.002)
    clip("in/a.wav", seconds=400.0)
    clip("in/b.wav", seconds=400.0)
    time.sleep(0.06)
    running = job(tmp_path / "in", "out", workers=workers)
    if verb == "inspect":
        running.recipe, running.folder = Recipe("inspect"), ""
    seen: Seen = []
    outcomes = running.run(watch(seen))
    next(outcomes)
    assert len(seen) > 3 and 0 <= seen[0][0] < 400 * max(1, workers)
    assert seen[0][1] == pytest.approx(800, rel=0.01)  # the other one is as large
    list(outcomes)
    assert seen[-1] == (800, 800)
    assert all(done <= total * 1.001 for done, total in seen)


def meter_of(sizes: list[int], seen: Seen) -> _Meter:
    return _Meter([Row(f"{i}", f"{i}", size) for i, size in enumerate(sizes)], watch(seen))


def test_what_is_at_work_counts_and_what_is_finished_counts_once() -> None:
    seen: Seen = []
    meter = meter_of([100, 300, 0], seen)
    meter.at_work([(1, 30.0, 60.0)])
    assert seen[-1] == (30.0, pytest.approx(60 + 60 * 101 / 300))
    meter.at_work([(1, 30.0, 60.0)])
    assert len(seen) == 1
    meter.passed(meter.rows[1], Outcome(1, "1", "1", values={"duration_s": 60.0}))
    assert seen[-1][0] == 60.0
    meter.at_work([(1, 59.0, 60.0), (0, 10.0, 20.0)])  # the first mark is old
    assert seen[-1] == (70.0, pytest.approx(80 + 80 / 400))
    meter.at_work([(7, 1.0, 1.0)])  # no such row
    assert seen[-1][0] == 60.0


def test_marks_of_a_process_replace_each_other() -> None:
    marks = AtWork(2)
    assert list(marks.read()) == []
    marks.note(0, 1.0, 5.0)
    marks.note(4, 2.0, 9.0)
    assert list(marks.read()) == [(4, 2.0, 9.0)]


def test_measuring_and_rendering_are_half_each() -> None:
    seen: list[tuple[int, float, float]] = []
    progress = progress_of(3, lambda *mark: seen.append(mark))
    for phase, done in ((ESTIMATING, 1), (MEASURING, 4), (MEASURING, 11), (RENDERING, 5)):
        progress(phase, done, 10)
    assert seen == [(3, 2.0, 10), (3, 5.0, 10), (3, 7.5, 10)]
