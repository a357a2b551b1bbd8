"""The scratch folder of a server: removed at its end, or by the next server if it was killed."""

from __future__ import annotations

import contextlib
import os
import shutil
import tempfile
import threading
import time
from collections.abc import Collection
from pathlib import Path
from typing import IO

from retone.studio.limits import Refused

PREFIX = "retone-studio-"
NEW = ".retone-studio-new-"
"""A folder has this prefix until its lock is held, so that no server takes it for an orphan."""
_LOCK = "lock"
_SPARE_BYTES = 64 << 20
"""What is left free on the disk, whatever the share."""


class DiskShare:
    """The part of a disk that a server may use: space is claimed before it is written.

    Args:
        folder: a folder on that disk.
        most_bytes: the share.
    """

    def __init__(self, folder: Path, most_bytes: int) -> None:
        self.folder, self.most_bytes = folder, most_bytes
        self._claims: dict[Path, int] = {}
        self._guard = threading.Lock()

    @property
    def bytes_claimed(self) -> int:
        """What all files together have claimed."""
        with self._guard:
            return sum(self._claims.values())

    def claim(self, path: Path, size: int) -> None:
        """Claim space for a file that is or becomes ``size`` bytes large; replaces its last claim.

        Raises:
            Refused: the share, or the disk, has not that much left.
        """
        with self._guard:
            before = self._claims.get(path, 0)
            others = sum(self._claims.values()) - before
            if others + size > self.most_bytes:
                raise Refused(507, "The server's disk share is used up. Try again later.")
            coming = sum(max(0, n - _size(p)) for p, n in self._claims.items() if p != path)
            coming += max(0, size - _size(path))
            if size > before and shutil.disk_usage(self.folder).free < coming + _SPARE_BYTES:
                raise Refused(507, "The server's disk is full. Try again later.")
            self._claims[path] = size

    def settle(self, path: Path, size: int | None = None) -> None:
        """A file is complete: its claim becomes its size, or nothing if it is not there."""
        with contextlib.suppress(OSError):
            size = path.stat().st_size if size is None else size
        with self._guard:
            if size is None:
                self._claims.pop(path, None)
            else:
                self._claims[path] = size

    def rename(self, path: Path, to: Path) -> None:
        """A file has another name."""
        with self._guard:
            if path in self._claims:
                self._claims[to] = self._claims.pop(path)

    def forget(self, folder: Path, held: Collection[Path] = ()) -> None:
        """A folder is gone with all of its files, but for those in ``held``: they are still being
        written to, which keeps them on the disk."""
        with self._guard:
            for path in [p for p in self._claims if folder in p.parents and p not in held]:
                del self._claims[path]


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError:
        return 0


class ScratchFolder:
    """A temporary folder of this process, held by a file lock that ends with the process."""

    def __init__(self, parent: Path | None = None, most_bytes: int = 8 << 30) -> None:
        base = parent or Path(tempfile.gettempdir())
        remove_orphans(base)
        made = Path(tempfile.mkdtemp(prefix=NEW, dir=base))
        self._lock: IO[bytes] | None = (made / _LOCK).open("wb")
        _hold(self._lock)
        self.folder = made.with_name(PREFIX + made.name.removeprefix(NEW))
        if os.name == "nt":  # an open file keeps its folder's name there, and protects it
            self.folder = made
        else:
            made.rename(self.folder)
        self.share = DiskShare(self.folder, most_bytes)

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
            continue  # another user's
    for folder in base.glob(NEW + "*"):  # killed in the moment between its making and its lock
        with contextlib.suppress(OSError):
            if time.time() - folder.stat().st_mtime > 3600:
                shutil.rmtree(folder, ignore_errors=True)
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
