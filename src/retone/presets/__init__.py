"""Adaptive presets: profiles of reference recordings to match a recording to.

A preset is no fixed setting. It describes how recordings in a style sound, and an estimator finds
the settings that bring *this* recording to that style.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from retone.presets.file import Preset
from retone.presets.library import (
    AUTO,
    available,
    export_preset,
    import_preset,
    open_preset,
    own_folder,
    require_free,
    save_preset,
)

if TYPE_CHECKING:
    from retone.presets.making import make_preset

__all__ = [
    "AUTO",
    "Preset",
    "available",
    "export_preset",
    "import_preset",
    "make_preset",
    "open_preset",
    "own_folder",
    "require_free",
    "save_preset",
]


def __getattr__(name: str) -> Any:
    """``make_preset`` is loaded when used: making presets needs more than using them."""
    if name != "make_preset":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from retone.presets.making import make_preset

    return make_preset
