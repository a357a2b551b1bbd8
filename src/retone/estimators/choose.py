"""Estimators by name; importing this module loads none of them."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from retone.errors import SettingError

if TYPE_CHECKING:
    from retone.estimators.base import Estimator

NAMES = ("auto", "network", "closed-form", "faithful", "refined", "rules")
DEFAULT = "auto"


def estimator_named(name: str | None, *, weights: Path | str | None = None) -> Estimator:
    """The estimator of that name, None for the default one; ``weights`` are the network's."""
    match name or DEFAULT:
        case "auto":
            from retone.estimators.automatic import Automatic

            return Automatic()
        case "closed-form":
            from retone.estimators.closed_form import ClosedForm

            return ClosedForm()
        case "faithful":
            from retone.estimators.faithful import faithful

            return faithful()
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
