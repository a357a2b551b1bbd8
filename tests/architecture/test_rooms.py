"""The package stays small enough to explain: few rooms, few floors, few arrows, no circles."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

import pytest

MAX_ROOMS, MAX_FLOORS, MAX_ARROWS = 28, 11, 150


@pytest.fixture(scope="module")
def count(repository: Path) -> ModuleType:
    """``scripts/count_rooms.py`` as a module."""
    path = repository / "scripts" / "count_rooms.py"
    spec = importlib.util.spec_from_file_location("count_rooms", path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    search = list(sys.path)
    try:
        spec.loader.exec_module(module)
    finally:
        sys.path[:] = search
    return module


def test_rooms_floors_and_arrows_stay_few(count: ModuleType) -> None:
    rooms = count.room_arrows()
    arrows = sum(map(len, rooms.values()))
    assert len(rooms) <= MAX_ROOMS, sorted(rooms)
    assert max(count.floors(rooms).values()) + 1 <= MAX_FLOORS, count.floors(rooms)
    assert arrows <= MAX_ARROWS, f"{arrows} arrows: {rooms}"


def test_rooms_do_not_import_each_other_in_a_circle(count: ModuleType) -> None:
    assert not count.circles(count.room_arrows())


def test_modules_do_not_import_each_other_in_a_circle(count: ModuleType) -> None:
    assert not count.circles(count.module_arrows())


def test_the_count_finds_what_it_looks_for(count: ModuleType) -> None:
    """A guard on the guard: a made-up house with one circle, and one without."""
    house = {"cli": {"b"}, "a": {"b"}, "b": {"c"}, "c": {"a", "errors"}, "errors": set()}
    assert count.circles(house) == [["a", "b", "c"]]
    del house["c"]
    house["c"] = {"errors"}
    assert count.circles(house) == []
    assert count.floors(house) == {"cli": 3, "a": 3, "b": 2, "c": 1, "errors": 0}


def test_the_count_sees_the_code(count: ModuleType) -> None:
    """Imports inside functions count, and so do ``import_module`` and type checking blocks."""
    modules = count.module_arrows()
    assert "retone.kernels.sections" in modules["retone.dsp.recursion"]
    assert (
        "retone.kernels.sections" not in count.module_arrows(at_import=True)["retone.dsp.recursion"]
    )
    assert "dsp" in count.room_arrows()["effects"]
