"""The measuring process: ``python -m retone.lab.bench.worker JOB ARGUMENTS RESULT``."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable
from importlib import metadata
from pathlib import Path
from typing import Any

from retone.errors import RetoneError

LIBRARIES = ("scipy", "cffi", "soundfile", "soxr")


def effects(**question: Any) -> str:
    """Equaliser, compressor and gradients; returns a report's JSON."""
    from retone.lab.bench.compressor import compressor_section
    from retone.lab.bench.equalizer import equalizer_section
    from retone.lab.bench.gradients import gradients_section
    from retone.lab.bench.methods import to_stderr

    report = new_report("effects", question)
    batch, length, rounds = (question[k] for k in ("batch", "length", "rounds"))
    common = {"sample_rate": question["sample_rate"], "seed": question["seed"], "say": to_stderr}
    stream = {"seconds": question["seconds"], "rounds": rounds, **common}
    report.sections.append(equalizer_section(**stream))
    report.sections.append(compressor_section(**stream))
    report.sections.append(gradients_section(batch=batch, length=length, rounds=rounds, **common))
    return finished(report)


def gradient_memory(
    *, method: str, batch: int, length: int, sample_rate: float, seed: int
) -> float | None:
    """Peak MiB that one forward + backward adds; None if the method cannot run here."""
    import torch

    from retone.lab.bench.gradients import CHAINS, problem
    from retone.lab.bench.memory import peak_growth_mib
    from retone.lab.bench.methods import missing

    chain = CHAINS[method]
    if missing(chain.packages):
        return None
    try:
        p = problem(chain, batch, length, sample_rate, seed, torch.float32)
        p.gradients(chain.forward)
        return peak_growth_mib(lambda: p.gradients(chain.forward))
    except Exception as e:  # the row of the timing run has the reason
        print(f"  memory of {method}: {type(e).__name__}: {e}", file=sys.stderr)
        return None


def loss(**question: Any) -> str:
    """The loss; returns a report's JSON."""
    from retone.lab.bench.loss import loss_section
    from retone.lab.bench.methods import to_stderr

    report = new_report("loss", question)
    report.sections.append(loss_section(**question, say=to_stderr))
    return finished(report)


def training(**question: Any) -> str:
    """Training steps; returns a report's JSON."""
    import torch

    from retone.lab.bench.methods import to_stderr
    from retone.lab.bench.training import training_section

    torch.set_num_threads(question["threads"])
    report = new_report("training", question)
    own = {k: v for k, v in question.items() if k != "threads"}
    report.sections.append(training_section(**own, say=to_stderr))
    return finished(report)


def strategies(**question: Any) -> str:
    """Differentiation strategies; returns a report's JSON."""
    import torch

    from retone.lab.bench.methods import to_stderr
    from retone.lab.bench.strategies import strategies_section

    torch.set_num_threads(question["threads"])
    report = new_report("strategies", question)
    own = {k: v for k, v in question.items() if k != "threads"}
    report.sections.append(strategies_section(**own, say=to_stderr))
    return finished(report)


def match(**question: Any) -> str:
    """Whole files; returns a report's JSON."""
    from retone.lab.bench.match import match_section
    from retone.lab.bench.methods import to_stderr

    public = {k: v for k, v in question.items() if k not in ("folder", "entry")}
    public["audio"] = [Path(p).name for p in question["audio"]]
    report = new_report("match", public)
    report.sections.append(match_section(**question, say=to_stderr))
    return finished(report)


def enhance(**question: Any) -> str:
    """Whole files, enhanced; returns a report's JSON."""
    from retone.lab.bench.enhance import enhance_section
    from retone.lab.bench.methods import to_stderr

    public = {k: v for k, v in question.items() if k not in ("folder", "entry")}
    public |= {k: Path(question[k]).name for k in ("audio", "weights") if question[k]}
    report = new_report("enhance", public)
    report.sections.append(enhance_section(**question, say=to_stderr))
    return finished(report)


def loop_file(*, source: str, target: str, seconds: float, channels: int = 2) -> None:
    """Loop a recording to ``seconds``."""
    from retone.lab.bench.match import write_looped

    write_looped(Path(source), Path(target), seconds, channels=channels)


def new_report(kind: str, question: dict[str, Any]) -> Any:
    """An empty report with provenance and the load of the machine at the start."""
    from retone.lab.bench.result import Report
    from retone.training.provenance import provenance

    known = provenance()
    known["libraries"] = {name: metadata.version(name) for name in LIBRARIES}
    known["load_average_start"] = _load()
    return Report(kind, dict(question), known)


def finished(report: Any) -> str:
    report.provenance["load_average_end"] = _load()
    return str(report.to_json())


def _load() -> float | None:
    return round(os.getloadavg()[0], 2) if hasattr(os, "getloadavg") else None


JOBS: dict[str, Callable[..., Any]] = {
    job.__name__: job
    for job in (
        effects,
        gradient_memory,
        loss,
        training,
        strategies,
        match,
        enhance,
        loop_file,
    )  # fmt: skip
}


def main(argv: list[str]) -> int:
    """Run a job; the result goes to a file, since libraries may print to stdout."""
    job, arguments, target = argv
    import torch

    torch.set_num_threads(1)
    torch.set_num_interop_threads(1)
    try:
        result = JOBS[job](**json.loads(arguments))
    except RetoneError as e:
        print(f"python -m retone.lab bench: {e}", file=sys.stderr)
        return 2
    Path(target).write_text(json.dumps(result))
    return 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
