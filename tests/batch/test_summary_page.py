"""The page about many recordings in a real browser: it fits, and everything has a name."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from chromium import browser_only, launched, look, violations, with_axe
from retone.report.many import render_many

pytestmark = browser_only


@pytest.fixture(scope="module")
def chromium() -> Iterator[Any]:
    with launched() as found:
        yield found


@pytest.fixture(scope="module", params=["match", "inspect"])
def page(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Five recordings, of which one stands out, and one that failed."""
    records: list[Any] = []
    for i in range(5):
        lufs = -23.0 - i / 4 + 12.0 * (i == 3)
        values = {
            "before_integrated_lufs": lufs, "after_integrated_lufs": -23.0, "duration_s": 1800.0,
            "before_true_peak_dbtp": -1.0, "after_true_peak_dbtp": -3.0, "gain_db": -23.0 - lufs,
            "limiter_most_db": 0.0, "integrated_lufs": lufs, "true_peak_dbtp": -1.0,
            "loudness_range_lu": 4.0, "noise_floor_dbfs": -60.0, "bandwidth_hz": 8000.0 + 9000 * i,
            "summary": "Brighter above 8 kHz by 3 dB, more even by 2 dB, 1 dB quieter.",
        }  # fmt: skip
        records.append((f"in/{i}.wav", f"season one/episode number {i}.flac", values, ""))
    records.append(("in/broken.wav", "", None, "in/broken.wav is not a recording."))
    path = tmp_path_factory.mktemp("many") / "summary.html"
    path.write_text(render_many(records, request.param), encoding="utf-8")
    return path


@look
def test_it_fits_the_screen(chromium: Any, page: Path, width: int, scheme: str) -> None:
    context = chromium.new_context(
        viewport={"width": width, "height": 800}, color_scheme=scheme, offline=True
    )
    opened = context.new_page()
    opened.goto(page.as_uri())
    assert opened.evaluate("document.documentElement.scrollWidth") <= width
    lead = opened.locator("p.lead").inner_text()
    assert (
        lead == "5 recordings, 2.5 hours. 1 stands out from the others. 1 could not be processed."
    )
    rows = opened.locator("tr", has_text="episode number")
    assert rows.count() == 5
    for i in range(5):  # what one reads is on the screen, not cut and not a column of words
        box = rows.nth(i).bounding_box()
        assert box["x"] >= 0 and box["x"] + box["width"] <= width and box["height"] < 200
    context.close()


@with_axe
@look
def test_axe_finds_nothing(chromium: Any, page: Path, width: int, scheme: str) -> None:
    context = chromium.new_context(
        viewport={"width": width, "height": 800}, color_scheme=scheme, bypass_csp=True
    )
    opened = context.new_page()
    opened.goto(page.as_uri())
    wrong = violations(opened)
    context.close()
    assert wrong == []
