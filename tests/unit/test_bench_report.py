"""The benchmark's record, tables, page and command line."""

from __future__ import annotations

import json
import math
import subprocess
import sys
from pathlib import Path

import pytest

from retone.errors import DataError
from retone.lab.bench import launch, methods
from retone.lab.bench.result import Report, Row, Section
from retone.lab.bench.tables import docs_page, figure_text, report_text, seconds_text
from retone.lab.main import main

RATE = 44100


def quiet(text: str) -> None:
    """No progress in tests."""


@pytest.fixture
def no_peers(monkeypatch: pytest.MonkeyPatch) -> None:
    """As if none of the optional libraries were installed."""
    monkeypatch.setattr(methods, "missing", lambda packages: list(packages.values()))


def section(*rows: Row) -> Section:
    return Section(
        "demo", "Demonstration", "base", 2.0, [("esr_db", "error (dB)")], rows=list(rows)
    )


def timed(name: str, cpu: list[float], **figures: float | None) -> Row:
    return Row(name, wall_s=[2 * t for t in cpu], cpu_s=cpu, figures=dict(figures))


def full_report() -> Report:
    base = timed("base", [1.0, 2.0, 3.0], esr_db=-150.04)
    slow = timed("slow", [2.0, 4.0, 6.0], esr_db=None)
    exact = timed("exact", [0.5, 1.0, 1.5], esr_db=-math.inf)
    gone = Row("gone", status="not installed: gone (pip install 'retone[peers]')")
    known = {"processor": "P", "cores": 2, "libraries": {"scipy": "1"}, "date": "2020-01-01"}
    return Report("effects", {"seed": 0}, known, [section(base, slow, exact, gone)])


def test_record_round_trip(tmp_path: Path) -> None:
    report = full_report()
    path = tmp_path / "results" / "bench.json"
    report.save(path)
    report.save(path)  # an older record is replaced
    assert Report.load(path) == report
    data = json.loads(path.read_text())
    rows = {r["method"]: r for r in data["sections"][0]["rows"]}
    assert rows["slow"]["summary"]["cpu_ratio"]["median"] == 2.0
    assert rows["slow"]["summary"]["cpu_s"] == {"median": 4.0, "q1": 3.0, "q3": 5.0}
    assert rows["slow"]["summary"]["wall_s"]["median"] == 8.0
    assert rows["slow"]["cpu_s"] == [2.0, 4.0, 6.0]
    assert rows["gone"]["summary"] is None


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"retone_bench": 99, "sections": []}'])
def test_damaged_record(tmp_path: Path, text: str) -> None:
    path = tmp_path / "bench.json"
    path.write_text(text)
    with pytest.raises(DataError, match="bench.json"):
        Report.load(path)
    with pytest.raises(DataError):
        Report.load(tmp_path / "absent.json")


def test_tables_say_what_was_measured() -> None:
    report = full_report()
    text = report_text(report)
    cells = {line.split(" | ")[0].strip("| "): line.split(" | ") for line in text.splitlines()}
    assert cells["slow"][1] == "4.00 s [3.00 s, 5.00 s]"
    assert cells["slow"][2] == "8.00 s [6.00 s, 10.0 s]"
    assert cells["slow"][3] == "2.00 [2.00, 2.00]"
    assert cells["base"][4] == "1"  # 2 s of sound in 2 s of CPU
    assert (cells["base"][5], cells["slow"][5], cells["exact"][5]) == (
        "-150.0", "reference", "exact",
    )  # fmt: skip
    assert "CPU time" in text and "wall time" in text and "3 rounds" in text
    page = docs_page([("docs/results/bench_effects.json", report)])
    assert text in page and "docs/results/bench_effects.json" in page
    assert report.section("demo").row("slow").ok
    with pytest.raises(DataError, match="base, slow"):
        report.section("demo").row("nobody")
    with pytest.raises(DataError):
        report.section("nothing")


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0.0, "0 us"),
        (2.5e-6, "2.50 us"),
        (0.0231, "23.1 ms"),
        (2.634, "2.63 s"),
        (1234.4, "1234 s"),
    ],
)
def test_seconds_text(value: float, text: str) -> None:
    assert seconds_text(value) == text


def test_figure_text() -> None:
    assert figure_text("peak_mib", {"peak_mib": 389.6}) == "390"
    assert figure_text("grad_audio", {"grad_audio": 3.4e-8}) == "3.4e-08"
    assert figure_text("cold_s", {"cold_s": 5.62}) == "5.62 s"
    assert figure_text("cold_s", {}) == "-"


def test_render_docs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["bench", "render-docs"]) == 2  # nothing measured yet: one sentence
    full_report().save(Path("docs/results/bench_effects.json"))
    assert main(["bench", "render-docs"]) == 0
    page = Path("docs/benchmarks.md").read_text()
    assert "do not edit by" in page and "4.00 s [3.00 s, 5.00 s]" in page


def test_missing_recordings_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["bench", "match"]) == 2
    assert "--audio" in capsys.readouterr().err


def test_command_line_refuses_nonsense() -> None:
    for arguments in (["effects", "--rounds", "0"], ["loss", "--batch", "x"], ["nothing"], []):
        with pytest.raises(SystemExit):
            main(["bench", *arguments])


def test_workers_have_one_thread() -> None:
    code = "import torch, os; print(torch.get_num_threads(), os.environ['NUMBA_NUM_THREADS'])"
    out = subprocess.run(
        [sys.executable, "-c", code], env=launch.environment(), capture_output=True, text=True
    )
    assert out.stdout.split() == ["1", "1"]


def test_measured_command_counts_the_process() -> None:
    size = 96 * 2**20
    found = launch.measured_command([sys.executable, "-c", f"x = b'a' * {size}"])
    assert found["peak_mib"] > 96 and found["cpu_s"] > 0
    with pytest.raises(launch.BenchmarkError, match="code 3"):
        launch.measured_command([sys.executable, "-c", "raise SystemExit(3)"])


def test_loss_command_end_to_end(tmp_path: Path) -> None:
    path = tmp_path / "loss.json"
    arguments = ["--rounds", "2", "--batch", "1", "--length", "40000", "--output", str(path)]
    assert main(["bench", "loss", *arguments]) == 0
    report = Report.load(path)
    assert report.provenance["threads"] == 1 and report.question["seed"] == 0
    assert len(report.section("loss").row("retone").cpu_s) == 2
    assert str(Path.home()) not in path.read_text()


def test_what_a_second_process_gains(monkeypatch: pytest.MonkeyPatch) -> None:
    """Waiting needs no processor, so two processes wait twice as much; a failure is said."""
    from retone.lab.bench import machine
    from retone.lab.bench.launch import BenchmarkError

    monkeypatch.setitem(machine.WORK, "waiting", "time.sleep(0.5)")
    assert 1.5 < machine.second_process("waiting") < 2.5
    monkeypatch.setitem(machine.WORK, "waiting", "raise SystemError")
    with pytest.raises(BenchmarkError):
        machine.second_process("waiting")


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_a_jobs_memory_is_not_that_of_the_process_that_measures_it() -> None:
    """Linux counts a large parent in the peak of the process it starts."""
    from retone.lab.bench.batch import _RUN

    held = bytearray(400 << 20)
    held[::4096] = b"x" * len(held[::4096])
    done = subprocess.run(
        [sys.executable, "-c", _RUN, "json:dumps"], capture_output=True, text=True, check=True
    )
    assert json.loads(done.stderr.splitlines()[-1])["self"]["peak_mb"] < 100
