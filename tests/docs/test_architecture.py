"""docs/architecture.md names only files, functions and classes that exist."""

from __future__ import annotations

import ast
import functools
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PACKAGE = ROOT / "src" / "retone"
SECTIONS = ("The rooms", "A walk through")


def section(page: str, title: str) -> str:
    """The text from a second-level heading to the next one."""
    found = re.search(rf"^## {title}.*?(?=^## |\Z)", page, re.MULTILINE | re.DOTALL)
    assert found, f"docs/architecture.md has no section '{title}'"
    return found[0]


def quoted(text: str) -> list[str]:
    """What is in single backticks; a line break inside counts as a space."""
    return [" ".join(part.split()) for part in re.findall(r"`([^`]+)`", text)]


@functools.cache
def names_in(path: Path) -> frozenset[str]:
    """Functions, classes, ``Class.member`` and constants that a file defines."""
    found = set()
    for node in ast.parse(path.read_text(encoding="utf-8")).body:
        found.update(_defined(node))
        if isinstance(node, ast.ClassDef):
            found |= {f"{node.name}.{n}" for inner in node.body for n in _defined(inner)}
            for base in node.bases:  # Result.settings comes from Rendered
                found |= {f"{node.name}<{ast.unparse(base)}"}
    return frozenset(found)


def _defined(node: ast.stmt) -> list[str]:
    if isinstance(node, (ast.FunctionDef, ast.ClassDef)):
        return [node.name]
    if isinstance(node, ast.Assign):
        return [t.id for t in node.targets if isinstance(t, ast.Name)]
    if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
        return [node.target.id]
    return []


@functools.cache
def all_names() -> frozenset[str]:
    return frozenset().union(*(names_in(path) for path in PACKAGE.rglob("*.py")))


def is_known(name: str) -> bool:
    """Whether the package defines a name, or a member of a class or of its bases."""
    names = all_names()
    if name in names:
        return True
    owner, _, member = name.partition(".")
    bases = [n.partition("<")[2] for n in names if n.startswith(f"{owner}<")]
    return bool(member) and any(is_known(f"{base}.{member}") for base in bases)


def complaint(text: str) -> str | None:
    """What is wrong with a quoted text; None if it exists or is a command."""
    if text.startswith(("retone ", "python ", "src/")) or text == "retone":
        return None
    path, colon, name = text.partition(": ")
    if path.endswith("/"):
        return None if (PACKAGE / path).is_dir() else "no such folder"
    if path.endswith(".py"):
        if not (PACKAGE / path).is_file():
            return "no such file"
        return None if not colon or name in names_in(PACKAGE / path) else "not in that file"
    return None if is_known(text) else "defined nowhere"


@pytest.mark.parametrize("title", SECTIONS)
def test_what_it_names_exists(title: str) -> None:
    page = (ROOT / "docs/architecture.md").read_text(encoding="utf-8")
    text = re.sub(r"^```.*?^```", "", section(page, title), flags=re.MULTILINE | re.DOTALL)
    found = quoted(text)
    assert len(found) > 20
    assert not {t: why for t in found if (why := complaint(t))}


def test_every_room_is_in_the_table() -> None:
    page = (ROOT / "docs/architecture.md").read_text(encoding="utf-8")
    table = quoted(section(page, "The rooms"))
    rooms = {
        f"{p.name}/" if p.is_dir() else p.name
        for p in PACKAGE.iterdir()
        if (p.suffix == ".py" and not p.name.startswith("__")) or (p / "__init__.py").is_file()
    }
    assert rooms <= set(table), sorted(rooms - set(table))


def test_a_wrong_name_is_seen() -> None:
    """A guard on the guard."""
    assert complaint("process/decide.py: decide") is None
    assert complaint("process/decide.py: render") == "not in that file"
    assert complaint("process/matcher.py") == "no such file"
    assert complaint("matching/") == "no such folder"
    assert complaint("Result.settings") is None
    assert complaint("Result.picture") == "defined nowhere"
