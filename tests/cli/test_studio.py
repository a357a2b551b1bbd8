"""``retone studio`` as a program: what it refuses, and that it starts, serves and ends."""

from __future__ import annotations

import http.client
import json
import re
import signal
import socket
import subprocess
import sys
import time

import pytest

from cli.conftest import Run

pytest.importorskip("starlette", reason="the studio needs pip install 'retone[studio]'")
pytest.importorskip("uvicorn", reason="the studio needs pip install 'retone[studio]'")


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (("--host", "0.0.0.0"), "a token is required"),
        (("--host", "0.0.0.0", "--token", "short"), "16 or more letters and digits"),
        (("--port", "99999"), "a port from 0 to 65535"),
        (("--host", "256.1.1.1", "--token", "x" * 16), "cannot listen on"),
        (("--max-minutes", "0"), "above 0"),
    ],
)
def test_refusals(retone: Run, words: tuple[str, ...], says: str) -> None:
    done = retone("studio", "--no-browser", *words)
    assert done.code == 2 and says in done.err


def test_a_missing_package_is_named(retone: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "uvicorn", None)
    done = retone("studio", "--no-browser", "--port", "0")
    assert done.code == 2 and "pip install 'retone[studio]'" in done.err


def test_a_port_in_use_is_named(retone: Run) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        done = retone("studio", "--no-browser", "--port", port)
    assert done.code == 2 and f"port {port}" in done.err and "Try another port" in done.err


def test_it_starts_serves_and_ends(retone: Run) -> None:
    """The benchmark starts it as a program, uploads, renders, and stops it."""
    done = retone("bench", "studio", "--seconds", "5", "--rounds", "1", "--starts", "1")
    assert done.code == 0, done.err
    assert "a change until 4.3 s at the playhead" in done.out


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_it_ends_quietly_under_open_pages(number: signal.Signals) -> None:
    """A page that listens for events and an upload that is half sent are no reason to complain."""
    words = [sys.executable, "-m", "retone", "studio", "--no-browser", "--port", "0"]
    program = subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert program.stdout is not None
    lines = []
    try:
        found = re.search(r"127\.0\.0\.1:(\d+)", program.stdout.readline())
        assert found
        key = ""
        for method, path in (
            ("POST", "/api/session"), ("GET", "/api/events/{key}"),
            ("POST", "/api/upload/{key}/input?turn=1&name=a.wav"),
        ):  # fmt: skip
            line = http.client.HTTPConnection("127.0.0.1", int(found[1]), timeout=60)
            lines.append(line)
            if "upload" in path:
                line.putrequest(method, path.format(key=key))
                line.putheader("Content-Length", "1000000")
                line.endheaders(b"RIFF")
                continue
            line.request(method, path.format(key=key))
            answer = line.getresponse()
            key = key or json.loads(answer.read())["session"]
        time.sleep(0.3)
        program.send_signal(number)
        out, err = program.communicate(timeout=60)
    finally:
        program.kill()
        for line in lines:
            line.close()
    assert err == "" and program.returncode == 0, err
