"""The report in a real browser, opened as a file: it plays, explains itself, and is accessible."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile as sf

import retone
from chromium import browser_only, launched, look, violations, with_axe
from retone.report import theme

RATE = 22050


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A report of a recording long enough for passages."""
    folder = tmp_path_factory.mktemp("report")
    rng = np.random.default_rng(1)
    t = np.arange(60 * RATE) / RATE
    level = 0.03 * (1.2 + np.sin(t / 5))[:, None]
    sf.write(folder / "mine.wav", level * rng.standard_normal((len(t), 2)), RATE)
    sf.write(folder / "theirs.wav", np.diff(0.1 * rng.standard_normal(20 * RATE)), RATE)
    result = retone.match(folder / "mine.wav", folder / "theirs.wav", folder / "out.wav")
    path = folder / "out.html"
    path.write_text(result.report, encoding="utf-8")
    return path


@pytest.fixture(scope="module")
def chromium() -> Iterator[Any]:
    with launched() as found:
        yield found


@pytest.fixture
def page(chromium: Any, report: Path) -> Iterator[Any]:
    """The open report; nothing may be complained of, or asked of anywhere."""
    context = chromium.new_context(viewport={"width": 1366, "height": 768}, offline=True)
    opened = context.new_page()
    wrong: list[str] = []
    opened.on("console", lambda m: wrong.append(m.text) if m.type != "log" else None)
    opened.on("pageerror", lambda e: wrong.append(str(e)))
    opened.on("request", lambda r: wrong.append(r.url) if r.url.startswith("http") else None)
    opened.goto(report.as_uri())
    yield opened
    context.close()
    assert wrong == []


HEARD = """async () => {
  const p = document.getElementById("player").player;
  await new Promise((r) => setTimeout(r, 120));
  return Object.fromEntries([...p.tracks].map(([n, t]) => [n, t.gain.gain.value]));
}"""


@browser_only
def test_it_plays_and_switches_at_the_playhead(page: Any) -> None:
    page.click("#play")
    page.locator("body[data-playing=true]").wait_for()
    page.locator("#player-note").filter(has_text="Preparing").wait_for(state="hidden")
    page.wait_for_timeout(300)
    for key, role in (("1", "before"), ("2", "after"), ("3", "reference")):
        before = page.evaluate("document.getElementById('player').player.position()")
        page.keyboard.press(key)
        gains = page.evaluate(HEARD)
        after = page.evaluate("document.getElementById('player').player.position()")
        assert 0 < after - before < 3  # it went on from where it was
        assert page.locator(f"#hear-{role}").is_checked()
        assert gains[role] > 0.05
        assert all(g < 0.01 for other, g in gains.items() if other != role)
    fair = page.evaluate(HEARD)["reference"]
    page.uncheck("#fair")
    assert page.evaluate(HEARD)["reference"] != pytest.approx(fair, rel=0.01)
    lengths = page.evaluate(
        "[...document.getElementById('player').player.tracks].map(([, t]) => [t.seconds,"
        " t.buffer.duration])"
    )
    assert all(abs(wanted - got) < 0.05 for wanted, got in lengths)
    page.locator("[data-passage]").nth(1).click()
    assert page.locator("[data-passage]").nth(1).get_attribute("aria-pressed") == "true"
    page.click("#play")
    page.locator("body[data-playing=false]").wait_for()
    page.locator("#seek").fill("3")
    assert page.evaluate("document.getElementById('player').player.position()") == 3


ELEMENTS = """async () => {
  const p = document.getElementById("player").player;
  await new Promise((r) => setTimeout(r, 250));
  return [...p.tracks].map(([n, t]) => [n, t.audio.volume, t.audio.currentTime, t.audio.duration]);
}"""


@browser_only
def test_it_plays_whole_recordings_from_files_beside_it(
    chromium: Any, report: Path, tmp_path: Path
) -> None:
    from retone.cli.main import main

    own, out = report.parent, tmp_path / "ä b.wav"
    words = ["match", str(own / "mine.wav"), "--to", str(own / "theirs.wav"), "-o", str(out), "-q"]
    assert main([*words, "--report-sound", "beside"]) == 0
    names = {p.name for p in tmp_path.glob("*.opus")}
    assert names == {f"ä b.{role}.opus" for role in ("before", "after", "reference")}
    assert sf.info(tmp_path / "ä b.after.opus").duration == pytest.approx(60, abs=0.05)
    html = out.with_suffix(".html")
    assert html.stat().st_size < 400_000 and main([*words, "--report-sound", "beside"]) == 2
    context = chromium.new_context(offline=True)
    page = context.new_page()
    wrong: list[str] = []
    page.on("console", lambda m: wrong.append(m.text))
    page.on("pageerror", lambda e: wrong.append(str(e)))
    page.on("request", lambda r: wrong.append(r.url) if r.url.startswith("http") else None)
    page.goto(html.as_uri())
    page.click("#play")
    page.locator("body[data-playing=true]").wait_for()
    page.locator("#seek").fill("41")
    for role in ("reference", "before", "after"):
        page.locator(f"label.key-{role}").click()
        found = {n: more for n, *more in page.evaluate(ELEMENTS)}
        assert found[role][0] > 0.05 and sum(v[0] > 0 for v in found.values()) == 1
    assert 41 < found["after"][1] < 50 and abs(found["after"][1] - found["before"][1]) < 0.3
    assert found["after"][2] == pytest.approx(60, abs=0.05)
    page.click("#play")
    assert wrong == []
    (tmp_path / "ä b.after.opus").unlink()
    page.reload()
    page.click("#play")
    page.locator("#player-note", has_text="Keep them in its folder").wait_for()
    context.close()


@browser_only
def test_what_changed_is_on_the_first_screen_at_any_width(page: Any) -> None:
    for width, height in ((1366, 768), (820, 1100), (420, 800)):
        page.set_viewport_size({"width": width, "height": height})
        box = page.locator("dl.lead dd").first.bounding_box()
        assert box["y"] + box["height"] < height
        assert page.evaluate("document.documentElement.scrollWidth") <= width


@browser_only
def test_terms_are_explained_on_hover_and_focus(page: Any) -> None:
    terms = page.locator("a.term")
    assert terms.count() > 20
    for i in (0, 5, terms.count() - 1):
        terms.nth(i).focus()
        entry = page.locator(terms.nth(i).get_attribute("href")).locator("dd")
        assert entry.inner_text() in page.locator("#tip").inner_text()
        page.keyboard.press("Escape")
        assert page.locator("#tip").is_hidden()
    terms.nth(1).scroll_into_view_if_needed()
    page.wait_for_timeout(200)  # scrolling hides it
    terms.nth(1).hover()
    assert page.locator("#tip").is_visible()


@browser_only
def test_every_control_has_a_name_and_headings_have_no_gaps(page: Any) -> None:
    nameless = page.evaluate(
        """() => [...document.querySelectorAll("button, input, a, select")].filter((e) =>
          !(e.textContent.trim() || e.getAttribute("aria-label") || e.labels?.length))
          .map((e) => e.outerHTML)"""
    )
    assert nameless == []
    levels = page.evaluate(
        "[...document.querySelectorAll('h1,h2,h3')].map((h) => Number(h.tagName[1]))"
    )
    assert levels[0] == 1 and levels.count(1) == 1
    assert all(b - a <= 1 for a, b in zip(levels, levels[1:], strict=False))
    assert page.locator("svg:not([role=img][aria-label])").count() == 0
    assert page.locator("html[lang=en] main").count() == 1


@browser_only
@with_axe
@look
def test_axe_finds_nothing(chromium: Any, report: Path, width: int, scheme: str) -> None:
    context = chromium.new_context(
        viewport={"width": width, "height": 768}, color_scheme=scheme, bypass_csp=True
    )
    opened = context.new_page()
    opened.goto(report.as_uri())
    wrong = violations(opened)
    context.close()
    assert wrong == []


def _luminance(colour: str) -> float:
    digits = colour * 2 if len(colour) == 3 else colour
    parts = [int(digits[i : i + 2], 16) / 255 for i in (0, 2, 4)]
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in parts]
    return float(np.dot(linear, (0.2126, 0.7152, 0.0722)))


@pytest.mark.parametrize("scheme", [theme._LIGHT, theme._DARK], ids=["light", "dark"])
def test_text_has_contrast(scheme: str) -> None:
    """WCAG 2.1, AA: 4.5 : 1 for each colour of text on each colour that lies behind it."""
    colour = dict(re.findall(r"--([\w-]+):#([0-9a-f]{3,6});", scheme))
    words = [
        "ink",
        "soft",
        "faint",
        "before",
        "after",
        "reference",
        *(f"b{i}" for i in range(1, 7)),
    ]
    pairs = [(w, behind) for w in words for behind in ("page", "panel")]
    pairs += [
        ("warn", "warn-tint"),
        *((w, "tint") for w in ("before", "after", "reference", "faint")),
    ]
    for front, behind in pairs:
        high, low = sorted((_luminance(colour[front]), _luminance(colour[behind])), reverse=True)
        assert (high + 0.05) / (low + 0.05) >= 4.5, (front, behind)
    assert 1.05 / (_luminance(colour["go"]) + 0.05) >= 4.5
