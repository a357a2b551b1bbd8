"""A long recording in the studio: from the first byte sent to the last one of the download.

The server is asked over HTTP as its page asks it; what it tells the page is timed as it comes.
"""

from __future__ import annotations

import contextlib
import http.client
import json
import queue
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from retone.audio import AtomicWriter, open_reader
from retone.audio.decoders import stated_seconds
from retone.errors import RetoneError
from retone.lab.bench.match import write_looped
from retone.lab.bench.studio import Server
from retone.training.provenance import provenance

PATIENCE_S = 3600.0
PIECE = 1 << 20
ROWS = {
    "file_bytes": "size", "sent_s": "upload", "first_wave_s": "first part of the waveform",
    "read_s": "whole waveform", "match_s": "match", "save_s": "render, settings and report",
    "download_s": "download", "download_bytes": "size of the download",
    "match_to_file_s": "from Match to the last byte", "server_peak_bytes": "memory of the server",
}  # fmt: skip
"""Key of a measurement -> what it is."""


def measure_long(
    recording: Path,
    reference: Path,
    *,
    minutes: float,
    formats: Sequence[str],
    say: Callable[[str], None],
) -> dict[str, Any]:
    """Match a long recording in each format, and download the result.

    Args:
        recording: repeated to ``minutes``, as stereo at its own rate.
        reference: what it is matched to.
        formats: endings of files, such as ``flac``.

    Raises:
        RetoneError: the server refuses something, or does not answer.
    """
    files: dict[str, Any] = {}
    with tempfile.TemporaryDirectory(prefix="retone-bench-") as folder:
        whole = Path(folder) / "talk.wav"
        write_looped(recording, whole, 60 * minutes)
        for ending in formats:
            say(f"{ending}, {minutes:g} minutes")
            files[ending] = _measured(_in_format(whole, ending), reference, say)
    question = {"minutes": minutes, "formats": list(formats), "files": len(formats), "seed": 0}
    return {"question": question, "provenance": provenance(), "files": files}


def _in_format(whole: Path, ending: str) -> Path:
    path = whole.with_suffix(f".{ending}")
    if path != whole:
        with open_reader(whole) as reader, AtomicWriter(path, like=reader.info) as writer:
            for block in reader.blocks():
                writer.write(block)
    return path


class _Ears:
    """What the server tells the page, with the time of each event."""

    def __init__(self, server: Server) -> None:
        self.events: queue.Queue[tuple[float, dict[str, Any]]] = queue.Queue()
        threading.Thread(target=self._listen, args=(server,), daemon=True).start()

    def _listen(self, server: Server) -> None:
        try:
            for event in server.events():
                self.events.put((time.monotonic(), event))
        except (OSError, ValueError, AttributeError):
            pass  # the server has ended

    def end_of(self, job: int) -> dict[str, Any]:
        """The last event of a job.

        Raises:
            RetoneError: it failed.
        """
        while True:
            _, event = self.events.get(timeout=PATIENCE_S)
            if event.get("job") == job and event["state"] in ("done", "failed", "cancelled"):
                if event["state"] != "done":
                    raise RetoneError(f"the studio's job {event['state']}: {event.get('message')}")
                result: dict[str, Any] = event["result"]
                return result

    def first_wave(self) -> float | None:
        """When the first part of a waveform came; None if none did."""
        while not self.events.empty():
            at, event = self.events.get()
            if event["type"] == "reading":
                return at
        return None


def _measured(path: Path, reference: Path, say: Callable[[str], None]) -> dict[str, Any]:
    with Server() as server:
        key = server.json("POST", "/api/session")["session"]
        server.stay(key)
        ears = _Ears(server)
        begun = time.monotonic()
        sent, found = _upload(server, key, path)
        read = time.monotonic()
        wave = ears.first_wave() or read
        times = {"sent_s": sent - begun, "first_wave_s": wave - sent, "read_s": read - sent}
        data = reference.read_bytes()
        address = f"/api/upload/{key}/reference?turn=2&name={reference.name}"
        with _asked(server, "POST", address, data, len(data)) as line:
            line.getresponse().read()
        say(f"  read in {times['read_s']:.0f} s")
        begun = time.monotonic()
        matched = _job(server, ears, key, "match", {})
        times["match_s"] = time.monotonic() - begun
        asked = {k: matched[k] for k in ("effect", "setting")}
        at = time.monotonic()
        saved = _job(server, ears, key, "save", {**asked, "loudness": "match", "amount": 1.0})
        times["save_s"] = time.monotonic() - at
        at = time.monotonic()
        got = path.with_name(f"got{path.suffix}")
        _download(server, f"/api/download/{key}/{saved['downloads']['audio']}", got)
        now = time.monotonic()
        times |= {"download_s": now - at, "match_to_file_s": now - begun}
        _check_length(got, found["seconds"])
        sizes = {"file_bytes": path.stat().st_size, "download_bytes": got.stat().st_size}
        got.unlink()
        return (
            sizes
            | {k: round(v, 2) for k, v in times.items()}
            | {"server_peak_bytes": _peak_bytes(server.pid)}
        )


def _upload(server: Server, key: str, path: Path) -> tuple[float, dict[str, Any]]:
    """Send a file as the input: when its last byte was sent, and the answer."""
    address = f"/api/upload/{key}/input?turn=1&name={path.name}"
    with path.open("rb") as file, _asked(server, "POST", address, file, path.stat().st_size) as got:
        sent = time.monotonic()
        answer = got.getresponse()
        found: dict[str, Any] = json.loads(answer.read())
    if answer.status != 200:
        raise RetoneError(f"the studio refused {path.name}: {found}")
    return sent, found


def _job(
    server: Server, ears: _Ears, key: str, kind: str, body: Mapping[str, Any]
) -> dict[str, Any]:
    text = json.dumps(body).encode()
    with _asked(server, "POST", f"/api/job/{key}/{kind}", text, len(text)) as line:
        found = json.loads(line.getresponse().read())
    if "job" not in found:
        raise RetoneError(f"the studio refused the job '{kind}': {found}")
    return ears.end_of(found["job"])


def _download(server: Server, address: str, path: Path) -> None:
    with _asked(server, "GET", address) as line, path.open("wb") as file:
        answer = line.getresponse()
        while data := answer.read(PIECE):
            file.write(data)


@contextlib.contextmanager
def _asked(
    server: Server, method: str, address: str, body: Any = None, size: int = 0
) -> Iterator[http.client.HTTPConnection]:
    """A connection of its own with a request that was sent: an older one may have been idle."""
    line = http.client.HTTPConnection("127.0.0.1", server.port, timeout=PATIENCE_S, blocksize=PIECE)
    try:
        line.request(method, address, body, {"Content-Length": str(size)} if body else {})
        yield line
    finally:
        line.close()


def _check_length(path: Path, seconds: float) -> None:
    length = stated_seconds(path)
    if abs(length - seconds) > 0.1:
        raise RetoneError(f"the download lasts {length:.2f} s; expected {seconds:.2f} s.")


def _peak_bytes(pid: int) -> int | None:
    """Most memory that a process has held; None where the system does not tell."""
    try:
        text = Path(f"/proc/{pid}/status").read_text(encoding="ascii")
    except OSError:
        return None
    return next(1024 * int(x.split()[1]) for x in text.splitlines() if x.startswith("VmHWM"))


def text(found: Mapping[str, Any]) -> str:
    """What was measured as a Markdown table."""
    files = found["files"]
    lines = ["| | " + " | ".join(files) + " |", "|---|" + "---|" * len(files)]
    for key, what in ROWS.items():
        cells = (_shown(key, one[key]) for one in files.values())
        lines.append(f"| {what} | " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"


def _shown(key: str, value: float | None) -> str:
    if value is None:
        return "-"
    return f"{value / 1e6:.0f} MB" if key.endswith("_bytes") else f"{value:.1f} s"
