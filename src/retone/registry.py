"""Registries of named members: retone's own and those of other packages.

There is one registry each for effects, metrics, losses, corpora, estimators and export targets. A
package adds a member through an entry point::

    [project.entry-points."retone.effects"]
    saturator = "my_package.saturator:Saturator"

Entry points are searched only for a name that is not retone's own, or to list all members.
A script adds a member with ``add``. A member that cannot be loaded is left out with a warning, and
the others stay usable.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, ItemsView, Iterator, Mapping, ValuesView
from importlib import import_module
from importlib.metadata import EntryPoint, entry_points
from typing import Any, Generic, TypeVar

from retone.errors import SettingError, nearest

T = TypeVar("T")
Check = Callable[[str, Any], str | None]
"""(name, member) -> what is wrong with it, as the end of a sentence; None if it is valid."""


def called(cls: type) -> Check:
    """A check that a member is a ``cls`` whose ``name`` is the name it is registered under."""

    def check(name: str, member: Any) -> str | None:
        if not isinstance(member, cls):
            return f"is not a {cls.__name__}"
        own = getattr(member, "name", None)
        return None if own == name else f"has the name '{own}', not '{name}'"

    return check


class Registry(Mapping[str, T], Generic[T]):
    """A mapping name -> member that other packages can extend.

    Args:
        group: the entry-point group, such as ``"retone.effects"``.
        member: word for one member in messages, such as ``"effect"``.
        own: retone's members; a text ``"module:name"`` is imported when it is first used.
        check: check for members of other packages, such as ``called(Metric)``.
    """

    def __init__(
        self,
        group: str,
        member: str,
        own: Mapping[str, T | str],
        *,
        check: Check | None = None,
    ) -> None:
        self.group, self.member = group, member
        self._members: dict[str, T | str | EntryPoint] = dict(own)
        self._check = check
        self._broken: dict[str, str] = {}
        self._searched = False

    def __contains__(self, name: object) -> bool:
        if name not in self._members:
            self._search()
        return name in self._members

    def __getitem__(self, name: str) -> T:
        if name not in self:
            raise KeyError(name)
        value: Any = self._members[name]
        if isinstance(value, EntryPoint):
            value = self._members[name] = self._load(value)
        elif isinstance(value, str):
            module, _, attribute = value.partition(":")
            value = self._members[name] = getattr(import_module(module), attribute)
        return value  # type: ignore[no-any-return]

    def __iter__(self) -> Iterator[str]:
        self._search()
        return iter(tuple(self._members))

    def __len__(self) -> int:
        self._search()
        return len(self._members)

    def items(self) -> ItemsView[str, T]:
        """Names with members; those that cannot be loaded are left out with a warning."""
        return self._loaded().items()

    def values(self) -> ValuesView[T]:
        """Members; those that cannot be loaded are left out with a warning."""
        return self._loaded().values()

    def named(self, name: str) -> T:
        """The member of that name.

        Raises:
            SettingError: there is none, or it cannot be loaded; the message says why.
        """
        if name in self:
            try:
                return self[name]
            except KeyError:  # found by its entry point, but broken
                pass
        if name in self._broken:
            raise SettingError(self._broken[name])
        raise SettingError(f"no {self.member} is called '{name}'.{nearest(name, self)}")

    def add(self, name: str, member: T, *, replace: bool = False) -> T:
        """Add a member for this process; returns it.

        Raises:
            SettingError: the name is taken and ``replace`` is false, or the member does not fit.
        """
        if not replace and name in self:
            raise SettingError(f"{self.member} '{name}' exists. Choose another name.")
        if wrong := self._check and self._check(name, member):
            raise SettingError(f"{self.member} '{name}' {wrong}.")
        self._members[name] = member
        return member

    def remove(self, name: str) -> None:
        """Remove a member that was added with ``add``."""
        del self._members[name]

    def _loaded(self) -> dict[str, T]:
        found: dict[str, T] = {}
        for name in self:
            try:
                found[name] = self[name]
            except KeyError:
                continue
        return found

    def _load(self, point: EntryPoint) -> Any:
        """A member of another package; KeyError, after a warning, if it cannot be used."""
        package = f" of {point.dist.name}" if point.dist else ""
        what = f"{self.member} '{point.name}'{package}"
        try:
            value = point.load()
        except Exception as error:  # third-party code may raise anything; other members stay usable
            text = f"{what} cannot be loaded: {point.value} raised {type(error).__name__}: {error}"
        else:
            wrong = self._check and self._check(point.name, value)
            if not wrong:
                return value
            text = f"{what} cannot be used: {point.value} {wrong}"
        text = f"{text.rstrip('.')}. Update or uninstall that package."
        warnings.warn(text, stacklevel=4)
        self._broken[point.name] = text
        del self._members[point.name]
        raise KeyError(point.name)

    def _search(self) -> None:
        if self._searched:
            return
        self._searched = True
        for point in entry_points(group=self.group):
            if point.name in self._members:
                warnings.warn(
                    f"{point.value}: {self.member} '{point.name}' is left out, because that name "
                    "is taken.",
                    stacklevel=4,
                )
            else:
                self._members[point.name] = point
