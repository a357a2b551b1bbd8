"""Measure a recording: format, level, loudness, true peak, bandwidth, defects."""

from __future__ import annotations

import argparse
import math
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from retone.cli.many import (
    add_many_arguments,
    exit_code,
    job_of,
    list_errors,
    path_or_url,
    run_many,
)
from retone.cli.streams import STREAM, kept_input, kept_streams

if TYPE_CHECKING:
    from retone.audio import Inspection


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_many_arguments(
        parser,
        metavar="FILE",
        about="recordings: files, folders, patterns, URLs, manifests (.csv, .jsonl, .parquet), "
        "or - for standard input",
    )
    parser.add_argument("--json", action="store_true", help="print JSON, one line per file")
    parser.add_argument(
        "-o",
        "--output",
        type=path_or_url,
        metavar="FOLDER",
        help="write a table and a summary there, instead of printing",
    )
    parser.add_argument("-q", "--quiet", action="store_true", help="print errors only")


def run(args: argparse.Namespace) -> int:
    import json
    import sys

    from retone.batch.plan import is_many
    from retone.errors import RetoneError

    apart = not (args.manifest or args.output or args.jobs or args.engine != "local")
    if not apart or any(is_many([name]) for name in args.inputs):
        return _run_many(args)
    failed = 0
    for i, path in enumerate(map(Path, args.inputs)):
        try:
            if path == STREAM:
                with kept_streams() as folder:
                    path = kept_input(folder)
                    found, content = _looked_at(path)
                found = replace(found, path=path.name)
            else:
                found, content = _looked_at(path)
        except RetoneError as e:  # the other files can still be looked at
            print(f"retone inspect: {e}", file=sys.stderr)
            failed += 1
            continue
        if args.json:
            values = {"file": path.name, **found.to_dict(), "content": content}
            text = json.dumps(values, ensure_ascii=False)
            print(text.encode("utf-8", "replace").decode("utf-8"))
        else:
            print(("\n" if i > failed else "") + as_text(found, content))
    return exit_code(failed, len(args.inputs))


def _looked_at(path: Path) -> tuple[Inspection, str | None]:
    """A file's properties, and the word for its content if it can be told."""
    from retone.audio.inspect import inspect
    from retone.batch.work import content_word
    from retone.terminal import progress_bar

    with progress_bar(path.name) as progress:
        found = inspect(path, progress)
    return found, content_word(path)


def _run_many(args: argparse.Namespace) -> int:
    """Inspect as a job: print in the order of the inputs, or write a table."""
    import json

    args.no_report, args.force, args.format = True, False, None
    if args.output is not None:
        return run_many("inspect", args, {})
    from retone.audio.inspect import Inspection

    job = job_of("inspect", args, {})
    first = True
    for outcome in job.run(in_order=True):
        if outcome.failed:
            continue
        values = dict(outcome.values)
        content = values.pop("content")
        if args.json:
            values = {"file": Path(outcome.input).name, **values, "content": content}
            print(json.dumps(values))
        elif not args.quiet:
            print(("" if first else "\n") + as_text(Inspection(**values), content))
        first = False
    list_errors(job, "retone inspect")
    return exit_code(job.totals.failed, job.totals.rows)


def as_text(found: Inspection, content: str | None = None) -> str:
    """The measurements as text, one line per group."""
    from retone.audio.formats import describe
    from retone.audio.meters.defects import percent

    plural = "" if found.channels == 1 else "s"
    edge = f" ({found.origin or 'a steep edge'})" if found.band_limited else ""
    rate = f" at {found.bit_rate / 1000:.0f} kbit/s" if found.bit_rate else ""
    layout = f" ({' '.join(found.layout)})" if found.layout else ""
    hz = found.bandwidth_hz
    rows = [
        (
            "format",
            f"{found.format}, {describe(found.subtype)}{rate}, {found.sample_rate} Hz, "
            f"{found.channels} channel{plural}{layout}, {found.duration_s:.2f} s",
        ),
        (
            "loudness",
            f"{_loudness(found)}, short-term up to {_level(found.short_term_max_lufs)}, "
            f"momentary up to {_level(found.momentary_max_lufs)}",
        ),
        (
            "peak",
            f"{_level(found.true_peak_dbtp)} dBTP true peak, "
            f"{_level(found.sample_peak_dbfs)} dBFS sample peak",
        ),
        ("RMS", f"{_level(found.rms_dbfs)} dBFS, crest {_level(found.crest_db)} dB"),
        ("bandwidth", f"{_level(None if hz is None else hz / 1000)} kHz{edge}"),
        ("silence", percent(found.silence_share)),
    ]
    if found.loudness_range_lu is not None:
        rows.insert(2, ("loudness range", f"{found.loudness_range_lu:.1f} LU"))
    if found.noise_floor_dbfs is not None:
        rows.append(("noise floor", f"{found.noise_floor_dbfs:.1f} dBFS"))
    if found.hum_hz is not None:
        rows.append(("hum", f"{found.hum_hz:g} Hz, {_level(found.hum_dbfs)} dBFS"))
    if found.decay_s is not None:
        rows.append(("decay", f"{found.decay_s:.2f} s for 60 dB"))
    if found.correlation is not None:
        rows.append(("correlation", f"{found.correlation:+.2f} between the channels"))
    if abs(found.dc_offset) > 0.0005:
        rows.append(("DC offset", f"{100 * found.dc_offset:+.2f} % of full scale"))
    if content:
        rows.append(("content", content))
    if found.clipped_samples:
        share = percent(found.clipped_share)
        rows.append(("clipped", f"{found.clipped_samples} samples ({share})"))
    rows += [(f"tag {name}", text) for name, text in found.tags.items()]
    carried = [
        f"{count} {what}{'' if count == 1 else 's'}"
        for count, what in ((found.pictures, "picture"), (found.chapters, "chapter"))
        if count
    ]
    if found.chunks:
        carried.append(f"chunks {', '.join(found.chunks)}")
    if carried:
        rows.append(("carries", "; ".join(carried)))
    rows += [("warning", text) for text in found.warnings]
    return "\n".join([found.path, *(f"  {name:15} {text}" for name, text in rows)])


def _loudness(found: Inspection) -> str:
    """The integrated loudness; meters leave out what is below -70 LUFS."""
    from retone.audio.meters.loudness import ABSOLUTE_GATE_LUFS

    if math.isfinite(found.integrated_lufs) or not math.isfinite(found.momentary_max_lufs):
        return f"{_level(found.integrated_lufs)} LUFS"
    return f"below {ABSOLUTE_GATE_LUFS:g} LUFS"


def _level(value: float | None) -> str:
    """A figure with one decimal; ``-`` where silence has none."""
    return f"{value:.1f}" if value is not None and math.isfinite(value) else "-"
