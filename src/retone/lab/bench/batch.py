"""Jobs over many recordings: cost per file, workers, memory, 100,000 files, and kills.

Every figure comes from the program in processes of its own. Times are CPU times of the whole tree
of processes, except files per second, which are by the clock.
"""

from __future__ import annotations

import hashlib
import json
import os
import random
import shutil
import signal
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from retone.audio.files import load
from retone.audio.writer import AtomicWriter
from retone.lab.bench.launch import BenchmarkError, environment
from retone.lab.bench.machine import WORK, second_process
from retone.training.provenance import provenance

Say = Callable[[str], None]

_RUN = """
import importlib, json, resource, sys, time
module, _, name = sys.argv[1].partition(":")
began = time.time()
code = getattr(importlib.import_module(module), name)(sys.argv[2:])
found = {"code": code, "wall_s": time.time() - began}
for key, who in (("self", resource.RUSAGE_SELF), ("children", resource.RUSAGE_CHILDREN)):
    use = resource.getrusage(who)
    found[key] = {"cpu_s": use.ru_utime + use.ru_stime, "peak_mb": use.ru_maxrss / 1024}
try:  # ru_maxrss is at least the size of the process that started this one
    status = open("/proc/self/status").read()
    found["self"]["peak_mb"] = int(status.partition("VmHWM:")[2].split()[0]) / 1024
except (OSError, IndexError):
    pass
print(json.dumps(found), file=sys.stderr)
"""
_WARM = """
import importlib, json, sys, time
module, _, name = sys.argv[1].partition(":")
run = getattr(importlib.import_module(module), name)
folder, reference, out, *files = sys.argv[2:]
times = []
for file in files:
    began = time.process_time()
    assert run(["match", f"{folder}/{file}", "--to", reference, "-o", f"{out}/{file}", "-q"]) == 0
    times.append(time.process_time() - began)
print(json.dumps(times), file=sys.stderr)
"""
_WARM_UP = 3
"""Calls that load and prepare; not counted."""


def measure_batch(question: Mapping[str, Any], entry: str, work: Path, say: Say) -> dict[str, Any]:
    """Measure what ``question`` asks for.

    Args:
        question: ``audio`` and ``reference`` (paths), ``files``, ``seconds``, ``rounds``,
            ``worker_files``, ``many``, ``tiny``, ``kills``, ``ray_kills``, ``seed``; 0 leaves a
            part out.
        entry: the program as ``"module:function"``.
        work: an empty folder.
        say: called with a line of progress.

    Returns:
        The record, as JSON can hold it.
    """
    bench = _Bench(entry, work, question, say)
    found: dict[str, Any] = {
        **provenance(),
        "processors": os.cpu_count(),
        "load_before": os.getloadavg() if hasattr(os, "getloadavg") else None,
        "question": {n: v for n, v in question.items() if n not in ("audio", "reference")},
    }
    if question["files"]:
        found["cost"] = bench.cost()
    if question["rounds"]:
        found["workers"] = bench.workers()
    if question["many"]:
        found["memory"] = bench.memory()
    if question["tiny"]:
        found["tiny"] = bench.tiny()
    for name, engine in (("kills", "local"), ("ray_kills", "ray")):
        if question[name]:
            found[name] = bench.kills(question[name], engine)
    found["load_after"] = os.getloadavg() if hasattr(os, "getloadavg") else None
    return found


class _Bench:
    def __init__(self, entry: str, work: Path, question: Mapping[str, Any], say: Say) -> None:
        self.entry, self.work, self.question, self.say = entry, work, question, say

    def program(self, *words: object, expect: int = 0) -> dict[str, Any]:
        """Run the program; exit code, seconds and use of resources."""
        done = self._python(_RUN, words)
        found = json.loads(done.stderr.splitlines()[-1])
        if found["code"] != expect:
            raise BenchmarkError(f"retone {words[0]} ended with {found['code']}: {done.stderr}")
        return dict(found)

    def _python(self, code: str, words: Sequence[object]) -> subprocess.CompletedProcess[str]:
        done = subprocess.run(
            [sys.executable, "-c", code, self.entry, *map(str, words)],
            capture_output=True, text=True, env=environment(), check=False,
        )  # fmt: skip
        if done.returncode:
            raise BenchmarkError(f"a measuring process failed: {done.stderr[-2000:]}")
        return done

    def recordings(self, name: str, count: int, seconds: float) -> Path:
        """A folder of different parts of the recording, at different levels."""
        folder = self.work / name
        folder.mkdir()
        clip = load(self.question["audio"])
        rng = np.random.default_rng(self.question["seed"])
        length = round(seconds * clip.sample_rate)
        for i in range(count):
            part = np.roll(clip.samples, -int(rng.integers(clip.samples.shape[1])), axis=1)
            part = np.tile(part, -(-length // part.shape[1]))[:, :length]
            path = folder / f"{i:06}.wav"
            rate = clip.sample_rate
            with AtomicWriter(path, sample_rate=rate, channels=len(part), subtype="PCM_16") as out:
                out.write(part * np.float32(rng.uniform(0.3, 1.0)))
        return folder

    def settings(self) -> Path:
        """A settings file to apply, which costs less than a match."""
        path = self.work / "one.wav"
        if not path.exists():
            words = ("match", self.question["audio"], "--to", self.question["reference"])
            self.program(*words, "-o", path, "-q")
        return path.with_suffix(".json")

    def cost(self) -> dict[str, Any]:
        """CPU per file of a job against that of one more call inside one process."""
        count, reference = self.question["files"], self.question["reference"]
        source = self.recordings("cost", count, self.question["seconds"])
        names = sorted(p.name for p in source.iterdir())
        alone = self.work / "alone"
        alone.mkdir()
        sample = names[: min(count, 60) + _WARM_UP]
        done = self._python(_WARM, (source, reference, alone, *sample))
        times = json.loads(done.stderr.splitlines()[-1])[_WARM_UP:]
        marginal = statistics.mean(times)
        out = self.work / "job"
        words = ("match", source, "--to", reference, "-o", out, "--jobs", 2, "-q")
        job = self.program(*words)
        whole = job["self"]["cpu_s"] + job["children"]["cpu_s"]
        same = all((alone / n).read_bytes() == (out / n).read_bytes() for n in sample)
        again = self.program(*words)
        found = {
            "files": count,
            "seconds": self.question["seconds"],
            "marginal_cpu_s": marginal,
            "marginal_from": len(times),
            "job_cpu_s_per_file": whole / count,
            "ratio": whole / count / marginal,
            "started_each_time_cpu_s": None,
            "job_wall_s": job["wall_s"],
            "coordinator_cpu_s": job["self"]["cpu_s"],
            "coordinator_mb": job["self"]["peak_mb"],
            "worker_mb": job["children"]["peak_mb"],
            "again_cpu_s": again["self"]["cpu_s"] + again["children"]["cpu_s"],
            "equal_to_single_calls": same,
        }
        one = self.program("match", source / names[0], "--to", reference, "-o",
                           self.work / "cold.wav", "-q")  # fmt: skip
        found["started_each_time_cpu_s"] = one["self"]["cpu_s"]
        self.say(f"cost: {found}")
        return found

    def workers(self) -> dict[str, Any]:
        """Files per second with one and with two workers, in turns, and what the machine gives.

        A job's start (imports, models) takes seconds whatever the number of files, so it is
        measured too, as a job of one file.
        """
        count = self.question["worker_files"]
        source = self.recordings("workers", count, self.question["seconds"])
        reference = self.question["reference"]
        rates: dict[int, list[float]] = {1: [], 2: []}
        machine: dict[str, list[float]] = {kind: [] for kind in WORK}
        starts = []
        for turn in range(self.question["rounds"]):
            for jobs in (1, 2) if turn % 2 == 0 else (2, 1):
                out = self.work / f"w{jobs}"
                shutil.rmtree(out, ignore_errors=True)
                done = self.program("match", source, "--to", reference, "-o", out,
                                    "--jobs", jobs, "-q")  # fmt: skip
                rates[jobs].append(count / done["wall_s"])
            out = self.work / "w0"
            shutil.rmtree(out, ignore_errors=True)
            first = next(source.iterdir())
            done = self.program("match", first, first, "--to", reference, "-o", out,
                                "--jobs", 1, "-q")  # fmt: skip
            starts.append(done["wall_s"])
            for kind, found in machine.items():
                found.append(second_process(kind))
            self.say(f"workers: {rates}, machine: {machine}, one file: {starts}")
        ratios = [b / a for a, b in zip(rates[1], rates[2], strict=True)]
        return {
            "files": count, "one": rates[1], "two": rates[2],
            "median_ratio": statistics.median(ratios), "ratios": ratios,
            "machine": {
                kind: {"median_ratio": statistics.median(found), "ratios": found}
                for kind, found in machine.items()
            },
            "job_of_one_file_s": starts,
        }  # fmt: skip

    def memory(self) -> dict[str, Any]:
        """Peak memory of the coordinating process and of the largest worker."""
        found = {}
        settings = self.settings()
        for count in sorted({100, min(1000, self.question["many"]), self.question["many"]}):
            source = self.recordings(f"memory{count}", count, 0.5)
            out = self.work / f"m{count}"
            done = self.program(
                "apply", source, "--settings", settings, "-o", out, "--jobs", 2, "-q",
                "--no-report",
            )  # fmt: skip
            found[str(count)] = {
                "coordinator_mb": done["self"]["peak_mb"], "worker_mb": done["children"]["peak_mb"],
                "wall_s": done["wall_s"],
            }  # fmt: skip
            self.say(f"memory: {found}")
        return found

    def tiny(self) -> dict[str, Any]:
        """List, plan and resume many files that were done: links to one recording's results."""
        count = self.question["tiny"]
        source = self.recordings("seed", 1, 0.2)
        one = source / "000000.wav"
        out, big = self.work / "tiny_out", self.work / "tiny"
        words = ("--settings", self.settings(), "-o", out, "--jobs", 1, "-q", "--no-report")
        self.program("apply", source, *words)
        ledger = out / ".retone" / "ledger.jsonl"
        record = json.loads(ledger.read_text())
        big.mkdir()
        lines = []
        for i in range(count):
            folder = f"{i // 1000:03}"
            name = f"{folder}/{i:06}.wav"
            (big / folder).mkdir(exist_ok=True)
            (out / folder).mkdir(exist_ok=True)
            shutil.copyfile(one, big / name)
            files = {}
            for ending in ("", ".json"):
                old = out / f"000000.wav{ending}"
                shutil.copyfile(old, out / (name + ending))
                files[name + ending] = record["files"][old.name]
            use = (big / name).stat()
            state = f"{use.st_size}-{use.st_mtime_ns}-{use.st_ctime_ns}-{use.st_ino}"
            sources = [[state, record["sources"][0][1]], *record["sources"][1:]]
            lines.append(record | {"output": name, "files": files, "sources": sources})
        ledger.write_text("".join(json.dumps(line) + "\n" for line in lines))
        done = self.program("apply", big, *words)
        found = {
            "files": count, "cpu_s": done["self"]["cpu_s"], "wall_s": done["wall_s"],
            "coordinator_mb": done["self"]["peak_mb"],
            "workers_cpu_s": done["children"]["cpu_s"], "ledger_mb": ledger.stat().st_size / 1e6,
        }  # fmt: skip
        self.say(f"tiny: {found}")
        return found

    def kills(self, count: int, engine: str) -> dict[str, Any]:
        """Kill a job of 200 files at random moments; it must end in the same tree."""
        rows = 200
        source = self.work / "killed"
        if not source.exists():
            source = self.recordings("killed", rows, 0.5)
            time.sleep(0.1)
        words = ["apply", source, "--settings", self.settings(), "-q"]
        whole = self.work / "whole"
        if not whole.exists():
            self.program(*words, "-o", whole, "--jobs", 2)
        wanted = _tree(whole)
        chance, out = random.Random(self.question["seed"]), self.work / f"out_{engine}"
        kills = finished = half = again = 0
        began = time.time()
        while kills < count:
            known = _finished(out)
            process = subprocess.Popen(
                [sys.executable, "-c", _RUN, self.entry, *map(str, words), "-o", str(out),
                 "--engine", engine, "--jobs", "2"],
                stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env=environment(),
                start_new_session=True,
            )  # fmt: skip
            before = _count(out)
            goal = before + chance.randint(0, max(1, rows // count * 3))
            while process.poll() is None and _count(out) <= goal:
                time.sleep(0.005)
            time.sleep(chance.uniform(0, 0.05))
            if process.poll() is None:
                process.send_signal(signal.SIGKILL)
                kills += 1
            process.wait()
            half += sum(
                wanted.get(name) != content
                for name, content in _tree(out).items()
                if not name.startswith(".retone") and not name.endswith(".part")
            )
            again += sum(_identity(out / name) != was for name, was in known.items())
            if process.returncode == 0:
                finished += 1
                if _tree(out) != wanted:
                    raise BenchmarkError("a job that was killed ended in another tree.")
                shutil.rmtree(out)
            self.say(f"{engine}: {kills} kills, {_count(out)} files, {half} half written")
        if out.exists():
            self.program(*words, "-o", out, "--engine", engine, "--jobs", 2)
        same = not out.exists() or _tree(out) == wanted
        return {
            "kills": kills, "files": rows, "equal_trees": same, "half_written": half,
            "written_again": again, "jobs_finished_between": finished, "parts_left": _parts(out),
            "wall_s": time.time() - began,
        }  # fmt: skip


def _files(folder: Path) -> Iterator[Path]:
    return (path for path in folder.rglob("*") if path.is_file())


def _count(folder: Path) -> int:
    return sum(1 for _ in folder.glob("*.wav"))


def _identity(path: Path) -> tuple[int, int] | None:
    """What changes when a file is written again, even with the same bytes; None if it is gone."""
    try:
        use = path.stat()
    except FileNotFoundError:
        return None
    return use.st_ino, use.st_mtime_ns


def _finished(folder: Path) -> dict[str, tuple[int, int] | None]:
    """The files of the rows that a job's ledger has as finished."""
    try:
        lines = (folder / ".retone" / "ledger.jsonl").read_text().splitlines(keepends=True)
    except FileNotFoundError:
        return {}
    records = [json.loads(line) for line in lines if line.endswith("\n")]
    names = [name for record in records for name in record.get("files", ())]
    return {name: _identity(folder / name) for name in names}


def _parts(folder: Path) -> int:
    return sum(path.name.endswith(".part") for path in _files(folder))


def _tree(folder: Path) -> dict[str, str]:
    """Every file and a hash of its bytes; files that vanish meanwhile are left out."""
    found = {}
    for path in _files(folder):
        try:
            content = path.read_bytes()
        except FileNotFoundError:
            continue
        found[path.relative_to(folder).as_posix()] = hashlib.sha256(content).hexdigest()
    return found
