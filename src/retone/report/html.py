"""The report of what was done: one HTML file that needs nothing else."""

from __future__ import annotations

from html import escape

from retone.process.settings_file import SettingsFile, Source
from retone.report import figures
from retone.report.data import CurveView, ReportData
from retone.report.format import (
    group,
    label,
    plain,
    range_text,
    seconds,
    split_label,
    with_unit,
)
from retone.report.summary import summary
from retone.report.theme import PAGE_STYLE, SCRIPT

_LEVELS = (
    ("integrated_lufs", "Loudness", "LUFS"),
    ("true_peak_dbtp", "True peak", "dBTP"),
    ("rms_dbfs", "RMS level", "dBFS"),
    ("crest_db", "Crest factor", "dB"),
    ("loudness_range_lu", "Loudness range", "LU"),
)
_ROLES = (("before", "Before"), ("after", "After"), ("reference", "Reference"))
_POLICY = "default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'"


def render_report(data: ReportData) -> str:
    """The report as one self-contained HTML document.

    It loads nothing from anywhere, follows the reader's light or dark scheme and prints in
    light colours.
    """
    s = data.settings
    title, headline = _headline(data)
    parts = [
        f"<h1>{headline}</h1>",
        f'<p class="lead">{escape(summary(data))}</p>',
        _notes(s),
        _warnings(s),
        _levels(s),
        _spectra(data),
        *(_response(data, i) for i in range(len(data.responses))),
        *(_curve(data, v) for v in data.curves if v.band is None),
        _time(data),
        _all_settings(s),
        _sources(s),
        _footer(s),
    ]
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        f'<meta http-equiv="Content-Security-Policy" content="{_POLICY}">'
        '<meta name="viewport" content="width=device-width,initial-scale=1">'
        f"<title>{escape(title)}</title><style>{PAGE_STYLE}</style></head>"
        f'<body><main>{"".join(_section(x) for x in parts)}</main><div id="tip"></div>'
        f"<script>{SCRIPT}</script></body></html>\n"
    )


def _section(part: str) -> str:
    """A heading with what follows it, kept on one page in print."""
    if not part.startswith("<h2>"):
        return part
    return f"<section{' class=long' if 'columns' in part else ''}>{part}</section>"


def _headline(data: ReportData) -> tuple[str, str]:
    files: dict[str, list[str]] = {}
    for source in data.settings.sources:
        files.setdefault(source.role, []).append(source.file)
    if data.title is not None:
        return data.title, escape(data.title)
    own = (files.get("input") or ["Recording"])[0]
    others = files.get("reference", [])
    if not others:
        return own, escape(own)
    other = others[0] if len(others) == 1 else f"{others[0]} and {len(others) - 1} more"
    return (
        f"{own} matched to {other}",
        f'{escape(own)} <span class="to">matched to</span> <span class="r">{escape(other)}</span>',
    )


def _warnings(s: SettingsFile) -> str:
    if not s.warnings:
        return ""
    return f'<div class="warn">{"".join(f"<p>{escape(w)}</p>" for w in s.warnings)}</div>'


def _levels(s: SettingsFile) -> str:
    roles = [(role, name) for role, name in _ROLES if role in s.levels]
    rows = []
    for key, name, unit in _LEVELS:
        values = [s.levels[role].get(key) for role, _ in roles]
        if all(v is None for v in values) and not any(key in s.levels[r] for r, _ in roles):
            continue
        cells = "".join(f'<td class="num">{"–" if v is None else plain(v, 1)}</td>' for v in values)
        rows.append(f'<tr><td>{name} <span class="u">{unit}</span></td>{cells}</tr>')
    if not rows:
        return ""
    heads = "".join(f'<th class="num key-{role}">{name}</th>' for role, name in roles)
    body = "".join(rows)
    return f'<h2>Levels</h2><table class="levels"><tr><th></th>{heads}</tr>{body}</table>'


def _figure(svg: str, css: str = "") -> str:
    return f'<figure class="{css}">{svg}</figure>' if css else f"<figure>{svg}</figure>"


def _spectra(data: ReportData) -> str:
    if not data.spectra:
        return ""
    about = f'<p class="sub">{escape(data.spectra_about)}</p>' if data.spectra_about else ""
    return f"<h2>Spectrum</h2>{about}{_figure(figures.spectra(data).render())}"


def _response(data: ReportData, index: int) -> str:
    view = data.responses[index]
    about = view.about or (
        "The filter's gain at each frequency: each band, and all bands together."
        if view.bands
        else "The filter's gain at each frequency."
    )
    svg = figures.response(data.frequency_hz, view).render()
    return f'<h2>{escape(view.title)}</h2><p class="sub">{escape(about)}</p>{_figure(svg)}'


def _curve(data: ReportData, view: CurveView) -> str:
    about = view.about
    if view.level_share is not None:
        about += " Grey bars: histogram of the recording's levels."
    prefix = "" if data.settings.effect.name == view.name else f"{view.name}."
    rows = []
    for name, value in view.setting.items():
        own = f"{prefix}{name}"
        param = data.settings.effect.params[own]
        rows.append(f"<dt>{escape(label(param))}</dt><dd>{escape(with_unit(param, value))}</dd>")
    svg = _figure(figures.curve(view).render(), "square")
    return (
        f'<h2>{escape(view.title)}</h2><p class="sub">{escape(about)}</p>'
        f'<div class="pair">{svg}<dl>{"".join(rows)}</dl></div>'
    )


def _time(data: ReportData) -> str:
    parts = []
    shown = [d for d in data.reductions if d.envelope.time_s.size]
    roles = [role for role, _ in _ROLES if role in data.waveforms]
    for role in roles:
        last = not shown and role == roles[-1]
        parts.append(_figure(figures.waveform(data, role, last=last).render()))
    if shown:
        parts.append("<h3>Gain reduction</h3>")
        for i, d in enumerate(shown):
            plot = figures.reduction(data, d, last=i == len(shown) - 1, many=len(shown) > 1)
            parts.append(_figure(plot.render()))
    return "<h2>Over time</h2>" + "".join(parts) if parts else ""


def _all_settings(s: SettingsFile) -> str:
    table = s.effect.params
    if not len(table):
        return ""
    applied = s.effective_setting()
    groups: dict[tuple[str, str], list[str]] = {}
    for p in table:
        band, name = split_label(p)
        value = float(applied[p.name][0])
        closed = [float(applied[gate][0]) == table[gate].neutral for gate in p.gates]
        idle = bool(closed) and all(closed)
        at = 100 * min(max(float(p.to_unit(applied[p.name])[0]), 0.0), 1.0)
        lock = '<span class="lock">locked</span>' if p.name in s.locks else ""
        groups.setdefault((group(p), band), []).append(
            f'<tr title="{escape(p.help)}"{" class=idle" if idle else ""}>'
            f"<td>{escape(name)}{lock}</td>"
            f'<td class="num">{escape(with_unit(p, value))}</td>'
            f'<td class="slot"><span class="track"><i style="left:{at:.1f}%"></i></span></td>'
            f'<td class="range">{escape(range_text(p))}</td></tr>'
        )
    several = len({member for member, _ in groups}) > 1
    parts = []
    for (member, band), rows in groups.items():
        head = " · ".join(x for x in (member if several or not band else "", band) if x)
        first = f'<tr><th colspan="4">{escape(head)}</th></tr>' if head else ""
        parts.append(f'<table class="settings">{first}{"".join(rows)}</table>')
    amount = "" if s.amount == 1 else f" Shown as applied, at {plain(100 * s.amount, 0)} % amount."
    return (
        '<h2>All settings</h2><p class="sub">Each value in its range. Grey rows have no effect '
        f'while their band or compressor is neutral.{amount}</p><div class="columns">'
        f"{''.join(parts)}</div>"
    )


def _notes(s: SettingsFile) -> str:
    if not s.notes:
        return ""
    return "".join(f'<p class="sub">{escape(n)}</p>' for n in s.notes)


def _sources(s: SettingsFile) -> str:
    if not s.sources:
        return ""
    rows = "".join(_source(x) for x in s.sources)
    head = "<tr><th></th><th>File</th><th>Rate</th><th>Channels</th><th>Length</th></tr>"
    return f'<h2>Files</h2><table class="files">{head}{rows}</table>'


def _source(x: Source) -> str:
    rate = f"{x.sample_rate_hz / 1000:g} kHz"
    channels = {1: "mono", 2: "stereo"}.get(x.channels, str(x.channels))
    css = {"input": "before", "output": "after"}.get(x.role, x.role)
    return (
        f'<tr><td class="key-{css}">{x.role.capitalize()}</td><td>{escape(x.file)}</td>'
        f"<td>{rate}</td><td>{channels}</td><td>{seconds(x.duration_s)}</td></tr>"
    )


def _footer(s: SettingsFile) -> str:
    made = ", ".join(f"{name} {version}" for name, version in s.versions.items())
    return f"<footer>Settings chosen by: {escape(s.estimator)}. Made with {escape(made)}.</footer>"
