"""Install the plug-ins: copy the library, and what hosts need beside it, into the usual folders."""

from __future__ import annotations

import os
import platform
from pathlib import Path

from retone import __version__
from retone.core import plugin_library
from retone.effects.native import NATIVE_CHAINS
from retone.errors import AudioError
from retone.exports import lv2_bundle
from retone.exports.clap import preset_folder
from retone.files.atomic import AtomicFile, write_text_atomic

LV2_BUNDLE = "retone.lv2"
CLAP_FILE = "retone.clap"


def lv2_folder() -> Path:
    """Where LV2 hosts of this user look for bundles."""
    home = Path.home()
    return {
        "Windows": Path(os.environ.get("APPDATA", home)) / "LV2",
        "Darwin": home / "Library" / "Audio" / "Plug-Ins" / "LV2",
    }.get(platform.system(), home / ".lv2")


def clap_folder() -> Path:
    """Where CLAP hosts of this user look for plug-ins."""
    home = Path.home()
    local = Path(os.environ.get("LOCALAPPDATA", home))
    return {
        "Windows": local / "Programs" / "Common" / "CLAP",
        "Darwin": home / "Library" / "Audio" / "Plug-Ins" / "CLAP",
    }.get(platform.system(), home / ".clap")


def install(lv2_to: Path | None = None, clap_to: Path | None = None) -> tuple[Path, Path, Path]:
    """Copy the plug-ins to where hosts look, and make the folder for CLAP presets.

    Args:
        lv2_to, clap_to: other folders than the usual ones.

    Returns:
        The LV2 bundle, the CLAP file, the folder for presets.

    Raises:
        AudioError: a folder cannot be written to.
        FileNotFoundError: this is a checkout without a compiler.
    """
    presets = preset_folder()
    made = (write_lv2(lv2_to or lv2_folder()), write_clap(clap_to or clap_folder()))
    _make(presets)
    return (*made, presets)


def described() -> list[tuple[str, str, int]]:
    """Each plug-in's title, what it does, and its number of parameters."""
    return [(c.title, c.about, len(c.table)) for c in NATIVE_CHAINS]


def write_lv2(folder: Path, library: Path | None = None) -> Path:
    """Write the LV2 bundle into a folder; ``library`` is this machine's if not given."""
    library = library or plugin_library()
    bundle = _make(folder / LV2_BUNDLE)
    binary = f"retone{library.suffix}"
    _copy(library, bundle / binary)
    for name, text in lv2_bundle.bundle(binary).items():
        write_text_atomic(bundle / name, text, force=True)
    return bundle


def write_clap(folder: Path, library: Path | None = None) -> Path:
    """Write the CLAP plug-in into a folder; on macOS it is a bundle."""
    library = library or plugin_library()
    target = folder / CLAP_FILE
    if library.suffix != ".dylib":
        _make(folder)
        _copy(library, target)
        return target
    _copy(library, _make(target / "Contents" / "MacOS") / "retone")
    write_text_atomic(target / "Contents" / "Info.plist", _info(), force=True)
    return target


def _make(folder: Path) -> Path:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise AudioError(f"{folder} cannot be made ({error.strerror}).") from None
    return folder


def _copy(library: Path, target: Path) -> None:
    """A host may have the old file open: it is replaced, never written into."""
    with AtomicFile(target, force=True) as file:
        file.path.write_bytes(library.read_bytes())
        file.path.chmod(0o755)


def _info() -> str:
    """The property list of a macOS bundle."""
    values = {
        "CFBundleExecutable": "retone", "CFBundleIdentifier": "io.github.retone",
        "CFBundleName": "retone", "CFBundlePackageType": "BNDL",
        "CFBundleShortVersionString": __version__, "CFBundleVersion": __version__,
        "CFBundleGetInfoString": ", ".join(c.title for c in NATIVE_CHAINS),
    }  # fmt: skip
    rows = "".join(f"<key>{k}</key><string>{v}</string>\n" for k, v in values.items())
    return (
        '<?xml version="1.0" encoding="UTF-8"?>\n<plist version="1.0"><dict>\n'
        f"{rows}</dict></plist>\n"
    )
