"""What people, and others, may send: clear answers, and no file left of what was refused."""

from __future__ import annotations

import io
import socket
import zipfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import soundfile
from studio_client import Page, Server, running, wait_for, wav

from retone.audio import AtomicWriter, open_reader

RATE = 16000


def test_a_recording_is_read_and_measured(page: Page, voice: bytes) -> None:
    got = page.upload(voice, "My voice.wav").json
    assert got["name"] == "My voice.wav"
    assert got["seconds"] == 1.5 and got["rate"] == RATE
    assert "16000 Hz, 1 channel" in got["about"]
    assert -40 < got["levels"]["integrated_lufs"] < -5
    head, samples = page.get("sound", "input").sound()
    want, _ = soundfile.read(io.BytesIO(voice), dtype="float32")
    assert head["rate"] == RATE and np.array_equal(samples[0], want)


@pytest.mark.parametrize(
    "name", ["../../etc/passwd", "..\\..\\boot.ini", "/etc/passwd", "a\0b\r\nX: y.wav", "." * 300]
)
def test_names_are_only_shown(server: Server, page: Page, voice: bytes, name: str) -> None:
    before = {p for p in server.folder.parent.rglob("*") if p.is_file()}
    got = page.upload(voice, name)
    assert got.status == 200
    assert "/" not in got.json["name"] and "\n" not in got.json["name"]
    new = {p for p in server.folder.parent.rglob("*") if p.is_file()} - before
    assert new and all(server.folder in p.parents and p.name.startswith("file-") for p in new)


@pytest.mark.parametrize("name", ["phone.m4a", "clip.mp4", "clip.mkv", "clip.webm", "film.mov"])
def test_phones_and_videos_are_taken(page: Page, tmp_path: Path, voice: bytes, name: str) -> None:
    source = tmp_path / "voice.wav"
    source.write_bytes(voice)
    with open_reader(source) as reader, AtomicWriter(tmp_path / name, reader.info) as writer:
        for block in reader.blocks():
            writer.write(block)
    got = page.upload((tmp_path / name).read_bytes(), name)
    assert got.status == 200, got.error
    assert got.json["seconds"] == pytest.approx(1.5, abs=0.001)


def bomb() -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as z:
        z.writestr("a", b"\0" * (20 << 20))
    return out.getvalue()


BAD = {
    "zip bomb": (bomb(), 415, "is not a recording"),
    "text": (b"hello, I am a song", 415, "is not a recording"),
    "page": (b"<script>alert(1)</script>", 415, "is not a recording"),
    "empty": (b"", 422, "empty"),
    "header only": (b"RIFF\x24\0\0\0WAVEfmt ", 422, "header is damaged"),
    "promises": (b"fLaC" + b"\xff" * 500, 422, "header is damaged"),
}


@pytest.mark.parametrize("kind", BAD)
def test_what_is_no_recording(server: Server, page: Page, kind: str) -> None:
    data, status, words = BAD[kind]
    got = page.upload(data, "song.wav", **{"Content-Type": "audio/wav"})
    assert got.status == status and words in got.error
    assert str(server.folder) not in got.error and "file-" not in got.error
    assert server.files() == []


def test_not_finite_and_too_many_channels(server: Server, page: Page) -> None:
    bad = np.zeros((1, RATE), np.float32)
    bad[0, 5] = np.nan
    got = page.upload(wav(bad, RATE), "broken.wav")
    assert got.status == 422 and got.error.startswith("broken.wav holds 1 NaN")
    got = page.upload(wav(np.zeros((9, RATE), np.float32), RATE), "many.wav")
    assert got.status == 422 and "9 channels" in got.error
    assert server.files() == []


def test_bounds_of_size_length_number_and_disk(place: Path, voice: bytes) -> None:
    with running(place, upload_bytes=200_000, minutes=0.03, references=1) as server:
        page = Page(server)
        big = page.upload(b"RIFF" + b"\0" * 300_000)
        assert big.status == 413 and "larger than" in big.error

        def endless() -> Iterator[bytes]:
            yield b"RIFF"
            for _ in range(100):
                yield b"\0" * 10_000

        try:
            assert page.upload(endless()).status == 413
        except (BrokenPipeError, ConnectionResetError):
            pass  # the server stopped listening, which is as clear
        long = page.upload(wav(np.zeros((1, 5 * RATE), np.float32), RATE)[:190_000])
        assert long.status in (413, 422)
        assert page.upload(voice, role="reference").status == 200
        again = page.upload(voice, role="reference")
        assert again.status == 409 and "1 references" in again.error
        assert page.upload(voice, role="elsewhere").status == 404
        assert len(server.files()) == 2  # the reference and its preview
    with running(place, disk_bytes=1000) as server:
        full = Page(server).upload(voice)
        assert full.status == 507 and "disk" in full.error


def test_a_slow_upload_ends(place: Path) -> None:
    with running(place, upload_s=0.3) as server:
        page = Page(server)
        with socket.create_connection(("127.0.0.1", server.port)) as line:
            head = f"POST /api/upload/{page.key}/input HTTP/1.1\r\nHost: 127.0.0.1\r\n"
            line.sendall(f"{head}Content-Length: 1000\r\n\r\nRIFF".encode())
            assert b"408" in line.recv(1000)
        assert server.files() == []


def test_a_broken_upload_leaves_nothing(server: Server, page: Page) -> None:
    line = socket.create_connection(("127.0.0.1", server.port))
    head = f"POST /api/upload/{page.key}/input HTTP/1.1\r\nHost: 127.0.0.1\r\n"
    line.sendall(f"{head}Content-Length: 100000\r\n\r\n{'RIFF' * 4000}".encode())
    wait_for(lambda: server.files())
    line.close()
    wait_for(lambda: not server.files())


def test_another_recording_replaces_the_first(
    server: Server, page: Page, voice: bytes, other: bytes
) -> None:
    page.upload(voice)
    page.upload(other)
    assert len(server.files()) == 2
    assert page.get("sound", "input").sound()[0]["frames"] == 2 * RATE


def test_requests_that_no_page_sends(page: Page, voice: bytes) -> None:
    assert page.post("describe", {}).status == 409
    page.upload(voice)
    for body in (b"[1, 2", b"[]", b'"x"', b"\xff\xfe"):
        assert page.post("describe", body).status == 400
    assert page.post("describe", b"{" + b" " * (5 << 20) + b"}").status == 413
    assert page.post("describe", {"effect": 10**9, "setting": {}}).status == 409
    assert page.post("job", {}, "format_disk").status == 404
    assert page.get("download", "../../etc/passwd").status == 404
    assert page.get("sound", "7").status == 404
    assert page.server.ask("GET", "/api/events/nobody").status == 410
