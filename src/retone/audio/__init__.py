"""Recordings: read, write, measure and limit them.

Names are loaded on first use, so importing this package costs nothing. The function ``inspect``
has the name of its module and must be imported from it: ``from retone.audio.inspect import
inspect``.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

_HOME = {
    "AtomicWriter": "files",
    "AudioInfo": "files",
    "AudioReader": "files",
    "Clip": "clip",
    "Inspection": "inspect",
    "LevelMeter": "meters.loudness",
    "Levels": "meters.loudness",
    "LoudnessMeter": "meters.loudness",
    "OutputFormat": "formats",
    "TruePeakLimiter": "limiter",
    "TruePeakMeter": "meters.true_peak",
    "info": "files",
    "load": "files",
    "loudness_lufs": "meters.loudness",
    "open_reader": "files",
    "require_analysable": "files",
    "same_audio": "files",
    "true_peak_dbtp": "meters.true_peak",
}

__all__ = [  # written out, because type checkers read it
    "AtomicWriter",
    "AudioInfo",
    "AudioReader",
    "Clip",
    "Inspection",
    "LevelMeter",
    "Levels",
    "LoudnessMeter",
    "OutputFormat",
    "TruePeakLimiter",
    "TruePeakMeter",
    "info",
    "load",
    "loudness_lufs",
    "open_reader",
    "require_analysable",
    "same_audio",
    "true_peak_dbtp",
]

if TYPE_CHECKING:
    from retone.audio.clip import Clip
    from retone.audio.files import (
        AtomicWriter,
        AudioInfo,
        AudioReader,
        info,
        load,
        open_reader,
        require_analysable,
        same_audio,
    )
    from retone.audio.formats import OutputFormat
    from retone.audio.inspect import Inspection
    from retone.audio.limiter import TruePeakLimiter
    from retone.audio.meters.loudness import LevelMeter, Levels, LoudnessMeter, loudness_lufs
    from retone.audio.meters.true_peak import TruePeakMeter, true_peak_dbtp


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(f"{__name__}.{_HOME[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return __all__
