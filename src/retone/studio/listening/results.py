"""Results of listeners: what the page stores, read back from JSON and CSV files."""

from __future__ import annotations

import contextlib
import csv
import itertools
import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from retone.errors import DataError, OutputExistsError
from retone.files.atomic import write_text_atomic
from retone.files.fields import parse, read_text

FOLDER = "results"
MOST_BYTES = 4_000_000
HEADING = ("study", "design", "listener", "begun", "ended")
MOST_FILES = 10_000
_PLAIN = (str, int, float, bool, type(None))
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

    A listener whose results lie there in both forms counts once. Two listeners of one name count
    as two: the second is called ``NAME (2)``.

    Raises:
        DataError: there are none, or a file is damaged or belongs to another test.
    """
    found: dict[str, tuple[Row, ...]] = {}
    known = systems_of(study)
    files = sorted((folder / FOLDER).glob("*.json")) + sorted((folder / FOLDER).glob("*.csv"))
    for path in files[:MOST_FILES]:
        own: dict[str, dict[tuple[int, str, str], Row]] = {}
        for data in _rows_of(path):
            row = _row(data, path, study, known)
            rows = own.setdefault(row.listener, {})
            rows.setdefault((row.trial, row.system, row.other), row)
        for name, rows in own.items():
            _add(found, name, tuple(sorted(rows.values(), key=lambda r: (r.trial, r.system))))
    if not found:
        raise DataError(
            f"{folder / FOLDER} holds no results. Put the files there that listeners downloaded."
        )
    return [row for rows in found.values() for row in rows]


def _add(found: dict[str, tuple[Row, ...]], name: str, rows: tuple[Row, ...]) -> None:
    """Add one listener's answers, under a name of their own unless they are there already."""
    for number in itertools.count(1):
        shown = name if number == 1 else f"{name} ({number})"
        own = tuple(replace(row, listener=shown) for row in rows)
        if found.setdefault(shown, own) == own:
            return


def _rows_of(path: Path) -> Iterable[Mapping[str, Any]]:
    try:
        text = read_text(path, "a listener's results", most_bytes=MOST_BYTES)
        if path.suffix == ".csv":
            return list(csv.DictReader(text.removeprefix("\ufeff").splitlines()))
        rows = parse(text, path.name)["rows"]
    except (ValueError, KeyError, TypeError, csv.Error) as error:
        raise DataError(f"{path} is damaged ({error}). Ask for it again, or remove it.") from None
    if not isinstance(rows, list):
        raise DataError(f"{path} is damaged: 'rows' is no list. Ask for it again, or remove it.")
    return rows


def systems_of(study: Mapping[str, Any]) -> dict[int, set[str]]:
    """The systems that each question of a test asks about, by its number."""
    return {t["id"]: {s["system"] for s in t["stimuli"]} for t in study["trials"]}


def _row(
    data: Mapping[str, Any], path: Path, study: Mapping[str, Any], known: Mapping[int, set[str]]
) -> Row:
    if not isinstance(data, dict):
        raise DataError(f"{path} is damaged: an answer is no object. Ask for it again.")
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
    except (KeyError, ValueError, TypeError, OverflowError) as error:
        raise DataError(f"{path} is damaged ({error!r}). Ask for it again, or remove it.") from None
    if not {row.system, row.other or row.system} <= known.get(row.trial, set()):
        raise DataError(
            f"{path} answers what the test does not ask. Ask for it again, or remove it."
        )
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
        data = parse(content.decode("utf-8"), "results")
        rows, listener = data["rows"], str(data["listener"])
        if data["study"] != study["id"] or not isinstance(rows, list) or not rows:
            raise ValueError("another test")
        known = systems_of(study)
        kept = []
        for row in rows:
            _row(row, Path("the page's results"), study, known)
            kept.append({n: row[n] for n in COLUMNS if isinstance(row.get(n, []), _PLAIN)})
    except (ValueError, KeyError, TypeError) as error:
        raise DataError(f"these are no results of this test ({error}).") from None
    stem = re.sub(r"[^\w-]+", "_", listener)[:60] or "listener"
    place = folder / FOLDER
    place.mkdir(exist_ok=True)
    heading = {n: str(data.get(n, ""))[:80] for n in HEADING}
    text = json.dumps({**heading, "rows": kept}) + "\n"
    if sum(1 for _ in place.iterdir()) >= MOST_FILES:
        raise DataError(f"{place} holds {MOST_FILES} results, as many as are read.")
    for number in itertools.count(1):
        path = place / f"{stem}-{number}.json"
        with contextlib.suppress(OutputExistsError):
            write_text_atomic(path, text, force=False)
            return path
    raise AssertionError("unreachable")
