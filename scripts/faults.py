"""Every command under every fault: kills, full and slow disks, no handles, wrong clock, no memory.

    python scripts/faults.py                      every command x every fault, once
    python scripts/faults.py --kills 500 --seed 1  kills at random moments, spread over the commands

The commands come from the program's own table; a new one needs a line in ``WORDS``. A process that
has imported everything forks one child for each trial. The law, which ``tests/cli/test_faults.py``
holds every pair to: the exit code says what happened, no traceback, inputs unchanged, and of the
outputs either all or none. What SIGKILL leaves hidden is removed by the next run.
"""

from __future__ import annotations

import argparse
import contextlib
import errno
import faulthandler
import json
import os
import random
import shutil
import signal
import sys
import tempfile
import time
import traceback
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

os.environ["OMP_NUM_THREADS"] = "1"  # a forked child has no other threads to wait for

import numpy as np  # noqa: E402
import soundfile  # noqa: E402

RATE = 16000
LIMIT_S = 60.0
GOOD_CODES = {0, 1, 2, 130, 141, 143}
CRASHED = 70
IMPORTS = (
    "retone.api", "retone.cli.match", "retone.cli.writing", "retone.cli.export",
    "retone.exports.plan", "retone.presets.making", "retone.training.data.pack",
    "retone.training.data.splits", "retone.training.loop", "retone.estimators.reference_free",
    "retone.studio.server", "retone.studio.serve", "retone.report.html", "retone.audio.inspect",
)  # fmt: skip


@dataclass
class Trial:
    """What a child did: exit code (negative: the signal), output, and new files."""

    command: str
    fault: str
    code: int
    error: str
    new: tuple[str, ...]
    complaints: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class Words:
    """A command line that works in a folder that ``prepare`` has filled, and the files it makes."""

    line: tuple[str, ...]
    makes: tuple[str, ...] = ()


WAV_SET = ("o.wav", "o.json", "o.html")
WORDS: dict[str, Words] = {
    "match": Words(("match", "in.wav", "--to", "ref.wav", "-o", "o.wav"), WAV_SET),
    "enhance": Words(("enhance", "in.wav", "-o", "o.wav"), WAV_SET),
    "apply": Words(
        ("apply", "in.wav", "--settings", "s.json", "-o", "o.flac"), ("o.flac", "o.json", "o.html")
    ),
    "export": Words(("export", "s.json", "--to", "camilladsp", "-o", "o.yml"), ("o.yml",)),
    "preset": Words(("preset", "make", "mine", "in.wav", "ref.wav"), ("presets/mine.json",)),
    "inspect": Words(("inspect", "in.wav", "ref.wav")),
    "corpus": Words(
        (
            "corpus",
            "pack",
            "packed",
            "--corpus",
            "folder=kit",
            "--sample-rate",
            "16000",
            "--cache",
            "cache",
        ),
        ("packed/manifest.csv", "packed/00000.opus"),
    ),  # fmt: skip
    "train": Words(("train", "list")),
    "studio": Words(("studio", "--no-browser", "--port", "0")),
    "doctor": Words(("doctor",)),
    "live": Words(("live", "--list")),
    "plugins": Words(("plugins", "list")),
    "listen": Words(
        ("listen", "make", "kit", "--design", "ab", "-o", "test"), ("test/study.json",)
    ),
}
SCRATCH = ("cache", "presets", "tmp")
"""Folders in which a command may leave files that are of use the next time."""


def prepare(folder: Path) -> None:
    """Recordings and settings for ``WORDS``, the same every time."""
    from retone.effects import MATCH_CHAIN
    from retone.process.settings_file import LevelPlan, SettingsFile

    noise = np.random.default_rng(7).normal(size=(2, 4 * RATE))
    beat = 0.05 + np.abs(np.sin(np.pi * 3 * np.arange(4 * RATE) / RATE))
    for name, row, colour in (("in.wav", 0, 0.0), ("ref.wav", 1, 0.7)):
        x = 0.1 * noise[row] * beat
        x[1:] += colour * x[:-1]
        soundfile.write(folder / name, x, RATE)
    (folder / "kit").mkdir()
    for i in range(6):
        name = folder / "kit" / f"speaker{i}"
        name.mkdir()
        soundfile.write(name / "a.wav", 0.1 * np.roll(noise[0] * beat, 999 * i), RATE)
    values = {n: float(v[0]) for n, v in MATCH_CHAIN.params.neutral(1).items()}
    values["equalizer.peak_1_gain_db"] = 3.0
    SettingsFile(MATCH_CHAIN, values, RATE, "test", level_plan=LevelPlan(1.0)).write(
        folder / "s.json"
    )
    for name in SCRATCH:
        (folder / name).mkdir()


# faults: each changes the child before the command runs, or is sent to it later


def _nothing() -> None:
    pass


def _full_disk() -> None:
    """Nothing more reaches the disk, whoever writes it."""
    import retone.files.atomic as atomic

    def full(*args: Any) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    os.fsync = full  # type: ignore[assignment]
    atomic.os.fsync = full  # type: ignore[assignment]
    os.link = full  # type: ignore[assignment]


def _file_size() -> None:
    import resource

    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (2048, 2048))


def _slow_disk() -> None:
    real = os.fsync

    def slow(handle: int) -> None:
        time.sleep(0.3)
        real(handle)

    os.fsync = slow  # type: ignore[assignment]


def _closed_streams() -> None:
    for handle in (0, 1):
        os.close(handle)


def _few_handles() -> None:
    import resource

    place = Path("/proc/self/fd")
    used = len(list(place.iterdir())) if place.is_dir() else 16
    resource.setrlimit(resource.RLIMIT_NOFILE, (used + 2, used + 2))


def _clock_jumps() -> None:
    real, jump = time.time, [0.0]

    def now() -> float:
        jump[0] = 86400.0 * random.Random(jump[0]).randint(-400, 400)
        return real() + jump[0]

    time.time = now  # type: ignore[assignment]


def _little_memory() -> None:
    import resource

    pages = int(Path("/proc/self/statm").read_text().split()[0])
    limit = pages * os.sysconf("SC_PAGE_SIZE") + (48 << 20)
    resource.setrlimit(resource.RLIMIT_AS, (limit, limit))


SIGNALS = {"kill": signal.SIGKILL, "term": signal.SIGTERM, "interrupt": signal.SIGINT}
FAULTS: dict[str, Callable[[], None]] = {
    "none": _nothing, **dict.fromkeys(SIGNALS, _nothing), "full disk": _full_disk,
    "file size limit": _file_size, "slow disk": _slow_disk, "closed streams": _closed_streams,
    "few handles": _few_handles, "clock jumps": _clock_jumps, "little memory": _little_memory,
}  # fmt: skip


def run_child(command: str, fault: str, folder: Path) -> int:
    """In the child: the command under the fault; its exit code."""
    from retone.cli.main import main

    os.chdir(folder)
    os.environ |= {
        "RETONE_PRESETS": str(folder / "presets"),
        "TMPDIR": str(folder / "tmp"),
    }  # fmt: skip
    tempfile.tempdir = str(folder / "tmp")
    out = os.open(folder / "tmp" / "stdout", os.O_CREAT | os.O_WRONLY)
    err = os.open(folder / "tmp" / "stderr", os.O_CREAT | os.O_WRONLY)
    os.dup2(out, 1)
    os.dup2(err, 2)
    os.close(out)
    os.close(err)
    faulthandler.dump_traceback_later(LIMIT_S - 10, file=os.fdopen(os.dup(2), "w"))
    FAULTS[fault]()
    sys.stdout, sys.stderr = (os.fdopen(os.dup(h), "w") if _is_open(h) else None for h in (1, 2))
    if sys.stdout is None:
        sys.stdout = open(os.devnull, "w")  # noqa: SIM115, PTH123
    try:
        return main(WORDS[command].line)
    except SystemExit as end:
        return end.code if isinstance(end.code, int) else 2
    except BaseException:
        os.write(2, traceback.format_exc().encode("utf-8", "replace"))
        return CRASHED
    finally:
        with contextlib.suppress(Exception):
            sys.stdout.flush()
            sys.stderr.flush()


def _is_open(handle: int) -> bool:
    try:
        os.fstat(handle)
    except OSError:
        return False
    return True


def snapshot(folder: Path) -> dict[str, bytes]:
    """Every file below a folder with its content, without what is in ``SCRATCH``."""
    found = {}
    for path in folder.rglob("*"):
        name = path.relative_to(folder).as_posix()
        if path.is_file() and (name.partition("/")[0] not in SCRATCH or name.startswith("presets")):
            found[name] = path.read_bytes()
    return found


def trial(command: str, fault: str, folder: Path, after_s: float = 0.3) -> Trial:
    """Run a command under a fault in a forked child, in a prepared folder."""
    before = snapshot(folder)
    wanted = set(SIGNALS.values()) - {signal.SIGKILL}
    signal.pthread_sigmask(signal.SIG_BLOCK, wanted)
    child = os.fork()
    if child == 0:
        code = CRASHED
        try:
            for which in wanted:  # as ``console`` begins
                signal.signal(which, signal.SIG_DFL)
            signal.pthread_sigmask(signal.SIG_UNBLOCK, wanted)
            code = run_child(command, fault, folder)
        finally:
            os._exit(code & 255)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, wanted)
    limit = time.monotonic() + LIMIT_S
    sent = False
    wait_s = after_s if fault in SIGNALS else 3.0 if command == "studio" else 60.0
    began = time.monotonic()
    while True:
        done, status = os.waitpid(child, os.WNOHANG)
        if done:
            break
        if not sent and time.monotonic() - began > wait_s:
            sent = True
            with contextlib.suppress(ProcessLookupError):
                os.kill(child, SIGNALS.get(fault, signal.SIGTERM))
        if time.monotonic() > limit:
            os.kill(child, signal.SIGKILL)
        time.sleep(0.002)
    after = snapshot(folder)
    code = os.waitstatus_to_exitcode(status)
    error = ""
    with contextlib.suppress(OSError):
        error = (folder / "tmp" / "stderr").read_text("utf-8", "replace")
    new = tuple(sorted(set(after) - set(before)))
    found = Trial(command, fault, code, error, new)
    found.complaints = complaints(found, before, after, folder)
    return found


def complaints(
    t: Trial, before: dict[str, bytes], after: dict[str, bytes], folder: Path
) -> list[str]:
    """What breaks the law."""
    wrong = []
    killed = t.fault == "kill" and t.code == -signal.SIGKILL
    ended = t.fault in SIGNALS and t.code == -SIGNALS[t.fault]  # before or after the command itself
    if t.code not in GOOD_CODES and not ended:
        wrong.append(f"exit code {t.code}")
    if "Timeout (" in t.error:
        wrong.append("it hangs: " + " < ".join(t.error.partition("Timeout (")[2].split("\n")[2:9]))
    if "Traceback (most" in t.error:
        wrong.append("traceback: " + t.error.strip().splitlines()[-1])
    wrong += [f"{n} was changed" for n in before if after.get(n) != before[n]]
    makes = WORDS[t.command].makes
    made = [n for n in makes if n in after]
    hidden = [n for n in t.new if any(part.startswith(".") for part in n.split("/"))]
    others = [n for n in t.new if n not in makes and n not in hidden]
    if t.command == "corpus":  # a folder of many files, complete with its manifest
        others = [n for n in others if made and not n.startswith("packed/")]
        made = makes if "packed/manifest.csv" in after else [n for n in t.new if not killed]
    if t.command == "listen":  # a folder that appears at once
        others = [n for n in others if not (made and n.startswith("test/"))]
    if t.code == 0 and len(made) != len(makes):
        wrong.append(f"exit code 0, but {sorted(set(makes) - set(made))} missing")
    if t.code not in (0, 141) and made and not (killed or t.fault in SIGNALS):
        wrong.append(f"exit code {t.code}, but {list(made)} left")
    if 0 < len(made) < len(makes):
        wrong.append(f"{list(made)} without the others")
    if hidden and not killed:
        wrong.append(f"{hidden} left")
    if others and not killed:
        wrong.append(f"{others} left")
    if not killed and t.command != "studio" and list((folder / "tmp").glob("retone*")):
        wrong.append("a temporary folder left")
    if t.command == "studio" and not killed and list((folder / "tmp").glob("*retone-studio-*")):
        wrong.append("the studio's folder left")
    return wrong


@contextlib.contextmanager
def ground() -> Iterator[Path]:
    """A prepared folder."""
    with tempfile.TemporaryDirectory(prefix="faults-") as name:
        prepare(Path(name))
        yield Path(name)


def load() -> None:
    """Import what the commands need, once, before forking."""
    from importlib import import_module

    import torch

    torch.set_num_threads(1)
    for name in IMPORTS:
        import_module(name)
    from retone import core
    from retone.estimators.reference_free import ReferenceFree

    core.functions()
    ReferenceFree().load()


def refreshed(model: Path, folder: Path) -> Path:
    """A copy of a prepared folder."""
    place = folder / "trial"
    if place.exists():
        shutil.rmtree(place)
    shutil.copytree(model, place)
    return place


def _read(path: Path | None) -> dict[str, Any]:
    """What an earlier run wrote; empty if there is none."""
    if path is not None and path.exists():
        found: dict[str, Any] = json.loads(path.read_text())
        return {"done": found["question"]["count"], **found}
    return {"done": 0, "counts": {}, "complaints": {}}


def _write(
    args: argparse.Namespace, done: int, counts: dict[str, list[int]], said: dict[str, list[str]]
) -> None:
    from retone.training.provenance import provenance

    text = json.dumps({
        "provenance": provenance(),
        "question": {"seed": args.seed, "kills": args.kills, "count": done},
        "columns": ["trials", "finished", "wrong", "hidden files left"],
        "counts": counts, "complaints": {k: v for k, v in said.items() if v},
    }, indent=1)  # fmt: skip
    part = args.output.with_suffix(".part")
    part.write_text(text + "\n")
    part.replace(args.output)


def main() -> int:
    from retone.cli.main import COMMANDS

    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--kills", type=int, default=0, help="kills at random moments instead")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument(
        "-o", "--output", type=Path, help="file for the counts (JSON); a second run goes on there"
    )
    parser.add_argument("--json", action="store_true", help="print what was wrong as JSON, last")
    parser.add_argument("--commands", nargs="+", default=list(COMMANDS))
    args = parser.parse_args()
    load()
    kept = _read(args.output)
    counts: dict[str, list[int]] = kept["counts"]
    said: dict[str, list[str]] = kept["complaints"]
    done, failed = kept["done"], sum(map(len, said.values()))
    with ground() as model, tempfile.TemporaryDirectory(prefix="faults-") as name:
        if args.kills:
            busy = list(args.commands)
            jobs = [
                (busy[i % len(busy)], list(SIGNALS)[i // len(busy) % 3]) for i in range(args.kills)
            ]
        else:
            jobs = [(c, f) for c in args.commands for f in FAULTS]
        lasts = {c: 0.0 for c, _ in jobs}
        for number, (command, fault) in enumerate(jobs):
            rng = random.Random(f"{args.seed}:{number}")
            if number < done:
                continue
            if args.kills and not lasts[command]:
                began = time.monotonic()
                trial(command, "none", refreshed(model, Path(name)))
                lasts[command] = time.monotonic() - began
            after_s = rng.uniform(0.0, 1.05 * lasts[command]) if args.kills else 0.3
            found = trial(command, fault, refreshed(model, Path(name)), after_s)
            row = counts.setdefault(f"{command:8} {fault}", [0, 0, 0, 0])
            row[0] += 1
            row[1] += found.code == 0
            row[2] += bool(found.complaints)
            row[3] += any(n.rpartition("/")[2].startswith(".") for n in found.new)
            said.setdefault(f"{command} {fault}", []).extend(found.complaints)
            if args.output:
                _write(args, number + 1, counts, said)
            for text in found.complaints:
                failed += 1
                print(f"{command} under {fault} after {after_s:.3f} s: {text}")
    print(f"{'command  fault':28}{'trials':>8}{'finished':>10}{'wrong':>7}{'hidden':>8}")
    for key, row in counts.items():
        print(f"{key:28}{row[0]:8}{row[1]:10}{row[2]:7}{row[3]:8}")
    print(f"{sum(r[0] for r in counts.values())} trials, {failed} complaints")
    if args.json:
        print(json.dumps(said))
    return 1 if failed else 0


if __name__ == "__main__":
    raise SystemExit(main())
