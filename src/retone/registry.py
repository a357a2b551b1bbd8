"""Named members of a family, retone's own and those of other packages.

A family is effects, metrics, losses, corpora, estimators or export targets. A package adds a
member by an entry point, with no change to retone::

    [project.entry-points."retone.effects"]
    saturator = "my_package.saturator:Saturator"

Entry points are looked up when a name is not retone's own, or when all members are asked for, so
they cost nothing before that. A script adds one with ``add``.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Mapping
from importlib import import_module
from importlib.metadata import EntryPoint, entry_points
from typing import Any, Generic, TypeVar

from retone.errors import SettingError, nearest

T = TypeVar("T")


class Registry(Mapping[str, T], Generic[T]):
    """A mapping name -> member that other packages can extend.

    Args:
        group: the entry-point group, such as ``"retone.effects"``.
        member: what one member is called in messages, such as ``"effect"``.
        own: retone's members; a text ``"module:name"`` is imported when it is first used.
    """

    def __init__(self, group: str, member: str, own: Mapping[str, T | str]) -> None:
        self.group, self.member = group, member
        self._members: dict[str, T | str | EntryPoint] = dict(own)
        self._searched = False

    def __getitem__(self, name: str) -> T:
        if name not in self._members:
            self._search()
        if name not in self._members:
            raise KeyError(name)
        value: Any = self._members[name]
        if isinstance(value, EntryPoint):
            value = self._members[name] = value.load()
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

    def named(self, name: str) -> T:
        """The member of that name.

        Raises:
            SettingError: there is none; the message gives the nearest names.
        """
        try:
            return self[name]
        except KeyError:
            raise SettingError(
                f"no {self.member} is called '{name}'.{nearest(name, self)}"
            ) from None

    def add(self, name: str, member: T, *, replace: bool = False) -> T:
        """Add a member for this process; returns it.

        Raises:
            SettingError: the name is taken and ``replace`` is false.
        """
        if not replace and name in self:
            raise SettingError(f"{self.member} '{name}' exists. Choose another name.")
        self._members[name] = member
        return member

    def remove(self, name: str) -> None:
        """Take out a member that ``add`` put in."""
        del self._members[name]

    def _search(self) -> None:
        if self._searched:
            return
        self._searched = True
        for point in entry_points(group=self.group):
            if point.name in self._members:
                warnings.warn(
                    f"{point.value}: {self.member} '{point.name}' is left out, because that name "
                    "is taken.",
                    stacklevel=3,
                )
            else:
                self._members[point.name] = point
