"""The scratch folder of a server: removed at its end, or by the next server if it was killed."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path
from typing import IO

PREFIX = "retone-studio-"
_LOCK = "lock"


class ScratchFolder:
    """A temporary folder of this process, held by a file lock that ends with the process."""

    def __init__(self, parent: Path | None = None) -> None:
        base = parent or Path(tempfile.gettempdir())
        remove_orphans(base)
        self.folder = Path(tempfile.mkdtemp(prefix=PREFIX, dir=base))
        self._lock: IO[bytes] | None = (self.folder / _LOCK).open("wb")
        _hold(self._lock)

    def bytes_used(self) -> int:
        """Total size of all sessions' files."""
        return sum(f.stat().st_size for f in self.folder.rglob("*") if f.is_file())

    def close(self) -> None:
        """Remove the folder."""
        if self._lock is not None:
            shutil.rmtree(self.folder, ignore_errors=True)
            self._lock.close()
            self._lock = None


def remove_orphans(base: Path) -> int:
    """Remove folders left by servers that were killed; returns how many."""
    count = 0
    for folder in base.glob(PREFIX + "*"):
        try:
            with (folder / _LOCK).open("rb+") as lock:
                if not _hold(lock):
                    continue  # its server is running
                shutil.rmtree(folder, ignore_errors=True)
                count += 1
        except OSError:
            continue  # another user's, or being created
    return count


def _hold(lock: IO[bytes]) -> bool:
    """Take a lock that ends with the process; False if another process holds it."""
    try:
        import fcntl
    except ImportError:  # Windows does not remove open files, which protects running servers
        return True
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    return True
