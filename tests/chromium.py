"""Headless Chromium and axe, for all tests that open pages."""

from __future__ import annotations

import contextlib
import os
import shutil
from collections.abc import Iterator
from typing import Any

import pytest

playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
AXE = os.environ.get("RETONE_AXE", "")
browser_only = pytest.mark.skipif(CHROMIUM is None, reason="no Chromium: apt-get install chromium")
with_axe = pytest.mark.skipif(
    not AXE, reason="RETONE_AXE is not set to a file axe.min.js (npm: axe-core)"
)


look = pytest.mark.parametrize(
    ("width", "scheme"), [(w, s) for w in (1366, 820, 420) for s in ("light", "dark")]
)
"""The widths and colours in which pages are looked at."""


@contextlib.contextmanager
def launched(*arguments: str) -> Iterator[Any]:
    """A browser that plays without a click."""
    with playwright.sync_playwright() as driver:
        given = ["--autoplay-policy=no-user-gesture-required", *arguments]
        found = driver.chromium.launch(executable_path=CHROMIUM, args=given)
        yield found
        found.close()


def violations(page: Any) -> list[tuple[str, list[Any]]]:
    """What axe finds wrong with an open page whose policy is bypassed: rule and elements."""
    page.add_script_tag(path=AXE)
    found = page.evaluate("async () => (await axe.run()).violations")
    return [(v["id"], [n["target"] for n in v["nodes"][:4]]) for v in found]
