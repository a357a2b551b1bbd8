"""Read hand-edited JSON; every error message is one sentence that says where the mistake is.

Files may come from strangers: size, depth, digits and text are bounded before a value is used.
"""

from __future__ import annotations

import difflib
import json
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from retone.errors import DataError, nearest, one_line

_REQUIRED: Any = object()
MOST_BYTES = 8 << 20
"""Largest file of settings or of a preset; what retone writes itself is below 1 MB."""
MOST_DEPTH = 64
"""Most levels of lists and objects inside one another."""
MOST_DIGITS = 400
MOST_KEY = 256
MOST_NAME = 120
"""Most characters of a text that is a name."""


def read_text(path: str | Path, what: str, *, most_bytes: int = MOST_BYTES) -> str:
    """The text of a UTF-8 file that is not too large.

    Args:
        path: the file.
        what: what it should be, for messages, such as ``"a settings file"``.
        most_bytes: largest size that is read.

    Raises:
        DataError: it cannot be opened, is too large, or is not UTF-8.
    """
    try:
        if Path(path).exists() and not Path(path).is_file():
            raise DataError(f"{path} is not a file; expected {what}.")
        with Path(path).open("rb") as file:
            data = file.read(most_bytes + 1)
    except (OSError, ValueError) as error:
        why = getattr(error, "strerror", None) or error
        raise DataError(
            f"{path} cannot be read ({why}); expected {what}. Check the name."
        ) from None
    if len(data) > most_bytes:
        raise DataError(f"{path} is larger than {most_bytes >> 20} MB, so it is not {what}.")
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError:
        raise DataError(f"{path} is not UTF-8 text; expected {what}.") from None


def parse(text: str, where: str) -> Any:
    """JSON text to Python values; refuses invalid text, duplicate keys, NaN and infinity.

    Args:
        text: the file's content; a byte-order mark is allowed.
        where: prefix of messages, such as the file's name.

    Raises:
        DataError: with line and column; also for what is nested more than ``MOST_DEPTH`` levels
            deep, for a number of more than ``MOST_DIGITS`` digits, and for text that is not
            Unicode.
    """

    def once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        found: dict[str, Any] = {}
        for key, value in pairs:
            if key in found:
                raise DataError(
                    f"{where}: '{_shown(key)}' appears twice in one object. Remove one."
                )
            found[key] = value
        return found

    def refuse(constant: str) -> Any:
        raise DataError(f"{where}: {constant} is not valid JSON. Write a finite number.")

    def whole(digits: str) -> int:
        if len(digits) > MOST_DIGITS:
            raise DataError(f"{where}: a number has {len(digits)} digits. Write a shorter one.")
        return int(digits)

    try:
        found = json.loads(
            text.removeprefix("\ufeff"),
            object_pairs_hook=once,
            parse_constant=refuse,
            parse_int=whole,
        )
    except json.JSONDecodeError as error:
        raise DataError(
            f"{where}, line {error.lineno}, column {error.colno}: not valid JSON "
            f"({error.msg}). Look for a missing or surplus comma, quote or bracket just before."
        ) from None
    except RecursionError:
        raise _too_deep(where) from None
    _check(found, where)
    return found


def _too_deep(where: str) -> DataError:
    return DataError(f"{where}: the JSON is nested too deeply; {MOST_DEPTH} levels are read.")


def _check(value: Any, where: str) -> None:
    """Refuse what is nested too deeply, and halves of characters (lone surrogates)."""
    level, depth = [value], 0
    while level:
        depth += 1
        if depth > MOST_DEPTH + 1:
            raise _too_deep(where)
        below: list[Any] = []
        for item in level:
            if isinstance(item, dict):
                for key in item:
                    if len(key) > MOST_KEY or one_line(key) != key:
                        raise DataError(
                            f"{where}: the name '{_shown(key)}' of a field is too long, or holds "
                            "a character that cannot be printed."
                        )
                below += item.values()
            elif isinstance(item, list):
                below += item
            elif isinstance(item, str) and not _is_unicode(item):
                raise DataError(f"{where}: a text holds half of a character (\\ud800 to \\udfff).")
        level = below


def _is_unicode(text: str) -> bool:
    return text.isascii() or not any("\ud800" <= c <= "\udfff" for c in text)


class Fields:
    """One JSON object, read field by field; ``done`` refuses unknown fields."""

    def __init__(self, value: Any, where: str) -> None:
        if not isinstance(value, dict):
            raise DataError(f"{where}: expected an object {{...}}, got {_kind(value)}.")
        self.where = where
        self._values: dict[str, Any] = value
        self._taken: list[str] = []

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(self._values)

    def take(self, name: str, default: Any = _REQUIRED) -> Any:
        """The unchecked value; the default if the field is absent."""
        self._taken.append(name)
        if name in self._values:
            return self._values[name]
        if default is not _REQUIRED:
            return default
        near = difflib.get_close_matches(name, self._values, n=1, cutoff=0.6)
        hint = f" Is '{near[0]}' meant?" if near else ""
        raise DataError(f"{self.where}: '{name}' is missing.{hint}")

    def text(self, name: str, default: Any = _REQUIRED) -> str:
        value = self.take(name, default)
        if value is not default and not isinstance(value, str):
            raise DataError(f"{self.where}.{name}: expected text, got {_kind(value)}.")
        return value

    def name(self, name: str, default: Any = _REQUIRED) -> str:
        """A short text of printable characters, such as a file's or a plug-in's name."""
        value = self.text(name, default)
        if value is not default:
            check_name(value, f"{self.where}.{name}")
        return value

    def choice(self, name: str, known: Sequence[str], default: Any = _REQUIRED) -> str:
        value = self.text(name, default)
        if value not in known:
            raise DataError(
                f"{self.where}.{name}: '{_shown(value)}' is unknown.{nearest(value[:80], known)}"
            )
        return value

    def number(
        self,
        name: str,
        default: Any = _REQUIRED,
        *,
        low: float = -math.inf,
        high: float = math.inf,
        whole: bool = False,
    ) -> Any:
        value = self.take(name, default)
        if value is default:
            return value
        return number(value, f"{self.where}.{name}", low=low, high=high, whole=whole)

    def flag(self, name: str, default: Any = _REQUIRED) -> bool:
        value = self.take(name, default)
        if not isinstance(value, bool):
            raise DataError(f"{self.where}.{name}: expected true or false, got {_kind(value)}.")
        return value

    def items(self, name: str, default: Any = _REQUIRED, *, most: int | None = None) -> list[Any]:
        value = self.take(name, default)
        if value is not default and not isinstance(value, list):
            raise DataError(f"{self.where}.{name}: expected a list [...], got {_kind(value)}.")
        if most is not None and len(value) > most:
            raise DataError(f"{self.where}.{name}: {len(value)} entries; expected {most} at most.")
        return list(value)

    def fields(self, name: str, default: Any = _REQUIRED) -> Fields:
        return Fields(self.take(name, default), f"{self.where}.{name}")

    def done(self) -> None:
        """Refuse fields that were never read."""
        for name in self._values:
            if name not in self._taken:
                raise DataError(
                    f"{self.where}: '{name}' is not a known field.{nearest(name, self._taken)}"
                )


def check_name(value: str, where: str) -> None:
    """Refuse a name that is long or holds characters that cannot be printed, such as line breaks.

    Raises:
        DataError: it is one of them.
    """
    if len(value) > MOST_NAME:
        raise DataError(
            f"{where}: a name of {len(value)} characters; expected {MOST_NAME} at most."
        )
    if one_line(value) != value:
        raise DataError(
            f"{where}: the name {value[:40]!r} holds a character that cannot be printed, such as a "
            "line break. Remove it."
        )


def number(
    value: Any,
    where: str,
    *,
    low: float = -math.inf,
    high: float = math.inf,
    whole: bool = False,
) -> Any:
    """A finite number in its range, an int if ``whole``; DataError otherwise."""
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise DataError(f"{where}: expected a number, got {_kind(value)}.")
    try:
        finite = math.isfinite(value)
    except OverflowError:
        finite = False
    if not finite:
        raise DataError(f"{where}: expected a finite number, got one too large to hold.")
    if not low <= value <= high:
        bounds = f"{low:g}..{high:g}" if math.isfinite(high) else f"{low:g} or more"
        raise DataError(f"{where} = {value:g} is outside its range {bounds}.")
    if whole:
        if value != int(value):
            raise DataError(f"{where}: expected a whole number, got {value:g}.")
        return int(value)
    return float(value)


def _kind(value: Any) -> str:
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        return f"the text '{_shown(value)}'"
    if isinstance(value, (int, float)):
        return "a number"
    return "a list" if isinstance(value, list) else "an object"


def _shown(text: str) -> str:
    """The beginning of a text on one line."""
    return one_line(text[:40])


def write(value: Any, *, width: int = 100, indent: int = 0) -> str:
    """Readable JSON text: small flat objects on one line, everything else one field per line.

    Floats get nine significant digits. ``value`` holds dicts, lists, str, bool, int, finite
    float and None.
    """
    flat = _flat(value)
    if flat is not None and (indent == 0 or len(flat) + indent <= width):
        return flat
    inner, outer = " " * (indent + 2), " " * indent
    if isinstance(value, dict):
        rows = []
        for key, item in value.items():
            start = f"{inner}{_scalar(key)}: "
            rows.append(start + write(item, width=width, indent=indent + 2))
        return "{\n" + ",\n".join(rows) + "\n" + outer + "}"
    if isinstance(value, (list, tuple)):
        if all(isinstance(v, (int, float)) for v in value):
            return "[\n" + _wrapped([_scalar(v) for v in value], inner, width) + "\n" + outer + "]"
        rows = [inner + write(v, width=width, indent=indent + 2) for v in value]
        return "[\n" + ",\n".join(rows) + "\n" + outer + "]"
    return _scalar(value)


def _flat(value: Any) -> str | None:
    if isinstance(value, dict):
        if not value:
            return "{}"
        if any(isinstance(v, (dict, list, tuple)) for v in value.values()):
            return None
        return "{" + ", ".join(f"{_scalar(k)}: {_scalar(v)}" for k, v in value.items()) + "}"
    if isinstance(value, (list, tuple)):
        if any(not isinstance(v, (int, float)) for v in value):
            return None
        return "[" + ", ".join(_scalar(v) for v in value) + "]"
    return _scalar(value)


def _wrapped(words: list[str], inner: str, width: int) -> str:
    lines, line = [], inner
    for i, word in enumerate(words):
        piece = word + ("," if i < len(words) - 1 else "")
        if len(line) + len(piece) + 1 > width and line != inner:
            lines.append(line.rstrip())
            line = inner
        line += piece + " "
    return "\n".join([*lines, line.rstrip()])


def _scalar(value: Any) -> str:
    if isinstance(value, float):
        if not math.isfinite(value):
            raise ValueError(f"{value} cannot be written as JSON")
        return f"{value:.9g}"
    if isinstance(value, str):
        value = unicode_text(value)
    return json.dumps(value, ensure_ascii=False, allow_nan=False)


def unicode_text(text: str) -> str:
    """Text in which every half of a character is replaced, as names of other encodings hold them.

    The operating system's file names can be any bytes; Python keeps those that are not UTF-8 as
    halves of characters, which no file or page can hold.
    """
    if _is_unicode(text):
        return text
    return "".join("\ufffd" if "\ud800" <= c <= "\udfff" else c for c in text)
