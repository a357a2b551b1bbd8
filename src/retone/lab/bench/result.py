"""The record of a benchmark: rows with every single time, and their provenance."""

from __future__ import annotations

import json
import math
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from retone.errors import DataError
from retone.files.atomic import write_text_atomic
from retone.lab.bench.timing import Spread, paired_ratio, spread

FORMAT = 1


@dataclass
class Row:
    """One method. ``status`` is ``ok``, or why there are no numbers."""

    method: str
    status: str = "ok"
    note: str = ""
    versions: dict[str, str] = field(default_factory=dict)
    wall_s: list[float] = field(default_factory=list)
    cpu_s: list[float] = field(default_factory=list)
    figures: dict[str, float | None] = field(default_factory=dict)

    @property
    def ok(self) -> bool:
        return self.status == "ok"


@dataclass
class Section:
    """Methods that do one job, timed in the same rounds.

    ``baseline`` is the method that ratios refer to; ``figures`` are (key, heading) of further
    columns, in order; ``audio_s`` is the duration of audio that one call processes, 0 if that is
    not meaningful.
    """

    name: str
    title: str
    baseline: str
    audio_s: float = 0.0
    figures: list[tuple[str, str]] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    settings: dict[str, Any] = field(default_factory=dict)
    rows: list[Row] = field(default_factory=list)

    def row(self, method: str) -> Row:
        """The row of a method.

        Raises:
            DataError: there is none.
        """
        for row in self.rows:
            if row.method == method:
                return row
        raise DataError(
            f"benchmark section '{self.name}' has no method '{method}'. "
            f"It has: {', '.join(r.method for r in self.rows)}."
        )

    def ratio(self, method: str, clock: str = "cpu_s") -> Spread | None:
        """Time of a method over that of the baseline, paired by rounds; None without both."""
        known = {row.method: getattr(row, clock) for row in self.rows if row.ok}
        top, base = known.get(method), known.get(self.baseline)
        if not top or not base:
            return None
        return paired_ratio(top, base)

    def summary(self, row: Row) -> dict[str, Any] | None:
        """Statistics of a row's times for tables: medians, quartiles, ratios."""
        if not row.ok or not row.cpu_s:
            return None
        out: dict[str, Any] = {
            "rounds": len(row.cpu_s),
            "cpu_s": asdict(spread(row.cpu_s)),
            "wall_s": asdict(spread(row.wall_s)),
        }
        for clock in ("cpu_s", "wall_s"):
            ratio = self.ratio(row.method, clock)
            out[f"{clock[:-2]}_ratio"] = asdict(ratio) if ratio else None
        return out


@dataclass
class Report:
    """A whole run. ``kind`` is effects, loss or match."""

    kind: str
    question: dict[str, Any]
    provenance: dict[str, Any]
    sections: list[Section] = field(default_factory=list)

    def section(self, name: str) -> Section:
        """The section of a name.

        Raises:
            DataError: there is none.
        """
        for section in self.sections:
            if section.name == name:
                return section
        raise DataError(f"the {self.kind} benchmark has no section '{name}'.")

    def to_json(self) -> str:
        """JSON text; with derived statistics next to the raw times."""
        data: dict[str, Any] = {"retone_bench": FORMAT, **asdict(self)}
        for section, plain in zip(self.sections, data["sections"], strict=True):
            for row, plain_row in zip(section.rows, plain["rows"], strict=True):
                plain_row["summary"] = section.summary(row)
                plain_row["figures"] = {
                    k: v if v is None or math.isfinite(v) else str(v)
                    for k, v in row.figures.items()
                }
        return json.dumps(data, indent=1, allow_nan=False) + "\n"

    def save(self, path: Path) -> None:
        """Write JSON atomically; an existing file is replaced."""
        path.parent.mkdir(parents=True, exist_ok=True)
        write_text_atomic(path, self.to_json(), force=True)

    @staticmethod
    def from_json(text: str, where: str) -> Report:
        """Read what ``to_json`` wrote.

        Raises:
            DataError: the text is damaged or something else.
        """
        try:
            data = json.loads(text)
            if data.pop("retone_bench") != FORMAT:
                raise ValueError("unknown version")
            sections = []
            for section in data.pop("sections"):
                rows = section.pop("rows")
                figures = [(key, heading) for key, heading in section.pop("figures")]
                sections.append(
                    Section(**section, figures=figures, rows=[_row(row) for row in rows])
                )
            return Report(**data, sections=sections)
        except (ValueError, KeyError, TypeError, AttributeError) as e:
            raise DataError(
                f"{where} is not a result of python -m retone.lab bench ({e}). Measure it again."
            ) from e

    @staticmethod
    def load(path: Path) -> Report:
        """Read a result file.

        Raises:
            DataError: it is missing, damaged or something else.
        """
        try:
            text = path.read_text(encoding="utf-8")
        except OSError as e:
            raise DataError(f"{path} cannot be read ({e.strerror}).") from e
        return Report.from_json(text, str(path))


def _row(data: dict[str, Any]) -> Row:
    data = dict(data)
    data.pop("summary", None)
    data["figures"] = {k: v if v is None else float(v) for k, v in data["figures"].items()}
    return Row(**data)
