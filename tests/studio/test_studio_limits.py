"""The studio as a server: bounds before the token, on disk and work; tokens can be revoked."""

from __future__ import annotations

import contextlib
import io
import socket
import threading
import time
from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np
import pytest
import soundfile
from studio_client import Page, Server, running, wait_for, wav

from retone.errors import SettingError
from retone.studio.access import Access
from retone.studio.guard import cookie_of, host_name, shown_path
from retone.studio.limits import Refused
from retone.studio.scratch import DiskShare, ScratchFolder
from studio.conftest import Quick

TOKEN = "correcthorsebatterystaple"
SECOND_S = 1.0


LINES: list[socket.socket] = []


@pytest.fixture(autouse=True)
def close_lines() -> Iterator[None]:
    yield
    while LINES:
        LINES.pop().close()


def raw(server: Server, *parts: bytes) -> socket.socket:
    """A connection that has sent something; closed when the test ends."""
    line = socket.create_connection(("127.0.0.1", server.port), timeout=10)
    LINES.append(line)
    for part in parts:
        line.sendall(part)
    return line


def is_closed(line: socket.socket, within_s: float) -> bool:
    line.settimeout(within_s)
    try:
        while line.recv(65536):
            pass
    except TimeoutError:
        return False
    except OSError:
        return True
    return True


def served(server: Server) -> float:
    """How long the page takes, in seconds."""
    began = time.monotonic()
    assert server.ask("GET", "/").status == 200
    return time.monotonic() - began


@pytest.mark.parametrize(
    "start",
    [b"", b"GET / HT", b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\nX: ", b"POST /x HTTP/1.1\r\n"],
)
def test_a_header_that_does_not_come_is_not_waited_for(place: Path, start: bytes) -> None:
    with running(place, header_s=0.4) as server:
        lines = [raw(server, start) for _ in range(5)]
        assert served(server) < SECOND_S
        assert all(is_closed(line, 3.0) for line in lines)


def test_a_second_request_that_does_not_come_is_not_waited_for(place: Path) -> None:
    with running(place, header_s=0.4) as server:
        line = raw(server, b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n")
        time.sleep(0.2)
        line.sendall(b"GET /static/ma")
        assert is_closed(line, 3.0)


def test_many_idle_clients_do_not_keep_the_next_one_out(place: Path) -> None:
    with running(place, connections=40) as server:
        lines = [raw(server) for _ in range(120)]
        assert served(server) < SECOND_S
        assert sum(is_closed(line, 0.05) for line in lines) >= 80


def test_a_page_keeps_its_events_while_others_idle(place: Path, voice: bytes) -> None:
    with running(place, connections=10) as server:
        page = Page(server)
        wait_for(lambda: page.events)
        for _ in range(40):
            raw(server)
        assert page.upload(voice).status == 200
        assert server.studio.state.sessions.get(page.key).listeners


def test_a_body_that_does_not_come_is_not_waited_for(place: Path) -> None:
    with running(place, text_s=0.4) as server:
        page = Page(server)
        head = f"POST /api/describe/{page.key} HTTP/1.1\r\nHost: 127.0.0.1\r\n"
        line = raw(server, f"{head}Content-Length: 99\r\n\r\n{{".encode())
        line.settimeout(5)
        assert b" 408 " in line.recv(65536)


def test_a_large_header_is_refused(server: Server) -> None:
    got = raw(server, b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\nX: " + b"a" * 40000 + b"\r\n\r\n")
    got.settimeout(5)
    with contextlib.suppress(ConnectionResetError):
        answer = got.recv(65536)
        assert b" 431 " in answer or b" 400 " in answer
    assert served(server) < SECOND_S


@pytest.mark.parametrize("text", ["\\" * 15000, '"' + "\\1" * 7000, "a=" * 7000, ";" * 15000])
def test_no_cookie_stalls_a_server(place: Path, text: str) -> None:
    began = time.process_time()
    for _ in range(20):
        cookie_of(text)
        cookie_of(text[:4000])
    assert time.process_time() - began < 0.5
    assert cookie_of(f"a=b; retone_token=x; c={text[:10]}") == "x"


@pytest.mark.parametrize(
    "host", ["[", "[::1", "]", "[127.0.0.1", "a b", "evil\x00", "x" * 300, "127.0.0.1:x", ":1", "é"]
)
def test_a_host_that_is_none_is_refused(server: Server, host: str) -> None:
    assert host_name(host) is None
    line = raw(server, b"GET / HTTP/1.1\r\nHost: " + host.encode("latin-1") + b"\r\n\r\n")
    line.settimeout(5)
    answer = line.recv(65536)
    assert b" 403 " in answer and b"content-security-policy" in answer or b" 400 " in answer


@pytest.mark.parametrize("origin", ["http://[", "null", "http://", "x", "ftp://127.0.0.1", "[["])
def test_an_origin_that_is_none_is_refused(server: Server, origin: str) -> None:
    assert server.ask("POST", "/api/session", Origin=origin).status == 403


@pytest.mark.parametrize("number", ["9" * 5000, "-1", "1e3", "٣", "x", "%00", "\ud7ff"])
@pytest.mark.parametrize("what", ["sound", "cancel", "forget"])
def test_a_number_that_is_none_is_refused(page: Page, voice: bytes, what: str, number: str) -> None:
    from urllib.parse import quote

    page.upload(voice)
    shown = number if "%" in number else quote(number)
    got = page.get(what, shown) if what == "sound" else page.post(what, None, shown)
    assert got.status in (400, 404)


@pytest.mark.parametrize(
    "body",
    ["[" * 5000, "9" * 5000, '{"a": ' + "9" * 5000 + "}", "NaN", '{"locks": ["\\ud800"]}', "\xff"],
)
@pytest.mark.parametrize("what", ["describe", "window", "settings", "export", "job"])
def test_a_body_that_is_none_is_refused(page: Page, voice: bytes, what: str, body: str) -> None:
    page.upload(voice)
    more = {"export": ("sox",), "job": ("match",)}.get(what, ())
    got = page.post(what, body.encode("latin-1"), *more)
    assert got.status in (400, 409, 422) and got.error


def test_no_more_of_a_disk_is_used_than_its_share(place: Path, voice: bytes) -> None:
    """Uploads of unknown length at once: what is on the disk never exceeds the share."""
    share, most = 3 << 20, [0]
    sound = wav(
        np.random.default_rng(1).normal(size=(1, 16000 * 20)).astype(np.float32) * 0.1, 16000
    )

    def chunks():  # type: ignore[no-untyped-def]
        for i in range(0, len(sound), 65536):
            yield sound[i : i + 65536]
            most[0] = max(most[0], size_of(server.files()))

    with running(place, disk_bytes=share) as server:
        pages = [Page(server) for _ in range(6)]
        answers: list[int] = []

        def upload(page: Page) -> None:
            try:
                answers.append(page.upload(chunks()).status)
            except OSError:  # refused, and closed, while more was sent
                answers.append(507)

        threads = [threading.Thread(target=upload, args=(p,)) for p in pages]
        for t in threads:
            t.start()
        for t in threads:
            t.join()
        assert most[0] <= share and set(answers) <= {200, 507} and 507 in answers
        claimed = server.studio.state.scratch.share
        # what was refused is removed after the answer
        wait_for(lambda: claimed.bytes_claimed == size_of(server.files()))


def size_of(files: Iterable[Path]) -> int:
    """Bytes of those files that are still there."""
    sizes = []
    for file in files:
        with contextlib.suppress(FileNotFoundError):
            sizes.append(file.stat().st_size)
    return sum(sizes)


def test_a_small_file_of_a_long_silence_counts_with_its_preview(place: Path) -> None:
    out = io.BytesIO()
    soundfile.write(out, np.zeros((16000 * 300, 2), np.int16), 16000, format="FLAC")
    assert len(out.getvalue()) < 1 << 19
    with running(place, disk_bytes=8 << 20) as server:
        got = Page(server).upload(out.getvalue(), "silence.flac")
        assert got.status == 507 and not server.files()


def test_space_is_claimed_and_given_back(tmp_path: Path) -> None:
    share = DiskShare(tmp_path, 100)
    share.claim(tmp_path / "a", 60)
    with pytest.raises(Refused, match="disk share"):
        share.claim(tmp_path / "b", 50)
    share.claim(tmp_path / "a", 40)
    share.claim(tmp_path / "b", 50)
    (tmp_path / "b").write_bytes(bytes(10))
    share.settle(tmp_path / "b")
    share.settle(tmp_path / "a")
    assert share.bytes_claimed == 10
    share.forget(tmp_path)
    assert share.bytes_claimed == 0


def test_requests_of_one_page_take_turns(
    place: Path, voice: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A page that asks for much does not keep others waiting."""
    from retone.studio import state

    def slow(*args: object) -> dict[str, object]:
        time.sleep(0.3)
        return {}

    with running(place, working=1, waiting=3) as server:
        greedy, other = Page(server), Page(server)
        effect = greedy.upload(voice).json["manual"]["effect"]
        own = other.upload(voice).json["manual"]["effect"]
        monkeypatch.setattr(state, "describe", slow)
        answers: list[int] = []
        body = {"effect": effect, "setting": {}}
        threads = [
            threading.Thread(target=lambda: answers.append(greedy.post("describe", body).status))
            for _ in range(12)
        ]
        for t in threads:
            t.start()
        time.sleep(0.1)
        began = time.monotonic()
        assert other.post("describe", {"effect": own, "setting": {}}).status == 200
        assert time.monotonic() - began < SECOND_S
        for t in threads:
            t.join()
        assert set(answers) == {200, 429}


def test_a_job_ends_at_its_limit(place: Path, voice: bytes, estimator) -> None:  # type: ignore[no-untyped-def]
    estimator(Quick(steps=200, wait_s=0.05))
    with running(place, job_s=0.3) as server:
        page = Page(server)
        page.upload(voice)
        page.upload(voice, role="reference")
        end = page.end_of(page.post("job", {}, "match").json["job"])
        assert end["state"] == "failed" and "longer than" in end["message"]


def test_a_job_names_the_persons_file(server: Server, page: Page) -> None:
    silent = wav(np.zeros((1, 16000), np.float32), 16000)
    page.upload(silent, "my silence.wav")
    page.upload(silent, "reference.wav", role="reference")
    end = page.end_of(page.post("job", {}, "match").json["job"])
    assert end["state"] == "failed" and "my silence.wav" in end["message"]
    assert str(server.folder) not in end["message"] and "file-" not in end["message"]


def test_a_token_is_revoked_with_its_cookies_and_pages(place: Path, tmp_path: Path) -> None:
    file = tmp_path / "tokens"
    file.write_text(f"# the team\nanna: {TOKEN}\nben: {TOKEN}2\n")
    with running(place, access=Access(file=file)) as server:
        cookies = {}
        for who, token in (("anna", TOKEN), ("ben", f"{TOKEN}2")):
            got = server.ask("GET", f"/?token={token}")
            cookies[who] = {"Cookie": got.headers["set-cookie"].split(";")[0]}
            assert token not in cookies[who]["Cookie"]
            assert server.ask("POST", "/api/session", **cookies[who]).status == 200
        assert len(server.studio.state.sessions.all()) == 2
        file.write_text(f"ben: {TOKEN}2\n")
        wait_for(lambda: server.ask("POST", "/api/session", **cookies["anna"]).status == 401)
        assert server.ask("GET", f"/?token={TOKEN}").status == 401
        assert server.ask("POST", "/api/session", **cookies["ben"]).status == 200
        wait_for(lambda: {s.who for s in server.studio.state.sessions.all()} == {"ben"})


@pytest.mark.parametrize("token", ["short", "é" * 20, "a" * 15 + "\n", "a b" * 10, ""])
def test_a_token_that_no_link_can_carry_is_refused(tmp_path: Path, token: str) -> None:
    with pytest.raises(SettingError, match="16 or more"):
        Access(token)
    (tmp_path / "t").write_text(f"x: {token}\n", encoding="utf-8")
    with pytest.raises(SettingError, match="16 or more"):
        Access(file=tmp_path / "t")


def test_a_server_with_names_is_reached_under_them_alone(place: Path) -> None:
    with running(place, token=TOKEN, hosts=("studio.example",)) as server:
        assert server.ask("GET", "/", Host="studio.example").status == 200
        assert server.ask("GET", "/", Host="STUDIO.example:8765").status == 200
        assert server.ask("GET", f"/?token={TOKEN}", Host="evil.example").status == 403


def test_the_access_log_holds_no_secret(place: Path, voice: bytes) -> None:
    lines: list[str] = []
    with running(place, token=TOKEN, log=lines.append) as server:
        server.ask("GET", f"/?token={TOKEN}", Authorization="Bearer x")
        page = Page(server)
        page.upload(voice, "a secret name.wav")
        page.get("sound", "input")
        server.ask("GET", "/%1b[2J%0aX")
        key = page.key
    assert any("GET / 303" in line for line in lines) and any("POST" in line for line in lines)
    for line in lines:
        assert TOKEN not in line and key not in line and "secret" not in line
        assert len(line.splitlines()) == 1 and "\x1b" not in line
    assert shown_path("/api/upload/KEY/input") == "/api/upload/*/input"


def test_servers_that_start_at_once_keep_their_folders(place: Path) -> None:
    made: list[ScratchFolder] = []
    threads = [
        threading.Thread(target=lambda: made.append(ScratchFolder(place))) for _ in range(24)
    ]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    assert len(made) == 24 and all((m.folder / "lock").is_file() for m in made)
    for m in made:
        m.close()
    assert not list(place.iterdir())


def test_what_a_page_does_not_read_is_bounded(place: Path) -> None:
    with running(place, streams=2) as server:
        page = Page(server)
        extra = server.ask("POST", f"/api/leave/{'x' * 20}")
        assert extra.status == 410
        session = server.studio.state.sessions.get(page.key)
        wait_for(lambda: session.listeners)
        for i in range(3000):
            session.say({"type": "job", "job": i, "state": "running"})
        session.say({"type": "job", "job": -1, "state": "done"})
        assert page.end_of(-1)
        assert all(q.qsize() <= q.maxsize for q in session.listeners)
        request = f"GET /api/events/{page.key} HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n".encode()
        lines = [raw(server, request) for _ in range(3)]
        assert any(b" 429 " in line.recv(4096) for line in lines)


def test_a_burst_of_connections_waits_and_is_not_sent_away() -> None:
    """While the server is busy: a connection that finds no room is tried again after a second."""
    from retone.studio.serve import BACKLOG, _listen

    most = Path("/proc/sys/net/core/somaxconn")
    room = min(BACKLOG, int(most.read_text())) if most.exists() else 128
    if room < 512:
        pytest.skip(f"this system lets {room} connections wait")
    with _listen("127.0.0.1", 0) as listener, contextlib.ExitStack() as lines:
        began = time.monotonic()
        for _ in range(400):  # nobody takes them
            line = socket.create_connection(listener.getsockname(), timeout=5)
            lines.enter_context(line)
        assert time.monotonic() - began < 0.9
