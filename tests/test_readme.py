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


def test_every_command_it_shows_exists() -> None:
    import re

    from retone.cli.main import COMMANDS

    text = (ROOT / "README.md").read_text()
    used = set(re.findall(r"`?retone ([a-z]+)", text)) & {
        "match", "apply", "inspect", "corpus", "train", "evaluate", "bench", "enhance",
    }  # fmt: skip
    assert used <= set(COMMANDS)
    assert {"match", "apply", "inspect"} <= used
