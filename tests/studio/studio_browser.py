"""The studio's page in headless Chromium, for the tests that drive it as a person would."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

import pytest
from studio_client import Server

from chromium import browser_only

in_chromium = [pytest.mark.browser, browser_only]


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


def is_wrong(message: Any) -> bool:
    """Complaints, without Chromium's own line for a request that was answered with a refusal."""
    refused = "the server responded with a status of 4" in message.text
    return message.type in ("error", "warning") and not refused


def local(url: str, served: Server) -> bool:
    return url.startswith((served.url, "blob:" + served.url, "data:"))
