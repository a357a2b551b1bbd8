"""What the README shows is what happens."""

from __future__ import annotations

import doctest
import os
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent


def test_python_session(tmp_path: Path) -> None:
    """The session in the README gives the output printed there."""
    text = (ROOT / "README.md").read_text().replace('"out.flac"', repr(str(tmp_path / "out.flac")))
    test = doctest.DocTestParser().get_doctest(text.replace("```", ""), {}, "README.md", None, 0)
    assert len(test.examples) >= 3
    here = Path.cwd()
    os.chdir(ROOT)
    try:
        outcome = doctest.DocTestRunner(optionflags=doctest.NORMALIZE_WHITESPACE).run(test)
    finally:
        os.chdir(here)
    assert outcome.failed == 0


def test_every_page_it_names_exists() -> None:
    import re

    text = (ROOT / "README.md").read_text()
    links = re.findall(r"\]\(([^)#]+)\)", text)
    missing = [link for link in links if "://" not in link and not (ROOT / link).exists()]
    assert len(links) >= 8
    assert not missing


def commands_shown(text: str) -> dict[str, set[str]]:
    """The words that follow ``retone`` and ``python -m retone.lab`` in a page's code."""
    import re

    code = "\n".join(re.findall(r"```.*?```|`[^`]+`", text, re.DOTALL))
    return {
        "retone": set(re.findall(r"(?<![\w.-])retone ([a-z][\w-]*)", code)),
        "lab": set(re.findall(r"python -m retone\.lab ([a-z][\w-]*)", code)),
    }


def test_every_command_it_shows_exists() -> None:
    from retone.cli.main import COMMANDS
    from retone.lab.main import COMMANDS as LAB

    used = commands_shown((ROOT / "README.md").read_text())
    assert used["retone"] <= set(COMMANDS), used
    assert used["lab"] <= set(LAB), used
    assert {"match", "apply", "inspect"} <= used["retone"]


def test_a_command_that_does_not_exist_is_seen() -> None:
    """A guard on the guard."""
    used = commands_shown("`retone mtch a.wav` and\n```\npython -m retone.lab wash\n```")
    assert used == {"retone": {"mtch"}, "lab": {"wash"}}
