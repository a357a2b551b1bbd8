"""Files on this machine and, through fsspec, in stores elsewhere (``s3://``, ``gs://``, ``http://``).

A name with ``://`` is a URL, everything else a path. A file's *state* is a short text that changes
whenever the file does; its *content* is a hash of its bytes. The state costs one look at the
folder, the content costs reading the file, so content is read only where the state has changed.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import re
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path, PurePosixPath
from typing import Any, TypeVar

from retone.errors import AudioError, MissingExtraError
from retone.files.atomic import write_error, write_text_atomic

_URL = re.compile(r"[A-Za-z][A-Za-z0-9+.-]+://")
_ATTEMPTS, _PAUSE_S = 4, 0.5
_RECENT_NS, _COARSE_NS = 50_000_000, 2_000_000_000
"""A file changed so shortly before it was read may change again without a new time stamp."""

Value = TypeVar("Value")


def is_url(name: str) -> bool:
    """Whether a name is a URL; ``file://`` is one too."""
    return bool(_URL.match(name))


def join(folder: str, name: str) -> str:
    """A name below a folder, either a path or a URL."""
    if is_url(folder):
        return f"{folder.rstrip('/')}/{name}"
    return str(Path(folder) / name)


def base_name(name: str) -> str:
    """The last part of a path or URL, without a URL's query."""
    if is_url(name):
        return PurePosixPath(re.split(r"[?#]", name)[0]).name
    return Path(name).name


def digest(path: str | Path) -> str:
    """Hash of a file's bytes."""
    with Path(path).open("rb") as file:
        return hashlib.file_digest(file, lambda: hashlib.blake2b(digest_size=16)).hexdigest()


def state(name: str) -> str:
    """What changes when the file does: size, time stamps and number, or a store's own version.

    Raises:
        OSError: there is no such file.
    """
    if not is_url(name):
        return _state_of(os.stat(name))
    fs, path = _filesystem(name)
    return remote_state(_again(lambda: fs.info(path)))


def _state_of(status: os.stat_result) -> str:
    return f"{status.st_size}-{status.st_mtime_ns}-{status.st_ctime_ns}-{status.st_ino}"


def remote_state(info: dict[str, Any]) -> str:
    """The state of a file in a store, from fsspec's description of it."""
    known = [info.get(n) for n in ("ETag", "etag", "md5Hash", "mtime", "LastModified", "created")]
    marks = [str(value) for value in known if value is not None]
    return "-".join([str(info.get("size")), *marks]) if marks else ""


def size_of(name: str) -> int | None:
    """Bytes of a file; None if there is none."""
    try:
        if not is_url(name):
            return os.stat(name).st_size
        fs, path = _filesystem(name)
        return int(_again(lambda: fs.info(path))["size"] or 0)
    except (OSError, ValueError):
        return None


def settled(path: str) -> str:
    """The state of a local file, or "" while it may change without a new time stamp."""
    status = os.stat(path)
    newest = max(status.st_mtime_ns, status.st_ctime_ns)
    coarse = status.st_mtime_ns % 1_000_000_000 == 0 and status.st_ctime_ns % 1_000_000_000 == 0
    if time.time_ns() - newest < (_COARSE_NS if coarse else _RECENT_NS):
        return ""
    return _state_of(status)


@contextlib.contextmanager
def fetched(name: str, folder: Path) -> Iterator[Path]:
    """A file as a local path: itself, or a copy in ``folder`` that is removed afterwards.

    Raises:
        AudioError: the store does not have it or cannot be reached.
    """
    if not is_url(name):
        yield Path(name)
        return
    fs, path = _filesystem(name)
    with tempfile.TemporaryDirectory(dir=folder) as own:
        local = Path(own) / (base_name(name) or "recording")
        try:
            _again(lambda: fs.get_file(path, str(local)))
        except FileNotFoundError:
            raise AudioError(f"{name} does not exist. Check the name.") from None
        except Exception as error:  # stores raise errors of many kinds
            raise AudioError(f"{name} cannot be read: {_why(error)}.") from None
        yield local


def deliver(local: Path, target: str) -> None:
    """Copy a complete local file to a store; it appears there whole or not at all.

    Raises:
        AudioError: the store cannot be written to.
    """
    fs, path = _filesystem(target)
    try:
        if _appears_whole(fs):
            _again(lambda: fs.put_file(str(local), path))
            return
        parent, _, name = path.rpartition("/")
        fs.makedirs(parent, exist_ok=True)
        hidden = f"{parent}/.{name}.part"
        _again(lambda: fs.put_file(str(local), hidden))
        fs.mv(hidden, path)
    except Exception as error:
        raise AudioError(f"{target} could not be written: {_why(error)}.") from None


def read_bytes(name: str) -> bytes | None:
    """A file's content; None if there is none."""
    try:
        if not is_url(name):
            return Path(name).read_bytes()
        fs, path = _filesystem(name)
        return bytes(_again(lambda: fs.cat_file(path)))
    except FileNotFoundError:
        return None


def write_text(name: str, text: str) -> None:
    """Write a small text file to a path or a store, replacing what is there.

    Raises:
        AudioError: it cannot be written.
    """
    if is_url(name):
        write_bytes(name, text.encode("utf-8", "backslashreplace"))
        return
    try:
        Path(name).parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise write_error(Path(name), error) from None
    write_text_atomic(name, text, force=True)


def write_bytes(name: str, content: bytes) -> None:
    """Write a small file to a store."""
    with tempfile.TemporaryDirectory() as folder:
        local = Path(folder) / "content"
        local.write_bytes(content)
        deliver(local, name)


def remove(name: str) -> None:
    """Remove a file, if it is there."""
    with contextlib.suppress(FileNotFoundError):
        if is_url(name):
            fs, path = _filesystem(name)
            fs.rm_file(path)
        else:
            Path(name).unlink()


def found_in(folder: str) -> dict[str, dict[str, Any]]:
    """Every file below a URL: its name below it -> fsspec's description."""
    fs, path = _filesystem(folder.rstrip("/") + "/")
    root = path.rstrip("/") + "/"
    try:
        files = _again(lambda: fs.find(root, detail=True))
    except FileNotFoundError:
        return {}
    return {name.removeprefix(root): info for name, info in sorted(files.items())}


def expanded(pattern: str) -> list[str]:
    """The URLs that match a pattern."""
    fs, path = _filesystem(pattern)
    return [fs.unstrip_protocol(name) for name in sorted(_again(lambda: fs.glob(path)))]


def is_folder(name: str) -> bool:
    """Whether a path or URL is a folder."""
    if not is_url(name):
        return os.path.isdir(name)
    if name.startswith(("http://", "https://")):
        return name.endswith("/")
    fs, path = _filesystem(name)
    try:
        return bool(_again(lambda: fs.isdir(path)))
    except OSError:
        return False


def _filesystem(name: str) -> tuple[Any, str]:
    try:
        import fsspec
    except ImportError:
        raise MissingExtraError(f"reading {name}", "fsspec", "cluster") from None
    try:
        fs, path = fsspec.core.url_to_fs(name, use_listings_cache=False)
    except ImportError as error:
        raise AudioError(f"{name}: this kind of store needs a package: {error}.") from None
    except ValueError as error:
        raise AudioError(f"{name}: {_why(error)}.") from None
    return fs, path


def _appears_whole(fs: Any) -> bool:
    own = (fs.protocol,) if isinstance(fs.protocol, str) else tuple(fs.protocol)
    return bool({"s3", "s3a", "gs", "gcs", "az", "abfs", "abfss", "memory"} & set(own))


def _again(call: Callable[[], Value]) -> Value:
    """Call; after an error that may pass, such as a lost connection, call again."""
    for attempt in range(1, _ATTEMPTS + 1):
        try:
            return call()
        except (FileNotFoundError, IsADirectoryError, NotADirectoryError, PermissionError):
            raise
        except Exception:
            if attempt == _ATTEMPTS:
                raise
            time.sleep(_PAUSE_S * 2**attempt)
    raise AssertionError


def _why(error: BaseException) -> str:
    text = getattr(error, "strerror", None) or str(error) or type(error).__name__
    return " ".join(str(text).split()).rstrip(".")
