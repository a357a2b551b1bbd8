"""Find presets: those that ship with retone, and the user's own."""

from __future__ import annotations

import os
import sys
from importlib import resources
from pathlib import Path
from typing import Any

from retone.errors import OVERWRITE, DataError, SettingError, nearest
from retone.presets.file import Preset

AUTO = {"speech": "podcast", "music": "master-neutral"}
"""Default presets by kind of recording."""
SUFFIX = ".json"


def own_folder() -> Path:
    """Folder of the user's own presets: ``RETONE_PRESETS``, else the usual settings folder."""
    stated = os.environ.get("RETONE_PRESETS")
    if stated:
        return Path(stated)
    if sys.platform == "win32":
        base = Path(os.environ.get("APPDATA") or Path.home() / "AppData" / "Roaming")
    else:
        base = Path(os.environ.get("XDG_CONFIG_HOME") or Path.home() / ".config")
    return base / "retone" / "presets"


def _shipped() -> Any:
    return resources.files("retone.presets") / "data"


def _places() -> dict[str, Any]:
    """Name -> file; the user's own comes first."""
    found: dict[str, Any] = {}
    folder = own_folder()
    if folder.is_dir():
        found |= {p.name[: -len(SUFFIX)]: p for p in sorted(folder.glob("*" + SUFFIX))}
    for item in sorted(_shipped().iterdir(), key=lambda i: i.name):
        if item.name.endswith(SUFFIX):
            found.setdefault(item.name[: -len(SUFFIX)], item)
    return found


def names() -> tuple[str, ...]:
    """Names of all presets, sorted, without reading them."""
    return tuple(sorted(_places()))


def available() -> tuple[Preset, ...]:
    """All presets that can be read: shipped ones and the user's own, speech first, by name."""
    found = []
    for place in _places().values():
        try:
            found.append(Preset.read(place))
        except (DataError, SettingError):
            continue
    return tuple(sorted(found, key=lambda p: (p.kind != "speech", p.name)))


def broken() -> tuple[str, ...]:
    """One sentence for each preset that cannot be read."""
    sentences = []
    for place in _places().values():
        try:
            Preset.read(place)
        except (DataError, SettingError) as error:
            sentences.append(str(error))
    return tuple(sentences)


def is_own(name: str) -> bool:
    """Whether a preset is in the user's own folder."""
    return (own_folder() / f"{name}{SUFFIX}").is_file()


def open_preset(name: str | Path) -> Preset:
    """A preset by its name or its file.

    Raises:
        SettingError: there is none of that name; the message gives the nearest.
        DataError: its file is damaged or of another version.
    """
    text = str(name)
    if isinstance(name, Path) or text.endswith(SUFFIX) or os.sep in text:
        return Preset.read(Path(name))
    places = _places()
    if text in places:
        return Preset.read(places[text])
    hint = nearest(text, places) or " 'retone preset list' shows all of them."
    raise SettingError(f"no preset is called '{text}'.{hint}")


def require_free(name: str, *, force: bool = False) -> None:
    """Refuse a name that one of the user's own presets has.

    Raises:
        SettingError: it has and ``force`` is not given.
    """
    if is_own(name) and not force:
        raise SettingError(
            f"you already have a preset '{name}': choose another name, or {OVERWRITE}."
        )


def save_preset(preset: Preset, *, force: bool = False) -> Path:
    """Save a preset in the user's own folder; returns its path.

    Raises:
        SettingError: it exists and ``force`` is not given.
    """
    require_free(preset.name, force=force)
    folder = own_folder()
    path = folder / f"{preset.name}{SUFFIX}"
    folder.mkdir(parents=True, exist_ok=True)
    return _write(preset, path, force)


def import_preset(path: Path, *, force: bool = False) -> tuple[Preset, Path]:
    """Check a preset file and copy it into the user's own folder."""
    preset = Preset.read(path)
    return preset, save_preset(preset, force=force)


def export_preset(name: str, path: Path, *, force: bool = False) -> Path:
    """Write a preset to a file that can be shared.

    Raises:
        AudioError: the file is the preset itself, exists, or cannot be written.
    """
    from retone.files.atomic import protect

    preset = open_preset(name)
    own = (Path(name), own_folder() / f"{name}{SUFFIX}")
    protect(dict.fromkeys(own, "the preset itself"), [path])
    return _write(preset, path, force)


def _write(preset: Preset, path: Path, force: bool) -> Path:
    from retone.files.atomic import write_text_atomic

    write_text_atomic(path, preset.to_json(), force)
    return path
