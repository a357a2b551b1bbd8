"""The disk cache of machine code: never stale, tidied up, and no reason not to start."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import retone
from retone import compiled

PACKAGE = Path(retone.__file__).parent
HELPER = (
    "from retone.compiled import njit\n@njit(inline='never')\ndef helper(x):\n    return 2 * x\n"
)
CACHED = (
    "from retone.compiled import njit\nfrom retone.kernels.helper import helper\n"
    "@njit(cache=True)\ndef cached(x):\n    return helper(x) + 1\n"
)


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    """A copy of the package with a cached function whose helper lies in another file."""
    package = tmp_path / "retone"
    for name in ("__init__.py", "compiled.py", "kernels/__init__.py"):
        (package / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(PACKAGE / name, package / name)
    (package / "kernels" / "helper.py").write_text(HELPER)
    (package / "kernels" / "cached.py").write_text(CACHED)
    return package


def run(package: Path, **environment: str) -> list[str]:
    """Result, whether it was loaded from disk, and the cache folder, from a fresh process."""
    code = (
        "from retone.kernels.cached import cached; from retone.compiled import cache_folder\n"
        "print(cached(10)); print(sum(cached.stats.cache_hits.values())); print(cache_folder())"
    )
    kept = {k: v for k, v in os.environ.items() if k not in ("NUMBA_CACHE_DIR", "XDG_CACHE_HOME")}
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True,
        env={**kept, "PYTHONPATH": str(package.parent), **environment},
    )  # fmt: skip
    return done.stdout.split("\n")[:3]


def test_an_edited_helper_changes_the_result(copy: Path, tmp_path: Path) -> None:
    home = {"HOME": str(tmp_path / "home")}
    first = run(copy, **home)
    assert first[:2] == ["21", "0"]
    assert Path(first[2]).parent == tmp_path / "home" / ".cache" / "retone" / "numba"
    assert run(copy, **home)[:2] == ["21", "1"], "the cache is not used at all"
    (copy / "kernels" / "helper.py").write_text(HELPER.replace("2 * x", "3 * x"))
    assert run(copy, **home)[:2] == ["31", "0"]


def test_the_users_folder_is_respected(copy: Path, tmp_path: Path) -> None:
    folder = run(copy, NUMBA_CACHE_DIR=str(tmp_path / "mine"))[2]
    assert Path(folder).parent == tmp_path / "mine" / "retone" / "numba"
    assert list(Path(folder).rglob("*.nbi"))


def test_a_home_that_cannot_be_written_is_no_obstacle(copy: Path, tmp_path: Path) -> None:
    """A file in the place of the folder refuses root too."""
    (tmp_path / "home").write_text("")
    (tmp_path / "temporary").mkdir()
    home = {"HOME": str(tmp_path / "home"), "TMPDIR": str(tmp_path / "temporary")}
    found = run(copy, **home)
    assert found[0] == "21" and Path(found[2]).is_relative_to(tmp_path / "temporary")
    assert run(copy, **home)[1] == "1"


def test_without_any_folder_nothing_is_cached(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(compiled, "cache_folder", lambda: None)

    @compiled.njit(cache=True)
    def twice(x: int) -> int:
        return 2 * x

    assert twice(2) == 4 and not twice.stats.cache_path


def test_another_users_folder_is_not_used(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    if not hasattr(os, "getuid"):
        pytest.skip("owners are POSIX's")
    open_to_all, own = tmp_path / "open", tmp_path / "own"
    open_to_all.mkdir()
    open_to_all.chmod(0o777)
    monkeypatch.setattr(compiled, "_bases", lambda: iter([open_to_all, own]))
    assert compiled.cache_folder.__wrapped__() == own / compiled.source_hash(PACKAGE)


def test_old_folders_are_removed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for age in range(12):
        (tmp_path / f"old{age}").mkdir()
        os.utime(tmp_path / f"old{age}", (1e9 - age, 1e9 - age))
    monkeypatch.setattr(compiled, "_bases", lambda: iter([tmp_path]))
    folder = compiled.cache_folder.__wrapped__()
    newest = {folder.name, *(f"old{age}" for age in range(compiled.KEPT - 1))}
    assert {p.name for p in tmp_path.iterdir()} == newest


def test_every_compiled_loop_is_covered() -> None:
    """numba's own njit would bring its own cache; a file outside the hash could go stale."""
    hashed = {p for pattern in compiled.SOURCES for p in PACKAGE.glob(pattern)}
    direct = re.compile(r"numba\.(njit|jit)\b|from numba import .*\bn?jit\b")
    for path in PACKAGE.rglob("*.py"):
        text = path.read_text()
        if path.name != "compiled.py":
            code = "\n".join(x for x in text.splitlines() if "``" not in x)
            assert not direct.search(code), f"{path}: use retone.compiled.njit"
        if "njit" in text:
            assert path in hashed, f"{path}: add it to compiled.SOURCES"
