"""retone makes a recording sound the way its owner wants, with real effects and readable settings.

Names are loaded when first used, so ``import retone`` costs nothing.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

_HOME = {
    "Compressor": "retone.effects",
    "DynamicEqualizer": "retone.effects",
    "Equalizer": "retone.effects",
    "Gain": "retone.effects",
    "MatchResult": "retone.process.decide",
    "Matcher": "retone.process.decide",
    "Options": "retone.process.decide",
    "RetoneError": "retone.errors",
    "chain": "retone.effects",
    "match": "retone.api",
    "open_settings": "retone.api",
}

__all__ = sorted(_HOME)

if TYPE_CHECKING:
    from retone.api import match, open_settings  # noqa: F401
    from retone.effects import (  # noqa: F401
        Compressor,
        DynamicEqualizer,
        Equalizer,
        Gain,
        chain,
    )
    from retone.errors import RetoneError  # noqa: F401
    from retone.process.decide import Matcher, MatchResult, Options  # noqa: F401


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module 'retone' has no attribute {name!r}")
    value = getattr(import_module(_HOME[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return [*__all__, "__version__"]
