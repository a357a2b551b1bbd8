"""A sample rate is passed, never assumed: no default in a signature, no number in the code."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

from imports import SOURCE, source_files

RATES = {22050, 24000, 44100, 48000}
NAMES = {"sample_rate", "sample_rate_hz", "rate", "sr", "fs", "samplerate"}

ALLOWED_FOLDERS = ("training/recipes/",)  # a recipe states the rate its network is made for
ALLOWED_FILES = {
    "lab/evaluate/encoders.py": "published encoders expect the rates they were made for",
    "training/debian/builder.py": "the corpus is cut at one stated rate; lower rates are dropped",
    "lab/evaluate/peers_tests.py": "the rate of the signals in peers' tests",
    "lab/published.py": "the papers' tables name the rates of their recordings",
    "nets/frontend.py": "the rate that the compact networks are made for",
    "training/debian/lists.py": "what packages' recordings are kept at",
    "lab/commands/bench.py": "the rate of the benchmark's made-up signals, shown by --help",
    "audio/encoders/ogg_opus.py": "the rate that Opus works at",
    "audio/formats.py": "which rates a coded format can hold",
    "estimators/content_statistics.py": "the statistics were taken on one stated frequency grid",
}


def relative(file: Path) -> str:
    return file.relative_to(SOURCE).as_posix()


def is_number(node: ast.AST | None) -> bool:
    return isinstance(node, ast.Constant) and type(node.value) in (int, float)


def defaults(tree: ast.AST) -> Iterator[tuple[int, str]]:
    """Line and name of every rate with a number as default: arguments and dataclass fields."""
    for node in ast.walk(tree):
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda)):
            a = node.args
            positional = [*a.posonlyargs, *a.args]
            pairs = list(zip(positional[::-1], a.defaults[::-1], strict=False))
            pairs += [(n, d) for n, d in zip(a.kwonlyargs, a.kw_defaults, strict=True) if d]
            for name, default in pairs:
                if name.arg in NAMES and is_number(default):
                    yield name.lineno, name.arg
        elif isinstance(node, ast.ClassDef):
            for field in node.body:
                if isinstance(field, ast.AnnAssign) and isinstance(field.target, ast.Name):
                    if field.target.id in NAMES and is_number(field.value):
                        yield field.lineno, field.target.id


def literals(tree: ast.AST) -> Iterator[tuple[int, float]]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and type(node.value) in (int, float):
            if node.value in RATES:
                yield node.lineno, node.value


def test_no_signature_assumes_a_rate() -> None:
    wrong = [
        f"{relative(file)}:{line} {name} has a default"
        for file in source_files()
        for line, name in defaults(ast.parse(file.read_text(encoding="utf-8")))
    ]
    assert not wrong, "\n".join(wrong)


def test_rates_stand_only_where_they_belong() -> None:
    wrong = []
    for file in source_files():
        name = relative(file)
        if name in ALLOWED_FILES or name.startswith(ALLOWED_FOLDERS):
            continue
        tree = ast.parse(file.read_text(encoding="utf-8"))
        wrong += [f"{name}:{line} {value:g}" for line, value in literals(tree)]
    assert not wrong, "\n".join(wrong)


def test_allow_list_is_not_stale() -> None:
    for name, reason in ALLOWED_FILES.items():
        tree = ast.parse((SOURCE / name).read_text(encoding="utf-8"))
        assert list(literals(tree)), f"{name} needs no exception any more ({reason})"


def test_the_search_finds_what_it_looks_for() -> None:
    tree = ast.parse(
        "def f(x, sample_rate=24000, *, rate=8000): pass\n"
        "class C:\n    sample_rate: int = 16000\n"
        "y = 44100.0\n"
    )
    assert [name for _, name in defaults(tree)] == ["sample_rate", "rate", "sample_rate"]
    assert sorted(value for _, value in literals(tree)) == [24000, 44100]
