"""Real recordings, which have no target: `retone enhance` file by file.

Each file is processed as on the command line. DNSMOS scores it before and after at the same
loudness; the size of the change is in dB.
"""

from __future__ import annotations

import csv
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from retone.audio import Clip, open_reader
from retone.errors import DataError
from retone.estimators.base import Estimator
from retone.lab.evaluate.enhance import predicted
from retone.lab.evaluate.enhance_page import show
from retone.lab.evaluate.methods import to_loudness
from retone.lab.evaluate.parallel import Workers, measured
from retone.lab.evaluate.result import Result, Row, interval
from retone.metrics import METRICS
from retone.process.decide import decide
from retone.process.level import SPEECH_LUFS
from retone.process.render import render_to_file
from retone.process.result import Options
from retone.progress import Phase, Progress, silent
from retone.training.provenance import provenance
from retone.training.recipes.diffdeq import SAMPLE_RATE

RATE = SAMPLE_RATE
"""Sample rate in Hz of the comparison, that of the networks."""
MAX_S = 30.0
AUDIO = (".wav", ".flac", ".ogg", ".opus", ".mp3")
WORST_FALL = 0.1


def find(folder: Path, *, only: str = "", split: str = "test") -> list[tuple[Path, str]]:
    """(file, voice) of the speech in a folder.

    A folder with a ``manifest.csv`` (path, source, speaker, kind, split) is read through it;
    otherwise each audio file is a voice of its own. ``only`` keeps sources or paths that
    start with it.

    Raises:
        DataError: nothing is left.
    """
    table = folder / "manifest.csv"
    if table.is_file():
        with table.open(encoding="utf-8") as handle:
            rows = [r for r in csv.DictReader(handle) if r["kind"] != "music"]
        found = [
            (folder / r["path"], f"{r['source']}/{r['speaker']}")
            for r in rows
            if r["split"] == split and (r["source"].startswith(only) or r["path"].startswith(only))
        ]
    else:
        files = sorted(p for p in folder.rglob("*") if p.suffix.lower() in AUDIO)
        found = [(p, p.stem) for p in files if str(p.relative_to(folder)).startswith(only)]
    if not found:
        raise DataError(f"{folder} holds no speech{f' beginning with {only}' if only else ''}.")
    return found


def evaluate(
    files: Sequence[tuple[Path, str]],
    estimator: Estimator,
    *,
    name: str,
    quality: Sequence[str] = ("dnsmos",),
    path: Path | None = None,
    workers: Workers = 1,
    progress: Progress = silent,
    made_from: Callable[[], dict[str, Any]] = provenance,
) -> Result:
    """Enhance each file and measure it before and after, up to its first 30 s.

    Args:
        files: (path, voice), as `find` gives them.
        estimator: chooses the settings.
        name: name of the set of files, for the page.
        quality: predictors of quality.
        path: result file; files in it are not measured again.
        workers: processes, or a Ray cluster; see ``parallel``.

    Returns:
        One row per file, ``method`` "enhance": ``before.*`` and ``after.*`` quality, ``change_db``
        (mean distance of 80 log-mel bands at equal loudness).
    """
    question = {"what": "recordings", "name": name, "files": [p.name for p, _ in files],
                "quality": sorted(quality)}  # fmt: skip
    result = Result.resumed(question, made_from(), path)
    have = {r.item for r in result.rows}
    jobs = [
        (i, p, voice, estimator, tuple(quality))
        for i, (p, voice) in enumerate(files)
        if i not in have
    ]
    for number, row in enumerate(measured(jobs, _measure, workers), start=1):
        result.rows.append(row)
        progress(Phase("enhancing", "files"), number, len(jobs))
        if path is not None:
            result.save(path)
    result.rows.sort(key=lambda r: r.item)
    return result


def _measure(job: tuple[Any, ...]) -> Row:
    item, path, voice, estimator, quality = job
    with tempfile.TemporaryDirectory() as folder:
        output = Path(folder) / "out.wav"
        options = Options(loudness=SPEECH_LUFS)
        with open_reader(path) as reader:
            decision = decide(reader, (), options, estimator=estimator)
            render_to_file(reader, output, decision, options)
        before, after = mono(path), mono(output)
    after = to_loudness(after[: before.size], before, RATE, 1.0)
    values = {"before." + k: v for k, v in predicted(before, RATE, quality).items()}
    values |= {"after." + k: v for k, v in predicted(after, RATE, quality).items()}
    log_mel = METRICS["log_mel"]
    size = min(before.size, after.size)
    values["change_db"] = log_mel(after[:size], before[:size], RATE)
    return Row(item, voice, path.name, "enhance", values)


def mono(path: Path) -> np.ndarray:
    """The first 30 s of a file, mono [T] float32 at 24 kHz."""
    with open_reader(path) as reader:
        audio = reader.read(round(MAX_S * reader.info.sample_rate))
        return np.asarray(Clip(audio, reader.info.sample_rate).resample(RATE).samples.mean(axis=0))


def summary(result: Result, key: str = "dnsmos.overall") -> str:
    """Markdown: mean change with interval, and the file with the largest decrease."""
    voices = {r.group for r in result.rows}
    # With a single voice the bootstrap draws files instead of voices.
    rows = [Row(r.item, r.group if len(voices) > 1 else r.case, r.case, r.method, r.values)
            for r in result.rows]  # fmt: skip
    both = [r for r in rows if f"before.{key}" in r.values]
    gains = [(r.group, r.values[f"after.{key}"] - r.values[f"before.{key}"]) for r in both]
    lines = [
        f"## Recordings without a target: {result.question['name']}",
        "",
        f"{len(result.rows)} files of {len(voices)} voices, "
        f"retone {result.provenance['retone']}, {result.provenance['date']}.",
        "",
        "| | before | after | change |",
        "|---|---|---|---|",
    ]
    for k in sorted({k[7:] for r in both for k in r.values if k.startswith("before.")}):
        sides = [[(r.group, r.values[f"{w}.{k}"]) for r in both] for w in ("before", "after")]
        change = [(a[0], a[1] - b[1]) for b, a in zip(*sides, strict=True)]
        cells = [show(interval(v)) for v in (*sides, change)]
        lines.append(f"| {k} | " + " | ".join(cells) + " |")
    change_db = interval((r.group, r.values["change_db"]) for r in rows)
    lines += ["", f"Change of the sound at equal loudness: {show(change_db)} dB (log-mel)."]
    if gains:
        worst = min(range(len(gains)), key=lambda i: gains[i][1])
        falls = sum(g < -WORST_FALL for _, g in gains)
        rises = sum(g > 0 for _, g in gains)
        lines.append(
            f"{key} rises on {rises} of {len(gains)} files, falls by more than {WORST_FALL:g} on "
            f"{falls}; the worst change is {gains[worst][1]:+.2f} ({both[worst].case})."
        )
    return "\n".join(lines)
