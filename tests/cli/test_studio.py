"""``retone studio`` as a program: what it refuses, and that it starts, serves and ends."""

from __future__ import annotations

import socket
import sys

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
