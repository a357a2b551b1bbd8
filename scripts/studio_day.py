"""A day of a studio's use in minutes: uploads, jobs, cancels, reconnections, bad clients.

    python scripts/studio_day.py --hours 24            the curves, as a table
    python scripts/studio_day.py --hours 24 -o FILE    and as JSON

Starts ``retone studio`` as a process of its own. People come and go: each opens a page, uploads,
matches, listens, moves sliders, exports, saves, cancels, loses the connection, or leaves. They do
not wait as people do, so a day takes minutes: it has passed when everybody has done as much as
with one action a minute. One page stays open and idle all day, and must have lost nothing. Beside
them idle and slow clients hold connections. The server's memory, open files, disk and first answers
are measured throughout. In the end everybody has left: files must be gone, and memory back near
where the warm server was.
"""

from __future__ import annotations

import argparse
import contextlib
import http.client
import json
import os
import random
import re
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import soundfile

RATE = 16000
SERVED_S = 1.0


@dataclass
class Day:
    """The server, and what is counted."""

    process: subprocess.Popen[str]
    port: int
    folder: Path
    end: float
    wanted: int
    actions: int = 0
    counts: dict[str, int] = field(default_factory=dict)
    bad: list[str] = field(default_factory=list)
    served: list[float] = field(default_factory=list)
    recent_s: float = 0.0
    lines_made: int = 0
    most_lines: int = 0

    @property
    def slowest_s(self) -> float:
        """The slowest first answer."""
        return max(self.served, default=0.0)

    @property
    def over(self) -> bool:
        """Everybody has done enough, or the time is up."""
        return self.actions >= self.wanted or time.monotonic() > self.end

    def count(self, what: str) -> None:
        self.counts[what] = self.counts.get(what, 0) + 1

    def ask(
        self, method: str, path: str, body: bytes | dict[str, Any] | None = None
    ) -> tuple[int, bytes]:
        line = http.client.HTTPConnection("127.0.0.1", self.port, timeout=300)
        try:
            data = json.dumps(body).encode() if isinstance(body, dict) else body
            line.request(method, path, data)
            answer = line.getresponse()
            found = answer.status, answer.read()
        finally:
            line.close()
        if found[0] >= 500 and found[0] not in (503, 507):
            self.bad.append(f"{method} {path.split('?')[0]}: {found[0]}")
        self.count(f"answers {found[0]}")
        self.actions += path != "/"
        return found


def sound(rng: random.Random, folder: Path) -> bytes:
    """Two to six seconds of something, in some format."""
    seconds = rng.uniform(2, 6)
    x = np.random.default_rng(rng.randrange(1 << 30)).normal(
        size=(int(seconds * RATE), rng.choice((1, 2)))
    )
    x *= 0.1 * (0.1 + np.abs(np.sin(3 * np.arange(len(x)) / RATE)))[:, None]
    path = folder / f"{threading.get_ident()}.{rng.choice(('wav', 'flac', 'ogg'))}"
    soundfile.write(path, x, RATE)
    data = path.read_bytes()
    path.unlink()
    return data


class Page:
    """One open page with its stream of events."""

    def __init__(self, day: Day) -> None:
        self.day = day
        status, body = day.ask("POST", "/api/session", {})
        self.key = json.loads(body)["session"] if status == 200 else ""
        self.events: dict[int, str] = {}
        self.line: socket.socket | None = None
        if self.key:
            self.connect()

    def connect(self) -> None:
        self.line = socket.create_connection(("127.0.0.1", self.day.port), timeout=60)
        self.line.sendall(
            f"GET /api/events/{self.key} HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n".encode()
        )
        threading.Thread(target=self._listen, args=(self.line,), daemon=True).start()

    def _listen(self, line: socket.socket) -> None:
        text = b""
        try:
            while more := line.recv(65536):
                *lines, text = (text + more).split(b"\n")
                for one in lines:
                    if one.startswith(b"data: "):
                        event = json.loads(one[6:])
                        if "job" in event:
                            self.events[event["job"]] = event["state"]
        except (OSError, ValueError):
            pass

    def lose(self) -> None:
        if self.line is not None:
            self.line.close()
            self.line = None

    def wait(self, job: int) -> str:
        end = time.monotonic() + 90
        while time.monotonic() < end:
            state = self.events.get(job, "")
            if state in ("done", "failed", "cancelled"):
                return state
            time.sleep(0.05)
        return "lost"


def person(day: Day, rng: random.Random) -> None:
    """One visit."""
    page = Page(day)
    if not page.key:
        day.count("turned away")
        return
    key = page.key
    status, body = day.ask("POST", f"/api/upload/{key}/input?name=a.wav", sound(rng, day.folder))
    if status != 200:
        page.lose()
        return
    day.count("uploads")
    effect = json.loads(body)["manual"]["effect"]
    if rng.random() < 0.7:
        day.ask("POST", f"/api/upload/{key}/reference?name=b.wav", sound(rng, day.folder))
        kind = "match"
    else:
        kind = rng.choice(("preset", "enhance"))
    state = {"effect": effect, "setting": {"equalizer.peak_1_gain_db": rng.uniform(-12, 12)}}
    for _ in range(rng.randrange(1, 5)):
        match rng.randrange(7):
            case 0 | 1:
                status, body = day.ask("POST", f"/api/job/{key}/{kind}", {"preset": "warm"})
                if status == 200:
                    job = json.loads(body)["job"]
                    if rng.random() < 0.3:
                        time.sleep(rng.uniform(0, 0.5))
                        day.ask("POST", f"/api/cancel/{key}/{job}")
                        day.count("cancels")
                    day.count(f"jobs {page.wait(job)}")
            case 2:
                day.ask("POST", f"/api/render/{key}", state)
            case 3:
                day.ask("POST", f"/api/window/{key}", {**state, "start_s": 0, "stop_s": 2})
            case 4:
                status, body = day.ask("POST", f"/api/job/{key}/save", state)
                if status == 200:
                    day.count(f"saves {page.wait(json.loads(body)['job'])}")
            case 5:
                day.ask("POST", f"/api/export/{key}/sox", state)
            case _:
                page.lose()
                time.sleep(rng.uniform(0, 1))
                page.connect()
                day.count("reconnections")
        time.sleep(rng.expovariate(4))
    if rng.random() < 0.7:
        day.ask("POST", f"/api/leave/{key}")
    page.lose()


def idle_page(day: Day) -> None:
    """A page that is opened in the morning, left alone, and used again in the evening."""
    page = Page(day)
    data = sound(random.Random(0), day.folder)
    status, body = day.ask("POST", f"/api/upload/{page.key}/input?name=idle.wav", data)
    found = json.loads(body)["manual"]
    before = day.ask("GET", f"/api/sound/{page.key}/input")
    while not day.over:
        time.sleep(0.2)
    state = {"effect": found["effect"], "setting": {}}
    status, _ = day.ask("POST", f"/api/render/{page.key}", state)
    if status != 200 or day.ask("GET", f"/api/sound/{page.key}/input") != before:
        day.bad.append(f"the page that stayed open has lost something ({status})")
    day.count("idle pages kept")
    page.lose()


def people(day: Day, seed: int) -> None:
    """Visits one after another, until the day ends."""
    rng = random.Random(seed)
    while not day.over:
        try:
            person(day, rng)
        except (OSError, http.client.HTTPException) as error:
            day.bad.append(f"a visit ended: {type(error).__name__} {error}")
        time.sleep(rng.expovariate(2))


def bad_clients(day: Day, idle: int, slow: int) -> None:
    """Idle connections, and headers that arrive byte by byte, all day."""
    lines: list[socket.socket] = []
    while not day.over:
        while len(lines) < idle + slow:
            try:
                lines.append(socket.create_connection(("127.0.0.1", day.port), timeout=5))
                day.lines_made += 1
            except OSError:
                break
        day.most_lines = max(day.most_lines, len(lines))
        for i, line in enumerate(lines[:]):
            try:
                if i < slow:
                    line.sendall(b"X")
                line.setblocking(False)
                if line.recv(1) == b"":
                    raise OSError
            except BlockingIOError:
                continue
            except OSError:
                line.close()
                lines.remove(line)
        time.sleep(0.5)
    for line in lines:
        line.close()


def measured(day: Day) -> dict[str, float]:
    """Memory in MB, handles, and disk in MB of the server now, and the time of a first answer."""
    pid = day.process.pid
    pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    disk = 0
    for place, _, names in os.walk(day.folder):
        for file in names:
            with contextlib.suppress(OSError):  # it has just gone
                disk += (Path(place) / file).stat().st_size if "retone-studio-" in place else 0
    recent, day.recent_s = day.recent_s, 0.0
    return {
        "memory_mb": pages * os.sysconf("SC_PAGE_SIZE") / 1e6,
        "handles": len(list(Path(f"/proc/{pid}/fd").iterdir())),
        "disk_mb": disk / 1e6,
        "served_s": recent,
    }


def first_answers(day: Day) -> None:
    """Ask for the page again and again, as somebody who has just come would."""
    while not day.over:
        began = time.monotonic()
        try:
            day.ask("GET", "/")
        except (OSError, http.client.HTTPException) as error:
            day.bad.append(f"no page: {error}")
        took = time.monotonic() - began
        day.served.append(took)
        day.recent_s = max(day.recent_s, took)
        time.sleep(0.25)


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument(
        "--hours", type=float, default=24.0, help="of use, at one action a minute (default: 24)"
    )
    parser.add_argument(
        "--minutes", type=float, default=15.0, help="longest time to take (default: 15)"
    )
    parser.add_argument("--people", type=int, default=4, help="how many at once (default: 4)")
    parser.add_argument("--idle", type=int, default=300, help="idle connections (default: 300)")
    parser.add_argument("--slow", type=int, default=50, help="slow connections (default: 50)")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("-o", "--output", type=Path, help="file for curves and counts (JSON)")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="day-") as name:
        folder = Path(name)
        command = [sys.executable, "-m", "retone", "studio", "--no-browser", "--port", "0"]
        errors = (folder / "stderr").open("w+")
        process = subprocess.Popen(
            command,
            stdout=subprocess.PIPE,
            stderr=errors,
            text=True,
            env={**os.environ, "TMPDIR": name},
        )
        assert process.stdout is not None
        found = re.search(r":(\d+)/", process.stdout.readline())
        assert found, "the studio did not start"
        wanted = round(60 * args.hours * args.people)
        day = Day(process, int(found[1]), folder, time.monotonic() + 60 * args.minutes, wanted)
        day.ask("GET", "/api/offers")
        rows = [measured(day)]
        threads = [
            threading.Thread(target=people, args=(day, args.seed + i)) for i in range(args.people)
        ]
        threads.append(threading.Thread(target=bad_clients, args=(day, args.idle, args.slow)))
        threads += [threading.Thread(target=w, args=(day,)) for w in (first_answers, idle_page)]
        for t in threads:
            t.start()
        began, load = time.monotonic(), [os.getloadavg()[0]]
        while any(t.is_alive() for t in threads):
            time.sleep(2.0)
            rows.append(measured(day))
        time.sleep(20)  # the grace of pages that were not closed
        rows.append(measured(day))
        load.append(os.getloadavg()[0])
        process.send_signal(signal.SIGTERM)
        code = process.wait(30)
        left = list(folder.glob("*retone-studio-*"))
        errors.seek(0)
        log = errors.read()
        errors.close()
    print(f"{'of the day':>10}{'memory MB':>11}{'handles':>9}{'disk MB':>9}{'served s':>10}")
    step = max(1, len(rows) // 20)
    for i, row in enumerate(rows):
        if i % step == 0 or i >= len(rows) - 2:
            share = args.hours * i / max(1, len(rows) - 1)
            print(f"{share:9.1f}h{row['memory_mb']:11.0f}{row['handles']:9.0f}{row['disk_mb']:9.1f}"
                  f"{row['served_s']:10.3f}")  # fmt: skip
    seconds = time.monotonic() - began
    for what in sorted(day.counts):
        print(f"{what:24}{day.counts[what]:7}")
    tracebacks = log.count("Traceback")
    hours = day.actions / 60 / args.people
    print(
        f"{day.actions} actions of {args.people} people, as in {hours:.1f} h with one a minute, in "
        f"{seconds:.0f} s, exit code {code}, slowest first answer "
        f"{day.slowest_s:.3f} s, {tracebacks} tracebacks, {len(left)} folders left, "
        f"{len(day.bad)} complaints"
    )
    for text in day.bad[:20]:
        print(text)
    if args.output:
        from retone.training.provenance import provenance

        every = max(1, len(rows) // 200)
        kept = rows[::every] + rows[-1:]
        args.output.write_text(json.dumps({
            "provenance": provenance(),
            "question": {"seed": args.seed, "hours": args.hours, "people": args.people,
                         "idle": args.idle, "slow": args.slow, "counts": day.actions},
            "hours_of_use": round(hours, 2), "took_s": round(seconds, 1),
            "load_of_the_machine": [round(v, 1) for v in load],
            "counts": dict(sorted(day.counts.items())),
            "first_answers": len(day.served), "slowest_first_answer_s": round(day.slowest_s, 3),
            "served_within_s": {q: round(float(np.quantile(day.served, float(q))), 3)
                                for q in ("0.5", "0.99")},
            "clients_held": {"idle": args.idle, "slow": args.slow, "most_at_once": day.most_lines,
                             "made": day.lines_made},
            "exit_code": code, "tracebacks": tracebacks, "folders_left": len(left),
            "complaints": day.bad[:20],
            "curves": {k: [round(r[k], 4) for r in kept] for k in rows[0]},
        }, indent=1) + "\n")  # fmt: skip
    fine = not (day.bad or tracebacks or left) and code == 0 and rows[-1]["disk_mb"] == 0
    return 0 if fine and day.slowest_s < SERVED_S and day.actions >= wanted else 1


if __name__ == "__main__":
    raise SystemExit(main())
