"""Count the package's rooms, floors, arrows and circles: ``python scripts/count_rooms.py``.

A room is a module or a package directly inside ``retone`` (``__init__`` and ``__main__`` apart).
An arrow leads from a room to another room that it imports, anywhere in its files: at the top,
inside functions, for type checkers, or by ``import_module``. A floor is the length of the longest
way down. A circle is a set of modules that import each other; rooms and single modules both count.
The package's own ``__init__`` is left out: it only maps names to modules, and others import nothing
but the version from it (``tests/architecture/test_layers.py``).
"""

from __future__ import annotations

import sys
from collections import defaultdict
from collections.abc import Iterable, Mapping
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests" / "architecture"))
from imports import PACKAGE, imports, module_name, source_files  # noqa: E402

Arrows = Mapping[str, set[str]]


def room_of(module: str) -> str:
    """``retone.dsp.scan`` lies in ``dsp``; the package itself is ''."""
    return (module.split(".") + [""])[1]


def module_arrows(*, at_import: bool = False) -> dict[str, set[str]]:
    """Each module -> the package's modules that it imports; ``at_import``: when it is loaded."""
    found: dict[str, set[str]] = defaultdict(set)
    for file in source_files():
        here = module_name(file)
        if here == PACKAGE:
            continue
        found[here]  # a module without imports is a node too
        for item in imports(file):
            own = item.module.startswith(f"{PACKAGE}.") and item.module != here
            if own and (item.at_import or not at_import):
                found[here].add(item.module)
    return dict(found)


def room_arrows() -> dict[str, set[str]]:
    """Each room -> the rooms that it imports."""
    found: dict[str, set[str]] = defaultdict(set)
    for module, targets in module_arrows().items():
        here = room_of(module)
        if here in ("", "__main__"):
            continue
        found[here] |= {room_of(t) for t in targets} - {here, "", "__main__"}
    return dict(found)


def circles(arrows: Arrows) -> list[list[str]]:
    """Sets of nodes that reach each other (strongly connected components of two or more)."""
    order: list[str] = []
    seen: set[str] = set()

    def visit(node: str, to: Arrows, out: list[str]) -> None:
        stack: list[tuple[str, Iterable[str]]] = [(node, iter(sorted(to.get(node, ()))))]
        seen.add(node)
        while stack:
            here, rest = stack[-1]
            for target in rest:
                if target not in seen:
                    seen.add(target)
                    stack.append((target, iter(sorted(to.get(target, ())))))
                    break
            else:
                out.append(here)
                stack.pop()

    for node in sorted(arrows):
        if node not in seen:
            visit(node, arrows, order)
    back: dict[str, set[str]] = defaultdict(set)
    for node, targets in arrows.items():
        for target in targets:
            back[target].add(node)
    seen, found = set(), []
    for node in reversed(order):
        if node not in seen:
            group: list[str] = []
            visit(node, back, group)
            if len(group) > 1:
                found.append(sorted(group))
    return found


def floors(arrows: Arrows) -> dict[str, int]:
    """Each room's floor: 0 imports no other room, else one above the highest that it imports."""
    level: dict[str, int] = {}

    def of(room: str) -> int:
        if room not in level:
            level[room] = 0
            level[room] = max((of(r) + 1 for r in arrows.get(room, ())), default=0)
        return level[room]

    for room in arrows:
        of(room)
    return level


def main() -> int:
    rooms = room_arrows()
    level = floors(rooms)
    print(f"rooms   {len(rooms)}")
    print(f"floors  {max(level.values()) + 1}")
    print(f"arrows  {sum(map(len, rooms.values()))}")
    print(f"circles {len(circles(rooms))} of rooms, {len(circles(module_arrows()))} of modules")
    for group in [*circles(rooms), *circles(module_arrows())]:
        print("        " + " <-> ".join(group))
    for floor in range(max(level.values()), -1, -1):
        print(f"{floor:2}  " + "  ".join(sorted(r for r, f in level.items() if f == floor)))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
