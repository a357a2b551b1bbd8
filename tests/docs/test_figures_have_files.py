"""Behind every figure stands a file: its command, its commit, machine, seed and counts."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[2]
RESULTS = ROOT / "docs" / "results"
CATALOGUE = json.loads((RESULTS / "index.json").read_text(encoding="utf-8"))["files"]
PAGES = sorted([ROOT / "README.md", *(ROOT / "docs").rglob("*.md")])
MEASURED = re.compile(r"\d\.\d|\d (?:%|ms|s|h|MB|GB|MiB|dB|LU)(?!\w)|\bx\d")
"""What a table of measurements holds: a decimal fraction, or a number with a unit."""
WITHOUT = {
    "docs/estimators.md": "settings and limits of the estimators",
    "docs/how-to/listening-tests.md": "rules of standards, and what a listener does",
    "docs/studio.md": "limits that the server keeps to",
    "docs/project/changelog.md": "tells what changed, with figures of their time",
}
"""Pages whose tables need no file, and why."""
GIVEN = {
    "seed": ("seed", "style_seed"),
    "counts": ("pairs", "clips", "trials", "count", "counts", "rounds", "files", "checks",
               "recordings"),
}  # fmt: skip
"""What a question must say -> its names there; else the catalogue says it."""


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
        if page == "README.md":  # which leads to the pages
            continue
        patterns = [p for p in re.findall(r"[\w*]+\.jsonl?", text) if Path(name).match(p)]
        assert patterns or "docs/results" in text, f"{page} does not name {name}"
    parts = [{}] if path.suffix == ".jsonl" else parts_of(json.loads(path.read_text("utf-8")))
    for part in parts:
        made, question = part.get("provenance") or part, part.get("question", {})
        assert made.get("commit") or entry.get("recorded_in"), f"{name} does not say its commit"
        for what, names in {"machine": ("processor",), "date": ("date",)}.items():
            known = [made[n] for n in names if made.get(n)] or entry.get(what)
            assert known, f"{name} does not say its {what}"
        for what, names in GIVEN.items():
            known = [question[n] for n in names if question.get(n) is not None]
            assert known or what in entry, f"{name} does not say its {what}"


def parts_of(data: dict[str, Any]) -> list[dict[str, Any]]:
    """A result, or each item of a file that holds several."""
    return list(data["items"].values()) if "items" in data else [data]


def test_what_the_catalogue_says_is_so() -> None:
    def read(name: str) -> dict[str, Any]:
        return dict(json.loads((RESULTS / name).read_text(encoding="utf-8")))

    for name in ("enhance_recordings_home.json", "enhance_recordings_lowband.json"):
        assert CATALOGUE[name]["counts"] == f"{len(read(name)['rows'])} recordings"
    cells = read("formats.json")["cells"]
    assert CATALOGUE["formats.json"]["counts"] == f"{len(cells)} cells"
    trends = read("trend_speech_network.json")["trends"].values()
    counts = {len(trend["groups"]) for trend in trends}
    assert CATALOGUE["trend_speech_network.json"]["counts"] == f"{counts.pop()} recordings"
    assert not counts


def test_the_readme_says_what_the_file_says() -> None:
    """Its figures of natural pairs: rows, left of tone and dynamics, and predicted quality."""
    text = " ".join((ROOT / "README.md").read_text(encoding="utf-8").split())
    found = json.loads((RESULTS / "natural_pairs.json").read_text(encoding="utf-8"))["rows"]

    def left(kind: str, row: str, key: str) -> str:
        values = [r[4] for r in found if r[2] == kind and r[3] == row]
        before = sum(v[f"{key}_before"] for v in values)
        return f"{100 * sum(v[f'{key}_after'] for v in values) / before:.0f} %"

    def change(row: str) -> float:
        values = [r[4] for r in found if r[2] == "speech" and r[3] == row]
        return sum(v["dnsmos_after"] - v["dnsmos_before"] for v in values) / len(values)

    ours, other = "retone, strength 0.9", "matchering"
    kinds = ("speech", "music")
    tone, tone_other, dynamics, dynamics_other = (
        [left(kind, row, key) for kind in kinds]
        for key in ("tone", "dynamics")
        for row in (ours, other)
    )
    sentence = (
        f"the default leaves {tone[0]} and {tone[1]} of the difference in tone (matchering "
        f"{tone_other[0]} and {tone_other[1]}) and {dynamics[0]} and {dynamics[1]} of that in "
        f"dynamics ({dynamics_other[0]} and {dynamics_other[1]})"
    )
    assert sentence in text
    assert f"(DNSMOS) falls by {-change(ours):.2f} on average" in text
    assert "README.md" in CATALOGUE["natural_pairs.json"]["pages"]


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
    for cell in ("0.83 [0.5, 1.5]", "12 ms", "x0.42", "3 %", "601 MB at most"):
        assert MEASURED.search(f"| a | {cell} |"), cell
    for cell in ("a [b, c]", "1024", "Opus", "BS.1534", "2 channels"):
        assert not MEASURED.search(f"| a | {cell} |"), cell


def shown(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


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
    if name == "exports":
        from retone.lab.bench.exports import page as exports

        return exports(json.loads((RESULTS / "exports.json").read_text(encoding="utf-8")))
    if name == "natural":
        from retone.lab.evaluate.natural_page import page as natural

        return natural(results("natural_*.json"))
    if name == "benchmarks":
        from retone.lab.bench.peers_suites import section
        from retone.lab.bench.result import Report
        from retone.lab.bench.tables import docs_page
        from retone.lab.commands.bench import KINDS

        files = [RESULTS / f"bench_{kind}.json" for kind in KINDS]
        reports = [(shown(f), Report.load(f)) for f in files if f.is_file()]
        whole = section(RESULTS / "peers_suites.json").replace(
            (RESULTS / "peers_suites.json").as_posix(), shown(RESULTS / "peers_suites.json")
        )
        return docs_page(reports) + "\n" + whole
    if name == "strategies":
        from retone.lab.evaluate.equal_budgets import strategies_page

        return strategies_page((ROOT / "docs/strategies.md").read_text("utf-8"), RESULTS)
    from retone.lab.reproduce.filled import Filled
    from retone.lab.reproduce.page import IN_FULL, SOURCE
    from retone.lab.reproduce.page import page as reproducing

    summary = json.loads((RESULTS / SOURCE).read_text(encoding="utf-8"))
    return reproducing(summary, [Filled.load(RESULTS / IN_FULL)])


def test_the_gates_table_is_what_their_files_say() -> None:
    page = (ROOT / "docs" / "models.md").read_text(encoding="utf-8")
    for kind, of in (
        (
            "speech",
            "{} pairs, half of them with a reference of the same voice; the inputs are of {} "
            "voices, and with the references they are {}.",
        ),
        ("music", "{} pairs of {} pieces"),
    ):
        record = json.loads((RESULTS / f"gate_{kind}.json").read_text(encoding="utf-8"))
        counts = [
            f"{record['question'][n]:,}" for n in ("pairs", "groups", "groups_with_references")
        ]
        assert of.format(*counts) in page
        found = record["found"]
        for case, whole in found["whole"].items():
            gated = found["gated"][case]
            shares = (f"{100 * numbers['worse']:.0f} %" for numbers in (whole, gated))
            cells = (f"{kind}, {case}", f"{whole['stft']:.3f}", f"{gated['stft']:.3f}", *shares)
            assert f"| {' | '.join(cells)} |" in page
    speech = json.loads((RESULTS / "gate_speech.json").read_text(encoding="utf-8"))
    case = "another source"
    for part in speech["by_part"]:
        whole, gated = part["whole"][case], part["gated"][case]
        shares = (f"{100 * numbers['worse']:.0f} %" for numbers in (whole, gated))
        cells = (str(whole["pairs"]), f"{whole['stft']:.3f}", f"{gated['stft']:.3f}", *shares)
        assert f"| {' | '.join(cells)} |" in page
    held_out, trained = [], []
    for about, part in zip(speech["question"]["parts"], speech["by_part"], strict=True):
        pairs = sum(numbers["pairs"] for numbers in part["whole"].values())
        apart = about["corpus"].endswith("/val")
        (held_out if apart else trained).append((pairs, part["groups_with_references"]))
    pairs, voices = (sum(column) for column in zip(*held_out, strict=True))
    of = (
        "{} pairs are of {} voices that no weights were trained on: {} that the corpora listed "
        "under frames_speech keep for validation, and the {} validation voices of the Debian"
    )
    assert of.format(pairs, voices, *(n for _, n in held_out)) in page
    (of_all, _), (of_readers, _) = trained
    assert f"{of_all} pairs of all its corpora, and {of_readers:,} of those" in page
    favours = [c[case] for n, c in speech["found"].items() if n.startswith("favour") if case in c]
    for cells in (
        [f"{f['stft']:.3f}" for f in favours if f is not favours[3]],
        [f"{100 * f['worse']:.0f} %" for f in favours if f is not favours[3]],
    ):
        assert f"| {' | '.join(cells)} |" in page


GENERATED = (
    "closeness", "styles", "strategies", "reproducing", "exports", "natural", "benchmarks"
)  # fmt: skip


@pytest.mark.parametrize("name", GENERATED)
def test_regenerating_a_page_changes_nothing(name: str) -> None:
    assert regenerated(name) == (ROOT / "docs" / f"{name}.md").read_text(encoding="utf-8")
