"""Reading what the package's files import, without running them."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

PACKAGE = "retone"
SOURCE = Path(__file__).resolve().parents[2] / "src" / PACKAGE


@dataclass(frozen=True)
class Import:
    """One imported module: its location and whether it runs when the file is imported."""

    module: str
    file: str
    line: int
    at_import: bool


def source_files() -> list[Path]:
    return sorted(SOURCE.rglob("*.py"))


def module_name(file: Path) -> str:
    """``src/retone/dsp/scan.py`` is ``retone.dsp.scan``."""
    parts = [PACKAGE, *file.relative_to(SOURCE).with_suffix("").parts]
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def exists(module: str) -> bool:
    """Whether a dotted name is one of the package's modules (and not a name inside one)."""
    path = SOURCE.joinpath(*module.split(".")[1:])
    return path.with_suffix(".py").is_file() or (path / "__init__.py").is_file()


def imports(file: Path) -> Iterator[Import]:
    """Every import of a file: at the top, inside functions, and for type checkers alike."""
    tree = ast.parse(file.read_text(encoding="utf-8"))
    package = module_name(file).split(".")
    if file.name != "__init__.py":
        package = package[:-1]
    lazy: set[int] = set()
    for node in ast.walk(tree):
        inside = isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda))
        typing_only = isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test)
        if inside or typing_only:
            lazy |= {id(child) for child in ast.walk(node)}
    for node in ast.walk(tree):
        names: list[str] = []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                base = ".".join([*package[: len(package) - node.level + 1], *base.split(".")])
                base = base.rstrip(".")
            names = [
                f"{base}.{alias.name}" if exists(f"{base}.{alias.name}") else base
                for alias in node.names
            ]
        elif (  # importlib.import_module("retone.x")
            isinstance(node, ast.Call)
            and ast.unparse(node.func).endswith("import_module")
            and node.args
            and isinstance(node.args[0], ast.Constant)
        ):
            names = [str(node.args[0].value)]
        for name in names:
            place = file.relative_to(SOURCE.parent).as_posix()
            yield Import(name, place, node.lineno, id(node) not in lazy)
