"""``njit`` for the package's compiled loops, with a disk cache that is never stale.

numba keys the cache of a function on the function's own file only, so after an edit of a helper in
another file it would load outdated machine code. Here the cache folder is named after a hash of all
files with compiled code, so any edit starts a new one.

The folder is ``<user cache>/retone/numba/<hash>``, or ``$NUMBA_CACHE_DIR/retone/numba/<hash>``.
Where neither can be written to, a private folder in the system's temporary folder is used, else
nothing is cached.
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numba
from numba.core import config as numba_config

config: Any = numba_config  # its settings are read from the environment when it is loaded

SOURCES = ("kernels/*.py", "audio/**/*.py", "training/data/sox_effects.py", "compiled.py")
"""Files that the hash covers: those with compiled loops and all their helpers."""
_config: Any = numba_config  # its attributes are made at run time
KEPT = 8
"""Number of cache folders to keep, most recently used first."""


def njit(*function: Any, **options: Any) -> Any:
    """``numba.njit`` with the package's own cache folder; other packages' are unaffected."""
    if function:
        return njit(**options)(*function)

    def decorate(plain: Any) -> Any:
        if not options.get("cache"):
            return numba.njit(**options)(plain)
        folder = cache_folder()
        before = _config.CACHE_DIR
        try:
            if folder is not None:  # read by numba while it decorates
                _config.CACHE_DIR = str(folder)
            return numba.njit(**{**options, "cache": folder is not None})(plain)
        finally:
            _config.CACHE_DIR = before

    return decorate


@functools.cache
def cache_folder() -> Path | None:
    """The folder for machine code, created if needed; None if none is writable."""
    name = source_hash(Path(__file__).parent)
    for base in _bases():
        folder = base / name
        with contextlib.suppress(OSError):
            fresh = not folder.is_dir()
            folder.mkdir(parents=True, exist_ok=True)
            if not _private(base):
                continue
            tempfile.TemporaryFile(dir=folder).close()
            os.utime(folder)
            if fresh:
                _remove_old(base)
            return folder
    return None


def source_hash(package: Path) -> str:
    """Hash of all files in a package folder that compiled code depends on."""
    found = hashlib.sha256()
    for pattern in SOURCES:
        for path in sorted(package.glob(pattern)):
            found.update(path.relative_to(package).as_posix().encode() + b"\0")
            found.update(path.read_bytes() + b"\0")
    return found.hexdigest()[:16]


def _bases() -> Iterator[Path]:
    """Candidates for the cache's base folder, in order of preference."""
    inside = Path("retone", "numba")
    given = os.environ.get("NUMBA_CACHE_DIR")
    if given:
        yield Path(given) / inside
    with contextlib.suppress(RuntimeError):  # no home
        base = os.environ.get("XDG_CACHE_HOME")
        yield (Path(base) if base else Path.home() / ".cache") / inside
    user = os.getuid() if hasattr(os, "getuid") else os.environ.get("USERNAME", "user")
    temporary = Path(tempfile.gettempdir()) / f"retone-numba-{user}"
    with contextlib.suppress(OSError):
        temporary.mkdir(mode=0o700, exist_ok=True)
        yield temporary


def _private(folder: Path) -> bool:
    """Whether only this user can write to a folder."""
    if not hasattr(os, "getuid"):
        return True
    status = folder.stat()
    return status.st_uid == os.getuid() and not status.st_mode & 0o002


def _remove_old(base: Path) -> None:
    """Remove all but the ``KEPT`` folders used last; another process may do the same."""
    with contextlib.suppress(OSError):
        folders = sorted(base.iterdir(), key=lambda p: p.stat().st_mtime, reverse=True)
        for folder in folders[KEPT:]:
            shutil.rmtree(folder, ignore_errors=True)
