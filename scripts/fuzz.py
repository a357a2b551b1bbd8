"""Mutated files, weights, requests and plug-ins: each is used, or refused in a sentence.

    python scripts/fuzz.py --minutes 1             all kinds; the seed is that of the day
    python scripts/fuzz.py --seed 7 --count 20000  as many inputs in all
    python scripts/fuzz.py --replay settings:7:123 one input again, with its traceback

An input follows from kind, seed and number, so a failure is repeated by its name. A forked child
works through a batch; a crash, a hang of more than ``LIMIT_S`` or an error that is not retone's own
is a failure. ``--keep FOLDER`` keeps failing inputs; ``tests/fuzz/corpus`` holds past ones.
"""

from __future__ import annotations

import argparse
import contextlib
import datetime
import json
import os
import random
import re
import resource
import signal
import sys
import tempfile
import time
import traceback
from collections.abc import Callable
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
from fuzz_kinds import LIMIT_S, Kind, Presets, Recordings, Requests, Settings, Weights  # noqa: E402
from fuzz_more import Hosted, Listening, Lists, Plugins  # noqa: E402

BATCH = 100
MOST_MEMORY_MB = 1500


KINDS: dict[str, Callable[[], Kind]] = {
    "recording": Recordings, "settings": Settings, "preset": Presets, "weights": Weights,
    "request": Requests, "plugin": Plugins, "hosted": Hosted, "list": Lists, "listening": Listening,
}  # fmt: skip
SHARES = {
    "recording": 0.25, "settings": 0.15, "preset": 0.1, "weights": 0.08, "request": 0.15,
    "plugin": 0.12, "hosted": 0.05, "list": 0.05, "listening": 0.05,
}  # fmt: skip


def input_of(name: str, kind: Kind, seed: int, index: int) -> bytes:
    """The input of that kind, seed and number."""
    return kind.make(random.Random(f"{name}:{seed}:{index}"))


def outcome(kind: Kind, data: bytes, place: Path) -> str:
    """``used``, ``refused``, or what went wrong."""
    from retone.errors import RetoneError

    try:
        kind.use(data, place)
    except RetoneError as error:
        text = str(error)
        return (
            "refused" if text.strip() and "\n" not in text.strip() else f"a poor sentence: {text!r}"
        )
    except Exception as error:
        last = traceback.extract_tb(error.__traceback__)[-1]
        where = f"{Path(last.filename).name}:{last.lineno}"
        return f"{type(error).__name__} at {where}: {' '.join(str(error).split())[:160]}"
    return "used"


def batch(name: str, kind: Kind, seed: int, first: int, count: int, folder: Path) -> list[str]:
    """Outcomes of a batch in a forked child; a crash or hang ends it early with that outcome."""
    read, write = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(read)
        signal.signal(signal.SIGALRM, signal.SIG_DFL)
        quiet = os.open(os.devnull, os.O_WRONLY)
        os.dup2(quiet, 1)
        os.dup2(quiet, 2)
        try:
            place = folder / f"input{kind.suffix}"
            kind.prepare(place)
            for index in range(first, first + count):
                data = input_of(name, kind, seed, index)
                forget_peak()
                signal.alarm(LIMIT_S)
                found = outcome(kind, data, place)
                signal.alarm(0)
                peak_mb = peak_memory_mb()
                if peak_mb > MOST_MEMORY_MB:
                    found = f"{found}; {peak_mb:.0f} MB"
                os.write(write, (json.dumps(found) + "\n").encode())
            os._exit(0)
        finally:
            os._exit(1)
    os.close(write)
    with os.fdopen(read, "rb") as pipe:
        lines = pipe.read().splitlines()
    status = os.waitpid(child, 0)[1]
    found = [json.loads(line) for line in lines]
    if len(found) < count:
        code = os.waitstatus_to_exitcode(status)
        found.append(f"more than {LIMIT_S} s" if code == -signal.SIGALRM else f"ended with {code}")
    return found


def forget_peak() -> None:
    """Let the process's highest use of memory begin with what it uses now (Linux)."""
    with contextlib.suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5")


def peak_memory_mb() -> float:
    """The process's highest use of memory, in MB."""
    with contextlib.suppress(OSError):
        found = re.search(r"VmHWM:\s+(\d+) kB", Path("/proc/self/status").read_text())
        if found:
            return int(found[1]) / 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--minutes", type=float, default=1.0, help="how long (default: 1)")
    parser.add_argument("--count", type=int, help="how many inputs, instead of --minutes")
    day = int(datetime.date.today().strftime("%Y%m%d"))  # noqa: DTZ011
    parser.add_argument("--seed", type=int, default=day, help="default: that of the day")
    parser.add_argument("--kinds", nargs="+", choices=tuple(KINDS), default=list(KINDS))
    parser.add_argument("--keep", type=Path, help="folder for failing inputs")
    parser.add_argument("-o", "--output", type=Path, help="file for the counts (JSON)")
    parser.add_argument(
        "--replay", metavar="KIND:SEED:NUMBER", help="one input, with its traceback"
    )
    args = parser.parse_args()
    import torch

    torch.set_num_threads(1)
    if args.replay:
        name, seed, index = args.replay.split(":")
        kind = KINDS[name]()
        data = input_of(name, kind, int(seed), int(index))
        with tempfile.TemporaryDirectory() as folder:
            kind.use(data, Path(folder) / f"input{kind.suffix}")
        print("used")
        return 0
    print(f"seed {args.seed}; one again: python scripts/fuzz.py --replay KIND:{args.seed}:NUMBER")
    end = time.monotonic() + 60 * args.minutes
    counts = {name: [0, 0, 0] for name in args.kinds}
    failures: list[str] = []
    total = sum(SHARES[n] for n in args.kinds)
    wanted = {n: int((args.count or 0) * SHARES[n] / total) + 1 for n in args.kinds}
    with tempfile.TemporaryDirectory(prefix="fuzz-") as folder:
        kinds = {name: KINDS[name]() for name in args.kinds}
        for kind in kinds.values():  # what is imported on first use is imported before forking
            if not isinstance(kind, Requests):
                outcome(kind, input_of("warm", kind, 0, 0), Path(folder) / f"input{kind.suffix}")
        spent = dict.fromkeys(kinds, 0.0)
        while True:
            left = [n for n in kinds if not args.count or counts[n][0] < wanted[n]]
            if not left or (not args.count and time.monotonic() > end):
                break
            name = min(left, key=lambda n: spent[n] / SHARES[n])
            first, began = counts[name][0], time.monotonic()
            size = min(BATCH, wanted[name] - first) if args.count else BATCH // 4
            found = batch(name, kinds[name], args.seed, first, max(1, size), Path(folder))
            spent[name] += time.monotonic() - began
            for index, what in enumerate(found, start=first):
                counts[name][0] += 1
                counts[name][1] += what == "used"
                counts[name][2] += what == "refused"
                if what not in ("used", "refused"):
                    failures.append(f"{name}:{args.seed}:{index}: {what}")
                    print(failures[-1], flush=True)
                    if args.keep:
                        args.keep.mkdir(parents=True, exist_ok=True)
                        path = args.keep / f"{name}-{args.seed}-{index}{kinds[name].suffix}"
                        path.write_bytes(input_of(name, kinds[name], args.seed, index))
    print(f"{'kind':12}{'inputs':>8}{'used':>8}{'refused':>9}{'failed':>8}{'seconds':>9}")
    for name, (count, used, refused) in counts.items():
        row = f"{name:12}{count:8}{used:8}{refused:9}{count - used - refused:8}{spent[name]:9.0f}"
        print(row)
    total_count = sum(c[0] for c in counts.values())
    print(f"{total_count} inputs, {len(failures)} failures")
    if args.output:
        from retone.training.provenance import provenance

        found = {
            n: {
                "inputs": c,
                "used": u,
                "refused": r,
                "failed": c - u - r,
                "seconds": round(spent[n]),
            }
            for n, (c, u, r) in counts.items()
        }
        args.output.write_text(json.dumps({
            "provenance": provenance(),
            "question": {"seed": args.seed, "count": total_count, "limit_s": LIMIT_S,
                         "limit_mb": MOST_MEMORY_MB},
            "kinds": found, "failures": failures,
        }, indent=1) + "\n")  # fmt: skip
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
