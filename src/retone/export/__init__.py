"""Settings taken elsewhere: one file per target, each verified by rendering."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

from retone.errors import SettingError

if TYPE_CHECKING:
    from retone.export.base import Target

TARGETS = {
    "ffmpeg": "ffmpeg",
    "sox": "sox",
    "pedalboard": "pedalboard_code",
    "equalizer-apo": "equalizer_apo",
    "easyeffects": "easyeffects",
    "camilladsp": "camilladsp",
    "reaper": "reaper",
}
"""Name after ``--to`` -> module of this package whose ``TARGET`` it is."""


def target_named(name: str) -> Target:
    """A target by its name.

    Raises:
        SettingError: no target is called so.
    """
    if name not in TARGETS:
        raise SettingError(f"no export is called '{name}'. Known: {', '.join(TARGETS)}.")
    found: Target = import_module(f"retone.export.{TARGETS[name]}").TARGET
    return found
