"""The native core: C functions, called on numpy arrays without the GIL.

The C files mark the functions with ``RT_API``; here each has its name without ``rt_``. Arrays must
have the type that it gives, and be contiguous; None is a null pointer::

    from retone import core
    core.power(spectrum, out, count, bins)

An installed retone brings the libraries in ``lib/``. A checkout compiles them when they are first
needed, and again after a C file has changed, into ``<user cache>/retone/core/<hash>/``; without a
folder that can be written to, into a private folder in the system's temporary folder.
``$RETONE_CORE_LEVEL`` chooses an instruction level (see ``build.TARGETS``).
"""

from __future__ import annotations

import contextlib
import ctypes
import importlib.util
import os
import shutil
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from retone.core import build

LIBRARIES = build.FOLDER / "lib"
KEPT = 8
"""Number of cache folders to keep, most recently used first."""

_lock = threading.RLock()
_loaded: list[dict[str, Any]] = []


def __getattr__(name: str) -> Any:
    if name.startswith("_"):
        raise AttributeError(name)
    try:
        return functions()[name]
    except KeyError:
        raise AttributeError(f"The core has no function {name!r}.") from None


def functions() -> dict[str, Any]:
    """All functions of the core by name; compiles and loads it if needed.

    Raises:
        FileNotFoundError: it must be compiled, and there is no compiler.
        RuntimeError: it does not compile.
    """
    if not _loaded:
        with _lock:
            if not _loaded:
                _loaded.append(_load())
    return _loaded[0]


def wasm() -> bytes:
    """The WebAssembly module with what a page needs to run effects; compiled if needed.

    Raises:
        FileNotFoundError: it must be compiled, and there is no compiler.
        RuntimeError: it does not compile.
    """
    return _file(build.WASM).read_bytes()


def scratch(numbers: int) -> np.ndarray:
    """Uninitialised float64 numbers that start at a cache line."""
    buffer = np.empty(numbers + 8)
    skip = -buffer.ctypes.data % 64 // 8
    return buffer[skip : skip + numbers]


def floats(audio: np.ndarray) -> np.ndarray:
    """The audio as contiguous float32 or float64, copied only if it is neither."""
    kind = np.float32 if audio.dtype == np.float32 else np.float64
    return np.ascontiguousarray(audio, kind)


def is_single(audio: np.ndarray) -> int:
    """The argument ``single`` of functions that take float32 or float64 audio."""
    return int(audio.dtype == np.float32)


_DTYPES = {
    "void *": (np.dtype(np.float32), np.dtype(np.float64)),
    "float *": (np.dtype(np.float32),),
    "double *": (np.dtype(np.float64),),
    "int32_t *": (np.dtype(np.int32),),
    "int64_t *": (np.dtype(np.int64),),
}


def _callable(ffi: Any, library: Any, name: str) -> Callable[..., Any]:
    """A C function that takes arrays, whose types it checks, for its pointers."""
    function = getattr(library, name)
    pointers = []
    for place, kind in enumerate(ffi.typeof(function).args):
        if kind.kind == "pointer":
            name = kind.cname.replace("const ", "").replace(" const", "")
            whole = "char[]" if name == "void *" else name.replace(" *", "[]")
            pointers.append((place, ffi.typeof(whole), _DTYPES[name]))
    null, from_buffer = ffi.NULL, ffi.from_buffer

    def call(*arguments: Any) -> Any:
        values = list(arguments)
        for place, kind, dtypes in pointers:
            array = values[place]
            if array is None:
                values[place] = null
            elif array.dtype in dtypes:
                values[place] = from_buffer(kind, array)  # refuses arrays that are not contiguous
            else:
                wanted = " or ".join(d.name for d in dtypes)
                raise TypeError(f"Argument {place + 1} is {array.dtype}, expected {wanted}.")
        return function(*values)

    call.library = library  # type: ignore[attr-defined]  # would be unloaded with its last reference
    return call


def level() -> str:
    """The instruction level in use, a name of ``build.TARGETS``."""
    target = build.host_target()
    given = os.environ.get("RETONE_CORE_LEVEL")
    if given in target.levels:
        return str(given)
    if given or len(target.levels) == 1:
        if given:
            raise RuntimeError(
                f"$RETONE_CORE_LEVEL is {given!r}, expected one of {', '.join(target.levels)}."
            )
        return target.levels[0]
    best = ctypes.CDLL(str(_file(target.library(build.CPU)))).rt_cpu_level()
    return target.levels[best - 2]


def _load() -> dict[str, Any]:
    binding = _file(build.BINDING)
    spec = importlib.util.spec_from_file_location(binding.stem, binding)
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    library = module.ffi.dlopen(str(_file(build.host_target().library(level()))))
    return {name.removeprefix("rt_"): _callable(module.ffi, library, name) for name in dir(library)}


def plugin_library() -> Path:
    """The library of the audio plug-ins (LV2, CLAP), made if this is a checkout.

    Raises:
        FileNotFoundError: it must be compiled, and there is no compiler.
        RuntimeError: it does not compile.
    """
    return _file(build.host_target().library(build.PLUGINS))


def _file(name: str) -> Path:
    """The path of a library or of the binding, which is made if this is a checkout."""
    installed = LIBRARIES / name
    return installed if installed.is_file() else compiled(name)


def compiled(name: str) -> Path:
    """The path of a file of the core in the cache of these sources, made if it is missing."""
    folder = cache_folder(name)
    path = folder / name
    with _one_process(folder):
        if not path.is_file():
            if name != build.BINDING and build.CPU not in name:
                part = "the studio's part of the C core" if name == build.WASM else "the C core"
                print(
                    f"retone: compiling {part} once for this checkout (half a minute) ...",
                    file=sys.stderr, flush=True,
                )  # fmt: skip
            build.make(build.host_target(), folder, name)
    return path


@contextlib.contextmanager
def _one_process(folder: Path) -> Iterator[None]:
    """Let one process compile while others wait; without file locks they all compile."""
    try:
        import fcntl
    except ImportError:  # Windows
        yield
        return
    with (folder / "lock").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def cache_folder(file: str = "") -> Path:
    """The folder for what is compiled from a file's sources, created if needed.

    Raises:
        RuntimeError: no folder can be written to.
    """
    for base in _bases():
        folder = base / build.source_hash(file)
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
    raise RuntimeError("No folder can be written to for the compiled core. Set XDG_CACHE_HOME.")


def _bases() -> Iterator[Path]:
    """Candidates for the cache's base folder, in order of preference."""
    with contextlib.suppress(RuntimeError):  # no home
        given = os.environ.get("XDG_CACHE_HOME")
        yield (Path(given) if given else Path.home() / ".cache") / "retone" / "core"
    user = os.getuid() if hasattr(os, "getuid") else os.environ.get("USERNAME", "user")
    temporary = Path(tempfile.gettempdir()) / f"retone-core-{user}"
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
