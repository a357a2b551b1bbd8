"""Estimators by name.

Another package adds one by an entry point in the group ``retone.estimators`` that names a class
(or a function) which makes an ``Estimator`` when it is called without arguments.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from retone.errors import SettingError
from retone.registry import Registry

if TYPE_CHECKING:
    from retone.estimators.base import Estimator

DEFAULT = "match"


def _complaint(name: str, member: Any) -> str | None:
    return None if callable(member) else "is not a class or function that makes an estimator"


_OWN = {
    "match": "retone.estimators.matching:Matching",
    "auto": "retone.estimators.automatic:Automatic",
    "network": "retone.estimators.network:Network",
    "closed-form": "retone.estimators.closed_form:ClosedForm",
    "frames": "retone.estimators.network:frames_match",
    "full-match": "retone.estimators.full_match:full_match",
    "refined": "retone.estimators.refine:Refined",
    "rules": "retone.estimators.rules:Rules",
}

ESTIMATORS: Registry[Callable[..., Estimator]] = Registry(
    "retone.estimators",
    "estimator",
    _OWN,
    check=_complaint,
)
"""Factories of estimators by name; listing the names imports none of them."""

NAMES = ESTIMATORS

FORMER_NAMES = {"faithful": "full-match"}
"""Names of earlier versions, still accepted."""

USUAL = ("bands", "broadband", "linked")
"""Kinds of equaliser, dynamics and stereo that the default estimator takes by itself."""

CHOICES = (*_OWN, *FORMER_NAMES)
"""retone's own names, for command lines: the names of other packages take time to look up."""


def estimator_named(
    name: str | None, *, weights: Path | str | None = None, **options: Any
) -> Estimator:
    """An estimator with its default settings.

    Args:
        name: its name in ``ESTIMATORS``; None for the default one.
        weights: of the network, for ``"network"`` and ``"frames"``.
        options: fields of the default estimator (``matching.Matching``), such as ``strength`` and
            ``eq``; None and ``USUAL`` are what it takes by itself.

    Raises:
        SettingError: no estimator has that name, or its factory returns something else, or another
            estimator than the default one is given its options.
    """
    from retone.estimators.base import Estimator

    name = name or DEFAULT
    name = FORMER_NAMES.get(name, name)
    make = ESTIMATORS.named(name)
    given = {n: v for n, v in options.items() if v not in (None, *USUAL)}
    if given and name != DEFAULT:
        raise SettingError(
            f"{' and '.join(given)}: for the default estimator only, not for '{name}'. Leave out "
            "one of them."
        )
    if given:
        return make(**given)
    made = make(weights=weights) if weights and name in ("network", "frames") else make()
    if not isinstance(made, Estimator):
        raise SettingError(
            f"estimator '{name}' made a {type(made).__name__}, which is not an Estimator: it "
            "needs a name and estimate(source, references, locks=..., progress=...)."
        )
    return made
