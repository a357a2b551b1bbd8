"""What the README shows is what happens."""

from __future__ import annotations

import doctest
import os
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent


class Worded(doctest.OutputChecker):
    """Allows numbers before dB to differ by 1, as they do between processors."""

    def check_output(self, want: str, got: str, optionflags: int) -> bool:
        number = re.compile(r"\d+(?= dB)")
        numbers = [[int(n) for n in number.findall(text)] for text in (want, got)]
        near = all(abs(a - b) <= 1 for a, b in zip(*numbers, strict=False))
        want, got = (number.sub("#", text) for text in (want, got))
        return near and super().check_output(want, got, optionflags)


def test_python_session(tmp_path: Path) -> None:
    """The session in the README gives the output printed there."""
    text = (ROOT / "README.md").read_text().replace('"out.flac"', repr(str(tmp_path / "out.flac")))
    test = doctest.DocTestParser().get_doctest(text.replace("```", ""), {}, "README.md", None, 0)
    assert len(test.examples) >= 3
    here = Path.cwd()
    os.chdir(ROOT)
    try:
        runner = doctest.DocTestRunner(Worded(), optionflags=doctest.NORMALIZE_WHITESPACE)
        outcome = runner.run(test)
    finally:
        os.chdir(here)
    assert outcome.failed == 0


BRANCH = "https://github.com/retone/retone/blob/main/"
RAW = "https://raw.githubusercontent.com/retone/retone/main/"


def links(name: str) -> list[str]:
    """What a page of the repository links to."""
    return re.findall(r"\]\(([^)#\s]+)[^)]*\)", (ROOT / name).read_text())


def files_missing(targets: list[str]) -> list[str]:
    """Links to this repository whose file does not exist; relative links count as well."""
    missing = []
    for target in targets:
        path = target.removeprefix(BRANCH).removeprefix(RAW)
        if "://" not in path and not (ROOT / path).exists():
            missing.append(target)
    return missing


def test_every_page_it_names_exists() -> None:
    assert len(links("README.md")) >= 20
    assert not files_missing(links("README.md"))


def test_its_links_work_on_a_package_index() -> None:
    """An index shows the README alone: relative links would lead nowhere."""
    assert all("://" in link for link in links("README.md"))


@pytest.mark.parametrize("name", ["CONTRIBUTING.md", "SECURITY.md", "CHANGELOG.md"])
def test_pages_at_the_root_link_to_files_that_exist(name: str) -> None:
    assert not files_missing(links(name))


def test_a_missing_page_is_seen() -> None:
    """A guard on the guard."""
    assert files_missing(
        [f"{BRANCH}docs/nowhere.md", f"{BRANCH}docs/effects.md", "docs/lost.md"]
    ) == [
        f"{BRANCH}docs/nowhere.md",
        "docs/lost.md",
    ]


def commands_shown(text: str) -> dict[str, set[str]]:
    """The words that follow ``retone`` and ``python -m retone.lab`` in a page's code."""
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
