"""Damaged recordings through the decoders, in a process with limits of memory and time."""

from __future__ import annotations

import contextlib
import random
import resource
import select
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

LIMIT_S = 20
_MEMORY_BYTES = 3 << 30
_MOST_BYTES = 400_000
_SIZES = (b"\xff" * 4, bytes(4), b"\x7f\xff\xff\xff", b"\x80\0\0\0")


def work() -> None:
    """Read the files that standard input names; print what became of each."""
    from retone.audio import open_reader
    from retone.errors import RetoneError

    resource.setrlimit(resource.RLIMIT_AS, (_MEMORY_BYTES, _MEMORY_BYTES))
    for line in sys.stdin:
        started = time.monotonic()
        try:
            with open_reader(line.rstrip("\n")) as reader:
                frames = sum(block.shape[1] for block in reader.blocks())
                kind = "read" if frames == reader.info.frames else "tracebacks"
        except RetoneError:
            kind = "refused"
        except BaseException:
            kind = "tracebacks"
        most = _peak_mb()
        print(kind, f"{time.monotonic() - started:.2f}", most, flush=True)


def _peak_mb() -> int:
    """Peak memory of this process; the usage that the system keeps for it also counts what its
    parent held when it was started."""
    try:
        status = Path("/proc/self/status").read_text(encoding="ascii")
        return int(status.split("VmHWM:")[1].split()[0]) // 1024
    except (OSError, IndexError, ValueError):
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024


def _worker() -> subprocess.Popen[str]:
    code = "from retone.lab.evaluate.mutated import work; work()"
    return subprocess.Popen(
        [sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL, text=True,
    )  # fmt: skip


def _end(worker: subprocess.Popen[str]) -> None:
    """Close a worker's pipes and wait for its end."""
    for pipe in (worker.stdin, worker.stdout):
        if pipe is not None:
            with contextlib.suppress(OSError):
                pipe.close()
    worker.wait()


def damaged(data: bytes, other: bytes, rng: random.Random) -> bytes:
    """A file with bytes changed, sizes falsified, parts cut out, put in or cut off."""
    out = bytearray(data)
    if len(out) > 60_000 and rng.random() < 0.6:
        out = out[: rng.randrange(2000, 60_000)]
    how = rng.random()
    if how < 0.5:
        for _ in range(rng.choice([1, 3, 10, 40])):
            out[rng.randrange(min(len(out), rng.choice([64, 600, 4000, len(out)])))] = (
                rng.randrange(256)
            )
    elif how < 0.65:
        for _ in range(3):
            at = rng.randrange(len(out))
            out[at : at + 4] = rng.choice(
                [b"\xff" * 4, bytes(4), b"\x7f\xff\xff\xff", b"\x80\0\0\0"]
            )
    elif how < 0.8:
        at = rng.randrange(len(out))
        del out[at : at + rng.randrange(1, 5000)]
    elif how < 0.9:
        at, start = rng.randrange(len(out)), rng.randrange(len(other))
        out[at:at] = other[start : start + rng.randrange(1, 3000)]
    else:
        out = out[: rng.randrange(1, max(len(out), 2))]
    return bytes(out)


def run(files: Sequence[Path], count: int, folder: Path, seed: int = 0) -> dict[str, Any]:
    """Damage files and read them.

    Args:
        files: recordings to damage.
        count: how many damaged files to read.
        folder: for the damaged file; one that crashes or hangs stays there.
        seed: of the damage.
    """
    rng = random.Random(seed)
    data = {f: f.read_bytes()[:_MOST_BYTES] for f in files}
    names = ("read", "refused", "tracebacks", "crashed", "hung")
    tally: dict[str, Any] = dict.fromkeys(names, 0)
    slowest, most = 0.0, 0
    worker = _worker()
    for i in range(count):
        source = rng.choice(list(files))
        path = folder / f"mutated{source.suffix}"
        path.write_bytes(damaged(data[source], data[rng.choice(list(files))], rng))
        assert worker.stdin and worker.stdout
        worker.stdin.write(f"{path}\n")
        worker.stdin.flush()
        ready, _, _ = select.select([worker.stdout], [], [], LIMIT_S)
        line = worker.stdout.readline() if ready else ""
        if not line:
            tally["crashed" if ready else "hung"] += 1
            path.rename(folder / f"kept{i}{source.suffix}")
            worker.kill()
            _end(worker)
            worker = _worker()
            continue
        kind, seconds, megabytes = line.split()
        tally[kind] += 1
        if kind == "tracebacks":
            path.rename(folder / f"kept{i}{source.suffix}")
        slowest, most = max(slowest, float(seconds)), max(most, int(megabytes))
    _end(worker)
    return {"files": count, **tally, "slowest_s": slowest, "most_mb": most, "limit_s": LIMIT_S}
