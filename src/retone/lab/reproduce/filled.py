"""A printed table filled in: our number beside the published one, or why there is none."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from retone.errors import DataError
from retone.files.atomic import write_text_atomic
from retone.lab.evaluate.result import interval
from retone.lab.published import TABLES, Column, Group, Printed

FORMAT = 1
NOT_PRINTED = "(not printed)"
"""Ends the names of rows that the paper does not have."""


class Cell(NamedTuple):
    """Mean with its 95 % interval and the number of items, or the reason why there is none."""

    mean: float = math.nan
    low: float = math.nan
    high: float = math.nan
    items: int = 0
    missing: str = ""


def cell_of(values: Iterable[tuple[str, float]], missing: str = "") -> Cell:
    """The cell of (voice or track, value) pairs, with an interval over voices or tracks."""
    known = [(g, v) for g, v in values if math.isfinite(v)]
    if not known:
        return Cell(missing=missing or "not measured")
    return Cell(*interval(known), len(known))


@dataclass
class Filled:
    """A table with cells for every row, group and column.

    ``groups`` are the printed ones and then other recordings; ``rows`` the printed ones in order
    and then retone's own. ``facts`` holds each row's budget; ``notes`` are printed below;
    ``cpu_s`` and ``trained_s`` are CPU seconds of measuring, and of the trainings before.
    """

    printed: Printed
    groups: list[Group]
    rows: list[str]
    columns: list[Column]
    question: dict[str, Any]
    provenance: dict[str, Any]
    cells: dict[tuple[str, str, str], Cell] = field(default_factory=dict)
    facts: dict[str, dict[str, Any]] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    cpu_s: float = 0.0
    trained_s: float = 0.0

    @property
    def title(self) -> str:
        """What the table shows."""
        return self.printed.title

    def put(self, row: str, group: str, column: str, cell: Cell) -> None:
        """Set a cell."""
        self.cells[row, group, column] = cell

    def get(self, row: str, group: str, column: str) -> Cell:
        """A cell; empty if it was never set."""
        return self.cells.get((row, group, column), Cell(missing="not measured"))

    def leave(self, reason: str, *, row: str = "", group: str = "") -> None:
        """Fill what is still unset in a row, in a group, or where both meet, with a reason."""
        for r in self.rows:
            for g in self.groups:
                for c in self.columns:
                    here = (not row or r == row) and (not group or g.name == group)
                    if here and (r, g.name, c.name) not in self.cells:
                        self.put(r, g.name, c.name, Cell(missing=reason))

    def ratio(self, row: str, group: str, column: str, *, published: bool) -> float:
        """A cell over the baseline's cell; NaN where that says nothing."""
        base_row, base_column = self.printed.baseline, column
        better = next((c.better for c in self.columns if c.name == column), "lower")
        if self.printed.sideways:
            base_row, base_column = row, self.printed.baseline
            if row in ("PESQ", "STOI", "LUFS diff", "Transient Preservation") or "onset" in row:
                return math.nan
        if not self.printed.baseline or better == "higher":
            return math.nan
        if (row, column) == (base_row, base_column):
            return math.nan
        if published:
            value = self.printed.value(row, group, column)
            base = self.printed.value(base_row, group, base_column)
        else:
            value = self.get(row, group, column).mean
            base = self.get(base_row, group, base_column).mean
        return value / base if math.isfinite(value) and math.isfinite(base) and base else math.nan

    def save(self, path: Path) -> None:
        """Write JSON, with ratios and published numbers."""
        cells = []
        for row in self.rows:
            for group in self.groups:
                for column in self.columns:
                    where = (row, group.name, column.name)
                    cells.append(
                        {
                            "row": row, "group": group.name, "column": column.name,
                            **self.get(*where)._asdict(),
                            "ratio": self.ratio(*where, published=False),
                            "published": self.printed.value(*where),
                            "published_ratio": self.ratio(*where, published=True),
                        }
                    )  # fmt: skip
        for entry in cells:
            for key, value in entry.items():
                if isinstance(value, float) and not math.isfinite(value):
                    entry[key] = None if math.isnan(value) else "inf"
        data = {
            "retone_reproduced": FORMAT, "paper": self.printed.paper, "name": self.printed.name,
            "title": self.printed.title, "groups": [g._asdict() for g in self.groups],
            "rows": self.rows, "columns": [c._asdict() for c in self.columns],
            "question": self.question, "provenance": self.provenance, "facts": self.facts,
            "notes": self.notes, "cpu_s": round(self.cpu_s, 1), "trained_s": self.trained_s,
            "cells": cells,
        }  # fmt: skip
        write_text_atomic(path, json.dumps(data, indent=1, allow_nan=False) + "\n", force=True)

    @staticmethod
    def load(path: Path) -> Filled:
        """Read what ``save`` wrote.

        Raises:
            DataError: the file is missing, damaged or something else.
        """
        try:
            data = json.loads(path.read_text(encoding="utf-8"))
            if data["retone_reproduced"] != FORMAT:
                raise ValueError("another version")
            printed = TABLES[data["paper"], data["name"]]
            cells = {}
            for entry in data["cells"]:
                mean, low, high = (_number(entry[k]) for k in ("mean", "low", "high"))
                cells[entry["row"], entry["group"], entry["column"]] = Cell(
                    mean, low, high, entry["items"], entry["missing"]
                )
            return Filled(
                printed, [Group(**g) for g in data["groups"]], data["rows"],
                [Column(**c) for c in data["columns"]], data["question"], data["provenance"],
                cells, data["facts"], data["notes"], data["cpu_s"], data.get("trained_s", 0.0),
            )  # fmt: skip
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise DataError(
                f"{path} is not a table of python -m retone.lab reproduce ({error})."
            ) from error

    def markdown(self) -> str:
        """The table, its empty cells named, and what stands below it."""
        heads = [f"{g.name} {c.name}".strip() for g in self.groups for c in self.columns]
        lines = [
            f"| {self.printed.stub} | " + " | ".join(heads) + " |",
            "|---|" + "---|" * len(heads),
        ]
        reasons: list[str] = []
        for row in self.rows:
            texts = []
            for group in self.groups:
                for column in self.columns:
                    texts.append(self._text(row, group.name, column, reasons))
            lines.append(f"| {row} | " + " | ".join(texts) + " |")
        spread = "95 % interval over voices or tracks" if self.printed.baseline else "spread"
        about = f"Mean [{spread}]; in italics the paper's number"
        if self.printed.baseline:
            about += f"; x: ratio to {self.printed.baseline}"
        lines += ["", about + "."]
        lines += [f"- ({number}) {reason}" for number, reason in enumerate(reasons, start=1)]
        lines += [f"- {note}" for note in self.notes]
        for row, fact in self.facts.items():
            about = ", ".join(f"{k.replace('_', ' ')} {v}" for k, v in fact.items() if v != "")
            lines.append(f"- {row}: {about}")
        return "\n".join(lines)

    def _text(self, row: str, group: str, column: Column, reasons: list[str]) -> str:
        cell = self.get(row, group, column.name)
        printed = self.printed.value(row, group, column.name)
        if cell.missing:
            if cell.missing not in reasons:
                reasons.append(cell.missing)
            own = f"({reasons.index(cell.missing) + 1})"
        else:
            own = shown(cell.mean, column)
            if cell.high > cell.low:
                own += f" [{number(cell.low)}, {number(cell.high)}]"
            own += _times(self.ratio(row, group, column.name, published=False))
        if math.isnan(printed) and not self._has_dash(row, group, column.name):
            return own
        times = _times(self.ratio(row, group, column.name, published=True))
        text = shown(printed, column, "g")
        return f"{own}<br>*{text}{times}*"

    def _has_dash(self, row: str, group: str, column: str) -> bool:
        """Whether the paper has the row and the column, and prints a dash where they meet."""
        values = self.printed.rows.get(row, [])
        known = {g.name for g in self.printed.groups}, {c.name for c in self.printed.columns}
        return any(math.isfinite(v) for v in values) and group in known[0] and column in known[1]


def shown(value: float, column: Column, form: str = "") -> str:
    """A number as its column prints it; ``form`` "g" keeps all digits of a printed one."""
    if column.shown == "tick":
        return "\u2713" if value == 1 else "-"
    if math.isnan(value):
        return "-"
    if column.shown == "thousands":
        return f"{value / 1000:.0f} k" if value else "0"
    return f"{value:g}" if form else number(value)


def number(value: float) -> str:
    """Three significant digits, whole numbers from 100 on."""
    if math.isnan(value):
        return "-"
    return f"{value:.0f}" if abs(value) >= 100 else f"{value:.3g}"


def _times(ratio: float) -> str:
    return "" if math.isnan(ratio) else f" x{ratio:.2f}"


def _number(value: Any) -> float:
    if value is None:
        return math.nan
    return math.inf if value == "inf" else float(value)
