"""A server in this process and a plain HTTP client, as a page would talk to it."""

from __future__ import annotations

import contextlib
import http.client
import json
import socket
import struct
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from retone.studio.access import Access
from retone.studio.limits import Limits
from retone.studio.serve import config_of
from retone.studio.server import Studio


@dataclass
class Answer:
    """Status, headers, body."""

    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def error(self) -> str:
        return str(self.json["error"])

    def sound(self) -> tuple[dict[str, Any], np.ndarray]:
        """Head and samples [C, T] of a packed answer."""
        size = struct.unpack("<I", self.body[:4])[0]
        head = json.loads(self.body[4 : 4 + size])
        samples = np.frombuffer(self.body, np.float32, offset=4 + size)
        return head, samples.reshape(head["channels"], head["frames"])


@dataclass
class Server:
    """A running studio."""

    studio: Studio
    port: int
    token: str | None = None
    pages: list[Page] = field(default_factory=list)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/"

    @property
    def folder(self) -> Path:
        return self.studio.state.scratch.folder

    def ask(self, method: str, path: str, body: Any = None, **headers: str) -> Answer:
        """One request; a dict becomes JSON, an iterator a chunked body."""
        line = http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)
        sent = {"Host": f"127.0.0.1:{self.port}", **headers}
        if self.token and "Authorization" not in sent:
            sent["Authorization"] = f"Bearer {self.token}"
        if isinstance(body, dict):
            body = json.dumps(body).encode()
        try:
            line.request(method, path, body, sent)
            got = line.getresponse()
            return Answer(got.status, {k.lower(): v for k, v in got.getheaders()}, got.read())
        finally:
            line.close()

    def files(self) -> list[Path]:
        """What lies in the server's folder, without its lock."""
        return [p for p in self.folder.rglob("*") if p.is_file() and p.name != "lock"]


@dataclass
class Page:
    """One open page: a session with its stream of events."""

    server: Server
    key: str = ""
    events: list[dict[str, Any]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.key = self.server.ask("POST", "/api/session").json["session"]
        self._line = socket.create_connection(("127.0.0.1", self.server.port))
        token = f"Authorization: Bearer {self.server.token}\r\n" if self.server.token else ""
        request = f"GET /api/events/{self.key} HTTP/1.1\r\nHost: 127.0.0.1\r\n{token}\r\n"
        self._line.sendall(request.encode())
        self._thread = threading.Thread(target=self._listen, daemon=True)
        self._thread.start()
        self.server.pages.append(self)

    def _listen(self) -> None:
        text = b""
        try:
            while more := self._line.recv(65536):
                text += more
                *lines, text = text.split(b"\n")
                self.events += [json.loads(x[6:]) for x in lines if x.startswith(b"data: ")]
        except OSError:
            pass

    def vanish(self) -> None:
        """Lose the connection, as a killed browser does."""
        with contextlib.suppress(OSError):
            self._line.shutdown(socket.SHUT_RDWR)
        self._thread.join(5)
        self._line.close()

    def post(self, what: str, body: Any = None, *more: object, **headers: str) -> Answer:
        path = "/".join(["/api", what, self.key, *map(str, more)])
        return self.server.ask("POST", path, {} if body is None else body, **headers)

    def get(self, what: str, name: object) -> Answer:
        return self.server.ask("GET", f"/api/{what}/{self.key}/{name}")

    def upload(self, data: Any, name: str = "voice.wav", role: str = "input", **h: str) -> Answer:
        from urllib.parse import quote

        path = f"/api/upload/{self.key}/{role}?name={quote(name, safe='')}"
        return self.server.ask("POST", path, data, **h)

    def end_of(self, job: int, timeout_s: float = 60.0) -> dict[str, Any]:
        """The last event of a job."""

        def ended() -> dict[str, Any] | None:
            for e in self.events:
                if e.get("job") == job and e["state"] in ("done", "failed", "cancelled"):
                    return e
            return None

        return wait_for(ended, timeout_s)


def wait_for(what: Any, timeout_s: float = 20.0) -> Any:
    """Wait until a callable gives something true."""
    end = time.monotonic() + timeout_s
    while time.monotonic() < end:
        if found := what():
            return found
        time.sleep(0.02)
    raise AssertionError("waited in vain")


@contextmanager
def running(
    parent: Path,
    *,
    token: str | None = None,
    access: Access | None = None,
    hosts: tuple[str, ...] = (),
    log: Any = None,
    **limits: Any,
) -> Iterator[Server]:
    """A server on a free port; gone at the end."""
    import uvicorn

    studio = Studio(
        token=token, limits=Limits(**limits), parent=parent, access=access, hosts=hosts, log=log
    )
    config = config_of(studio)
    config.timeout_graceful_shutdown = 1
    server = uvicorn.Server(config)
    listener = socket.socket()
    listener.bind(("127.0.0.1", 0))
    listener.listen(128)
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]}, daemon=True)
    thread.start()
    wait_for(lambda: server.started, 60)
    studio.state.warm_up.result(300)
    found = Server(studio, listener.getsockname()[1], token)
    try:
        yield found
    finally:
        server.should_exit = True
        for page in found.pages:
            page.vanish()
        thread.join(60)
        listener.close()
        assert not thread.is_alive(), "the server does not end"


def wav(samples: np.ndarray, rate: int) -> bytes:
    """[C, T] as the bytes of a WAV."""
    import io

    import soundfile

    out = io.BytesIO()
    soundfile.write(out, samples.T, rate, format="WAV", subtype="FLOAT")
    return out.getvalue()
