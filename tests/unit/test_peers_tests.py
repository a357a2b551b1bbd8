"""The command that asks what peers' tests ask: all pass, and failures would show."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from retone.lab.evaluate import peers_tests
from retone.lab.main import main


def test_all_pass_or_are_skipped_with_the_reason(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "p.json"
    assert main(["evaluate", "peers-tests", "-o", str(file)]) == 0
    out = capsys.readouterr().out
    data = json.loads(file.read_text())
    assert len(data["checks"]) == len(peers_tests.checks()) > 15
    for check in data["checks"]:
        assert check["status"] == "passed" or "not installed" in check["status"], check
        assert check["what"] in out
    assert all(why in out for why in data["not_offered"].values())


def test_a_wrong_number_and_an_exception_fail(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken() -> float:
        raise ValueError("no")

    wrong = [
        peers_tests.Check("peer", "off", lambda: 2.0, 1.0),
        peers_tests.Check("peer", "raises", broken, 1.0),
        peers_tests.Check("peer", "absent", lambda: None, 1.0),
    ]
    monkeypatch.setattr(peers_tests, "checks", lambda: wrong)
    assert [o.status for o in peers_tests.run_checks()] == [
        "failed", "failed: no", "skipped: peer not installed",
    ]  # fmt: skip
    assert main(["evaluate", "peers-tests"]) == 1
