"""Results of listeners: what the page stores, read back from JSON and CSV files."""

from __future__ import annotations

import contextlib
import csv
import itertools
import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from retone.errors import DataError, OutputExistsError
from retone.files.atomic import write_text_atomic

FOLDER = "results"
MOST_BYTES = 4_000_000
COLUMNS = (
    "listener", "study", "design", "position", "trial", "kind", "item", "system", "role", "other",
    "score", "choice", "correct", "heard_s", "seconds",
)  # fmt: skip


@dataclass(frozen=True)
class Row:
    """One answer of one listener.

    Args:
        listener: the listener's name.
        trial: number of the trial; ``position`` is when it was asked.
        kind: ``rate``, or ``check`` for an attention check.
        item, system, role: what was judged; ``role`` is system, reference or anchor.
        other: the second system of a pair.
        score: 0 to 100 (MUSHRA) or 1 to 5 (ACR), None for pairs.
        choice: the system that was chosen, or ``tie``.
        correct: for ABX and checks: whether the answer was right.
        seconds: time from the question to the answer; None where it is not known.
    """

    listener: str
    trial: int
    position: int
    kind: str
    item: str
    system: str
    role: str
    other: str = ""
    score: float | None = None
    choice: str = ""
    correct: bool | None = None
    seconds: float | None = None


def read_results(folder: Path, study: Mapping[str, Any]) -> list[Row]:
    """All answers to a test that lie in its folder ``results``, in JSON or CSV files.

    A listener whose results lie there in both forms counts once.

    Raises:
        DataError: there are none, or a file is damaged or belongs to another test.
    """
    found: dict[tuple[str, int, str, str], Row] = {}
    files = sorted((folder / FOLDER).glob("*.json")) + sorted((folder / FOLDER).glob("*.csv"))
    for path in files:
        for data in _rows_of(path):
            row = _row(data, path, study)
            found.setdefault((row.listener, row.trial, row.system, row.other), row)
    if not found:
        raise DataError(
            f"{folder / FOLDER} holds no results. Put the files there that listeners downloaded."
        )
    return list(found.values())


def _rows_of(path: Path) -> Iterable[Mapping[str, Any]]:
    try:
        text = path.read_text("utf-8-sig")
        if path.suffix == ".csv":
            return list(csv.DictReader(text.splitlines()))
        rows = json.loads(text)["rows"]
    except (ValueError, KeyError, TypeError, OSError) as error:
        raise DataError(f"{path} is damaged ({error}). Ask for it again, or remove it.") from None
    if not isinstance(rows, list) or not all(isinstance(r, dict) for r in rows):
        raise DataError(f"{path} is damaged: 'rows' is no list. Ask for it again, or remove it.")
    return rows


def _row(data: Mapping[str, Any], path: Path, study: Mapping[str, Any]) -> Row:
    if data.get("study") != study["id"]:
        raise DataError(
            f"{path} belongs to test {data.get('study')}, not to {study['id']}. Remove it."
        )
    try:
        score, correct, seconds = (data.get(k) for k in ("score", "correct", "seconds"))
        row = Row(
            listener=str(data["listener"]),
            trial=int(data["trial"]),
            position=int(data["position"]),
            kind=str(data["kind"]),
            item=str(data["item"]),
            system=str(data["system"]),
            role=str(data["role"]),
            other=str(data.get("other") or ""),
            score=None if score in (None, "") else float(score),  # type: ignore[arg-type]
            choice=str(data.get("choice") or ""),
            correct=None if correct in (None, "") else bool(int(correct)),  # type: ignore[call-overload]
            seconds=None if seconds in (None, "") else float(seconds),  # type: ignore[arg-type]
        )
    except (KeyError, ValueError, TypeError) as error:
        raise DataError(f"{path} is damaged ({error!r}). Ask for it again, or remove it.") from None
    low, high = (0, 100) if study["design"] == "mushra" else (1, 5)
    if row.score is not None and not low <= row.score <= high:
        raise DataError(f"{path}: score {row.score:g} is outside {low}..{high}.")
    return row


def store(folder: Path, content: bytes, study: Mapping[str, Any]) -> Path:
    """Store what a page sent as ``results/LISTENER-N.json``; an earlier file is kept.

    Raises:
        DataError: it is not what the page sends.
    """
    try:
        data = json.loads(content)
        rows, listener = data["rows"], str(data["listener"])
        if data["study"] != study["id"] or not isinstance(rows, list) or not rows:
            raise ValueError("another test")
        for row in rows:
            _row(row, Path("the page's results"), study)
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise DataError(f"these are no results of this test ({error}).") from None
    stem = re.sub(r"[^\w-]+", "_", listener)[:60] or "listener"
    place = folder / FOLDER
    place.mkdir(exist_ok=True)
    text = json.dumps(data, indent=1) + "\n"
    for number in itertools.count(1):
        path = place / f"{stem}-{number}.json"
        with contextlib.suppress(OutputExistsError):
            write_text_atomic(path, text, force=False)
            return path
    raise AssertionError("unreachable")
