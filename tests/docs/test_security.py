"""Every claim of the threat model names a test that is there."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "security.md").read_text(encoding="utf-8")
NAMED = sorted(set(re.findall(r"`(tests/[\w/]+\.py)(?:::(\w+))?`", PAGE)))


def test_every_claim_names_a_test() -> None:
    rows = [line for line in PAGE.splitlines() if line.startswith("| ") and line.count("|") == 4]
    claims = [r for r in rows if "claim" not in r and "who" not in r.split("|")[1]]
    assert len(claims) >= 20
    assert not [r for r in claims if "tests/" not in r and "." in r.split("|")[1]]


@pytest.mark.parametrize(("file", "test"), NAMED)
def test_the_test_is_there(file: str, test: str) -> None:
    text = (ROOT / file).read_text(encoding="utf-8")
    assert not test or f"def {test}(" in text
