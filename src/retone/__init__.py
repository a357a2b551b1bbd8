"""retone makes a recording sound like another one, with real effects and readable settings.

Names are loaded when first used, so ``import retone`` costs nothing.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

_HOME = {
    "Compressor": "retone.effects",
    "Decision": "retone.process.result",
    "DynamicEqualizer": "retone.effects",
    "Equalizer": "retone.effects",
    "Gain": "retone.effects",
    "Options": "retone.process.result",
    "Result": "retone.report.result",
    "RetoneError": "retone.errors",
    "SettingsFile": "retone.process.settings_file",
    "apply": "retone.api",
    "chain": "retone.effects",
    "decide": "retone.api",
    "enhance": "retone.api",
    "export": "retone.api",
    "match": "retone.api",
    "open_settings": "retone.api",
    "process_many": "retone.batch.many",
}

__all__ = [  # written out, because type checkers read it
    "Compressor",
    "Decision",
    "DynamicEqualizer",
    "Equalizer",
    "Gain",
    "Options",
    "Result",
    "RetoneError",
    "SettingsFile",
    "apply",
    "chain",
    "decide",
    "enhance",
    "export",
    "match",
    "open_settings",
    "process_many",
]

if TYPE_CHECKING:
    from retone.api import (
        apply,
        decide,
        enhance,
        export,
        match,
        open_settings,
    )
    from retone.batch.many import process_many
    from retone.effects import Compressor, DynamicEqualizer, Equalizer, Gain
    from retone.effects.chain import chain
    from retone.errors import RetoneError
    from retone.process.result import Decision, Options
    from retone.process.settings_file import SettingsFile
    from retone.report.result import Result


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module 'retone' has no attribute {name!r}")
    value = getattr(import_module(_HOME[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return [*__all__, "__version__"]
