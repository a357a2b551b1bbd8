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
