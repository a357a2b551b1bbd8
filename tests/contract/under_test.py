"""The effects that the contract holds for: retone's own, one of another package, or yours.

``RETONE_CONTRACT=my_package.saturator:Saturator pytest tests/contract`` runs the laws over the
examples of that class alone.
"""

from __future__ import annotations

import os
import sys
import tempfile
from importlib import import_module
from pathlib import Path

import pytest

from outside_package import install
from retone.dsp.effect import Effect
from retone.effects import EFFECT_TYPES, EFFECTS


def _outside() -> tuple[Effect, ...]:
    """The effect of docs/extending.md, whose traits are unlike those of retone's own."""
    folder = Path(tempfile.mkdtemp(prefix="retone-outside-"))
    install(folder, published=False)
    sys.path.append(str(folder))
    made: type[Effect] = import_module("my_package.saturator").Saturator
    if made.kind not in EFFECT_TYPES:
        EFFECT_TYPES.add(made.kind, made)
    return made.examples()


def _named(text: str) -> tuple[Effect, ...]:
    module, _, name = text.partition(":")
    made: type[Effect] = getattr(import_module(module), name)
    return made.examples()


_YOURS = os.environ.get("RETONE_CONTRACT")
UNDER_TEST: tuple[Effect, ...] = _named(_YOURS) if _YOURS else (*EFFECTS, *_outside())
each_effect = pytest.mark.parametrize("effect", UNDER_TEST, ids=lambda e: e.name)
