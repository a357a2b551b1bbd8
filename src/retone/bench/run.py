"""The three benchmarks, put together from measuring processes. Imports nothing heavy."""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

from retone.bench.launch import STEADY_MEMORY, BenchmarkError, measured_command, run_worker

if TYPE_CHECKING:
    from retone.bench.result import Report


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


def run_match(question: dict[str, Any], *, entry: str, long_minutes: float) -> Report:
    """Whole files.

    Args:
        question: audio (two paths), seconds, sample_rate, rounds, seed.
        entry: the command's function as ``module:name``.
        long_minutes: also measure memory on a recording this long; 0 for none.
    """
    with tempfile.TemporaryDirectory(prefix="retone-bench-") as folder:
        text = run_worker("match", {**question, "folder": folder, "entry": entry})
        place = Path(folder)
        measured: list[tuple[str, dict[str, dict[str, float]]]] = []
        short = _commands(place / "target.wav", place)
        measured.append(("short", {m: r for m, c in short.items() if (r := _try(c))}))
        if long_minutes:
            arguments = {
                "source": str(place / "target.wav"), "target": str(place / "long.wav"),
                "seconds": 60 * long_minutes,
            }  # fmt: skip
            run_worker("loop_file", arguments)
            commands = _commands(place / "long.wav", place)
            measured.append(("long", {m: r for m, c in commands.items() if (r := _try(c))}))
    report = _report(text, "match")
    section = report.section("match")
    for which, results in measured:
        for method, result in results.items():
            row = section.row(method)
            if not row.ok:
                continue
            if which == "short":
                row.figures |= {"peak_mib": result["peak_mib"], "cold_s": result["wall_s"]}
            else:
                row.figures |= {
                    "long_minutes": long_minutes,
                    "long_peak_mib": result["peak_mib"],
                    "long_cpu_s": result["cpu_s"],
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


def _try(command: list[str]) -> dict[str, float] | None:
    """A command's figures, None if it failed (a peer that is not there)."""
    try:
        return measured_command(command)
    except BenchmarkError:
        return None


def _report(text: str, kind: str) -> Report:
    from retone.bench.result import Report

    return Report.from_json(text, f"the {kind} benchmark")
