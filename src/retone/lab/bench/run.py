"""Run each benchmark in measuring processes. Imports nothing heavy."""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

from retone.lab.bench.launch import ONE_THREAD, STEADY_MEMORY, measured_command, run_worker

if TYPE_CHECKING:
    from retone.lab.bench.result import Report

PEER_LONG_MINUTES = 15.0
"""matchering holds whole files in memory, about 0.3 GB a minute: longer ones are not tried."""


def run_effects(question: dict[str, Any]) -> Report:
    """Equaliser, compressor, gradients.

    Args:
        question: seconds, sample_rate, batch, length, rounds, seed.
    """
    report = _report(run_worker("effects", question), "effects")
    section = report.section("gradients")
    arguments = {k: question[k] for k in ("batch", "length", "sample_rate", "seed")}
    for row in section.rows:
        if row.ok:
            peak = run_worker(
                "gradient_memory", {"method": row.method, **arguments}, extra=STEADY_MEMORY
            )
            if peak is not None:
                row.figures["peak_mib"] = peak
    return report


def run_loss(question: dict[str, Any]) -> Report:
    """The training loss; ``question`` holds batch, length, sample_rate, rounds, seed."""
    return _report(run_worker("loss", question), "loss")


def run_training(question: dict[str, Any]) -> Report:
    """Training steps.

    Args:
        question: threads, length, rounds, seed.
    """
    threads = {name: str(question["threads"]) for name in ONE_THREAD}
    return _report(run_worker("training", question, extra=threads), "training")


def run_strategies(question: dict[str, Any]) -> Report:
    """Cost of each differentiation strategy.

    Args:
        question: threads, family, batch, length, rounds, seed.
    """
    threads = {name: str(question["threads"]) for name in ONE_THREAD}
    return _report(run_worker("strategies", question, extra=threads), "strategies")


def run_match(question: dict[str, Any], *, entry: str, long_minutes: float) -> Report:
    """Whole files.

    Args:
        question: audio (two paths), seconds, sample_rate, rounds, seed.
        entry: the command's function as ``module:name``.
        long_minutes: also measure memory on a recording this long; 0 for none.
    """
    with tempfile.TemporaryDirectory(prefix="retone-bench-") as folder:
        text = run_worker("match", {**question, "folder": folder, "entry": entry})
        report = _report(text, "match")
        rows = {row.method: row for row in report.section("match").rows if row.ok}
        place = Path(folder)
        for method, command in _commands(place / "target.wav", place).items():
            if method in rows:
                found = measured_command(command)
                rows[method].figures |= {"peak_mib": found["peak_mib"], "cold_s": found["wall_s"]}
        if long_minutes:
            arguments = {
                "source": str(place / "target.wav"), "target": str(place / "long.wav"),
                "seconds": 60 * long_minutes,
            }  # fmt: skip
            run_worker("loop_file", arguments)
            long = _commands(place / "long.wav", place)
            del long["retone match, no picture"]
            if long_minutes > PEER_LONG_MINUTES:
                del long["matchering"]
            for method, command in long.items():
                if method in rows:
                    found = measured_command(command)
                    rows[method].figures |= {
                        "long_minutes": long_minutes,
                        "long_peak_mib": found["peak_mib"],
                        "long_cpu_s": found["cpu_s"],
                    }
    return report


def run_enhance(question: dict[str, Any], *, entry: str, long_minutes: float) -> Report:
    """Whole files of speech, enhanced.

    Args:
        question: audio, weights (paths; no weights: ""), seconds, sample_rate, rounds, seed.
        entry: the command's function as ``module:name``.
        long_minutes: also measure memory on a recording this long; 0 for none.
    """
    from retone.lab.bench.enhance import BARE, NAME, arguments

    def command(source: Path, *more: str) -> list[str]:
        words = arguments(source, place, question["weights"])
        return [sys.executable, "-m", "retone", *words, *more]

    with tempfile.TemporaryDirectory(prefix="retone-bench-") as folder:
        text = run_worker("enhance", {**question, "folder": folder, "entry": entry})
        report = _report(text, "enhance")
        rows = {row.method: row for row in report.section("enhance").rows if row.ok}
        place = Path(folder)
        for method, more in ((NAME, ()), (BARE, ("--no-report",))):
            if method in rows:
                found = measured_command(command(place / "source.wav", *more))
                rows[method].figures |= {"peak_mib": found["peak_mib"], "cold_s": found["wall_s"]}
        if long_minutes and NAME in rows:
            long = {
                "source": str(place / "source.wav"), "target": str(place / "long.wav"),
                "seconds": 60 * long_minutes, "channels": 1,
            }  # fmt: skip
            run_worker("loop_file", long)
            found = measured_command(command(place / "long.wav"))
            rows[NAME].figures |= {
                "long_minutes": long_minutes,
                "long_peak_mib": found["peak_mib"],
                "long_cpu_s": found["cpu_s"],
            }
    return report


def _commands(target: Path, place: Path) -> dict[str, list[str]]:
    """Method -> the command line that runs it alone."""
    reference, output = place / "reference.wav", place / "out.wav"
    retone = [
        sys.executable, "-m", "retone", "match", str(target), "--to", str(reference),
        "-o", str(output), "--force", "-q",
    ]  # fmt: skip
    code = (
        "import matchering as mg; "
        f"mg.process(target={str(target)!r}, reference={str(reference)!r}, "
        f"results=[mg.pcm16({str(place / 'peer.wav')!r})])"
    )
    return {
        "retone match": retone,
        "retone match, no picture": [*retone, "--no-report"],
        "matchering": [sys.executable, "-W", "ignore", "-c", code],
    }


def _report(text: str, kind: str) -> Report:
    from retone.lab.bench.result import Report
    from retone.training.provenance import command

    report = Report.from_json(text, f"the {kind} benchmark")
    report.provenance["command"] = command()  # not the measuring process's
    return report
