"""A studio that people share: nobody sees, stalls, fills or ends what belongs to others."""

from __future__ import annotations

import io
import json
import os
import re
import shlex
import socket
import struct
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
from studio_client import Page, Server, running, wait_for, wav

from retone.studio import access as access_module
from retone.studio.access import MOST_COOKIES, Access, Holder
from retone.studio.guard import shown_address
from retone.studio.limits import Limits, Refused
from retone.studio.scratch import DiskShare
from retone.studio.session import KEPT_BYTES, bytes_of
from studio.conftest import Quick

ANNA, BEN = "correcthorsebatterystaple", "tr0ub4dor3tr0ub4dor3"
SECOND_S = 1.0
RATE = 16000


@pytest.fixture(autouse=True)
def quick_looks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(access_module, "LOOK_S", 0.05)


@pytest.fixture
def tokens(tmp_path: Path) -> Path:
    file = tmp_path / "tokens"
    file.write_text(f"anna: {ANNA}\nben: {BEN}\n")
    return file


@pytest.fixture
def lines() -> Iterator[list[socket.socket]]:
    made: list[socket.socket] = []
    yield made
    for line in made:
        line.close()


def rewritten(file: Path, text: str) -> None:
    """New content with another time stamp, as an editor leaves it."""
    file.write_text(text)
    stamp = time.time_ns() + 1_000_000
    os.utime(file, ns=(stamp, stamp))
    time.sleep(0.1)


def cookie_of(server: Server, token: str) -> dict[str, str]:
    return {"Cookie": server.ask("GET", f"/?token={token}").headers["set-cookie"].split(";")[0]}


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (f"anna: {ANNA}\nben: {BEN}\n", f"anna: {ANNA}9\nben: {BEN}\n"),
        (f"anna: {ANNA}\nben: {BEN}\n", f"anna: {BEN}\n"),
        (f"{ANNA}\n{BEN}\n", f"{BEN}\n"),
        (f"{ANNA}\n{BEN}\n", f"# {ANNA}\n{BEN}\n"),
    ],
    ids=["replaced", "the name given to another", "without names", "commented out"],
)
def test_cookies_and_pages_belong_to_the_token_not_to_its_name(
    place: Path, tmp_path: Path, before: str, after: str
) -> None:
    file = tmp_path / "tokens"
    file.write_text(before)
    with running(place, access=Access(file=file)) as server:
        anna, ben = cookie_of(server, ANNA), cookie_of(server, BEN)
        for cookie in (anna, ben):
            assert server.ask("POST", "/api/session", **cookie).status == 200
        rewritten(file, after)
        wait_for(lambda: server.ask("POST", "/api/session", **anna).status == 401)
        assert server.ask("POST", "/api/session", **ben).status == 200
        holders = access_module.digest(BEN)
        wait_for(lambda: {s.holder for s in server.studio.state.sessions.all()} == {holders})


def test_a_broken_file_lets_nobody_new_in_and_ends_no_page_at_once(
    tokens: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    access = Access(file=tokens)
    anna = access.owner(ANNA)
    assert anna is not None
    cookie = access.cookie_for(anna)
    rewritten(tokens, f"anna: {ANNA}\nben: short\n")
    assert access.owner(ANNA) is None and access.cookie_owner(cookie) == anna
    assert "nobody new gets in" in caplog.text and "line 2" in caplog.text
    rewritten(tokens, f"anna: {ANNA}\n")
    assert access.owner(ANNA) == anna and access.valid(anna.key)
    monkeypatch.setattr(access_module, "BROKEN_S", 0.1)
    tokens.unlink()
    time.sleep(0.1)
    assert access.owner(ANNA) is None
    time.sleep(0.2)
    assert not access.valid(anna.key) and access.cookie_owner(cookie) is None


def test_one_persons_cookies_do_not_push_out_anothers() -> None:
    access = Access(ANNA)
    one, other = Holder("one", access_module.digest(ANNA)), Holder("other", "x")
    first, own = access.cookie_for(one), access.cookie_for(other)
    for _ in range(MOST_COOKIES + 3):
        access.cookie_for(other)
    assert access.cookie_owner(first) == one
    assert access.cookie_owner(own) is None
    assert len(access._cookies) == MOST_COOKIES + 1


def test_a_page_is_reached_with_the_token_that_opened_it(place: Path, tokens: Path) -> None:
    with running(place, access=Access(file=tokens)) as server:
        anna, ben = cookie_of(server, ANNA), cookie_of(server, BEN)
        key = server.ask("POST", "/api/session", **anna).json["session"]
        for method, what in (("POST", "leave"), ("POST", "resume"), ("GET", "events")):
            assert server.ask(method, f"/api/{what}/{key}", **ben).status == 410
        assert server.ask("POST", f"/api/resume/{key}", **anna).status == 200


def test_one_person_does_not_take_all_pages(place: Path, tokens: Path) -> None:
    with running(place, access=Access(file=tokens), sessions=6, sessions_each=3) as server:
        anna, ben = cookie_of(server, ANNA), cookie_of(server, BEN)
        answers = [server.ask("POST", "/api/session", **anna) for _ in range(5)]
        assert [a.status for a in answers] == [200, 200, 200, 503, 503]
        assert "You have 3 open pages" in answers[-1].error
        assert server.ask("POST", "/api/session", **ben).status == 200


def test_wrong_tokens_do_not_close_what_people_do(
    place: Path, voice: bytes, lines: list[socket.socket]
) -> None:
    """More strangers than connections, each with a wrong token, which makes them busy."""
    with running(place, token=ANNA, connections=12) as server:
        page = Page(server)
        wait_for(lambda: page.events)
        head = (
            f"POST /api/upload/{page.key}/input?name=a.wav HTTP/1.1\r\nHost: 127.0.0.1\r\n"
            f"Authorization: Bearer {ANNA}\r\nContent-Length: {len(voice)}\r\n\r\n"
        )
        upload = socket.create_connection(("127.0.0.1", server.port), timeout=10)
        lines.append(upload)
        upload.sendall(head.encode() + voice[:1000])
        time.sleep(0.2)
        wrong = b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\nAuthorization: Bearer wrong\r\n\r\n"
        for _ in range(60):
            line = socket.create_connection(("127.0.0.1", server.port), timeout=10)
            lines.append(line)
            line.sendall(wrong)
            time.sleep(0.004)
        upload.sendall(voice[1000:])
        assert b" 200 " in upload.recv(65536)
        assert server.studio.state.sessions.get(page.key, access_module.digest(ANNA)).listeners
        began = time.monotonic()
        assert server.ask("GET", "/").status == 200
        assert time.monotonic() - began < SECOND_S


def test_a_server_full_of_people_at_work_says_so(place: Path, lines: list[socket.socket]) -> None:
    with running(place, connections=4, streams=9) as server:
        page = Page(server)
        wait_for(lambda: page.events)
        ask = f"GET /api/events/{page.key} HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n".encode()
        for _ in range(3):
            line = socket.create_connection(("127.0.0.1", server.port), timeout=5)
            lines.append(line)
            line.sendall(ask)
            assert b" 200 " in line.recv(4096)
        last = socket.create_connection(("127.0.0.1", server.port), timeout=5)
        lines.append(last)
        assert b" 503 " in last.recv(4096)
        assert len(server.studio.state.sessions.get(page.key).listeners) == 4


def silence(seconds: float, rate: int) -> bytes:
    out = io.BytesIO()
    soundfile.write(out, np.zeros((round(seconds * rate), 2), np.int16), rate, format="FLAC")
    return out.getvalue()


def memory_mb() -> float:
    """Memory that is this process's own; parts of files that it has looked at are not."""
    found = re.search(r"RssAnon:\s+(\d+) kB", Path("/proc/self/status").read_text())
    assert found
    return int(found[1]) / 1e3


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="reads /proc")
@pytest.mark.parametrize("what", ["sound", "render"])
def test_answers_that_nobody_reads_take_little_memory(
    place: Path, lines: list[socket.socket], what: str
) -> None:
    """16 times 23 MB of sound that wait for their clients."""
    with running(place) as server:
        page = Page(server)
        effect = page.upload(silence(60, 48000), "a.flac").json["manual"]["effect"]
        body = json.dumps({"effect": effect, "setting": {}}).encode()
        before = memory_mb()
        for _ in range(16):
            line = socket.create_connection(("127.0.0.1", server.port), timeout=30)
            lines.append(line)
            if what == "sound":
                line.sendall(f"GET /api/sound/{page.key}/input HTTP/1.1\r\n".encode())
                line.sendall(b"Host: 127.0.0.1\r\n\r\n")
            else:
                line.sendall(f"POST /api/render/{page.key} HTTP/1.1\r\n".encode())
                line.sendall(f"Host: 127.0.0.1\r\nContent-Length: {len(body)}\r\n\r\n".encode())
                line.sendall(body)
            assert b" 200 " in line.recv(16) or what == "render"
        time.sleep(0.5)
        assert memory_mb() - before < 120
        while lines:
            lines.pop().close()
        wait_for(lambda: len(server.files()) == 2)  # the recording and its preview


def test_a_client_that_reads_slowly_but_steadily_is_served(place: Path) -> None:
    with running(place, write_s=0.4) as server:
        page = Page(server)
        page.upload(silence(20, 48000), "a.flac")
        with socket.create_connection(("127.0.0.1", server.port), timeout=30) as line:
            line.sendall(f"GET /api/sound/{page.key}/input HTTP/1.1\r\n".encode())
            line.sendall(b"Host: 127.0.0.1\r\nConnection: close\r\n\r\n")
            got, began = 0, time.monotonic()
            while more := line.recv(1 << 17):
                got += len(more)
                time.sleep(0.02)
            assert time.monotonic() - began > 0.8
        assert got > 4 * 2 * 20 * 48000


def test_a_high_rate_makes_no_larger_recording(place: Path) -> None:
    with running(place, minutes=0.1) as server:
        page = Page(server)
        assert page.upload(silence(5, 96000), "a.flac").status == 200
        got = page.upload(silence(5, 192000), "a.flac")
        assert got.status == 422 and "at 192 kHz" in got.error
    most = Limits().minutes * 60 * Limits().full_length_hz * 2 * 4
    assert most < Limits().disk_bytes


def test_settings_that_a_page_keeps_are_bounded(page: Page, voice: bytes) -> None:
    from retone.effects import Fir, chain

    page.upload(voice)
    session = page.server.studio.state.sessions.get(page.key)
    from retone.process.result import Decision

    large = chain("large", *(Fir(f"f{i}", (0.5,) * 30_000) for i in range(4)))
    setting = large.params.neutral(1)
    assert bytes_of(large) > 4 << 20
    for _ in range(12):
        number = session.remember(Decision(large, setting, estimator="x"))
    assert sum(bytes_of(d.effect) for d in session.effects.values()) <= KEPT_BYTES
    assert number in session.effects


def matroska(hours: float) -> bytes | None:
    """Silence as FLAC in a file whose header says that it lasts a second."""
    av = pytest.importorskip("av")
    out = io.BytesIO()
    with av.open(out, "w", format="matroska") as file:
        stream = file.add_stream("flac", rate=8000)
        stream.layout = "mono"
        size = 4608
        for i in range(round(hours * 3600 * 8000 / size)):
            frame = av.AudioFrame.from_ndarray(np.zeros((1, size), np.int16), "s16", "mono")
            frame.sample_rate, frame.pts = 8000, i * size
            file.mux(stream.encode(frame))
        file.mux(stream.encode(None))
    data = bytearray(out.getvalue())
    at = data.find(b"\x44\x89\x88")
    if at < 0:
        return None
    data[at + 3 : at + 11] = struct.pack(">d", 1000.0)
    return bytes(data)


def test_a_header_that_lies_about_its_length_is_found_out(place: Path) -> None:
    data = matroska(0.5)
    if data is None:
        pytest.skip("this FFmpeg writes its header otherwise")
    with running(place, minutes=1) as server:
        began = time.process_time()
        got = Page(server).upload(data, "long.mka")
        assert got.status == 422 and "long.mka lasts 1." in got.error
        assert time.process_time() - began < 5
        assert not server.files()


def test_reading_ends_with_its_page_or_its_upload(  # type: ignore[no-untyped-def]
    place: Path, monkeypatch, lines: list[socket.socket]
) -> None:
    """Nobody waits for it any more: neither the page that was closed nor who pressed Cancel."""
    from retone.studio import intake

    ended: list[str] = []

    def slow(path: Path, preview: Path, watch: Any, follow: Any) -> Any:
        try:
            for _ in range(400):
                time.sleep(0.05)
                watch(0, 1, 1, np.zeros((1, 0), np.float32))
        except Refused as error:
            ended.append(str(error))
            raise
        raise AssertionError("nobody ended it")

    with running(place, grace_s=0.5) as server:
        first, second = Page(server), Page(server)
        monkeypatch.setattr(intake, "_read", slow)
        body = b"RIFF\0\0\0\0WAVE" + bytes(1000)
        for page in (first, second):
            head = f"POST /api/upload/{page.key}/input HTTP/1.1\r\nHost: 127.0.0.1\r\n"
            line = socket.create_connection(("127.0.0.1", server.port), timeout=10)
            line.sendall(f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body)
            lines.append(line)
            time.sleep(0.3)
            line.close() if page is first else page.post("leave")
        wait_for(lambda: len(ended) == 2)
        assert any("cancelled" in e for e in ended)
        assert server.studio.state.sessions.get(first.key).input is None


def test_a_cancelled_upload_replaces_nothing(place: Path, voice: bytes, monkeypatch) -> None:  # type: ignore[no-untyped-def]
    from retone.studio import intake

    real = intake._read

    def slow(*args: Any) -> Any:
        time.sleep(1.0)
        return real(*args)

    with running(place) as server:
        page = Page(server)
        page.upload(voice, "first.wav")
        monkeypatch.setattr(intake, "_read", slow)
        line = socket.create_connection(("127.0.0.1", server.port), timeout=10)
        head = f"POST /api/upload/{page.key}/input?name=b.wav HTTP/1.1\r\nHost: 127.0.0.1\r\n"
        line.sendall(f"{head}Content-Length: {len(voice)}\r\n\r\n".encode() + voice)
        time.sleep(0.3)
        line.close()
        session = server.studio.state.sessions.get(page.key)
        wait_for(lambda: not session.receiving)
        assert session.input is not None and session.input.name == "first.wav"
        assert len(server.files()) == 2


def test_a_job_keeps_to_the_recording_it_was_asked_for(
    server: Server, page: Page, voice: bytes, other: bytes, estimator: Any
) -> None:
    slow = estimator(Quick(steps=40, wait_s=0.02))
    page.upload(voice, "first.wav")
    page.upload(other, "ref.wav", "reference")
    job = page.post("job", {}, "match").json["job"]
    wait_for(lambda: slow.heard)
    page.upload(other, "second.wav")
    end = page.end_of(job)
    assert end["state"] == "failed" and "first.wav was replaced" in end["message"]


def test_the_end_of_a_job_reaches_a_page_that_comes_back(page: Page, voice: bytes) -> None:
    page.upload(voice)
    effect = page.upload(voice).json["manual"]["effect"]
    session = page.server.studio.state.sessions.get(page.key)
    wait_for(lambda: page.events)
    page.vanish()
    wait_for(lambda: not session.listeners)
    job = page.post("job", {"effect": effect, "setting": {}}, "save").json["job"]
    wait_for(lambda: not page.server.studio.state.queue.busy(page.key))
    with socket.create_connection(("127.0.0.1", page.server.port), timeout=5) as line:
        line.sendall(f"GET /api/events/{page.key} HTTP/1.1\r\nHost: 127.0.0.1\r\n".encode())
        line.sendall(b"Last-Event-ID: 0\r\n\r\n")
        text = b""
        while b'"state": "done"' not in text:
            text += line.recv(65536)
    assert f'"job": {job}'.encode() in text and b"\nid: " in text


def test_a_share_counts_what_is_still_to_come(tmp_path: Path, monkeypatch) -> None:  # type: ignore[no-untyped-def]
    """Claims that are not written yet are not free either."""
    from retone.studio import scratch

    monkeypatch.setattr(
        scratch.shutil, "disk_usage", lambda _: type("Disk", (), {"free": 300 << 20})
    )
    share = DiskShare(tmp_path, 8 << 30)
    share.claim(tmp_path / "a", 200 << 20)
    with pytest.raises(Refused, match="disk is full"):
        share.claim(tmp_path / "b", 200 << 20)
    (tmp_path / "a").write_bytes(bytes(1 << 20))
    share.claim(tmp_path / "b", 30 << 20)


def test_a_header_claims_no_disk(place: Path, voice: bytes, lines: list[socket.socket]) -> None:
    with running(place, disk_bytes=64 << 20, uploads=3) as server:
        greedy, other = Page(server), Page(server)
        for _ in range(3):
            line = socket.create_connection(("127.0.0.1", server.port), timeout=5)
            lines.append(line)
            head = f"POST /api/upload/{greedy.key}/reference HTTP/1.1\r\nHost: 127.0.0.1\r\n"
            line.sendall(f"{head}Content-Length: {60 << 20}\r\n\r\nRIFF".encode())
        time.sleep(0.2)
        assert other.upload(voice).status == 200
        assert greedy.upload(voice).status == 429


def test_a_file_of_an_ended_page_counts_until_it_is_closed(place: Path) -> None:
    with running(place, disk_bytes=64 << 20) as server:
        page = Page(server)
        session = server.studio.state.sessions.get(page.key)
        with socket.create_connection(("127.0.0.1", server.port), timeout=5) as line:
            head = f"POST /api/upload/{page.key}/input HTTP/1.1\r\nHost: 127.0.0.1\r\n"
            line.sendall(f"{head}Content-Length: {60 << 20}\r\n\r\n".encode() + bytes(1 << 20))
            wait_for(lambda: session.receiving and server.studio.state.scratch.share.bytes_claimed)
            server.studio.state.sessions.end(session)
            assert server.studio.state.scratch.share.bytes_claimed >= 1 << 20
            line.sendall(bytes(1 << 16))
            wait_for(lambda: not server.studio.state.scratch.share.bytes_claimed)


def test_a_large_request_does_not_stop_the_others(place: Path, voice: bytes) -> None:
    with running(place) as server:
        page = Page(server)
        page.upload(voice)
        body = b"[" + b"[]," * 170_000 + b"[]]"
        slow = threading.Thread(target=lambda: [page.post("describe", body) for _ in range(3)])
        slow.start()
        longest = 0.0
        while slow.is_alive():
            began = time.monotonic()
            server.ask("GET", "/")
            longest = max(longest, time.monotonic() - began)
        assert longest < 0.7
        assert page.post("describe", b" " * (1 << 20)).status == 413


@pytest.mark.parametrize(
    "given", ["1.2.3.4 anna GET / 200", "\x1b[31m", "x", "", "1.2.3.4\nx", "é"]
)
def test_the_log_shows_addresses_alone(given: str) -> None:
    assert shown_address(given) == "-"
    assert shown_address("10.0.0.7") == "10.0.0.7" and shown_address("::1") == "::1"


@pytest.mark.parametrize("query", ["token=x" + "&a" * 200, "%", "a" * 3000])
def test_no_address_is_a_fault(place: Path, query: str, caplog: pytest.LogCaptureFixture) -> None:
    with running(place, token=ANNA) as server:
        assert server.ask("GET", f"/?{query}", Authorization="").status in (400, 401)
    assert "Traceback" not in caplog.text


def test_a_cookie_over_tls_is_for_tls_alone(place: Path) -> None:
    with running(place, token=ANNA) as server:
        plain = server.ask("GET", f"/?token={ANNA}").headers["set-cookie"]
        behind = server.ask("GET", f"/?token={ANNA}", **{"X-Forwarded-Proto": "https"})
        assert "Secure" not in plain and "; Secure" in behind.headers["set-cookie"]


def test_other_sites_start_no_work(server: Server) -> None:
    got = server.ask("GET", "/api/offers", **{"Sec-Fetch-Site": "cross-site"})
    assert got.status == 403
    assert server.ask("GET", "/api/offers", **{"Sec-Fetch-Site": "same-origin"}).status == 200


@pytest.mark.parametrize("lock", ["x", None, [], "1" * 400, True])
def test_a_lock_that_is_no_number_is_said(page: Page, voice: bytes, lock: Any) -> None:
    page.upload(voice)
    page.upload(voice, role="reference")
    body = {"locks": {"equalizer.peak_1_gain_db": int(lock) if lock == "1" * 400 else lock}}
    end = page.end_of(page.post("job", body, "match").json["job"])
    assert end["state"] == "failed" and "equalizer.peak_1_gain_db" in end["message"]
    assert "Something went wrong" not in end["message"]


def test_a_recording_that_is_gone_is_said(page: Page, voice: bytes) -> None:
    effect = page.upload(voice).json["manual"]["effect"]
    recording = page.server.studio.state.sessions.get(page.key).need_input()
    recording.preview.unlink()
    state = {"effect": effect, "setting": {}, "start_s": 0, "stop_s": 1}
    for got in (page.get("sound", "input"), page.post("window", state), page.post("render", state)):
        assert got.status == 409 and "replaced" in got.error


@pytest.mark.parametrize("name", ["a; touch pwned #.wav", "$(id).wav", "`id`.wav", "a 'b' c.wav"])
@pytest.mark.parametrize("target", ["sox", "ffmpeg"])
def test_what_is_to_be_pasted_names_one_file(
    page: Page, voice: bytes, name: str, target: str
) -> None:
    effect = page.upload(voice, name).json["manual"]["effect"]
    got = page.post("export", {"effect": effect, "setting": {}}, target).json
    quoted = shlex.quote(got["name"])
    assert quoted in got["usage"] and quoted != got["name"]
    assert got["name"] not in got["usage"].replace(quoted, "")


def test_a_ceiling_of_a_file_can_be_used(page: Page, voice: bytes) -> None:
    effect = page.upload(voice).json["manual"]["effect"]
    state = {"effect": effect, "setting": {}, "ceiling_dbtp": -60.0}
    assert page.post("describe", state).status == 200
    assert wav(np.zeros((1, 8)), RATE)


def test_settings_of_many_long_filters_are_refused(page: Page, voice: bytes) -> None:
    page.upload(voice)
    taps = [0.5] + [0] * 99_999
    fir = {"type": "fir", "name": "f", "taps": taps, "sample_rate_hz": RATE}
    members = [{**fir, "name": f"f{i}"} for i in range(3)]
    effect = {"type": "chain", "name": "c", "effects": members}
    body = {"retone_settings": 1, "effect": effect, "setting": {}}
    got = page.post("settings", json.dumps(body).encode())
    assert got.status == 422 and got.error
    from retone.effects.spec import effect_from_spec
    from retone.errors import DataError

    with pytest.raises(DataError, match="numbers in lists"):
        effect_from_spec(effect, RATE)
