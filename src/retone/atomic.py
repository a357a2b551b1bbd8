"""Write files so that a failure leaves nothing behind and never harms an existing file.

Content goes to a hidden file next to the target, which takes the target's name once it is
complete: a crash, a full disk or an exception leaves the target untouched.
"""

from __future__ import annotations

import contextlib
import errno
import os
import secrets
import shutil
from collections.abc import Iterator
from pathlib import Path

from retone.errors import AudioError, OutputExistsError

SUFFIX = ".part"
"""Suffix of unfinished files, whose names also begin with a dot."""
_LONGEST_STEM = 48  # characters, so that the hidden name fits where the target's fits


class AtomicFile:
    """An unfinished file; as a context manager it is committed, or discarded on an exception.

    A replaced file keeps its permissions; a new file gets those of the user's umask. A symbolic
    link stays one, and the file that it points to is replaced.

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
        self.target = given.resolve() if given.is_symlink() else given
        self.force, self.sync = force, sync
        if given.is_dir():
            raise AudioError(f"{given} is a folder; expected a file name. Name a file inside it.")
        if not force and os.path.lexists(given):
            raise OutputExistsError(given)
        folder = self.target.parent
        if not folder.is_dir():
            raise AudioError(f"{given}: the folder {folder} does not exist. Create it first.")
        stem = self.target.name[:_LONGEST_STEM]
        self.path = folder / f".{stem}.{secrets.token_hex(4)}{SUFFIX}"
        try:
            # 0o666 lets the user's umask decide, as for any new file
            os.close(os.open(self.path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o666))
        except OSError as error:
            raise write_error(given, error) from None

    def __enter__(self) -> AtomicFile:
        return self

    def __exit__(self, kind: object, error: object, trace: object) -> None:
        if kind is None:
            self.commit()
            return
        self.discard()
        if isinstance(error, OSError):
            raise write_error(self.target, error) from None

    def discard(self) -> None:
        """Drop the unfinished file; a second call, or one after ``commit``, does nothing."""
        with contextlib.suppress(OSError):
            self.path.unlink(missing_ok=True)

    def commit(self) -> None:
        """Give the file its name."""
        try:
            if self.sync:
                with self.path.open("rb+") as file:
                    os.fsync(file.fileno())
            if self.force:
                if self.target.exists():
                    shutil.copymode(self.target, self.path)
                self.path.replace(self.target)
            else:
                self._commit_new()
        except OSError as error:
            raise write_error(self.target, error) from None
        finally:
            self.discard()

    def _commit_new(self) -> None:
        try:
            os.link(self.path, self.target)  # unlike a rename, this refuses to overwrite
        except FileExistsError:
            raise OutputExistsError(self.target) from None
        except (OSError, NotImplementedError, AttributeError):  # no hard links on this disk
            if self.target.exists():
                raise OutputExistsError(self.target) from None
            self.path.rename(self.target)


def write_text_atomic(
    path: str | Path, text: str, force: bool = False, *, sync: bool = True
) -> None:
    """Write a text file (UTF-8, line ends as given) completely or not at all.

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
        file.path.write_bytes(text.encode("utf-8"))


def write_error(path: Path, error: BaseException) -> AudioError:
    """The error to raise where ``path`` could not be written, with the usual fix."""
    code = getattr(error, "errno", None)
    if code in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
        why = f"{os.strerror(code)}. Free some space or choose another folder"
    elif code in (errno.EACCES, errno.EPERM, errno.EROFS):
        why = "the folder cannot be written to. Choose another folder"
    else:
        why = f"{getattr(error, 'strerror', None) or error or 'the disk may be full'}"
    return AudioError(f"{path} could not be written: {why.rstrip('.')}.")


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
