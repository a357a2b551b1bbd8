"""The package that docs/extending.md shows, written to a folder as an installed one."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

PAGE = Path(__file__).resolve().parents[1] / "docs" / "extending.md"


def install(folder: Path, *, published: bool = True) -> None:
    """Write every code block of the page to its file; and the entry points, as pip would."""
    blocks = re.findall(r"```(?:python|toml)\n# (\S+)\n(.*?)```", PAGE.read_text(), re.DOTALL)
    for name, code in blocks:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(code)
    (folder / "my_package" / "__init__.py").touch()
    if not published:
        return
    project = tomllib.loads((folder / "pyproject.toml").read_text())["project"]
    publish(folder, project["name"], project["entry-points"])


def publish(folder: Path, package: str, groups: dict[str, dict[str, str]]) -> None:
    """The metadata of an installed package with these entry points."""
    info = folder / f"{package.replace('-', '_')}-1.0.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {package}\nVersion: 1.0\n")
    lines = []
    for group, points in groups.items():
        lines += [f"[{group}]", *(f"{name} = {value}" for name, value in points.items()), ""]
    (info / "entry_points.txt").write_text("\n".join(lines))
