"""Check this installation: versions, the native core, optional parts, caches, audio devices.

Prints one screen that can be pasted into a bug report: it holds no user, machine or folder names.
A part that is missing comes with the line that installs it.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

PARTS = {
    "plugins": ("VST3 plug-ins", "pedalboard"),
    "studio": ("the studio", "uvicorn"),
    "export": ("ONNX export", "onnxruntime"),
    "metrics": ("metrics of speech", "pesq"),
    "train": ("TensorBoard logs", "tensorboard"),
}
"""Extra -> what it is for, and the package that tells whether it is installed."""
NEEDED = ("numpy", "scipy", "torch", "soundfile", "soxr", "safetensors", "threadpoolctl")
PROGRAMS = ("ffmpeg", "sox")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--json", action="store_true", help="print JSON instead of lines")


def run(args: argparse.Namespace) -> int:
    rows = list(_rows())
    if args.json:
        print(json.dumps({name: without_places(text) for name, text, _ in rows}, indent=2))
    else:
        for name, text, fine in rows:
            print(f"{'' if fine else 'x ':2}{name:20} {without_places(text)}")
    return 0 if all(fine for _, _, fine in rows) else 2


def _rows() -> Iterator[tuple[str, str, bool]]:
    """Name, finding, and whether retone works with it."""
    from retone import __version__

    yield "retone", f"{__version__}, {_installed_as()}", True
    yield "Python", f"{platform.python_version()} ({platform.python_implementation()})", True
    yield "system", f"{platform.system()} {platform.release()}, {platform.machine()}", True
    yield "processors", f"{_processors()}", True
    yield "memory", _memory(), True
    for package in NEEDED:
        version = _version(package)
        yield package, version or "missing: pip install retone", version is not None
    yield _core()
    yield _decoder()
    for extra, (what, package) in PARTS.items():
        version = _version(package)
        how = f"{package} {version}" if version else f"not installed: pip install 'retone[{extra}]'"
        yield what, how, True
    for program in PROGRAMS:
        yield f"program {program}", _program(program), True
    yield "GPU", _gpu(), True
    from retone.presets.library import own_folder
    from retone.training.data.splits import default_cache

    for name, folder in (
        ("temporary folder", Path(tempfile.gettempdir())),
        ("cache", default_cache()),
        ("own presets", own_folder()),
    ):
        text, fine = _folder(folder)
        yield name, text, fine or name != "temporary folder"
    yield "audio devices", _devices(), True
    yield "terminal", f"{sys.stdout.encoding}, file names {sys.getfilesystemencoding()}", True


def _installed_as() -> str:
    from retone.core import LIBRARIES

    return "from a wheel" if LIBRARIES.is_dir() else "from a checkout"


def _processors() -> int:
    try:
        return len(os.sched_getaffinity(0))
    except AttributeError:
        return os.cpu_count() or 1


def _memory() -> str:
    try:
        size = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, OSError, ValueError):
        return "not known"
    return f"{size / 2**30:.1f} GiB"


def _version(package: str) -> str | None:
    from importlib import metadata

    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None


def _core() -> tuple[str, str, bool]:
    from retone import core

    try:
        return "native core", f"instruction level {core.level()}", True
    except Exception as error:  # whatever keeps it from loading is what is asked
        words = " ".join(str(error).split())[:300]
        return "native core", f"cannot be loaded: {words}. Install retone again.", False


def _decoder() -> tuple[str, str, bool]:
    import soundfile

    parts = [f"libsndfile {soundfile.__libsndfile_version__}"]
    version = _version("av")
    parts.append(f"FFmpeg by av {version}" if version else "no FFmpeg: pip install av")
    return "decoders", ", ".join(parts), True


def _program(name: str) -> str:
    import shutil

    return "found" if shutil.which(name) else "not found (only 'export --verify' uses it)"


def _gpu() -> str:
    try:
        import torch

        if not torch.cuda.is_available():
            return "none (only training uses one)"
        return f"{torch.cuda.get_device_name(0)}, CUDA {torch.version.cuda}"
    except Exception as error:
        return f"not known ({type(error).__name__})"


def _folder(folder: Path) -> tuple[str, bool]:
    """Whether a folder, or the first one above it that exists, can be written to."""
    import shutil

    place = folder
    while not place.exists() and place != place.parent:
        place = place.parent
    try:
        with tempfile.TemporaryFile(dir=place):
            pass
        free = f"{shutil.disk_usage(place).free / 1e9:.1f} GB free"
    except OSError as error:
        return f"cannot be written to ({error.strerror})", False
    return f"can be written to, {free}", True


def _devices() -> str:
    """Sound cards, as far as the system tells without a library."""
    try:
        lines = Path("/proc/asound/cards").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return "not looked for on this system"
    names = [line.partition("]: ")[2].strip() for line in lines.splitlines() if "]: " in line]
    return ", ".join(names) or "none"


def without_places(text: str) -> str:
    """Text without the user's name and folders."""
    home = str(Path.home())
    for private in sorted({home, str(Path.cwd()), tempfile.gettempdir()}, key=len, reverse=True):
        if len(private) > 1:
            text = text.replace(private, "~" if private == home else "...")
    return text
