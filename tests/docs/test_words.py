"""Phrases that were rewritten in plain English do not come back."""

from __future__ import annotations

from pathlib import Path

import words

ROOT = Path(__file__).resolve().parents[2]
KINDS = {".py", ".md", ".js", ".html", ".css", ".c", ".h"}


def pages() -> list[Path]:
    """Everything that users and developers read, tests aside."""
    found = [
        file
        for folder in ("src", "docs", "examples", "scripts")
        for file in (ROOT / folder).rglob("*")
        if file.suffix in KINDS
    ]
    return sorted([*found, ROOT / "README.md", ROOT / "CHANGELOG.md", ROOT / "CONTRIBUTING.md"])


def phrases_in(text: str) -> frozenset[str]:
    """Listed phrases of a text; line breaks and comment marks count as spaces."""
    plain = " ".join(text.lower().replace("#", " ").split()) + " "
    return frozenset(phrase for phrase in words.PHRASES if phrase in plain)


def test_no_phrase_comes_back_and_the_list_is_not_stale() -> None:
    found = {}
    for page in pages():
        if phrases := phrases_in(page.read_text(encoding="utf-8")):
            found[page.relative_to(ROOT).as_posix()] = phrases
    expected = {page: frozenset(phrases) for page, phrases in words.STILL_THERE.items()}
    new = {page: sorted(p - expected.get(page, frozenset())) for page, p in found.items()}
    gone = {page: sorted(p - found.get(page, frozenset())) for page, p in expected.items()}
    assert not {page: p for page, p in new.items() if p}, "write these in plain English"
    assert not {page: p for page, p in gone.items() if p}, "take these out of STILL_THERE"


def test_a_phrase_is_seen_across_lines() -> None:
    """A guard on the guard."""
    assert phrases_in("It is drawn\n# anew each time.") == {" anew"}
    assert not phrases_in("A new page.")
