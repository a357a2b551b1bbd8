"""Real recordings, which have no target: `retone enhance` file by file.

Each file is processed as on the command line, as it is or played through a device
(``devices.DEVICES``). DNSMOS scores it before and after at the same loudness; the size of the
change is in dB.
"""

from __future__ import annotations

import math
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from retone.audio import Clip, open_reader
from retone.errors import DataError
from retone.estimators.base import Estimator
from retone.lab.evaluate.devices import described, played
from retone.lab.evaluate.enhance import predicted
from retone.lab.evaluate.enhance_page import show
from retone.lab.evaluate.methods import to_loudness
from retone.lab.evaluate.parallel import Workers, measured
from retone.lab.evaluate.result import Result, Row, interval
from retone.metrics import METRICS
from retone.process.decide import decide
from retone.process.level import SPEECH_LUFS
from retone.process.recording import open_recording
from retone.process.render import render_to_file
from retone.process.result import Options
from retone.progress import Phase, Progress, silent
from retone.training.data.layouts import is_kit, kit_rows, listed
from retone.training.data.manifest import Found
from retone.training.provenance import provenance
from retone.training.recipes.diffdeq import SAMPLE_RATE

RATE = SAMPLE_RATE
"""Sample rate in Hz of the comparison, that of the networks."""
MAX_S = 30.0
AUDIO = (".wav", ".flac", ".ogg", ".opus", ".mp3")
WORST_FALL = 0.1
SEED = 42


def find(
    folder: Path, *, only: str = "", split: str = "test", one_per_voice: bool = False
) -> list[tuple[Path, str]]:
    """(file, voice) of the speech in a folder.

    A folder with a ``manifest.csv`` (that of a kit, or that of a ``folder`` corpus) is read through
    it: the rows of ``split``, and those that are of none. Otherwise each audio file is a voice of
    its own. ``only`` keeps sources or paths that start with it, ``one_per_voice`` the first file of
    each voice.

    Raises:
        DataError: the manifest cannot be read, or nothing is left.
    """
    if (folder / "manifest.csv").is_file():
        wanted = "val" if split == "dev" else split
        rows = (
            [
                Found(
                    r["path"], f"{r['source']}/{r['speaker']}", r["split"], r["kind"], r["source"]
                )
                for r in kit_rows(folder)
            ]
            if is_kit(folder)
            else listed(folder)
        )
        found = [
            (folder / r.path, r.group)
            for r in rows
            if r.kind != "music"
            and r.split in (split, wanted, None)
            and (r.source.startswith(only) or r.path.startswith(only))
        ]
    else:
        files = sorted(p for p in folder.rglob("*") if p.suffix.lower() in AUDIO)
        found = [(p, p.stem) for p in files if str(p.relative_to(folder)).startswith(only)]
    if not found:
        raise DataError(f"{folder} holds no speech{f' beginning with {only}' if only else ''}.")
    if one_per_voice:
        found = list({voice: (path, voice) for path, voice in reversed(found)}.values())[::-1]
    return found


def evaluate(
    files: Sequence[tuple[Path, str]],
    estimator: Estimator,
    *,
    name: str,
    devices: Sequence[str] = (),
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
        devices: names of ``devices.DEVICES``; each file is also enhanced after each of them.
        quality: predictors of quality.
        path: result file; files in it are not measured again.
        workers: processes, or a Ray cluster; see ``parallel``.

    Returns:
        One row per file and device, ``method`` the device ("enhance" for the file as it is):
        ``before.*`` and ``after.*`` quality, with PESQ against the undamaged file after a device,
        and ``change_db`` (mean distance of 80 log-mel bands at equal loudness).
    """
    question = {"what": "recordings", "name": name, "files": [p.name for p, _ in files],
                "quality": sorted(quality)}  # fmt: skip
    if devices:
        question["devices"] = list(devices)
    result = Result.resumed(question, made_from(), path)
    have = {r.item for r in result.rows}
    every = [(p, voice, device) for p, voice in files for device in ("", *devices)]
    jobs = [(i, *one, estimator, tuple(quality)) for i, one in enumerate(every) if i not in have]
    for number, row in enumerate(measured(jobs, _measure, workers), start=1):
        result.rows.append(row)
        progress(Phase("enhancing", "files"), number, len(jobs))
        if path is not None:
            result.save(path)
    result.rows.sort(key=lambda r: r.item)
    return result


def _measure(job: tuple[Any, ...]) -> Row:
    item, path, voice, device, estimator, quality = job
    options = Options(loudness=SPEECH_LUFS)
    clean: Clip | None = None
    if device:
        with open_reader(path) as reader:
            rate = reader.info.sample_rate
            audio = reader.read(round(MAX_S * rate)).mean(axis=0)
        out, audio = played(device, audio, rate, np.random.default_rng([SEED, item]))
        source: Path | Clip = Clip(out[None], rate)
        clean = Clip(audio[None], rate)
    else:
        source = path
    with tempfile.TemporaryDirectory() as folder:
        output = Path(folder) / "out.wav"
        with open_recording(source) as reader:
            decision = decide(reader, (), options, estimator=estimator)
            render_to_file(reader, output, decision, options)
        before, after = mono(source), mono(output)
    after = to_loudness(after[: before.size], before, RATE, 1.0)
    values = {"before." + k: v for k, v in predicted(before, RATE, quality).items()}
    values |= {"after." + k: v for k, v in predicted(after, RATE, quality).items()}
    log_mel, size = METRICS["log_mel"], min(before.size, after.size)
    if clean is not None:
        original, pesq = mono(clean)[:size], METRICS["pesq"]
        values["before.pesq"] = pesq(before[:size], original, RATE)
        values["after.pesq"] = pesq(after[:size], original, RATE)
    values["change_db"] = log_mel(after[:size], before[:size], RATE)
    return Row(item, voice, path.name, device or "enhance", values)


def mono(source: Path | Clip) -> np.ndarray:
    """The first 30 s of a recording, mono [T] float32 at 24 kHz."""
    with open_recording(source) as reader:
        audio = reader.read(round(MAX_S * reader.info.sample_rate))
        return np.asarray(Clip(audio, reader.info.sample_rate).resample(RATE).samples.mean(axis=0))


def summary(result: Result, key: str = "dnsmos.overall") -> str:
    """Markdown: mean change with interval, and the file with the largest decrease."""
    voices = {r.group for r in result.rows}
    # With a single voice the bootstrap draws files instead of voices.
    rows = [Row(r.item, r.group if len(voices) > 1 else r.case, r.case, r.method, r.values)
            for r in result.rows]  # fmt: skip
    plain = [r for r in rows if r.method == "enhance"]
    lines = [
        f"## Recordings without a target: {result.question['name']}",
        "",
        f"{len(plain)} files of {len(voices)} voices, "
        f"retone {result.provenance['retone']}, {result.provenance['date']}.",
        "",
        "| | before | after | change |",
        "|---|---|---|---|",
    ]
    for k in sorted({k[7:] for r in plain for k in r.values if k.startswith("before.")}):
        lines.append(f"| {k} | {_sides(plain, k)} |")
    change_db = interval((r.group, r.values["change_db"]) for r in plain)
    lines += ["", f"Change of the sound at equal loudness: {show(change_db)} dB (log-mel)."]
    if gains := _gains(plain, key):
        worst, case = min(gains)
        lines.append(
            f"{key} rises on {sum(g > 0 for g, _ in gains)} of {len(gains)} files, falls by more "
            f"than {WORST_FALL:g} on {_falls(gains)}; the worst change is {worst:+.2f} ({case})."
        )
    devices = result.question.get("devices", ())
    if devices and gains:
        lines += ["", *_through_devices(rows, devices, key)]
    return "\n".join(lines)


def _through_devices(rows: Sequence[Row], devices: Sequence[str], key: str) -> list[str]:
    """The table of the same files through devices, and what the undamaged files score."""
    undamaged = {r.case: r.values[f"before.{key}"] for r in rows if r.method == "enhance"}
    lines = [
        f"{key} of the same files, damaged. *To the original*: how much higher the undamaged file "
        "scores, which is what undoing the damage alone could gain. PESQ (MOS) is against the "
        "undamaged file.",
        "",
        *(f"- **{name}**: {described(name)}" for name in devices),
        "",
        "| | before | after | change | to the original | rises "
        f"| falls by more than {WORST_FALL:g} | worst | PESQ before | PESQ change |",
        "|---|---|---|---|---|---|---|---|---|---|",
    ]
    damaged = [r for r in rows if r.method in devices]
    for name, some in [*((d, [r for r in rows if r.method == d]) for d in devices),
                       ("all", damaged)]:  # fmt: skip
        gains = _gains(some, key)
        room = interval((r.group, undamaged[r.case] - r.values[f"before.{key}"]) for r in some)
        scored = [
            r for r in some
            if all(math.isfinite(r.values.get(f"{w}.pesq", math.nan)) for w in ("before", "after"))
        ]  # fmt: skip
        pesq = _sides(scored, "pesq").split(" | ")[::2] if scored else ("-", "-")
        lines.append(
            f"| {name} | {_sides(some, key)} | {show(room)} "
            f"| {sum(g > 0 for g, _ in gains)} of {len(gains)} | {_falls(gains)} "
            f"| {min(gains)[0]:+.2f} | {' | '.join(pesq)} |"
        )
    return lines


def _sides(rows: Sequence[Row], key: str) -> str:
    before, after = ([(r.group, r.values[f"{w}.{key}"]) for r in rows] for w in ("before", "after"))
    change = [(a[0], a[1] - b[1]) for b, a in zip(before, after, strict=True)]
    return " | ".join(show(interval(v)) for v in (before, after, change))


def _gains(rows: Sequence[Row], key: str) -> list[tuple[float, str]]:
    """(change, file) of the rows that have a score."""
    return [
        (r.values[f"after.{key}"] - r.values[f"before.{key}"], r.case)
        for r in rows
        if f"before.{key}" in r.values
    ]


def _falls(gains: Sequence[tuple[float, str]]) -> int:
    return sum(g < -WORST_FALL for g, _ in gains)
