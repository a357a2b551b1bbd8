"""Measure a recording: format, level, loudness, true peak, bandwidth, defects."""

from __future__ import annotations

import argparse
import math
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from retone.audio import Inspection


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("files", nargs="+", type=Path, metavar="FILE", help="recordings")
    parser.add_argument("--json", action="store_true", help="print JSON, one line per file")


def run(args: argparse.Namespace) -> int:
    import json
    import sys

    from retone.audio.inspect import inspect
    from retone.errors import RetoneError
    from retone.terminal import progress_bar

    refused = 0
    for i, path in enumerate(args.files):
        try:
            with progress_bar(path.name) as progress:
                found = inspect(path, progress)
        except RetoneError as e:  # the other files can still be looked at
            print(f"retone inspect: {e}", file=sys.stderr)
            refused += 1
            continue
        if args.json:
            print(json.dumps({"file": path.name, **found.to_dict()}, ensure_ascii=False))
        else:
            print(("\n" if i > refused else "") + as_text(found))
    return 2 if refused else 0


def as_text(found: Inspection) -> str:
    """The measurements as text, one line per group."""
    from retone.audio.formats import describe
    from retone.audio.meters.defects import percent

    plural = "" if found.channels == 1 else "s"
    edge = " (a steep edge)" if found.band_limited else ""
    rows = [
        (
            "format",
            f"{found.format}, {describe(found.subtype)}, {found.sample_rate} Hz, "
            f"{found.channels} channel{plural}, {found.duration_s:.2f} s",
        ),
        (
            "loudness",
            f"{_level(found.integrated_lufs)} LUFS, short-term up to "
            f"{_level(found.short_term_max_lufs)}, momentary up to "
            f"{_level(found.momentary_max_lufs)}",
        ),
        (
            "peak",
            f"{_level(found.true_peak_dbtp)} dBTP true peak, "
            f"{_level(found.sample_peak_dbfs)} dBFS sample peak",
        ),
        ("RMS", f"{_level(found.rms_dbfs)} dBFS, crest {_level(found.crest_db)} dB"),
        ("bandwidth", f"{found.bandwidth_hz / 1000:.1f} kHz{edge}"),
        ("silence", percent(found.silence_share)),
    ]
    if found.loudness_range_lu is not None:
        rows.insert(2, ("loudness range", f"{found.loudness_range_lu:.1f} LU"))
    if found.noise_floor_dbfs is not None:
        rows.append(("noise floor", f"{found.noise_floor_dbfs:.1f} dBFS"))
    if found.clipped_samples:
        share = percent(found.clipped_share)
        rows.append(("clipped", f"{found.clipped_samples} samples ({share})"))
    rows += [(f"tag {name}", text) for name, text in found.tags.items()]
    rows += [("warning", text) for text in found.warnings]
    return "\n".join([found.path, *(f"  {name:15} {text}" for name, text in rows)])


def _level(value: float | None) -> str:
    """A level with one decimal; ``-`` where silence has none."""
    return f"{value:.1f}" if value is not None and math.isfinite(value) else "-"
