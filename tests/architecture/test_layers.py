"""Who may import whom: arrows point down, or sideways without a circle. Function bodies too."""

from __future__ import annotations

from collections import defaultdict

import pytest
from imports import PACKAGE, SOURCE, Import, imports, module_name, source_files

LAYERS: tuple[tuple[str, ...], ...] = (
    ("errors", "units", "progress"),
    ("files", "core"),
    ("registry", "kernels", "audio", "plugins", "terminal"),
    ("dsp",),
    ("effects", "nets"),
    ("losses", "metrics", "estimators", "nn"),
    ("process", "training"),
    ("presets", "report", "exports"),
    ("api",),
    ("batch",),
    ("studio", "lab", "cli"),
    ("__main__",),
)
"""From the bottom up. A new part of the package must be given its place here."""

NEVER = {
    "nets": ("effects",),  # a network knows how many parameters there are, not what they are
    "cli": ("lab",),  # the lab is a program of its own
    "lab": ("cli", "studio"),
    "kernels": ("audio",),  # numbers in, numbers out
    "audio": ("kernels",),
}
"""Pairs on one level, or arrows that would point down, that are not wanted all the same."""

LEVEL = {part: i for i, layer in enumerate(LAYERS) for part in layer}


def part_of(module: str) -> str:
    """``retone.dsp.scan`` belongs to ``dsp``; the package itself to ''."""
    return (module.split(".") + [""])[1]


def own_imports() -> list[tuple[str, str, Import]]:
    """(importing part, imported part, import) for every import inside the package."""
    found = []
    for file in source_files():
        here = part_of(module_name(file))
        for item in imports(file):
            if item.module.split(".")[0] == PACKAGE:
                found.append((here, part_of(item.module), item))
    return found


ARROWS = own_imports()


def test_every_part_has_a_level() -> None:
    parts = {part_of(module_name(file)) for file in source_files()} - {""}
    assert parts <= set(LEVEL), f"give {sorted(parts - set(LEVEL))} a place in LAYERS"


def test_the_walk_sees_the_code() -> None:
    """A guard on the guard: imports at the top and inside functions are both found."""
    assert any(here == "effects" and there == "dsp" for here, there, _ in ARROWS)
    assert any(item.module == "retone.kernels.sections" and not item.at_import
               for here, _, item in ARROWS if here == "dsp")  # fmt: skip


def test_arrows_point_down() -> None:
    wrong = [
        f"{item.file}:{item.line} ({here}) imports {item.module}"
        for here, there, item in ARROWS
        if here and there and LEVEL.get(there, 0) > LEVEL.get(here, 0)
    ]
    assert not wrong, "\n".join(wrong)


def test_nothing_but_the_program_imports_the_program() -> None:
    for here, there, item in ARROWS:
        assert there != "cli" or here in ("cli", "__main__"), item


def test_unwanted_arrows_are_absent() -> None:
    wrong = [
        f"{item.file}:{item.line} ({here}) imports {item.module}"
        for here, there, item in ARROWS
        if there in NEVER.get(here, ())
    ]
    assert not wrong, "\n".join(wrong)


def test_only_the_version_comes_from_the_package_itself() -> None:
    """``from retone import X`` inside the package would go through its own front door."""
    for here, there, item in ARROWS:
        if here and not there:
            line = (SOURCE.parent / item.file).read_text().splitlines()[item.line - 1]
            whole = line.strip() == "import retone" and not item.at_import
            assert whole or line.strip() == "from retone import __version__", item


@pytest.mark.parametrize("layer", LAYERS, ids=lambda layer: layer[0])
def test_no_circles_on_a_level(layer: tuple[str, ...]) -> None:
    to: dict[str, set[str]] = defaultdict(set)
    for here, there, _ in ARROWS:
        if here != there and here in layer and there in layer:
            to[here].add(there)
    left = set(layer)
    while left:
        free = {part for part in left if not to[part] & left}
        assert free, f"{sorted(left)} import each other in a circle"
        left -= free


MAY_CALL_SOXR = ("audio/", "lab/bench/")
"""Where conversions are, and what times them."""


def test_rates_are_converted_in_one_place() -> None:
    """soxr does not check its own allocations: ``audio/resampling.py`` asks for memory first."""
    wrong = [
        f"{item.file}:{item.line}"
        for file in source_files()
        for item in imports(file)
        if item.module.split(".")[0] == "soxr"
        and not file.relative_to(SOURCE).as_posix().startswith(MAY_CALL_SOXR)
    ]
    assert not wrong, f"use retone.audio.resampling: {wrong}"
