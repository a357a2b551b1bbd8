"""The list of slow tests names what there is."""

from __future__ import annotations

from pathlib import Path

from marks import BROWSER, SLOW, marks_of

ROOT = Path(__file__).resolve().parents[2]


def test_the_list_is_not_stale() -> None:
    for name in SLOW + BROWSER:
        path, _, function = name.partition("::")
        assert (ROOT / path).exists(), name
        if function:
            assert f"def {function}(" in (ROOT / path).read_text(encoding="utf-8"), name


def test_marks_follow_the_name() -> None:
    assert marks_of("tests/cli/test_match.py::test_x") == ["slow"]
    assert marks_of("tests/studio/test_studio_page.py::test_x") == ["slow", "browser"]
    assert marks_of("tests/contract/test_effects.py::test_x[cuda-gain]") == ["gpu"]
    assert marks_of("tests/unit/test_param.py::test_x") == []
