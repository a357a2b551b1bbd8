"""How fast the studio starts and renders changes, requested over HTTP as by its page."""

from __future__ import annotations

import http.client
import json
import random
import re
import struct
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from retone.errors import RetoneError
from retone.lab.bench.match import write_looped

WINDOW_S = 4.3
"""Length that the page requests around the playhead after a change."""


@dataclass(frozen=True)
class StudioTimes:
    """Seconds until the page, until everything is loaded, and per change (one entry a round)."""

    page_s: float
    loaded_s: float
    window_s: tuple[float, ...]
    whole_s: tuple[float, ...]
    seconds: float
    channels: int


def measure_studio(
    recording: Path,
    *,
    seconds: float,
    rounds: int,
    seed: int,
    starts: int,
    say: Callable[[str], None],
) -> StudioTimes:
    """Start a server (the last start counts), then move settings while a clip is loaded.

    Args:
        recording: repeated to ``seconds``, as stereo at its own rate.
        rounds: changes to time.
        seed: of the changes.
        starts: how often it is started; from 2 on the figure is that of a warm start.

    Raises:
        RetoneError: the server does not start or answer.
    """
    say("starting the studio")
    for _ in range(starts - 1):
        with Server():
            pass
    with Server() as server, tempfile.TemporaryDirectory(prefix="retone-bench-") as folder:
        clip = Path(folder) / "clip.wav"
        write_looped(recording, clip, seconds)
        key = server.json("POST", "/api/session")["session"]
        server.stay(key)
        say(f"a clip of {seconds:g} s")
        loaded = server.json("POST", f"/api/upload/{key}/input?name=clip.wav", clip.read_bytes())
        found = loaded["manual"]
        params = [p for s in found["stages"] for p in s["params"]]
        draw = random.Random(seed)
        window, whole = [], []
        for i in range(rounds + 1):
            setting = {p["name"]: draw.uniform(p["low"], p["high"]) for p in params}
            body = {"effect": found["effect"], "setting": setting}
            start = draw.uniform(0, seconds - WINDOW_S)
            times = {"start_s": start, "stop_s": start + WINDOW_S}
            before = time.perf_counter()
            data = server.ask("POST", f"/api/window/{key}", json.dumps({**body, **times}).encode())
            between = time.perf_counter()
            _check(data, WINDOW_S)
            data = server.ask("POST", f"/api/render/{key}", json.dumps(body).encode())
            after = time.perf_counter()
            _check(data, seconds)
            if i:  # the first one warms up
                window.append(between - before)
                whole.append(after - between)
        return StudioTimes(
            server.page_s, server.loaded_s, tuple(window), tuple(whole), seconds, 2
        )  # fmt: skip


def _check(data: bytes, seconds: float) -> None:
    size = struct.unpack("<I", data[:4])[0]
    head = json.loads(data[4 : 4 + size])
    if abs(head["frames"] / head["rate"] - seconds) > 0.01:
        raise RetoneError(f"the studio sent {head['frames']} frames for {seconds} s.")


class Server:
    """``retone studio`` as a program of its own, timed until its page answers."""

    def __enter__(self) -> Server:
        began = time.perf_counter()
        command = [sys.executable, "-m", "retone", "studio", "--no-browser", "--port", "0"]
        self._program = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        assert self._program.stdout is not None
        address = re.search(r"127\.0\.0\.1:(\d+)", self._program.stdout.readline())
        if address is None:
            self._program.wait(10)
            raise RetoneError("the studio did not start: run 'retone studio' to see why.")
        self._line = http.client.HTTPConnection("127.0.0.1", int(address[1]), timeout=120)
        self._events = http.client.HTTPConnection("127.0.0.1", int(address[1]), timeout=3600)
        self._held: http.client.HTTPResponse | None = None
        self.ask("GET", "/")
        self.page_s = time.perf_counter() - began
        self.ask("GET", "/api/offers")
        self.loaded_s = time.perf_counter() - began
        return self

    def stay(self, key: str) -> None:
        """Hold the stream of events open, as a page does: without it the session ends."""
        self._events.request("GET", f"/api/events/{key}")
        self._held = self._events.getresponse()

    def events(self) -> Iterator[dict[str, Any]]:
        """What the server tells the page, as it comes; ends with the server."""
        assert self._held is not None
        for line in self._held:
            if line.startswith(b"data: "):
                yield json.loads(line[6:])

    @property
    def pid(self) -> int:
        """The program's process."""
        return self._program.pid

    @property
    def port(self) -> int:
        """Where it listens, on this machine."""
        return self._line.port

    def __exit__(self, *error: object) -> None:
        self._program.terminate()  # first: another thread may be reading the events
        self._program.wait(30)
        if self._held is not None:
            self._held.close()
        self._events.close()
        self._line.close()
        assert self._program.stdout is not None
        self._program.stdout.close()

    def ask(self, method: str, path: str, body: bytes | None = None) -> bytes:
        self._line.request(method, path, body)
        got = self._line.getresponse()
        data = got.read()
        if got.status != 200:
            raise RetoneError(f"the studio answered {got.status} to {path}: {data[:200]!r}")
        return data

    def json(self, method: str, path: str, body: bytes | None = None) -> Any:
        return json.loads(self.ask(method, path, body))


def report(times: StudioTimes) -> str:
    """The figures as text."""

    def spread(values: Sequence[float]) -> str:
        ordered = sorted(values)
        return (
            f"{1000 * ordered[len(ordered) // 2]:.0f} ms median, {1000 * ordered[-1]:.0f} ms at "
            f"most, of {len(ordered)}"
        )

    what = f"{times.seconds:g} s, {times.channels} channels"
    return (
        f"start until the page answers            {times.page_s:.2f} s\n"
        f"start until everything is loaded        {times.loaded_s:.2f} s\n"
        f"a change until {WINDOW_S:g} s at the playhead     {spread(times.window_s)}\n"
        f"a change until the whole clip ({what}), measured again\n"
        f"                                        {spread(times.whole_s)}\n"
    )
