"""Past crashes stay refused, and a few mutated inputs of every kind are used or refused.

``make fuzz`` runs many more (``scripts/fuzz.py``). A failing input goes into ``corpus/KIND``.
"""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

import pytest

pytest.importorskip("resource", reason="the fuzzer forks and limits memory")
HERE = Path(__file__).parent
CORPUS = sorted(p for p in (HERE / "corpus").rglob("*") if p.is_file())


@pytest.fixture(scope="module")
def fuzz() -> ModuleType:
    path = HERE.parents[1] / "scripts" / "fuzz.py"
    spec = importlib.util.spec_from_file_location("fuzz", path)
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    sys.modules["fuzz"] = module
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def kinds(fuzz: ModuleType) -> dict[str, object]:
    return {name: make() for name, make in fuzz.KINDS.items()}


@pytest.mark.parametrize("path", CORPUS, ids=lambda p: f"{p.parent.name}/{p.name}")
def test_a_past_crash_is_used_or_refused(
    path: Path, fuzz: ModuleType, kinds: dict[str, object], tmp_path: Path
) -> None:
    kind = kinds[path.parent.name]
    assert fuzz.outcome(kind, path.read_bytes(), tmp_path / path.name) in ("used", "refused")


@pytest.mark.parametrize(
    "name",
    [
        "recording",
        "settings",
        "preset",
        "weights",
        "request",
        "plugin",
        "hosted",
        "list",
        "listening",
    ],  # fmt: skip
)
def test_mutated_inputs_are_used_or_refused(
    name: str, fuzz: ModuleType, kinds: dict[str, object], tmp_path: Path
) -> None:
    pytest.importorskip("starlette")
    kind = kinds[name]
    place = tmp_path / f"input{kind.suffix}"  # type: ignore[attr-defined]
    try:
        for index in range(15):
            found = fuzz.outcome(kind, fuzz.input_of(name, kind, 1, index), place)
            assert found in ("used", "refused"), f"--replay {name}:1:{index}"
    finally:
        studio = getattr(kind, "studio", None)
        if studio is not None:
            studio.close()
            kind.studio = None  # type: ignore[attr-defined]


def test_an_input_follows_from_its_name(fuzz: ModuleType, kinds: dict[str, object]) -> None:
    for name, kind in kinds.items():
        first = [fuzz.input_of(name, kind, 5, i) for i in range(20)]
        assert first == [fuzz.input_of(name, kind, 5, i) for i in range(20)]
        assert len(set(first)) > 10
