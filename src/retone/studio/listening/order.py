"""The order of trials and sounds, random for each listener, the same here and on the page.

The page's ``order.js`` has the same functions; a test compares them.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

_MASK = 0xFFFFFFFF


def seed_of(text: str) -> int:
    """FNV-1a hash of a text's UTF-8, 32 bits."""
    value = 0x811C9DC5
    for byte in text.encode():
        value = ((value ^ byte) * 0x01000193) & _MASK
    return value


class Random:
    """The generator mulberry32: ``next`` is in 0..1."""

    def __init__(self, seed: int) -> None:
        self.state = seed & _MASK

    def next(self) -> float:
        self.state = (self.state + 0x6D2B79F5) & _MASK
        t = self.state
        t = ((t ^ (t >> 15)) * (t | 1)) & _MASK
        t ^= (t + (((t ^ (t >> 7)) * (t | 61)) & _MASK)) & _MASK
        return float((t ^ (t >> 14)) & _MASK) / 4294967296.0

    def shuffled(self, items: list[Any]) -> list[Any]:
        """A copy in random order (Fisher and Yates)."""
        found = list(items)
        for i in range(len(found) - 1, 0, -1):
            j = int(self.next() * (i + 1))
            found[i], found[j] = found[j], found[i]
        return found


def order_of(study: Mapping[str, Any], listener: str) -> list[dict[str, Any]]:
    """What a listener gets: trials in order, each with the order of its sounds and, for ABX, X.

    Args:
        study: the content of ``study.json``.
        listener: the listener's name.

    Returns:
        For each trial ``trial`` (its index), ``sounds`` (indices of its stimuli in order) and
        ``x`` (0 or 1: which of the first two is X).
    """
    random = Random(seed_of(f"{study['id']}:{listener}"))
    found = []
    for index in random.shuffled(list(range(len(study["trials"])))):
        sounds = random.shuffled(list(range(len(study["trials"][index]["stimuli"]))))
        found.append({"trial": index, "sounds": sounds, "x": int(random.next() * 2)})
    return found
