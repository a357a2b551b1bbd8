"""Read hand-edited JSON; every error message is one sentence that says where the mistake is."""

from __future__ import annotations

import difflib
import json
import math
from collections.abc import Sequence
from typing import Any

from retone.errors import DataError, nearest

_REQUIRED: Any = object()


def parse(text: str, where: str) -> Any:
    """JSON text to Python values; refuses invalid text, duplicate keys, NaN and infinity.

    Args:
        text: the file's content; a byte-order mark is allowed.
        where: prefix of messages, such as the file's name.

    Raises:
        DataError: with line and column.
    """

    def once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        found: dict[str, Any] = {}
        for key, value in pairs:
            if key in found:
                raise DataError(f"{where}: '{key}' appears twice in one object. Remove one.")
            found[key] = value
        return found

    def refuse(constant: str) -> Any:
        raise DataError(f"{where}: {constant} is not valid JSON. Write a finite number.")

    try:
        return json.loads(
            text.removeprefix("\ufeff"), object_pairs_hook=once, parse_constant=refuse
        )
    except json.JSONDecodeError as error:
        raise DataError(
            f"{where}, line {error.lineno}, column {error.colno}: not valid JSON "
            f"({error.msg}). Look for a missing or surplus comma, quote or bracket just before."
        ) from None
    except RecursionError:
        raise DataError(f"{where}: the JSON is nested too deeply to be a settings file.") from None


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

    def choice(self, name: str, known: Sequence[str], default: Any = _REQUIRED) -> str:
        value = self.text(name, default)
        if value not in known:
            raise DataError(f"{self.where}.{name}: '{value}' is unknown.{nearest(value, known)}")
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

    def items(self, name: str, default: Any = _REQUIRED) -> list[Any]:
        value = self.take(name, default)
        if value is not default and not isinstance(value, list):
            raise DataError(f"{self.where}.{name}: expected a list [...], got {_kind(value)}.")
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
        return f"the text '{value[:40]}'"
    if isinstance(value, (int, float)):
        return "a number"
    return "a list" if isinstance(value, list) else "an object"


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
        return f"{value:.9g}"
    return json.dumps(value, ensure_ascii=False, allow_nan=False)
