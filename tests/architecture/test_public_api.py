"""The public surface is a fact: ``__all__`` is sorted, complete and true."""

from __future__ import annotations

import ast
import importlib
import re
from pathlib import Path

import pytest
from imports import SOURCE, module_name, source_files


def has_all(file: Path) -> bool:
    return re.search(r"^__all__\b", file.read_text(encoding="utf-8"), re.MULTILINE) is not None


WITH_ALL = [file for file in source_files() if has_all(file)]


def order(name: str) -> tuple[int, str]:
    """Constants, then classes, then functions, each by name."""
    return (0 if name.isupper() else 1 if name.lstrip("_")[0].isupper() else 2, name)


def test_effects_declare_their_surface() -> None:
    assert SOURCE / "effects" / "__init__.py" in WITH_ALL


@pytest.mark.parametrize("file", WITH_ALL, ids=module_name)
def test_all_is_sorted_and_resolves(file: Path) -> None:
    module = importlib.import_module(module_name(file))
    names = list(module.__all__)
    assert names == sorted(names, key=order)
    assert len(names) == len(set(names))
    missing = [name for name in names if not hasattr(module, name)]
    assert not missing


def test_every_module_says_what_it_is() -> None:
    silent = [
        module_name(file)
        for file in source_files()
        if file.read_text(encoding="utf-8").strip()
        and not ast.get_docstring(ast.parse(file.read_text(encoding="utf-8")))
    ]
    assert not silent


@pytest.mark.parametrize("name", ["retone", "retone.audio", "retone.effects", "retone.presets"])
def test_type_checkers_see_every_public_name(name: str) -> None:
    """They run no code: ``__all__`` is a list of texts, and each name is imported or defined."""
    module = importlib.import_module(name)
    tree = ast.parse(Path(str(module.__file__)).read_text(encoding="utf-8"))
    bound: set[str] = set()
    listed: list[str] = []
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom):
            bound |= {a.asname or a.name for a in node.names}
        elif isinstance(node, ast.FunctionDef | ast.ClassDef):
            bound.add(node.name)
        elif isinstance(node, ast.Assign | ast.AnnAssign):
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            bound |= {t.id for t in targets if isinstance(t, ast.Name)}
            if any(isinstance(t, ast.Name) and t.id == "__all__" for t in targets):
                assert isinstance(node.value, ast.List)
                listed = [ast.literal_eval(e) for e in node.value.elts]
    assert listed == list(module.__all__) and set(listed) <= bound
    assert set(getattr(module, "_HOME", listed)) == set(listed)
