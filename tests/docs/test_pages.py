"""The commands and snippets of the tutorials do what their pages say."""

from __future__ import annotations

import os
import shutil
import sys
from pathlib import Path
from typing import Any

import pages
import pytest

ROOT = Path(__file__).resolve().parents[2]
RUN = sorted([*(ROOT / "docs/tutorials").glob("*.md"), *(ROOT / "docs/how-to").glob("*.md")])
SHOWN = sorted((ROOT / "docs").rglob("*.md"))


def relative(page: Path) -> str:
    return page.relative_to(ROOT).as_posix()


@pytest.mark.skipif(sys.platform == "win32", reason="the pages are written for a POSIX shell")
@pytest.mark.parametrize("page", RUN, ids=relative)
def test_a_page_runs_from_top_to_bottom(
    page: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copytree(ROOT / "examples", tmp_path / "examples")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    monkeypatch.setenv("RETONE_PRESETS", str(tmp_path / "presets"))
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(ROOT / "src")]))
    pages.write_programs(tmp_path / "programs")
    names: dict[str, Any] = {"__name__": f"page_{page.stem.replace('-', '_')}"}
    sys.modules[names["__name__"]] = type(sys)(names["__name__"])  # dataclasses look it up
    names = sys.modules[names["__name__"]].__dict__
    for block in pages.blocks(page.read_text(encoding="utf-8")):
        if block.why_not is None and block.language == "bash":
            pages.run_shell(block.code, tmp_path / "programs")
        elif block.why_not is None and block.language == "python":
            source = "\n" * (block.line - 1) + block.code
            exec(compile(source, str(page), "exec", dont_inherit=True), names)


@pytest.mark.parametrize("page", SHOWN, ids=relative)
def test_commands_that_do_not_run_here_are_valid(page: Path) -> None:
    for block in pages.blocks(page.read_text(encoding="utf-8")):
        if block.language == "bash" and block.why_not is not None:
            for words in pages.commands(block.code):
                pages.parse(words)


def test_every_block_of_a_tutorial_has_a_language() -> None:
    for page in RUN:
        for block in pages.blocks(page.read_text(encoding="utf-8")):
            assert block.language in ("bash", "python", "text", "json", "toml"), (page, block.line)


def test_a_wrong_page_is_seen(tmp_path: Path) -> None:
    """A guard on the guard."""
    found = pages.blocks(
        "a\n\n```bash\nfalse\n```\n\n<!-- not run: long -->\n```bash\nretone x\n```\n"
    )
    assert [(b.code, b.why_not) for b in found] == [("false\n", None), ("retone x\n", "long")]
    pages.write_programs(tmp_path / "programs")
    with pytest.raises(AssertionError):
        pages.run_shell(found[0].code, tmp_path / "programs")
    with pytest.raises(SystemExit):
        pages.parse(["retone", "match", "a.wav", "--too", "b.wav"])
