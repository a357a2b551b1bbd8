"""Estimators by name; importing this module loads none of them."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from retone.errors import SettingError

if TYPE_CHECKING:
    from retone.estimators.base import Estimator

NAMES = ("auto", "network", "closed-form", "full-match", "refined", "rules")
DEFAULT = "auto"
FORMER_NAMES = {"faithful": "full-match"}
"""Names of earlier versions, still accepted."""
CHOICES = (*NAMES, *FORMER_NAMES)


def estimator_named(name: str | None, *, weights: Path | str | None = None) -> Estimator:
    """The estimator of that name, None for the default one; ``weights`` are for the network.

    Raises:
        SettingError: there is none of that name.
    """
    chosen = name or DEFAULT
    match FORMER_NAMES.get(chosen, chosen):
        case "auto":
            from retone.estimators.automatic import Automatic

            return Automatic()
        case "closed-form":
            from retone.estimators.closed_form import ClosedForm

            return ClosedForm()
        case "full-match":
            from retone.estimators.full_match import full_match

            return full_match()
        case "network":
            from retone.estimators.network import Network

            return Network(weights=weights) if weights else Network()
        case "refined":
            from retone.estimators.closed_form import ClosedForm
            from retone.estimators.refine import Refined

            return Refined(ClosedForm())
        case "rules":
            from retone.estimators.rules import Rules

            return Rules()
    raise SettingError(f"no estimator is called '{name}'. Known: {', '.join(NAMES)}.")
