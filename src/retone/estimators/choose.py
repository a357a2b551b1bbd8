"""Estimators by name.

Another package adds one by an entry point in the group ``retone.estimators`` that names a class
(or a function) which makes an ``Estimator`` when it is called without arguments.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
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


class Choices:
    """Names that an option takes: words of its own, and estimators, those of other packages too.

    The names of other packages take time to look up. That is done for a name that retone does not
    know and where all are listed (``in`` and ``iter``, which argparse asks).

    Args:
        words: further names.
        without: retone's own estimators that are refused.
    """

    def __init__(self, *words: str, without: tuple[str, ...] = ()) -> None:
        own = (*words, *_OWN, *FORMER_NAMES)
        self.own, self.without = tuple(n for n in own if n not in without), without

    def __contains__(self, name: object) -> bool:
        return name in self.own or (name not in self.without and name in ESTIMATORS)

    def __iter__(self) -> Iterator[str]:
        others = (n for n in ESTIMATORS if n not in self.own and n not in self.without)
        return iter((*self.own, *others))


CHOICES = Choices()


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
