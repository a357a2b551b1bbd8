"""Screenshots of the studio for docs/pictures, from two of the examples.

Usage: python scripts/studio_pictures.py    (needs Chromium and pip install 'retone[dev,studio]')
"""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from playwright.sync_api import Page, sync_playwright

from retone.lab.bench.exports import cases

ROOT = Path(__file__).resolve().parent.parent
PICTURES = ROOT / "docs" / "pictures"
VOICE, REFERENCE = ROOT / "examples/dull_voice.flac", ROOT / "examples/bright_voice.flac"
SIZE = {"width": 1366, "height": 768}


def drag(page: Page, band: int, dx: int, dy: int) -> None:
    """Move a band's handle by a number of pixels."""
    box = page.locator("g.node").nth(band).bounding_box()
    assert box is not None
    x, y = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2
    page.mouse.move(x, y)
    page.mouse.down()
    page.mouse.move(x + dx, y + dy, steps=6)
    page.mouse.up()


def open_page(page: Page, url: str) -> None:
    page.goto(url)
    page.locator("body[data-ready=true]").wait_for()
    page.locator("#target option").first.wait_for(state="attached")


def matched(page: Page, url: str) -> None:
    """A matched voice with a moved band, playing."""
    open_page(page, url)
    page.set_input_files("#file-input", str(VOICE))
    page.set_input_files("#file-reference", str(REFERENCE))
    page.locator("#go:enabled").click()
    page.locator("body[data-matched]").wait_for()
    page.wait_for_timeout(2500)
    page.locator("#messages button").first.click()
    page.locator("#hear-after").click()
    page.locator("#wave").click(position={"x": 260, "y": 40})
    page.locator("#play").click()
    page.wait_for_timeout(700)
    drag(page, 2, 18, -26)
    page.wait_for_timeout(2500)
    page.locator("g.node").nth(2).hover()


def banded(page: Page, url: str) -> None:
    """Settings with six dynamic bands, loaded from a file."""
    open_page(page, url)
    page.set_input_files("#file-input", str(VOICE))
    page.locator("#hear-after:enabled").wait_for()
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "bands.json"
        cases(44100)[1].settings.write(path)
        page.set_input_files("#load-file", str(path))
        page.locator("#messages p", has_text="was loaded").wait_for()
    page.locator("#curve-tabs button").nth(1).click()
    page.locator("#hear-after").click()
    page.wait_for_timeout(2500)
    page.locator("#play").click()
    page.wait_for_timeout(1500)
    page.locator("g.node").nth(4).click()
    page.wait_for_timeout(400)


def main() -> None:
    command = [sys.executable, "-m", "retone", "studio", "--no-browser", "--port", "0"]
    server = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert server.stdout is not None
    found = re.search(r"http://\S+", server.stdout.readline())
    assert found is not None
    try:
        with sync_playwright() as driver:
            browser = driver.chromium.launch(
                executable_path=shutil.which("chromium"),
                args=["--autoplay-policy=no-user-gesture-required"],
            )
            for name, scheme, play in (
                ("studio_start", "light", open_page),
                ("studio", "light", matched),
                ("studio_bands", "dark", banded),
            ):
                context = browser.new_context(viewport=SIZE, color_scheme=scheme)  # type: ignore[arg-type]
                page = context.new_page()
                page.set_default_timeout(120_000)
                play(page, found[0])
                page.screenshot(path=PICTURES / f"{name}.png")
                print(PICTURES / f"{name}.png")
                context.close()
            browser.close()
    finally:
        server.terminate()
        server.wait(30)


if __name__ == "__main__":
    main()
