"""Who is answered: this machine's own names, the page itself, or who has the token."""

from __future__ import annotations

from pathlib import Path

import pytest
from studio_client import Page, Server, running

TOKEN = "correcthorsebatterystaple"


def test_every_answer_forbids_what_the_page_does_not_need(server: Server) -> None:
    for path in ("/", "/static/main.js", "/nothing"):
        got = server.ask("GET", path)
        policy = got.headers["content-security-policy"]
        assert "default-src 'none'" in policy and "http" not in policy
        assert "unsafe" not in policy.replace("'wasm-unsafe-eval'", "")  # which allows no script
        assert got.headers["x-content-type-options"] == "nosniff"


@pytest.mark.parametrize(
    "path",
    ["/static/../server.py", "/static/%2e%2e/server.py", "/static/..%2fserver.py", "/etc/passwd",
     "/static//etc/passwd", "/static/index.html"],
)  # fmt: skip
def test_no_path_is_opened(server: Server, path: str) -> None:
    assert server.ask("GET", path).status == 404


def test_other_names_and_other_pages_are_refused(server: Server, voice: bytes) -> None:
    assert server.ask("GET", "/", Host="evil.example").status == 403
    assert server.ask("GET", "/", Host="localhost:1").status == 200
    page = Page(server)
    evil = {"Origin": "http://evil.example"}
    assert page.upload(voice, **evil).status == 403
    assert page.upload(voice, Origin=f"http://127.0.0.1:{server.port}").status == 200
    assert server.files()


def test_two_pages_do_not_see_each_other(server: Server, voice: bytes, other: bytes) -> None:
    one, two = Page(server), Page(server)
    one.upload(voice, "mine.wav")
    assert two.get("sound", "input").status == 409
    two.upload(other, "theirs.wav")
    assert one.get("sound", "input").sound()[0]["frames"] == 24000
    one.upload(voice)
    effect = one.upload(voice).json["manual"]["effect"]  # two has not numbered this far
    state = {"effect": effect, "setting": {}}
    assert one.post("describe", state).status != 409
    assert two.post("describe", state).status == 409
    assert one.key != two.key and len(one.key) >= 20


def test_token(place: Path) -> None:
    with running(place, token=TOKEN) as server:
        bare = {"Authorization": "Bearer wrong"}
        assert server.ask("GET", "/", **bare).status == 401
        assert server.ask("POST", "/api/session", **bare).status == 401
        assert server.ask("GET", "/?token=wrong", **bare).status == 401
        got = server.ask("GET", f"/?token={TOKEN}", Host="studio.example", **bare)
        assert got.status == 303 and got.headers["location"] == "/"
        cookie = got.headers["set-cookie"]
        assert "HttpOnly" in cookie and "SameSite=Strict" in cookie
        cookies = {"Cookie": cookie.split(";")[0], **bare}
        assert server.ask("POST", "/api/session", **cookies).status == 200
        assert server.ask("POST", "/api/session", Cookie='x="\\', **bare).status == 401
        evil = {"Origin": "http://evil.example", **cookies}
        assert server.ask("POST", "/api/session", **evil).status == 403


def test_sessions_are_counted(place: Path) -> None:
    with running(place, sessions=2) as server:
        pages = [Page(server), Page(server)]
        got = server.ask("POST", "/api/session")
        assert got.status == 503 and "open pages" in got.error
        assert len(pages) == 2
