"""What a job has done, so that a later run continues it: ``.retone/`` in the folder of the results.

``ledger.jsonl`` has one line per finished row, and one before rows are begun. A run that was killed
leaves rows that were begun and not finished; their outputs, if any, are retone's own and may be
replaced. Everything else that exists is left alone. When a job ends, the ledger is sorted, so that
it does not depend on the order of work.

In a store, which cannot append to a file, lines are written as one small file after the other.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import time
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import IO, Any

from retone.batch import storage
from retone.batch.rows import Outcome
from retone.errors import AudioError
from retone.files.atomic import AtomicFile, write_error

FOLDER = ".retone"
BLOCK, REMOTE_BLOCK = 64, 256
"""Rows that are noted as begun at once."""
_EVERY_S = 10.0
_PART = re.compile(r"\.(.{1,48})\.[0-9a-f]{8}\.part", re.DOTALL)


class Ledger:
    """The ledger of one folder; a context manager, which one job at a time can enter.

    Args:
        folder: the folder of the results, a path or URL.
        name: of the ledger's file, without its ending.

    Raises:
        AudioError: another job works in the folder, or it cannot be written to.
    """

    def __init__(self, folder: str, name: str = "ledger") -> None:
        self.folder, self.name = folder, name
        self.remote = storage.is_url(folder)
        self.path = storage.join(folder, f"{FOLDER}/{name}.jsonl")
        self.block = REMOTE_BLOCK if self.remote else BLOCK
        self.problem = ""
        self._lines: dict[str, bytes] = {}
        self._begun: set[str] = set()
        self._file: IO[bytes] | None = None
        self._lock: IO[bytes] | None = None
        self._new: list[Path] = []
        self._waiting: list[bytes] = []
        self._parts: list[str] = []
        self._last = time.monotonic()

    def __enter__(self) -> Ledger:
        if self.remote:
            self._read_parts()
            return self
        path = Path(self.path)
        self._new = [p for p in (path, *path.parents) if not p.exists()]
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            if self.name == "ledger":
                self._lock = _locked(path.with_name("lock"), self.folder)
            self._file = path.open("ab+")
        except (OSError, NotImplementedError) as error:
            raise write_error(path, error) from None
        self._file.seek(0)
        self._read(self._file)
        return self

    def __exit__(self, *error: object) -> None:
        with contextlib.suppress(Exception):
            self._flush()
        for file in (self._file, self._lock):
            if file is not None:
                with contextlib.suppress(OSError):  # a full disk
                    file.close()
        self._file = self._lock = None

    @property
    def interrupted(self) -> bool:
        """Whether an earlier run began rows that it did not finish."""
        return bool(self._begun)

    def known(self, output: str) -> dict[str, Any] | None:
        """What is remembered of a finished row."""
        line = self._lines.get(output)
        return None if line is None else json.loads(line)

    def was_begun(self, output: str) -> bool:
        """Whether a run began a row and was stopped before it was finished."""
        return output in self._begun

    def begin(self, outputs: Iterable[str]) -> None:
        """Note that rows are about to be worked on; on the disk when this returns.

        Raises:
            AudioError: it cannot be noted.
        """
        names = [name for name in outputs if name not in self._begun]
        if not names:
            return
        try:
            self._append(_line({"begin": names}), now=True)
        except Exception as error:
            raise write_error(Path(self.path), error) from None
        self._begun.update(names)

    def finish(self, outcome: Outcome, recipe: str) -> None:
        """Remember a finished row. A disk that is full costs the memory, not the row."""
        text = outcome.to_json()
        line = f'{text[:-1]},"recipe":{json.dumps(recipe)}}}\n'.encode("ascii")
        self._lines[outcome.output] = line
        self._begun.discard(outcome.output)
        try:
            self._append(line)
        except Exception as error:
            self.problem = str(write_error(Path(self.path), error))

    def close(self) -> None:
        """Sort the ledger and drop what was only begun.

        Raises:
            AudioError: it cannot be written.
        """
        lines = [self._lines[name] for name in sorted(self._lines)]
        if self._begun:
            lines.append(_line({"begin": sorted(self._begun)}))
        if self.remote:
            storage.write_bytes(self.path, b"".join(lines))
            for name in self._parts:
                storage.remove(storage.join(self.folder, name))
            self._parts, self._waiting = [], []
            return
        if self._file is not None:
            with contextlib.suppress(OSError):
                self._file.close()
            self._file = None
        with AtomicFile(self.path, force=True) as file, file.path.open("wb") as out:
            out.writelines(lines)
        self.problem = ""

    def withdraw(self) -> None:
        """Leave the folder as it was found, if nothing in it was finished."""
        path = Path(self.path)
        if path not in self._new or self._lines:
            return
        self.__exit__()
        lock = [path.with_name("lock")] if path.parent in self._new else []
        with contextlib.suppress(OSError):
            for file in (*lock, path):
                file.unlink(missing_ok=True)
            for folder in self._new[1:]:
                folder.rmdir()

    def _append(self, line: bytes, *, now: bool = False) -> None:
        if self._file is not None:
            start = self._file.seek(0, os.SEEK_END)
            try:
                self._file.write(line)
                self._file.flush()
                if now:
                    os.fsync(self._file.fileno())
            except OSError:
                self._reopen(start)
                raise
            return
        self._waiting.append(line)
        if now or time.monotonic() - self._last > _EVERY_S:
            self._flush()

    def _reopen(self, size: int) -> None:
        """Drop a line that was written in part, with what Python still holds of it."""
        assert self._file is not None
        with contextlib.suppress(OSError):
            self._file.close()
        self._file = Path(self.path).open("ab+")
        with contextlib.suppress(OSError):
            self._file.truncate(size)

    def _flush(self) -> None:
        if not self.remote or not self._waiting:
            return
        number = int(self._parts[-1][-14:-6]) + 1 if self._parts else 1
        name = f"{FOLDER}/{self.name}/{number:08d}.jsonl"
        storage.write_bytes(storage.join(self.folder, name), b"".join(self._waiting))
        self._parts.append(name)
        self._waiting, self._last = [], time.monotonic()

    def _read(self, file: IO[bytes]) -> None:
        end = 0
        for line in file:
            if not line.endswith(b"\n"):
                break  # the run was killed while it wrote this
            end += len(line)
            self._take(line)
        file.seek(0, os.SEEK_END)
        if file.tell() != end:
            file.truncate(end)

    def _read_parts(self) -> None:
        self._parts = [
            f"{FOLDER}/{self.name}/{name}"
            for name in storage.found_in(storage.join(self.folder, f"{FOLDER}/{self.name}"))
        ]
        for name in (f"{FOLDER}/{self.name}.jsonl", *self._parts):
            content = storage.read_bytes(storage.join(self.folder, name)) or b""
            for line in content.splitlines(keepends=True):
                self._take(line)

    def _take(self, line: bytes) -> None:
        try:
            record = json.loads(line)
            begun = record.get("begin")
            if begun is not None:
                self._begun.update(begun)
            else:
                self._lines[record["output"]] = line
                self._begun.discard(record["output"])
        except (ValueError, AttributeError, KeyError):
            return


def _line(value: Mapping[str, Any]) -> bytes:
    return (json.dumps(value, separators=(",", ":")) + "\n").encode("ascii")


def _locked(path: Path, folder: str) -> IO[bytes]:
    """A file that one process at a time holds; the system frees it however the process ends."""
    file = path.open("ab")
    try:
        try:
            import fcntl

            fcntl.flock(file.fileno(), fcntl.LOCK_EX | fcntl.LOCK_NB)
        except ImportError:
            import msvcrt

            file.seek(0)
            msvcrt.locking(file.fileno(), msvcrt.LK_NBLCK, 1)  # type: ignore[attr-defined]
    except (BlockingIOError, PermissionError):
        file.close()
        raise AudioError(
            f"{folder}: another job is working there. Wait for it, or choose another folder."
        ) from None
    except OSError:
        pass  # this disk knows no locks
    return file


def sweep(folder: str, outputs: Iterable[str]) -> None:
    """Remove unfinished files of these outputs, which a process that was killed has left.

    Args:
        folder: the folder of the results, a path.
        outputs: names of all files below it that the job writes.
    """
    stems: dict[str, set[str]] = {}
    for name in outputs:
        parent, _, own = name.rpartition("/")
        stems.setdefault(parent, set()).add(own[:48])
    for parent, known in stems.items():
        for entry in _entries(Path(folder, parent)):
            match = _PART.fullmatch(entry.name)
            if match and match[1] in known:
                with contextlib.suppress(OSError):
                    Path(entry.path).unlink()


def _entries(folder: Path) -> Iterator[os.DirEntry[str]]:
    with contextlib.suppress(OSError), os.scandir(folder) as entries:
        yield from entries
