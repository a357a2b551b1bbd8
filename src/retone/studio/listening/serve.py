"""A server on this machine for one listening test: the page's files, and a place for results."""

from __future__ import annotations

import contextlib
import json
import threading
import webbrowser
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib import resources
from pathlib import Path
from typing import Any

from retone.errors import DataError, SettingError
from retone.studio.listening.prepare import PAGE, read_study
from retone.studio.listening.results import MOST_BYTES, store

WAIT_S = 30.0
"""How long a client may take to send a part of its request."""
POLICY = (
    "default-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; "
    "media-src 'self' blob:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
TYPES = {
    "": "text/html",
    ".html": "text/html",
    ".js": "text/javascript",
    ".css": "text/css",
    ".flac": "audio/flac",
}


def server_of(folder: Path, port: int = 0) -> ThreadingHTTPServer:
    """A server that is bound to this machine but not yet running.

    Args:
        folder: a prepared test.
        port: 0 for any free port.

    Raises:
        DataError: the folder holds no test.
        SettingError: the port is taken.
    """
    study = read_study(folder)
    script = f"const STUDY = {json.dumps({**study, 'collect': True})};\n".encode()
    own = resources.files("retone.studio.listening") / "page"
    pages = {f"/{name}": (own / name).read_bytes() for name in PAGE} | {"/study.js": script}
    pages["/"] = pages["/index.html"]
    sounds = {f"/sounds/{p.name}": p for p in sorted((folder / "sounds").glob("*.flac"))}

    class Handler(BaseHTTPRequestHandler):
        """Files from a table: no path from a request is opened."""

        timeout = WAIT_S

        def log_message(self, format: str, *args: Any) -> None:
            """Say nothing."""

        def _own(self) -> bool:
            name = (self.headers.get("Host") or "").rpartition(":")[0]
            if name in ("127.0.0.1", "localhost", "[::1]"):
                return True
            self._send(403, b"This server answers this machine only.", "text/plain")
            return False

        def _send(self, status: int, content: bytes, kind: str) -> None:
            self.send_response(status)
            charset = "" if kind.startswith("audio/") else "; charset=utf-8"
            self.send_header("Content-Type", kind + charset)
            self.send_header("Content-Length", str(len(content)))
            self.send_header("X-Content-Type-Options", "nosniff")
            self.send_header("Cache-Control", "no-cache")
            self.send_header("Content-Security-Policy", POLICY)
            self.end_headers()
            self.wfile.write(content)

        def do_GET(self) -> None:  # noqa: N802
            if not self._own():
                return
            address = self.path.partition("?")[0]
            if address in pages:
                suffix = "" if address == "/" else Path(address).suffix
                self._send(200, pages[address], TYPES[suffix])
            elif address in sounds:
                self._send(200, sounds[address].read_bytes(), TYPES[".flac"])
            else:
                self._send(404, b"There is no such file.", "text/plain")

        def do_POST(self) -> None:  # noqa: N802
            if not self._own():
                return
            site = self.headers.get("Sec-Fetch-Site")
            size = self.headers.get("Content-Length") or ""
            kind = (self.headers.get("Content-Type") or "").partition(";")[0]
            if self.path != "/results" or site not in (None, "same-origin"):
                self._send(404, b"There is no such address.", "text/plain")
            elif kind != "application/json" or small_number(size) not in range(MOST_BYTES + 1):
                self._send(413, b"The results are larger than a page sends.", "text/plain")
            else:
                try:
                    store(folder, self.rfile.read(small_number(size) or 0), study)
                    self._send(200, b"{}", "application/json")
                except DataError as error:
                    self._send(422, str(error).encode(), "text/plain")
                except OSError as error:  # a client that does not send, or a full disk
                    self._send(507, f"Not stored ({error.strerror}).".encode(), "text/plain")

    try:
        return ThreadingHTTPServer(("127.0.0.1", port), Handler)
    except OSError as error:
        reason = error.strerror or str(error)
        raise SettingError(
            f"cannot listen on port {port}: {reason}. Try another port, or none."
        ) from None


def small_number(text: str) -> int | None:
    """A whole number of a few digits; None if it is anything else."""
    return int(text) if text.isascii() and text.isdecimal() and len(text) < 10 else None


def serve(folder: Path, *, port: int, browser: bool) -> None:
    """Hold a test on this machine until it is interrupted; results go to ``folder/results``.

    Raises:
        DataError: the folder holds no test.
        SettingError: the port is taken.
    """
    server = server_of(folder, port)
    address = f"http://127.0.0.1:{server.server_address[1]}/"
    print(f"listening test: {address}  (Ctrl-C ends it)", flush=True)
    if browser:
        threading.Timer(0.3, webbrowser.open, (address,)).start()
    try:
        with contextlib.suppress(KeyboardInterrupt):  # which is how it ends
            server.serve_forever()
    finally:
        server.server_close()
