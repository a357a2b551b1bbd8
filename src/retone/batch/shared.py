"""What all recordings of a job need: references, a preset, settings, weights."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from retone.errors import AudioError


def check_shared(options: Mapping[str, Any]) -> None:
    """Refuse what no recording could be processed with; URLs are read when they are needed.

    Args:
        options: of the job, not of single rows.

    Raises:
        AudioError: a reference cannot be read, or a file does not exist.
        RetoneError: a preset or settings file cannot be used.
    """
    from retone import api
    from retone.process.recording import open_recording
    from retone.process.settings_file import SettingsFile

    named = [options.get(name) for name in ("preset", "settings", "weights")]
    preset, settings, weights = (_path(name) for name in named)
    references = [path for name in options.get("to") or () if (path := _path(name))]
    for path in (*references, settings, weights):
        if path and not Path(path).is_file():
            raise AudioError(f"{path} does not exist or is a folder; every recording needs it.")
    if preset not in ("", "auto"):
        api.open_preset(preset)
    if settings:
        SettingsFile.read(settings, settings)
    for path in references:
        open_recording(Path(path)).close()


def _path(name: Any) -> str:
    return name if isinstance(name, str) and "://" not in name else ""
