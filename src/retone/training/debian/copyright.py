"""Licence and author of a packaged file, from the package's machine-readable copyright file."""

from __future__ import annotations

import fnmatch
import re
import shutil
from pathlib import Path, PurePosixPath


def keep_statement(tree: Path, package: str, folder: Path) -> None:
    """Copy the package's copyright statement to ``folder/<package>``."""
    source = tree / "usr/share/doc" / package / "copyright"
    if source.is_file():
        folder.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(source, folder / package)


def licence_of(tree: Path, package: str, path: str) -> tuple[str, str]:
    """Author and licence of one file of an unpacked package.

    The copyright file (Debian's format 1.0) names files by their path in the source, which is
    not where they are installed, so a pattern matches if its last part fits the file's name or,
    for a pattern ending in ``*``, when its folder is one of the file's folders. The last that
    fits wins.
    """
    source = tree / "usr/share/doc" / package / "copyright"
    fallback = ("see the package's copyright statement", "see the package's copyright statement")
    if not source.is_file():
        return fallback
    best = fallback
    for paragraph in re.split(r"\n\s*\n", source.read_text(encoding="utf-8", errors="replace")):
        fields = _fields(paragraph)
        if "files" not in fields or "license" not in fields:
            continue
        if any(_fits(pattern, path) for pattern in fields["files"].replace(",", " ").split()):
            licence = fields["license"].splitlines()[0].strip()
            author = " ".join(fields.get("copyright", "").split())[:200]
            best = (author or fallback[0], licence or fallback[1])
    return best


def _fields(paragraph: str) -> dict[str, str]:
    fields: dict[str, str] = {}
    name = ""
    for line in paragraph.splitlines():
        if line[:1] in (" ", "\t"):
            fields[name] = fields.get(name, "") + "\n" + line
        elif ":" in line:
            name, value = line.split(":", 1)
            name = name.lower()
            fields[name] = value.strip()
    return fields


def _fits(pattern: str, path: str) -> bool:
    if pattern == "*":
        return True
    wanted, got = PurePosixPath(pattern), PurePosixPath(path)
    if wanted.name == "*":
        return wanted.parent.name in got.parts
    return bool(path) and fnmatch.fnmatch(got.name, wanted.name)
