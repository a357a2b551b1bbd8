"""The page about a whole job: what failed, what stands out, levels before and after."""

from __future__ import annotations

import heapq
import math
import statistics
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from html import escape
from typing import Any

from retone import __version__
from retone.report.theme import PAGE_STYLE

Record = tuple[str, str, Mapping[str, Any] | None, str]
"""Input, output, measurements and error of one recording."""

MOST_ROWS = 500
"""Rows on the page; the table of results has all."""
_MEASURES: dict[str, tuple[str, str, float]] = {
    "after_integrated_lufs": ("loudness after", "LUFS", 0.5),
    "gain_db": ("gain", "dB", 1.5),
    "after_true_peak_dbtp": ("true peak after", "dBTP", 1.0),
    "limiter_active_percent": ("limiter at work", "%", 2.0),
    "after_crest_db": ("crest after", "dB", 1.5),
    "after_loudness_range_lu": ("loudness range after", "LU", 1.5),
    "integrated_lufs": ("loudness", "LUFS", 0.5),
    "true_peak_dbtp": ("true peak", "dBTP", 1.0),
    "noise_floor_dbfs": ("noise floor", "dBFS", 3.0),
    "bandwidth_hz": ("bandwidth", "Hz", 1000.0),
}
"""Measure -> name, unit, and the least spread that counts as one step away from the others."""
_COLUMNS = {
    "processed": (
        ("before_integrated_lufs", "before LUFS"), ("after_integrated_lufs", "after LUFS"),
        ("before_true_peak_dbtp", "before dBTP"), ("after_true_peak_dbtp", "after dBTP"),
        ("gain_db", "gain dB"), ("limiter_most_db", "limiter dB"),
    ),
    "inspected": (
        ("integrated_lufs", "LUFS"), ("true_peak_dbtp", "dBTP"), ("loudness_range_lu", "LU"),
        ("noise_floor_dbfs", "noise dBFS"), ("bandwidth_hz", "band Hz"),
    ),
}  # fmt: skip
_STANDS_OUT = 3.0
_STYLE = (
    ".failed td,.failed th.name{color:var(--warn)}td.why{color:var(--soft);font-size:13px}"
    "th.name{overflow-wrap:anywhere;font-size:14px;font-weight:400;color:var(--ink);width:12em}"
    "@media screen and (max-width:900px){table,tbody{display:block}tr{display:grid;gap:0 10px;"
    "grid-template-columns:repeat(auto-fit,minmax(100px,1fr));padding:8px 0;"
    "border-bottom:1px solid var(--edge)}"
    "th,td,th.name{border:0;padding:1px 0;width:auto}tr.heads{display:none}"
    "th.name{font-weight:600}th.name,.why,.failed td{grid-column:1/-1}"
    "td.num{text-align:left}td.num::before{content:attr(data-head) ' ';color:var(--soft);"
    "font-size:12px;display:block}}"
    ".hist rect.before{fill:var(--before);fill-opacity:.45}"
    ".hist rect.after{fill:var(--after);fill-opacity:.55}"
)


def distances(values: Sequence[float | None], least: float) -> list[float]:
    """How far each value is from the median, in robust standard deviations of at least ``least``.

    Formula: ``|x - median| / max(1.4826 MAD, least)``; 0 where there is no value.
    """
    known = [v for v in values if v is not None and math.isfinite(v)]
    if len(known) < 4:
        return [0.0] * len(values)
    middle = statistics.median(known)
    spread = max(1.4826 * statistics.median(abs(v - middle) for v in known), least)
    return [abs(v - middle) / spread if v is not None and math.isfinite(v) else 0.0 for v in values]


def render_many(records: Iterable[Record], verb: str) -> str:
    """The page as one HTML document, which loads nothing from elsewhere.

    Args:
        records: the rows.
        verb: what was done.
    """
    kind = "inspected" if verb == "inspect" else "processed"
    rows, failed, seconds = [], [], 0.0
    numbers: dict[str, list[float | None]] = {name: [] for name in _MEASURES}
    for source, output, values, error in records:
        if error:
            failed.append((source, error))
            continue
        found = values or {}
        seconds += float(found.get("duration_s") or 0.0)
        for name in _MEASURES:
            value = found.get(name)
            numbers[name].append(value if isinstance(value, (int, float)) else None)
        kept = {name: found.get(name) for name, _ in _COLUMNS[kind]}
        rows.append((output, kept, str(found.get("summary") or "")))
    far = {name: distances(numbers[name], least) for name, (_, _, least) in _MEASURES.items()}
    worst = [max((far[name][i], name) for name in _MEASURES) for i in range(len(rows))]
    order = heapq.nsmallest(MOST_ROWS, range(len(rows)), key=lambda i: (-worst[i][0], i))
    out = sum(score >= _STANDS_OUT for score, _ in worst)
    lead = f"{len(rows)} recording{'s' * (len(rows) != 1)}, {_length(seconds)}."
    if out:
        lead += f" {out} {'stand' if out > 1 else 'stands'} out from the others."
    if failed:
        lead += f" {len(failed)} could not be processed."
    parts = [f"<h1>{_TITLES[verb]}</h1>", f'<p class="lead">{lead}</p>', _failures(failed)]
    series = ("before_integrated_lufs", "after_integrated_lufs")
    parts.append(_histogram(_found(rows, series[0]), _found(rows, series[1])))
    parts.append(_rows(kind, [(rows[i], worst[i], numbers, i) for i in order], len(rows)))
    parts.append(f"<footer>Made with retone {escape(__version__)}.</footer>")
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        '<meta http-equiv="Content-Security-Policy" content="default-src \'none\'; '
        "style-src 'unsafe-inline'\">"
        '<meta name="viewport" content="width=device-width,initial-scale=1">'
        f"<title>{_TITLES[verb]}</title><style>{PAGE_STYLE}{_STYLE}</style></head>"
        f"<body><main>{''.join(parts)}</main></body></html>\n"
    )


_TITLES = {
    "match": "Matched recordings", "enhance": "Enhanced recordings",
    "apply": "Recordings with applied settings", "inspect": "Inspected recordings",
}  # fmt: skip


def _length(seconds: float) -> str:
    for unit, size in (("hours", 3600), ("minutes", 60)):
        if seconds >= 2 * size:
            return f"{seconds / size:.1f} {unit}"
    return f"{seconds:.0f} seconds"


def _found(rows: Sequence[tuple[str, Mapping[str, Any], str]], name: str) -> list[float]:
    return [float(r[1][name]) for r in rows if isinstance(r[1].get(name), (int, float))]


def _failures(failed: Sequence[tuple[str, str]]) -> str:
    if not failed:
        return ""
    body = "".join(
        f'<tr class="failed" role="row"><th scope="row" role="rowheader" class="name">'
        f'{escape(name)}</th><td role="cell">{escape(error)}</td></tr>'
        for name, error in failed[:MOST_ROWS]
    )
    more = len(failed) - MOST_ROWS
    note = f'<p class="sub">And {more} more; the table of results has all.</p>' if more > 0 else ""
    return (
        '<h2>Not processed</h2><table role="table"><tbody role="rowgroup">'
        f"{body}</tbody></table>{note}"
    )


def _histogram(before: Sequence[float], after: Sequence[float]) -> str:
    """Loudness before and after in steps of 1 LU."""
    if not before or not after:
        return ""
    counts = [Counter(math.floor(v) for v in values) for values in (before, after)]
    low, high = min(min(c) for c in counts), max(max(c) for c in counts) + 1
    most = max(max(c.values()) for c in counts)
    width = 720 / max(high - low, 8)
    bars = "".join(
        f'<rect class="{css}" x="{40 + (lufs - low) * width:.1f}" width="{width - 1:.1f}" '
        f'y="{150 - 140 * n / most:.1f}" height="{140 * n / most:.1f}"/>'
        for css, own in zip(("before", "after"), counts, strict=True)
        for lufs, n in sorted(own.items())
    )
    step = max(1, math.ceil((high - low) / 12))
    labels = "".join(
        f'<text x="{40 + (lufs - low) * width:.1f}" y="168" text-anchor="middle">{lufs}</text>'
        for lufs in range(low, high + 1, step)
    )
    return (
        '<h2>Loudness</h2><p class="sub">How many recordings have which loudness in LUFS: grey '
        'before, blue after.</p><figure tabindex="0" aria-label="Loudness">'
        '<svg class="plot hist" viewBox="0 0 800 176" role="img" aria-label="Histogram: loudness '
        f'before and after">{bars}{labels}</svg></figure>'
    )


def _rows(kind: str, shown: Sequence[Any], total: int) -> str:
    if not shown:
        return ""
    columns = _COLUMNS[kind]
    heads = "".join(
        f'<th scope="col" role="columnheader" class="num">{title}</th>' for _, title in columns
    )
    body = []
    for (output, values, summary), (score, name), numbers, i in shown:
        why = ""
        if score >= _STANDS_OUT:
            title, unit, _ = _MEASURES[name]
            why = f"{title} {_number(numbers[name][i])} {unit}. "
        cells = "".join(
            f'<td class="num" role="cell" data-head="{title}">{_number(values.get(n))}</td>'
            for n, title in columns
        )
        body.append(
            f'<tr role="row"><th scope="row" role="rowheader" class="name">{escape(output)}</th>'
            f'{cells}<td class="why" role="cell">{escape(why)}{escape(summary)}</td></tr>'
        )
    note = f" The first {len(shown)} of {total}; the table of results has all."
    return (
        '<h2>Recordings</h2><p class="sub">Those that differ most from the others come first.'
        f"{note if total > len(shown) else ''}</p>"
        '<table role="table"><tbody role="rowgroup"><tr class="heads" role="row">'
        f'<th scope="col" role="columnheader">recording</th>{heads}'
        '<th scope="col" role="columnheader">what stands out or changed</th></tr>'
        f"{''.join(body)}</tbody></table>"
    )


def _number(value: Any) -> str:
    return f"{value:.1f}".replace("-", "−") if isinstance(value, (int, float)) else "–"
