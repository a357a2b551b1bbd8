"""retone's exceptions, the shape check, hints for misspelt names, and text that is safe to print.

Tree::

    RetoneError                 base class; the message is one sentence
    ├── AudioError              a recording cannot be read, written or used
    │   └── OutputExistsError   the file to write exists and may not be replaced
    ├── ShapeError              a tensor has the wrong number or size of dimensions
    ├── SettingError            a parameter is unknown, out of range or of the wrong kind
    │   └── ArgumentError       an argument in Python is of another kind than expected
    ├── DataError               a corpus, manifest or weights file is missing or damaged
    ├── PluginError             a plug-in crashed, hung, or returned unusable audio
    │   └── PluginNotAllowedError  settings drive a plug-in that the user has not allowed
    └── MissingExtraError       an optional package is needed; the message holds the pip line

A message says what is wrong, where, what was expected and the usual fix.
"""

from __future__ import annotations

import difflib
import functools
import numbers
import re
import reprlib
from collections.abc import Iterable
from typing import Any

OVERWRITE = "allow it to be overwritten"
"""How messages say what ``force`` does; commands put their option there."""


class RetoneError(Exception):
    """Base class: catch this to catch everything retone raises on purpose.

    Its text is one line that can be printed, whatever names from files it quotes.
    """

    def __str__(self) -> str:
        return " ".join(printable(super().__str__()).splitlines()).replace("\t", " ")


class AudioError(RetoneError):
    """A recording cannot be read, written or used."""


class OutputExistsError(AudioError):
    """A file exists already and may not be replaced; ``path`` is its name."""

    def __init__(self, path: object) -> None:
        super().__init__(f"{path} exists. Choose another name or allow overwriting.")
        self.path = path


class ShapeError(RetoneError, ValueError):
    """A tensor or array has the wrong number or size of dimensions."""


class SettingError(RetoneError, ValueError):
    """A parameter is unknown, out of range or of the wrong kind."""


class ArgumentError(SettingError, TypeError):
    """An argument of a Python function is of another kind than expected."""


class DataError(RetoneError):
    """A corpus, a manifest, a settings file or a weights file is missing or damaged."""


class PluginError(RetoneError):
    """A plug-in crashed, hung, or returned unusable audio."""


class PluginNotAllowedError(PluginError):
    """Settings drive a plug-in that the user has not allowed to run."""


class MissingExtraError(RetoneError, ImportError):
    """An optional package is needed for this."""

    def __init__(self, what: str, package: str, extra: str) -> None:
        super().__init__(f"{what} needs the package '{package}': pip install 'retone[{extra}]'.")


def lacks_memory(error: BaseException) -> bool:
    """Whether memory ran out: Python's own error, or one of PyTorch's or of threads, which have no
    type of their own."""
    words = (
        "can't allocate memory", "not enough memory", "out of memory", "bad_alloc",
        "can't start new thread",
    )  # fmt: skip
    return isinstance(error, MemoryError) or (
        isinstance(error, RuntimeError) and any(w in str(error) for w in words)
    )


@functools.lru_cache(maxsize=64)
def _names(shape: str) -> tuple[str, ...]:
    return tuple(shape.split())


def expect(value: Any, shape: str, where: str, **known: int) -> dict[str, int]:
    """Check a tensor's or array's dimensions by name and return their sizes.

    Args:
        value: anything with a ``shape``.
        shape: dimension names, such as ``"B C T"``. A letter that appears twice, or that is
            given in ``known``, must have one size.
        where: function or argument to name in the message.
        **known: sizes that are already known.

    Returns:
        The size of every named dimension, ``known`` included.

    Raises:
        ShapeError: says what was given, what was expected, and the usual fix.
    """
    names = _names(shape)
    got = tuple(map(int, value.shape))
    if len(got) != len(names):
        fix = ""
        if names == ("B", "C", "T") and len(got) in (1, 2):
            fix = " Add the missing dimensions: " + (
                "audio[None, None]." if len(got) == 1 else "audio[None]."
            )
        raise ShapeError(f"{where}: expected [{', '.join(names)}], got {list(got)}.{fix}")
    sizes = dict(known)
    for name, size in zip(names, got, strict=True):
        if sizes.setdefault(name, size) != size:
            raise ShapeError(
                f"{where}: expected [{', '.join(names)}] with {name} = {sizes[name]}, "
                f"got {list(got)}."
            )
    return sizes


def wrong_kind(name: str, value: object, expected: str) -> ArgumentError:
    """The error for an argument that is of another kind than expected: ``"a path"``."""
    plain = value is None or isinstance(value, (str, bytes, int, float, list, tuple, dict))
    shown = f"= {reprlib.repr(value)}" if plain else f"is of type {type(value).__name__}"
    return ArgumentError(f"{name} {shown}: expected {expected}.")


def is_number(value: object) -> bool:
    """Whether a value is a real number of Python or NumPy; truth values are none."""
    return isinstance(value, numbers.Real) and not isinstance(value, bool)


def expect_number(value: Any, name: str, low: float, high: float, unit: str = "") -> None:
    """Refuse what is no number, or outside its range.

    Raises:
        ArgumentError: it is no number.
        SettingError: it is out of range or NaN.
    """
    if not is_number(value):
        raise wrong_kind(name, value, f"a number from {low:g} to {high:g}{unit}")
    if not low <= value <= high:
        raise SettingError(f"{name} = {value}{unit} is outside {low:g}..{high:g}.")


_INITIALS = re.compile(r"(?<![^\W_])[^\W_]")


def nearest(name: str, known: Iterable[str]) -> str:
    """A hint for a misspelt name: the nearest known names, or all of them if they are few.

    Initials count: ``lr`` is near to ``learning_rate``.
    """
    names = list(known)
    near = [n for n in names if len(name) > 1 and name == "".join(_INITIALS.findall(n))]
    near = near or difflib.get_close_matches(name, names, n=3, cutoff=0.5)
    if near:
        return f" Did you mean {' or '.join(near)}?"
    return f" Known: {', '.join(names)}." if 0 < len(names) <= 12 else ""


_UNSEEN = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff]"
)
"""Control characters but line end and tab, what ends a line or turns the direction of writing, and
halves of characters, which stand for bytes of a file's name that are not UTF-8."""


def printable(text: str) -> str:
    """Text whose control characters are shown as escapes, such as ``\\x1b``; lines stay lines."""
    return _UNSEEN.sub(lambda c: c[0].encode("unicode_escape").decode("ascii"), text)


def no_formula(text: str) -> str:
    """Text for a cell of a table that no spreadsheet takes for a formula."""
    return f"'{text}" if text[:1] in ("=", "+", "-", "@", "\t", "\r") else text


def one_line(text: str) -> str:
    """Text without control characters and line ends: each becomes a space."""
    return re.sub("[\t\n]", " ", _UNSEEN.sub(" ", text))
