"""Library code names no command-line option: a Python or studio user cannot pass ``--force``."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

from imports import SOURCE, source_files

OPTION = re.compile(r"(?<![\w-])--[a-z][a-z-]+")

PROGRAMS = ("cli/", "lab/commands/", "terminal.py", "training/data/opening.py")
"""Command-line programs, which may name their own options."""

ALLOWED = {
    "core/build.py": "options of the linker",
    "exports/sox.py": "options of SoX",
    "lab/bench/batch.py": "argument lists for retone in a process of its own",
    "lab/bench/enhance.py": "argument lists for retone in a process of its own",
    "lab/bench/exports.py": "text of docs/exports.md",
    "lab/bench/match.py": "argument lists for retone in a process of its own",
    "lab/bench/peers_suites.py": "argument lists for pip and pytest in processes of their own",
    "lab/bench/run.py": "argument lists for retone in a process of its own",
    "lab/bench/studio.py": "argument list for retone studio in a process of its own",
    "lab/bench/tables.py": "options of pip, in the text of docs/benchmarks.md",
    "lab/reproduce/page.py": "text of docs/reproducing.md",
    "report/heatmap.py": "names of CSS variables",
    "report/many.py": "names of CSS variables",
    "report/theme.py": "names of CSS variables",
}
"""Other programs' options and the like: file -> reason."""


def relative(file: Path) -> str:
    return file.relative_to(SOURCE).as_posix()


def options(tree: ast.AST) -> Iterator[tuple[int, str]]:
    """Line and name of every option in a string: plain, f-string or docstring."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            for match in OPTION.finditer(node.value):
                yield node.lineno, match[0]


def found() -> dict[str, list[str]]:
    out: dict[str, list[str]] = {}
    for file in source_files():
        name = relative(file)
        if not name.startswith(PROGRAMS):
            tree = ast.parse(file.read_text(encoding="utf-8"))
            places = [f"src/retone/{name}:{line} {option}" for line, option in options(tree)]
            if places:
                out[name] = places
    return out


def test_library_code_names_no_option() -> None:
    wrong = [place for name, places in found().items() if name not in ALLOWED for place in places]
    assert not wrong, "say what to change, not which option to pass:\n" + "\n".join(wrong)


def test_lists_are_not_stale() -> None:
    stale = set(ALLOWED) - set(found())
    assert not stale, f"these name no option any more, take them out: {sorted(stale)}"


def test_the_search_finds_what_it_looks_for() -> None:
    tree = ast.parse(
        'def f(x):\n    "See --verify."\n    raise E("Pass --force.")\n'
        '    raise E(f"{x}: use --to-file {x}")\n'
        'y = ["--no-report"]\nz = "a -- b, a--b, --- rule, -f"\n'
    )
    assert sorted(option for _, option in options(tree)) == [
        "--force", "--no-report", "--to-file", "--verify"
    ]  # fmt: skip
