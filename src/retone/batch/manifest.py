"""Manifests: one recording per row, with its references and options, as CSV, JSONL or Parquet.

Columns: ``input``; ``output``, a name below the folder of the results; ``to``, references, in CSV
separated by ``;``; and options by their names in Python, such as ``strength`` or ``loudness``.
Paths are relative to the manifest's folder. Other columns are ignored, unless their name looks like
a misspelt option. An empty cell leaves an option to the job.
"""

from __future__ import annotations

import csv
import difflib
import io
import json
import math
import os
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path, PurePosixPath
from typing import Any

from retone.batch import storage
from retone.batch.rows import Row
from retone.errors import DataError, MissingExtraError, SettingError


def _number(text: Any) -> float:
    value = float(text)
    if not math.isfinite(value):
        raise ValueError
    return value


def _number_or(*words: str) -> Callable[[Any], Any]:
    def read(text: Any) -> Any:
        return text if text in words else _number(text)

    return read


def _ceiling(text: Any) -> float | None:
    return None if text in ("off", None) else _number(text)


def _text(value: Any) -> str:
    return str(value)


def _list(value: Any) -> list[str]:
    if isinstance(value, str):
        return [v.strip() for v in value.split(";") if v.strip()]
    found = list(value)
    if not all(isinstance(v, str) for v in found):
        raise ValueError
    return found


def _pair(value: Any) -> list[float]:
    low, high = value.split() if isinstance(value, str) else value
    return [_number(low), _number(high)]


def _locks(value: Any) -> dict[str, float]:
    if isinstance(value, Mapping):
        return {str(name): _number(v) for name, v in value.items()}
    pairs = [item.partition("=") for item in value.replace(";", " ").split()]
    return {name: _number(number) for name, _, number in pairs}


def _whole(value: Any) -> int:
    number = _number(value)
    if number != int(number):
        raise ValueError
    return int(number)


_OUTPUT: dict[str, Callable[[Any], Any]] = {
    "amount": _number, "true_peak_dbtp": _ceiling, "format": _text, "bit_depth": _text,
    "sample_rate": _whole,
}  # fmt: skip
OPTIONS: dict[str, dict[str, Callable[[Any], Any]]] = {
    "match": {
        "to": _list, "preset": _text, "strength": _number, "eq": _text, "eq_phase": _text,
        "eq_smooth_octaves": _number, "eq_range_hz": _pair, "dynamics": _text, "stereo": _text,
        "part": _text, "locks": _locks, "loudness": _number_or("match", "off"), "mono_as": _text,
        "estimator": _text, **_OUTPUT,
    },
    "enhance": {
        "weights": _text, "locks": _locks, "loudness": _number_or("off"), **_OUTPUT,
    },
    "apply": {"settings": _text, "loudness": _number_or("off"), **_OUTPUT},
    "inspect": {},
}  # fmt: skip
"""Options that a row may have, by what the job does."""
_FILES = ("preset", "weights", "settings")


def rows_of(name: str, verb: str) -> Iterator[Row]:
    """The rows of a manifest.

    Raises:
        DataError: it cannot be read, has no column ``input``, or a column is a misspelt option.
    """
    known = OPTIONS[verb]
    for number, record in _records(name):
        where = f"{storage.base_name(name)}, row {number}"
        if "input" not in record:
            raise DataError(f"{name}: there is no column 'input'. It names the recordings.")
        for column in record:
            if column is None:  # a row with more cells than columns
                raise DataError(f"{where}: more cells than columns. Put quotes around commas.")
            if column not in known and column not in ("input", "output"):
                near = difflib.get_close_matches(column, [*known, "input", "output"], 1, 0.8)
                if near:
                    raise DataError(
                        f"{name}: column '{column}' is unknown. Did you mean '{near[0]}'?"
                    )
        yield row_of(record, where, os.path.dirname(name), verb)


def row_of(record: Mapping[str, Any], where: str, folder: str, verb: str) -> Row:
    """One row from its columns.

    Args:
        record: columns and values.
        where: for messages.
        folder: what relative paths are relative to.
        verb: what the job does.
    """
    known = OPTIONS[verb]
    source = str(record["input"] or "")
    if not source:
        return Row("", where, problem=f"{where}: the input is empty.")
    full = _full(source, folder)
    output, problem = _output_name(record.get("output"), source, full)
    options: dict[str, Any] = {"output": output} if record.get("output") else {}
    for name, read in known.items():
        value = record.get(name)
        if value is None or value == "" or (isinstance(value, float) and math.isnan(value)):
            continue
        try:
            options[name] = read(value)
        except (ValueError, TypeError, AttributeError, OverflowError):
            problem = problem or f"{where}: {name} = {value!r} is not possible."
    if "to" in options:
        options["to"] = [_full(one, folder) for one in options["to"]]
    for name in _FILES:
        if name in options and os.path.isfile(_full(options[name], folder)):
            options[name] = _full(options[name], folder)
    return Row(full, output, options=options or None, problem=problem)


def _full(name: str, folder: str) -> str:
    return name if storage.is_url(name) or os.path.isabs(name) else os.path.join(folder, name)


def _output_name(asked: Any, source: str, full: str) -> tuple[str, str]:
    """The output's name below the folder of the results, and what is wrong with it."""
    if not asked:
        inside = not (storage.is_url(source) or os.path.isabs(source))
        path = PurePosixPath(Path(source).as_posix())
        if inside and ".." not in path.parts:
            return path.as_posix(), ""
        return storage.base_name(full), ""
    path = PurePosixPath(str(asked).replace("\\", "/") if os.name == "nt" else str(asked))
    outside = path.is_absolute() or os.path.isabs(str(asked)) or ".." in path.parts
    if outside or storage.is_url(str(asked)) or not path.name or path.parts[0] == ".retone":
        return storage.base_name(full), (
            f"{full}: its output '{asked}' is not a name below the folder of the results."
        )
    return path.as_posix(), ""


def _records(name: str) -> Iterator[tuple[int, dict[str, Any]]]:
    """Rows as mappings, counted from 1."""
    content = storage.read_bytes(name) if not storage.is_folder(name) else None
    if content is None:
        raise DataError(f"{name} does not exist or is a folder; expected a manifest.")
    ending = os.path.splitext(name)[1].lower()
    if ending == ".parquet":
        yield from enumerate(_parquet(content, name), start=1)
        return
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError:
        raise DataError(f"{name} is not UTF-8 text; expected CSV, JSONL or Parquet.") from None
    if ending in (".jsonl", ".ndjson"):
        for number, line in enumerate(text.splitlines(), start=1):
            if line.strip():
                yield number, _object(line, f"{name}, line {number}")
        return
    try:
        first = text.partition("\n")[0]
        delimiter = max(",;\t", key=first.count) if any(c in first for c in ",;\t") else ","
        yield from enumerate(csv.DictReader(io.StringIO(text, newline=""), delimiter=delimiter), 1)
    except csv.Error as error:
        raise DataError(f"{name}: not a table that can be read ({error}).") from None


def _object(line: str, where: str) -> dict[str, Any]:
    try:
        found = json.loads(line)
    except (ValueError, RecursionError):
        found = None
    if not isinstance(found, dict):
        raise DataError(f"{where}: expected one JSON object per line.")
    return found


def _parquet(content: bytes, name: str) -> list[dict[str, Any]]:
    try:
        import pyarrow
        import pyarrow.parquet
    except ImportError:
        raise MissingExtraError("a Parquet manifest", "pyarrow", "batch") from None
    try:
        table = pyarrow.parquet.read_table(pyarrow.BufferReader(content))
    except (pyarrow.ArrowException, OSError) as error:
        raise DataError(f"{name} is not a Parquet file ({error}).") from None
    rows: list[dict[str, Any]] = table.to_pylist()
    return rows


def check(options: Mapping[str, Any], verb: str) -> dict[str, Any]:
    """Options of a job in Python: unknown names are refused, one reference becomes a list.

    Raises:
        SettingError: an option is unknown.
    """
    for name in options:
        if name not in OPTIONS[verb]:
            near = difflib.get_close_matches(name, OPTIONS[verb], 1, 0.6)
            hint = f" Did you mean '{near[0]}'?" if near else ""
            raise SettingError(f"{verb}: option '{name}' is unknown.{hint}")
    found = {name: value for name, value in options.items() if value is not None}
    if "true_peak_dbtp" in options:
        found["true_peak_dbtp"] = options["true_peak_dbtp"]  # None is no limiter
    if "to" in found and not isinstance(found["to"], (list, tuple)):
        found["to"] = [found["to"]]
    return found
