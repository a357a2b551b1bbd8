"""The table of results (CSV or Parquet): one row per recording, in the order of the plan."""

from __future__ import annotations

import csv
import importlib.util
import io
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from retone.batch import storage
from retone.errors import MissingExtraError, no_formula
from retone.files.atomic import AtomicFile

Record = tuple[str, str, Mapping[str, Any] | None, str]
"""A row's input and output, its measurements, None where there are none, and its error."""

FIRST = ("input", "output", "status", "error")
PROCESSED = (
    "duration_s", "sample_rate_hz", "channels",
    "before_integrated_lufs", "after_integrated_lufs", "reference_integrated_lufs",
    "target_lufs", "gain_db", "before_true_peak_dbtp", "after_true_peak_dbtp",
    "before_loudness_range_lu", "after_loudness_range_lu", "before_crest_db", "after_crest_db",
    "before_short_term_max_lufs", "after_short_term_max_lufs",
    "limiter_most_db", "limiter_active_percent", "summary", "notes",
)  # fmt: skip
INSPECTED = (
    "format", "subtype", "duration_s", "sample_rate", "channels", "bit_depth", "used_bits",
    "bit_rate", "integrated_lufs", "momentary_max_lufs", "short_term_max_lufs",
    "loudness_range_lu", "true_peak_dbtp", "sample_peak_dbfs", "rms_dbfs", "crest_db",
    "dc_offset", "bandwidth_hz", "band_limited", "origin", "noise_floor_dbfs", "silence_share",
    "clipped_samples", "clipped_share", "dual_mono", "hum_hz", "hum_dbfs", "decay_s",
    "correlation", "pictures", "chapters", "warnings",
)  # fmt: skip
"""Columns after ``FIRST``."""


def require_writer(name: str) -> None:
    """Refuse a table that cannot be written, before any work.

    Raises:
        MissingExtraError: Parquet without pyarrow.
    """
    if name.endswith(".parquet") and importlib.util.find_spec("pyarrow") is None:
        raise MissingExtraError("a Parquet table", "pyarrow", "batch")


def write_table(records: Iterable[Record], target: str, verb: str) -> None:
    """Write the table, completely or not at all.

    Args:
        records: the rows.
        target: path or URL; ``.parquet`` is written with pyarrow, everything else as CSV.
        verb: what was done.

    Raises:
        AudioError: it cannot be written.
        MissingExtraError: Parquet without pyarrow.
    """
    require_writer(target)
    columns = (*FIRST, *(INSPECTED if verb == "inspect" else PROCESSED))
    write = _parquet if target.endswith(".parquet") else _csv
    if storage.is_url(target):
        buffer = io.BytesIO()
        write(records, columns, buffer)
        storage.write_bytes(target, buffer.getvalue())
        return
    with AtomicFile(Path(target), force=True) as file, file.path.open("wb") as out:
        write(records, columns, out)


def _cells(
    source: str, output: str, values: Mapping[str, Any] | None, error: str
) -> dict[str, Any]:
    first = dict(zip(FIRST, (source, output, "failed" if error else "done", error),
                     strict=True))  # fmt: skip
    found = first | dict(values or {})
    for name, value in found.items():
        if isinstance(value, (list, tuple)):
            found[name] = " ".join(map(str, value))
    return found


def _csv(records: Iterable[Record], columns: tuple[str, ...], out: Any) -> None:
    text = io.TextIOWrapper(out, "utf-8", errors="backslashreplace", newline="")
    table = csv.DictWriter(text, columns, extrasaction="ignore")
    table.writeheader()
    for record in records:
        cells = _cells(*record)
        table.writerow({n: no_formula(v) if isinstance(v, str) else v for n, v in cells.items()})
    text.flush()
    text.detach()


def _parquet(records: Iterable[Record], columns: tuple[str, ...], out: Any) -> None:
    import pyarrow
    import pyarrow.parquet

    found: dict[str, list[Any]] = {name: [] for name in columns}
    for record in records:
        cells = _cells(*record)
        for name in columns:
            value = cells.get(name)
            if isinstance(value, str):
                value = value.encode("utf-8", "backslashreplace").decode("utf-8")
            found[name].append(value)
    pyarrow.parquet.write_table(pyarrow.table(found), out)
