"""Behind every figure stands a file: its command, its commit, machine, seed and counts."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[2]
RESULTS = ROOT / "docs" / "results"
CATALOGUE = json.loads((RESULTS / "index.json").read_text(encoding="utf-8"))["files"]
PAGES = sorted([ROOT / "README.md", *(ROOT / "docs").rglob("*.md")])
MEASURED = re.compile(r"\[-?\d[\d.]*(?: \w+)?, -?\d[\d.]*(?: \w+)?\]|\bx\d+\.\d\d\b")
"""What only a measurement prints: an interval, or a ratio."""
WITHOUT = {
    "docs/exports.md": "written by its command, which says for each row how it was verified",
    "docs/project/changelog.md": "tells what changed, with figures of their time",
}
"""Pages whose tables need no file, and why."""
GIVEN: dict[str, Callable[[dict[str, Any]], Any]] = {
    "seed": lambda d: next(
        (d["question"][k] for k in ("seed", "style_seed") if k in d.get("question", {})), None
    ),
    "counts": lambda d: next(
        (d["question"][k] for k in ("pairs", "clips", "trials", "count", "counts", "rounds",
                                    "files", "checks") if k in d.get("question", {})), None,
    ),
}  # fmt: skip
UNSEEDED = ("enhance_recordings_", "formats", "trend_", "reproduce_", "frames_")
"""Named recordings, all formats, or items with questions of their own: nothing is drawn."""


def tables(text: str) -> list[str]:
    """The Markdown tables of a page."""
    return re.findall(r"(?:^\|.*\n)+", text, re.MULTILINE)


def test_the_catalogue_lists_every_file_and_no_other() -> None:
    files = {p.name for p in RESULTS.iterdir() if p.name != "index.json"}
    assert files == set(CATALOGUE)


@pytest.mark.parametrize("name", sorted(CATALOGUE))
def test_each_file_names_command_commit_machine_seed_and_counts(name: str) -> None:
    entry, path = CATALOGUE[name], RESULTS / name
    known = ("python -m retone.lab ", "retone ", "python scripts/")
    assert entry["command"].startswith(known)
    for page in entry["pages"]:
        text = (ROOT / page).read_text(encoding="utf-8")
        patterns = [p for p in re.findall(r"[\w*]+\.jsonl?", text) if Path(name).match(p)]
        assert patterns or "docs/results" in text, f"{page} does not name {name}"
    if path.suffix == ".jsonl":
        return
    data = json.loads(path.read_text(encoding="utf-8"))
    made = [data.get("provenance") or data]
    if "items" in data:
        made = [item["provenance"] for item in data["items"].values()]
    for one in made:
        assert one.get("commit") or entry.get("recorded_in"), name
        assert one.get("processor") or one.get("ffmpeg"), name
        assert one.get("date"), name
    if not name.startswith(UNSEEDED):
        for what, read in GIVEN.items():
            assert read(data) is not None, f"{name} does not say its {what}"


@pytest.mark.parametrize("page", PAGES, ids=lambda p: p.relative_to(ROOT).as_posix())
def test_each_table_of_measurements_names_its_file(page: Path) -> None:
    """A file is named on the page, or the page is generated from files that the catalogue has."""
    name = page.relative_to(ROOT).as_posix()
    text = page.read_text(encoding="utf-8")
    found = [t for t in tables(text) if MEASURED.search(t)]
    if not found or name in WITHOUT:
        return
    behind = [f for f, entry in CATALOGUE.items() if name in entry["pages"]]
    assert behind, f"{name} shows measurements, and no file in docs/results is behind it"


def test_a_table_without_a_file_would_be_seen() -> None:
    assert MEASURED.search("| exact | 0.83 [0.5, 1.5] |")
    assert MEASURED.search("| a | 12 ms [11 ms, 13 ms] |") and MEASURED.search("| a | x0.42 |")
    assert not MEASURED.search("| Q | 0.1 to 10 |") and not MEASURED.search("| a [b, c] |")


def regenerated(name: str) -> str:
    """A page as its command writes it now."""
    from retone.lab.evaluate.result import Result

    def results(pattern: str) -> list[Any]:
        return [Result.load(f) for f in sorted(RESULTS.glob(pattern))]

    if name == "closeness":
        from retone.lab.evaluate.result import page

        return page(results("closeness_*.json"))
    if name == "styles":
        from retone.lab.evaluate.style_page import render_folder

        return render_folder(RESULTS)
    if name == "strategies":
        from retone.lab.evaluate.equal_budgets import strategies_page

        return strategies_page((ROOT / "docs/strategies.md").read_text("utf-8"), RESULTS)
    from retone.lab.reproduce.filled import Filled
    from retone.lab.reproduce.page import IN_FULL, SOURCE
    from retone.lab.reproduce.page import page as reproducing

    summary = json.loads((RESULTS / SOURCE).read_text(encoding="utf-8"))
    return reproducing(summary, [Filled.load(RESULTS / IN_FULL)])


@pytest.mark.parametrize("name", ["closeness", "styles", "strategies", "reproducing"])
def test_regenerating_a_page_changes_nothing(name: str) -> None:
    assert regenerated(name) == (ROOT / "docs" / f"{name}.md").read_text(encoding="utf-8")
