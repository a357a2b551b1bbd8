"""The studio's page in headless Chromium, for the tests that drive it as a person would."""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from studio_client import Server, running

playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
in_chromium = [
    pytest.mark.browser,
    pytest.mark.skipif(CHROMIUM is None, reason="no Chromium: apt-get install chromium"),
]


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with running(tmp_path_factory.mktemp("place")) as server:
        yield server


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with playwright.sync_playwright() as driver:
        arguments = ["--autoplay-policy=no-user-gesture-required", "--use-fake-ui-for-media-stream",
                     "--use-fake-device-for-media-stream"]  # fmt: skip
        chromium = driver.chromium.launch(executable_path=CHROMIUM, args=arguments)
        yield chromium
        chromium.close()


@contextlib.contextmanager
def opened(browser: Any, served: Server) -> Iterator[Any]:
    """An open page; at the end nothing may have been complained of, or asked of other machines."""
    context = browser.new_context(viewport={"width": 1366, "height": 768}, accept_downloads=True)
    found = context.new_page()
    found.set_default_timeout(60_000)
    wrong: list[str] = []
    found.on("console", lambda m: wrong.append(m.text) if is_wrong(m) else None)
    found.on("pageerror", lambda e: wrong.append(str(e)))
    found.on("request", lambda r: None if local(r.url, served) else wrong.append(r.url))
    found.goto(served.url)
    found.locator("body[data-ready=true]").wait_for()
    yield found
    context.close()
    assert wrong == []


@pytest.fixture
def page(browser: Any, served: Server) -> Iterator[Any]:
    with opened(browser, served) as found:
        yield found


def is_wrong(message: Any) -> bool:
    """Complaints, without Chromium's own line for a request that was answered with a refusal."""
    refused = "the server responded with a status of 4" in message.text
    return message.type in ("error", "warning") and not refused


def local(url: str, served: Server) -> bool:
    return url.startswith((served.url, "blob:" + served.url, "data:"))


@pytest.fixture
def files(tmp_path: Path, voice: bytes, other: bytes) -> tuple[str, str]:
    one, two = tmp_path / "my voice.wav", tmp_path / "podcast.wav"
    one.write_bytes(voice)
    two.write_bytes(other)
    return str(one), str(two)
