"""Where a server keeps files: one folder of its own, gone with it, and leftovers of dead ones."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path
from typing import IO

PREFIX = "retone-studio-"
_LOCK = "lock"


class Place:
    """A scratch folder that only this process uses, held by a lock the system drops with it."""

    def __init__(self, parent: Path | None = None) -> None:
        base = parent or Path(tempfile.gettempdir())
        remove_orphans(base)
        self.folder = Path(tempfile.mkdtemp(prefix=PREFIX, dir=base))
        self._lock: IO[bytes] | None = (self.folder / _LOCK).open("wb")
        _hold(self._lock)

    def bytes_used(self) -> int:
        """Size of all files of all sessions."""
        return sum(f.stat().st_size for f in self.folder.rglob("*") if f.is_file())

    def close(self) -> None:
        """Remove everything."""
        if self._lock is not None:
            shutil.rmtree(self.folder, ignore_errors=True)
            self._lock.close()
            self._lock = None


def remove_orphans(base: Path) -> int:
    """Remove the folders of servers that were killed; returns how many."""
    count = 0
    for folder in base.glob(PREFIX + "*"):
        try:
            with (folder / _LOCK).open("rb+") as lock:
                if not _hold(lock):
                    continue  # its server lives
                shutil.rmtree(folder, ignore_errors=True)
                count += 1
        except OSError:
            continue  # another user's, or just being made
    return count


def _hold(lock: IO[bytes]) -> bool:
    """Take a lock that ends with the process; False if another process has it."""
    try:
        import fcntl
    except ImportError:  # Windows refuses to remove open files, which protects living servers
        return True
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    return True
