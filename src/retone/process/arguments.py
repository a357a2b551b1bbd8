"""The kinds of the arguments of retone's Python functions, checked before anything is read."""

from __future__ import annotations

import os
from collections.abc import Callable, Collection, Iterable, Mapping, Set
from pathlib import Path
from typing import Any

from retone.audio.formats import OutputFormat
from retone.errors import is_number, wrong_kind
from retone.process.settings_file import SettingsFile


def _text(value: Any) -> bool:
    return isinstance(value, str)


def _path(value: Any) -> bool:
    return isinstance(value, (str, Path))


def _flag(value: Any) -> bool:
    return isinstance(value, bool) or type(value).__name__ == "bool"  # NumPy's


def _pair(value: Any) -> bool:
    if isinstance(value, (str, Mapping, Set)):  # a set has no order
        return False
    try:
        return len(value) == 2 and all(is_number(v) for v in value)
    except TypeError:
        return False


def _locks(value: Any) -> bool:
    return isinstance(value, Mapping) and all(
        isinstance(n, str) and is_number(v) for n, v in value.items()
    )


def _estimator(value: Any) -> bool:
    made = not isinstance(value, type) and callable(getattr(value, "estimate", None))
    return made or isinstance(value, str)


def _preset(value: Any) -> bool:
    return isinstance(value, (str, Path)) or hasattr(value, "profile")


def _settings(value: Any) -> bool:
    return isinstance(value, (str, Path, SettingsFile))


def _items(value: Any) -> bool:
    return (
        isinstance(value, Iterable)
        and not isinstance(value, (str, bytes, Path, Mapping, type))
        and (
            not isinstance(value, Collection)
            or all(isinstance(v, (str, os.PathLike, Mapping)) for v in value)
        )
    )


_PATH = (_path, "a path")
_NUMBER = (is_number, "a number")
_TEXT = (_text, "a text")
_FLAG = (_flag, "True or False")
KINDS: dict[str, tuple[Callable[[Any], bool], str]] = {
    "output": _PATH, "weights": _PATH, "path": _PATH,
    "amount": _NUMBER, "strength": _NUMBER, "eq_smooth_octaves": _NUMBER,
    "true_peak_dbtp": (lambda v: v == "file" if _text(v) else is_number(v), "a number in dBTP"),
    "loudness": (lambda v: _text(v) or is_number(v), "a number in LUFS or a text"),
    "eq": _TEXT, "eq_phase": _TEXT, "dynamics": _TEXT, "stereo": _TEXT, "part": _TEXT,
    "mono_as": _TEXT, "target": _TEXT, "verb": _TEXT, "together": _TEXT, "cluster": _TEXT,
    "eq_range_hz": (_pair, "two numbers in Hz, the lowest and the highest frequency"),
    "locks": (_locks, 'a mapping of names to numbers, such as {"compressor.ratio": 2.0}'),
    "estimator": (_estimator, "a name, or an estimator with a method estimate()"),
    "preset": (_preset, "a name, a path or a Preset"),
    "settings": (_settings, "a path or a SettingsFile"),
    "force": _FLAG, "report": _FLAG,
    "output_format": (lambda v: isinstance(v, OutputFormat), "an OutputFormat"),
    "progress": (callable, "a function of (phase, done, total)"),
    "workers": (lambda v: is_number(v) and v % 1 == 0 and v >= 0, "a whole number, 0 or more"),
    "items": (_items, "a list of paths, URLs or mappings"),
}  # fmt: skip
"""Argument -> whether a value is of its kind, and what is expected in words."""


def check_kinds(given: Mapping[str, Any], may_be_none: Collection[str] = ()) -> None:
    """Refuse arguments of a kind that cannot be meant.

    Args:
        given: arguments by name; names that are not in ``KINDS`` are left alone.
        may_be_none: names of those that may be None.

    Raises:
        ArgumentError: the message names the argument and says what is expected.
    """
    for name, value in given.items():
        if name in KINDS and not (value is None and name in may_be_none):
            fits, expected = KINDS[name]
            if not fits(value):
                raise wrong_kind(name, value, expected)
