"""Write files so that a failure leaves nothing behind and never harms an existing file.

Content goes to a hidden file next to the target, which takes the target's name once it is
complete: a crash, a full disk or an exception leaves the target untouched. Files that belong
together, such as a recording and its settings, appear together (``together``).
"""

from __future__ import annotations

import contextlib
import errno
import os
import secrets
import shutil
import time
from collections.abc import Iterable, Iterator, Mapping
from contextvars import ContextVar
from pathlib import Path

from retone.errors import AudioError, OutputExistsError, RetoneError

SUFFIX = ".part"
"""Suffix of unfinished files, whose names also begin with a dot."""
_LONGEST_STEM = 48  # characters, so that the hidden name fits where the target's fits
_LEFT_BEHIND_S = 60.0
_UNFINISHED: dict[Path, int] = {}
"""Unfinished files, and the processes that they belong to."""
_HELD: ContextVar[list[AtomicFile] | None] = ContextVar("held", default=None)


class AtomicFile:
    """An unfinished file; as a context manager it is committed, or discarded on an exception.

    A replaced file keeps its permissions; a new file gets those of the user's umask. A symbolic
    link stays one, and the file that it points to is replaced. Unfinished files of the same name
    that a killed process left there are removed.

    Args:
        target: the file to write.
        force: replace an existing file.
        sync: wait until the content has reached the disk before it takes the target's name.

    Attributes:
        path: where to write until ``commit``; it exists and is empty.

    Raises:
        OutputExistsError: the target exists and ``force`` is not set; on entry, or on ``commit``
            if it appeared meanwhile.
        AudioError: the target is a folder, its folder does not exist or cannot be written to.
    """

    def __init__(self, target: str | Path, *, force: bool = False, sync: bool = True) -> None:
        given = Path(target)
        try:
            self.target = given.resolve() if given.is_symlink() else given
        except (OSError, RuntimeError) as error:  # a RuntimeError before Python 3.13
            if getattr(error, "errno", errno.ELOOP) != errno.ELOOP:
                raise write_error(given, error) from None
            raise AudioError(f"{given} is a link that leads back to itself. Remove it.") from None
        self.force, self.sync = force, sync
        if given.is_dir():
            raise AudioError(f"{given} is a folder; expected a file name. Name a file inside it.")
        if not force and os.path.lexists(given):
            raise OutputExistsError(given)
        folder = self.target.parent
        if not folder.is_dir():
            raise AudioError(f"{given}: the folder {folder} does not exist. Create it first.")
        stem = self.target.name[:_LONGEST_STEM]
        _remove_left_behind(folder, f".{stem}.")
        self.path = folder / f".{stem}.{secrets.token_hex(4)}{SUFFIX}"
        self._owner = os.getpid()
        self._committed = False
        _UNFINISHED[self.path] = self._owner
        try:
            # 0o666 lets the user's umask decide, as for any new file
            self._lock = os.open(self.path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o666)
        except OSError as error:
            raise write_error(given, error) from None
        if not _locked(self._lock):  # where locks mean nothing, the handle would only be in the way
            self._unlock()

    def __enter__(self) -> AtomicFile:
        return self

    def __exit__(self, kind: object, error: object, trace: object) -> None:
        if kind is None:
            self.commit()
            return
        why: BaseException | None = None
        if isinstance(error, Exception) and not isinstance(error, RetoneError):
            why = self.reason(error)  # of a library that has exceptions of its own too
        self.discard()
        if isinstance(why, OSError):
            raise write_error(self.target, why) from None

    @property
    def where(self) -> Path:
        """Where the content is now: ``path``, or the target once it has its name."""
        return self.target if self._committed else self.path

    def reason(self, error: BaseException) -> BaseException:
        """Why writing failed, where a library says only that it did: tried by writing a little."""
        if getattr(error, "errno", None) is not None:
            return error
        try:
            with self.path.open("ab") as file:
                file.write(bytes(1 << 16))
                file.flush()
                os.fsync(file.fileno())
        except OSError as found:
            return found
        return error

    def discard(self) -> None:
        """Drop the unfinished file; a second call, or one after ``commit``, does nothing."""
        self._unlock()
        if self._owner != os.getpid():
            return  # a forked process must not remove its parent's file
        with contextlib.suppress(OSError):
            self.path.unlink(missing_ok=True)
        _UNFINISHED.pop(self.path, None)

    def commit(self) -> None:
        """Give the file its name; inside ``together``, once all of its files are complete."""
        held = _HELD.get()
        if held is None:
            _commit([self])
            return
        self._synchronise()
        held.append(self)

    def _synchronise(self) -> None:
        if not self.sync:
            return
        try:
            with self.path.open("rb+") as file:
                os.fsync(file.fileno())
        except OSError as error:
            self.discard()
            raise write_error(self.target, error) from None

    def _unlock(self) -> None:
        lock, self._lock = getattr(self, "_lock", -1), -1
        if lock >= 0:
            with contextlib.suppress(OSError):
                os.close(lock)

    def _name(self) -> Path | None:
        """Give the file its name; returns where the file that it replaced is kept."""
        if not self.force:
            self._name_new()
            return None
        kept = None
        if self.target.exists():
            shutil.copymode(self.target, self.path)
            kept = self.path.with_name(self.path.name.removesuffix(SUFFIX) + f".old{SUFFIX}")
            try:
                os.link(self.target, kept)
            except (OSError, NotImplementedError, AttributeError):  # no hard links on this disk
                kept = None
        try:
            self.path.replace(self.target)
        except BaseException:
            _remove(kept)
            raise
        return kept

    def _name_new(self) -> None:
        try:
            os.link(self.path, self.target)  # unlike a rename, this refuses to overwrite
        except FileExistsError:
            raise OutputExistsError(self.target) from None
        except (OSError, NotImplementedError, AttributeError):  # no hard links on this disk
            if self.target.exists():
                raise OutputExistsError(self.target) from None
            self.path.rename(self.target)


def discard_all() -> None:
    """Drop every unfinished file of this process, which a signal is about to end.

    A signal can come between the making of a file and the ``with`` block that looks after it.
    """
    for path, owner in list(_UNFINISHED.items()):
        if owner == os.getpid():
            _remove(path)
            _UNFINISHED.pop(path, None)


@contextlib.contextmanager
def together() -> Iterator[None]:
    """Files that are committed inside take their names at the end, all of them or none.

    An exception inside discards them. If one of them cannot take its name, the others are taken
    back, and what they replaced is there again (on disks with hard links). A ``together`` inside
    another belongs to the outer one.
    """
    if _HELD.get() is not None:
        yield
        return
    files: list[AtomicFile] = []
    token = _HELD.set(files)
    try:
        yield
    except BaseException:
        for file in files:
            file.discard()
        raise
    finally:
        _HELD.reset(token)
    _commit(files)


def content_of(path: Path) -> Path:
    """Where a file's content is: inside ``together``, a complete file may not have its name yet."""
    held = _HELD.get() or ()
    return next((f.path for f in held if f.target == path or same_file(f.target, path)), path)


def _commit(files: list[AtomicFile]) -> None:
    done: list[tuple[AtomicFile, Path | None]] = []
    try:
        for file in files:
            if _HELD.get() is None and len(files) == 1:
                file._synchronise()
            try:
                done.append((file, file._name()))
            except OSError as error:
                raise write_error(file.target, error) from None
    except BaseException:
        for file, kept in reversed(done):
            with contextlib.suppress(OSError):
                if kept is not None:
                    kept.replace(file.target)
                elif not file.force:
                    file.target.unlink()
        raise
    else:
        for file in files:
            file._committed = True
    finally:
        for file in files:
            file.discard()
        for _, kept in done:
            _remove(kept)


def _remove(path: Path | None) -> None:
    with contextlib.suppress(OSError):
        if path is not None:
            path.unlink(missing_ok=True)


def _locked(handle: int) -> bool:
    """Take a lock on an open file that ends with the process; False if another one holds it."""
    try:
        import fcntl
    except ImportError:  # Windows does not remove open files, which protects them
        return False
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    return True


def _remove_left_behind(folder: Path, start: str) -> None:
    """Remove unfinished files that begin with ``start`` and whose process has ended."""
    with contextlib.suppress(OSError), os.scandir(folder) as entries:
        for entry in entries:
            if not (entry.name.startswith(start) and entry.name.endswith(SUFFIX)):
                continue
            with contextlib.suppress(OSError):
                if time.time() - entry.stat().st_mtime < _LEFT_BEHIND_S:
                    continue  # perhaps between its making and its lock
                handle = os.open(entry.path, os.O_WRONLY)
                try:
                    if _locked(handle):
                        Path(entry.path).unlink()
                finally:
                    os.close(handle)


@contextlib.contextmanager
def new_folder(target: Path) -> Iterator[Path]:
    """A hidden folder to fill, whose content appears as ``target`` at the end, or not at all.

    Of a target that exists, what has the same names is replaced and the rest stays.

    Args:
        target: the folder to make; its parents are made too.

    Raises:
        AudioError: it cannot be written.
    """
    stem = target.name[:_LONGEST_STEM]
    place = target.parent / f".{stem}.{secrets.token_hex(4)}{SUFFIX}"
    lock = -1
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        _remove_folders(target.parent, f".{stem}.")
        place.mkdir()
        with contextlib.suppress(OSError):
            lock = os.open(place, os.O_RDONLY)
            _locked(lock)
        yield place
        if not target.exists():
            place.rename(target)
            return
        for item in sorted(place.iterdir()):
            old = target / item.name
            if old.is_dir() and not old.is_symlink():
                shutil.rmtree(old)
            item.replace(old)
    except OSError as error:
        raise write_error(target, error) from None
    finally:
        if lock >= 0:
            os.close(lock)
        shutil.rmtree(place, ignore_errors=True)


def _remove_folders(folder: Path, start: str) -> None:
    """Remove unfinished folders that begin with ``start`` and whose process has ended."""
    for place in folder.glob(f"{start}*{SUFFIX}"):
        with contextlib.suppress(OSError):
            handle = os.open(place, os.O_RDONLY)
            try:
                if place.is_dir() and _locked(handle):
                    shutil.rmtree(place, ignore_errors=True)
            finally:
                os.close(handle)


def protect(reads: Mapping[Path, str], writes: Iterable[Path]) -> None:
    """Refuse to write over a file that is read, by any of its names.

    Args:
        reads: the files that are read, and what each is, such as ``"the preset"``.
        writes: the files to write.

    Raises:
        AudioError: two of them are one file; links and names in other letter case are seen through.
    """
    known = list(writes)
    for output in known:
        for path, what in reads.items():
            if same_file(output, path):
                raise AudioError(f"{output} is {what}: choose another name for the output.")
    for i, output in enumerate(known):
        for other in known[:i]:
            if output == other or same_file(output, other):
                raise AudioError(f"{output} and {other} are one file: choose another name.")


def same_file(a: Path, b: Path) -> bool:
    """Whether both exist and are one file, whatever their names."""
    try:
        return a.samefile(b)
    except (OSError, ValueError):
        return False


def write_text_atomic(
    path: str | Path, text: str, force: bool = False, *, sync: bool = True
) -> None:
    """Write a text file (UTF-8, line ends as given) completely or not at all.

    Bytes of file names that are not UTF-8 are written as escapes, as in JSON.

    Args:
        path: the target.
        text: its content.
        force: replace an existing file.
        sync: wait until the content has reached the disk.

    Raises:
        OutputExistsError: the target exists and ``force`` is not set.
        AudioError: it cannot be written.
    """
    with AtomicFile(path, force=force, sync=sync) as file:
        file.path.write_bytes(text.encode("utf-8", "backslashreplace"))


def write_error(path: Path, error: BaseException, needed_bytes: int = 0) -> AudioError:
    """The error to raise where ``path`` could not be written, with the usual fix.

    Args:
        path: the file.
        error: why.
        needed_bytes: about how large it becomes; 0 if that is not known.
    """
    code = getattr(error, "errno", None)
    if code in (errno.ENOSPC, errno.EDQUOT):
        why = f"{os.strerror(code)} in {path.parent}{_space(path.parent, needed_bytes)}. "
        why += "Free some space or choose another folder"
    elif code == errno.EFBIG:
        why = "the system does not allow a file of that size here. Choose another folder"
    elif code == errno.ENAMETOOLONG:
        why = "the name is too long for this disk. Choose a shorter one"
    elif code in (errno.EACCES, errno.EPERM, errno.EROFS):
        why = "the folder cannot be written to. Choose another folder"
    else:
        why = f"{getattr(error, 'strerror', None) or error or 'the disk may be full'}"
    return AudioError(f"{path} could not be written: {why.rstrip('.')}.")


def _space(folder: Path, needed_bytes: int) -> str:
    """What is free, and what is needed, in words."""
    try:
        words = f"{_megabytes(shutil.disk_usage(folder).free)} are free"
    except OSError:
        return ""
    return (
        f" ({words}, about {_megabytes(needed_bytes)} are needed)"
        if needed_bytes
        else f" ({words})"
    )


def _megabytes(count: int) -> str:
    return f"{count / 1e6:.0f} MB" if count >= 1e7 else f"{count / 1e6:.1f} MB"


@contextlib.contextmanager
def locked(path: Path) -> Iterator[None]:
    """Let one process at a time into the ``with`` block; the others wait.

    The lock ends with its process, even if that is killed. Where the system has no such locks
    (Windows), nobody waits.

    Args:
        path: a file for the lock, which stays.
    """
    with path.open("a") as file:
        with contextlib.suppress(ImportError):
            import fcntl

            fcntl.flock(file, fcntl.LOCK_EX)
        yield
