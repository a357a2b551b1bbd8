"""A listening test's server and its results: what a stranger sends is bounded, or refused."""

from __future__ import annotations

import csv
import http.client
import io
import json
import socket
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from listeners import answers, results_folder, sent

from retone.errors import DataError
from retone.studio.listening import serve
from retone.studio.listening.analysis import analyse_folder, files_of
from retone.studio.listening.plan import plan_of_folder
from retone.studio.listening.prepare import prepare, read_study
from retone.studio.listening.results import MOST_BYTES, read_results, store


@pytest.fixture
def test_folder(tmp_path: Path) -> Path:
    place = tmp_path / "test"
    prepare(plan_of_folder(results_folder(tmp_path / "r"), "acr"), place)
    return place


@pytest.fixture
def port(test_folder: Path) -> Iterator[int]:
    server = serve.server_of(test_folder)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield server.server_address[1]
    server.shutdown()
    server.server_close()
    thread.join(10)


def results_of(folder: Path, name: str = "anna") -> dict[str, Any]:
    study = read_study(folder)
    made: dict[str, Any] = json.loads(sent(study, name, answers(study, name)))
    return made


def post(port: int, body: bytes, **headers: str) -> tuple[int, str]:
    line = http.client.HTTPConnection("127.0.0.1", port, timeout=20)
    try:
        given = {"Content-Type": "application/json", **headers}
        line.request("POST", "/results", body, given)
        got = line.getresponse()
        return got.status, got.read().decode()
    finally:
        line.close()


ROWS: list[Any] = [
    [1], ["x"], [None], [[]], [{}], 3, None, {}, [{"trial": 1e999}], [{"study": 3}],
]  # fmt: skip


@pytest.mark.parametrize("rows", ROWS, ids=str)
def test_rows_that_are_none_are_refused(port: int, test_folder: Path, rows: Any) -> None:
    data = {**results_of(test_folder), "rows": rows}
    status, said = post(port, json.dumps(data).encode())
    assert status == 422 and said and "\n" not in said


@pytest.mark.parametrize("body", [b"[" * 100_000, b"\xff", b"", b"3", b'{"rows": 1}'])
def test_what_is_no_result_is_refused(port: int, body: bytes) -> None:
    assert post(port, body)[0] == 422


@pytest.mark.parametrize(
    "change",
    [{"trial": 999}, {"trial": -1}, {"system": "zzz"}, {"other": "zzz"}, {"trial": "1e999"},
     {"position": "1e999"}, {"score": 10**400}],
    ids=str,
)  # fmt: skip
def test_an_answer_to_no_question_is_refused(
    port: int, test_folder: Path, change: dict[str, Any]
) -> None:
    data = results_of(test_folder)
    data["rows"][0] |= change
    assert post(port, json.dumps(data).encode())[0] == 422
    assert not list(test_folder.glob("results/*"))


@pytest.mark.parametrize("size", ["9" * 5000, "-1", "٣", "1e3", str(MOST_BYTES + 1), "x"])
def test_a_length_that_is_none_is_refused(port: int, size: str) -> None:
    line = socket.create_connection(("127.0.0.1", port), timeout=10)
    with line:
        head = f"POST /results HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\n"
        head += "Content-Type: application/json\r\n"
        line.sendall(f"{head}Content-Length: {size}\r\n\r\n".encode())
        assert b" 413 " in line.recv(4096)


def test_what_is_stored_is_no_larger_than_what_was_sent(test_folder: Path) -> None:
    study, data = read_study(test_folder), results_of(test_folder)
    deep: Any = []
    for _ in range(40):
        deep = [deep, 1]
    data["rows"] = [{**row, "more": deep, "x" * 200: 1} for row in data["rows"]]
    body = json.dumps({**data, "more": deep}).encode()
    path = store(test_folder, body, study)
    assert path.stat().st_size < len(body)
    assert {r.listener for r in read_results(test_folder, study)} == {"anna"}


def test_a_client_that_does_not_send_is_not_waited_for(
    test_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(serve, "WAIT_S", 0.3)
    server = serve.server_of(test_folder)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        with socket.create_connection(server.server_address[:2], timeout=5) as line:
            line.sendall(b"POST /results HTTP/1.1\r\n")
            assert line.recv(100) == b""
    finally:
        server.shutdown()
        server.server_close()
        thread.join(10)


def test_every_answer_carries_a_policy(port: int) -> None:
    for address in ("/", "/nowhere"):
        line = http.client.HTTPConnection("127.0.0.1", port, timeout=20)
        line.request("GET", address)
        got = line.getresponse()
        assert "frame-ancestors 'none'" in (got.getheader("Content-Security-Policy") or "")
        got.read()
        line.close()


def test_two_listeners_of_one_name_both_count(test_folder: Path) -> None:
    study = read_study(test_folder)
    first, second = (results_of(test_folder, name) for name in ("anna", "somebody else"))
    second = {
        **second,
        "listener": "anna",
        "rows": [{**r, "listener": "anna"} for r in second["rows"]],
    }
    for data in (first, second, first):  # one of them twice
        store(test_folder, json.dumps(data).encode(), study)
    found = read_results(test_folder, study)
    assert {r.listener for r in found} == {"anna", "anna (2)"}
    assert len(found) == len(first["rows"]) + len(second["rows"])


@pytest.mark.parametrize("name", ["=1+1", "+x", "-x", "@SUM(A1)", "\t=1"])
def test_no_cell_is_a_formula(test_folder: Path, name: str) -> None:
    study = read_study(test_folder)
    data = results_of(test_folder)
    data = {**data, "rows": [{**r, "listener": name} for r in data["rows"]]}
    store(test_folder, json.dumps(data).encode(), study)
    for file, text in files_of(analyse_folder(test_folder)).items():
        if file.endswith(".csv"):
            head, *rows = csv.reader(io.StringIO(text))
            for row in rows:
                for column, cell in zip(head, row, strict=True):
                    number = column in ("value", "low", "high", "score", "p")
                    assert number or cell[:1] not in ("=", "+", "-", "@", "\t"), (column, cell)


@pytest.mark.parametrize("text", ["[" * 10_000, "{", "[]", '{"retone_listening": 1}', "\ud800"])
def test_a_test_that_is_damaged_is_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / "study.json").write_bytes(text.encode("utf-8", "surrogatepass"))
    with pytest.raises(DataError, match=r"study\.json"):
        read_study(tmp_path)


@pytest.mark.parametrize("title", ["<!--<script>", "</script><script>alert(1)</script>", "\u2028"])
def test_a_title_stays_text_in_one_file(tmp_path: Path, title: str) -> None:
    place = tmp_path / "one"
    folder = results_folder(tmp_path / "r")
    prepare(plan_of_folder(folder, "acr", title=title), place, one_file=True)
    html = (place / "index.html").read_text("utf-8")
    assert title == "\u2028" or title not in html
    assert html.count("<script>") == html.count("</script>") == 4
