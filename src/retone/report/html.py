"""The report of what was done: one HTML file that needs nothing else."""

from __future__ import annotations

import base64
import json
from html import escape
from importlib import resources
from urllib.parse import quote

from retone.process.settings_file import SettingsFile, Source
from retone.report import figures, pictures
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
from retone.report.glossary import explained, legend, of_parameter, term
from retone.report.lead import lead
from retone.report.sound import WHOLE, Sound
from retone.report.summary import summary
from retone.report.theme import PAGE_STYLE, SCRIPT

_LEVELS = (
    ("integrated_lufs", "Loudness", "LUFS", "lufs"),
    ("true_peak_dbtp", "True peak", "dBTP", "dbtp"),
    ("rms_dbfs", "RMS level", "dBFS", "rms"),
    ("crest_db", "Crest factor", "dB", "crest"),
    ("loudness_range_lu", "Loudness range", "LU", "lra"),
)
_ROLES = (("before", "Before"), ("after", "After"), ("reference", "Reference"))
_POLICY = "default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; img-src data:"
_BESIDE = "; media-src 'self' file:"
"""Added where the page plays files beside it."""


def render_report(data: ReportData) -> str:
    """The report as one self-contained HTML document, with its sound if ``data`` has any.

    It loads nothing from anywhere, follows the reader's light or dark scheme and prints in
    light colours.
    """
    s = data.settings
    title, headline = _headline(data)
    parts = [
        f"<h1>{headline}</h1>",
        _lead(data),
        _player(data.sound),
        _warnings(s),
        _levels(s),
        _details(data),
        _spectra(data),
        *(_response(data, i) for i in range(len(data.responses))),
        *(_curve(data, v) for v in data.curves if v.band is None),
        _time(data),
        _loudness(data),
        _spectrograms(data),
        _stereo(data),
        _all_settings(s),
        _sources(s),
    ]
    body = "".join(_section(x) for x in parts)
    body += _section(legend(body))
    files = [t.file for t in data.sound.tracks if t.file] if data.sound else []
    policy = _POLICY + (_BESIDE if files else "")
    script = SCRIPT
    if data.sound is not None:
        script += resources.files("retone.report").joinpath("player.js").read_text("utf-8")
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        f'<meta http-equiv="Content-Security-Policy" content="{policy}">'
        '<meta name="viewport" content="width=device-width,initial-scale=1">'
        f"<title>{escape(title)}</title><style>{PAGE_STYLE}</style></head>"
        f'<body><main>{body}{_footer(s)}</main><div id="tip" aria-hidden="true"></div>'
        f"<script>{script}</script></body></html>\n"
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


def _lead(data: ReportData) -> str:
    """The first paragraph, in words for everybody."""
    answers = lead(data)
    if not answers:
        return f'<p class="lead">{explained(summary(data))}</p>'
    rows = "".join(f"<dt>{escape(q)}</dt><dd>{explained(a)}</dd>" for q, a in answers)
    return f'<dl class="lead">{rows}</dl>'


def _details(data: ReportData) -> str:
    """What each effect did, in an engineer's words, and the notes."""
    if not lead(data):
        return _notes(data.settings)
    return f'<h2>In detail</h2><p class="sub">{explained(summary(data))}</p>{_notes(data.settings)}'


def _player(sound: Sound | None) -> str:
    """Before, after and reference, to play and compare."""
    if sound is None:
        return ""
    roles = [t.role for t in sound.tracks]
    choices = "".join(
        f'<label class="key-{role}"><input type="radio" name="hear" id="hear-{role}" '
        f'value="{role}"><span>{name}</span></label>'
        for role, name in _ROLES
        if role in roles
    )
    length = sum(p.stop_s - p.start_s for p in sound.passages)
    whole = sound.passages[0].title == WHOLE
    buttons = "".join(
        f'<button type="button" data-passage="{i}" aria-pressed="false">{escape(p.title)} '
        f"<small>{_clock(p.start_s)}</small></button>"
        for i, p in enumerate(sound.passages)
    )
    passages = "" if whole else f'<div class="passages">{buttons}</div>'
    count = len(sound.passages)
    about = "" if whole else f"{count} passage{'s' * (count > 1)} of the recording. "
    if files := [t.file for t in sound.tracks if t.file]:
        about += f"The sound is in files beside this page ({', '.join(map(escape, files))}). "
    if "reference" in roles:
        about += "The reference plays in a loop. "
    gains = sound.gains_db()
    seconds_of = {t.role: t.seconds for t in sound.tracks}
    packed = {
        "passages": [{"start_s": p.start_s, "stop_s": p.stop_s} for p in sound.passages],
        "tracks": [
            {"role": t.role, "seconds": seconds_of[t.role], "gain_db": round(gains[t.role], 2),
             **({"file": quote(t.file)} if t.file else {"data": base64.b64encode(t.data).decode()})}
            for t in sound.tracks
        ],
    }  # fmt: skip
    content = json.dumps(packed).replace("<", "\\u003c")
    return (
        '<section id="player" aria-label="Listen"><div class="transport">'
        '<button type="button" id="play">Play</button>'
        f"<fieldset><legend>Listen to</legend>{choices}</fieldset>"
        '<label class="fair"><input type="checkbox" id="fair" checked> equally loud</label>'
        f'</div><div class="line"><input type="range" id="seek" min="0" max="{length:.2f}" '
        'step="0.01" value="0" aria-label="Position"><output id="clock">0:00.0</output></div>'
        f'{passages}<p class="sub">{about}Space plays and pauses; 1, 2 and 3 switch without a gap.'
        '</p><p id="player-note" role="status"></p>'
        f'<script type="application/json" id="sound">{content}</script></section>'
    )


def _clock(s: float) -> str:
    return f"{round(s) // 60}:{round(s) % 60:02d}"


def _warnings(s: SettingsFile) -> str:
    if not s.warnings:
        return ""
    return f'<div class="warn">{"".join(f"<p>{escape(w)}</p>" for w in s.warnings)}</div>'


def _levels(s: SettingsFile) -> str:
    roles = [(role, name) for role, name in _ROLES if role in s.levels]
    rows = []
    for key, name, unit, entry in _LEVELS:
        values = [s.levels[role].get(key) for role, _ in roles]
        if all(v is None for v in values) and not any(key in s.levels[r] for r, _ in roles):
            continue
        cells = "".join(f'<td class="num">{"–" if v is None else plain(v, 1)}</td>' for v in values)
        head = f'{term(entry, name)} <span class="u">{unit}</span>'
        rows.append(f'<tr><th scope="row">{head}</th>{cells}</tr>')
    if not rows:
        return ""
    heads = "".join(f'<th scope="col" class="num key-{role}">{name}</th>' for role, name in roles)
    body = "".join(rows)
    return f'<h2>Levels</h2><table class="levels"><tr><td></td>{heads}</tr>{body}</table>'


def _figure(svg: str, css: str = "") -> str:
    return f'<figure class="{css}">{svg}</figure>' if css else f"<figure>{svg}</figure>"


def _spectra(data: ReportData) -> str:
    if not data.spectra:
        return ""
    about = f'<p class="sub">{escape(data.spectra_about)}</p>' if data.spectra_about else ""
    drawn = _figure(figures.spectra(data).render())
    if {"before", "after"} <= set(data.spectra):
        drawn += (
            '<h3>Difference</h3><p class="sub">Above the line: more than before. The dashed line '
            "is what separates the reference from your recording.</p>"
            if "reference" in data.spectra
            else '<h3>Difference</h3><p class="sub">Above the line: more than before.</p>'
        ) + _figure(pictures.difference(data).render())
    return f"<h2>{term('spectrum', 'Spectrum')}</h2>{about}{drawn}"


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
        head = term(of_parameter(param.name, param.unit), label(param))
        rows.append(f"<dt>{head}</dt><dd>{escape(with_unit(param, value))}</dd>")
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
        parts.append(f"<h3>{term('reduction', 'Gain reduction')}</h3>")
        for i, d in enumerate(shown):
            plot = figures.reduction(data, d, last=i == len(shown) - 1, many=len(shown) > 1)
            parts.append(_figure(plot.render()))
    return "<h2>Over time</h2>" + "".join(parts) if parts else ""


def _loudness(data: ReportData) -> str:
    if not any(len(t) for t, _ in data.loudness.values()):
        return ""
    about = "The loudness of 3 seconds about each moment."
    return (
        f'<h2>{term("lufs", "Loudness over time")}</h2><p class="sub">{about}</p>'
        f"{_figure(pictures.loudness(data).render())}"
    )


def _spectrograms(data: ReportData) -> str:
    roles = [role for role, _ in _ROLES if role in data.spectrograms]
    if not roles:
        return ""
    drawn = "".join(
        _figure(pictures.spectrogram(data, role, last=role == roles[-1]).render()) for role in roles
    )
    return (
        f'<h2>{term("hz", "Spectrogram")}</h2><p class="sub">Time from left to right, '
        "frequency from bottom to top; the lighter, the louder. Both have one scale of 70 dB.</p>"
        f"{drawn}"
    )


def _stereo(data: ReportData) -> str:
    if not data.stereo:
        return ""
    return (
        f'<h2>{term("width", "Stereo field")}</h2><p class="sub">Where the sound comes from. A '
        "peak in the centre is mono; the broader the curve, the wider the sound.</p>"
        f"{_figure(pictures.stereo(data).render())}"
    )


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
            f'<th scope="row">{term(of_parameter(p.name, p.unit), name)}{lock}</th>'
            f'<td class="num">{escape(with_unit(p, value))}</td>'
            f'<td class="slot"><span class="track" aria-hidden="true"><i style="left:{at:.1f}%">'
            "</i></span></td>"
            f'<td class="range">{escape(range_text(p))}</td></tr>'
        )
    several = len({member for member, _ in groups}) > 1
    parts = []
    for (member, band), rows in groups.items():
        head = " · ".join(x for x in (member if several or not band else "", band) if x)
        first = f"<caption>{escape(head)}</caption>" if head else ""
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
    names = ("File", "Rate", "Channels", "Length")
    heads = "".join(f'<th scope="col">{n}</th>' for n in names)
    head = f"<tr><td></td>{heads}</tr>"
    return f'<h2>{term("file", "Files")}</h2><table class="files">{head}{rows}</table>'


def _source(x: Source) -> str:
    rate = f"{x.sample_rate_hz / 1000:g} kHz"
    channels = {1: "mono", 2: "stereo"}.get(x.channels, str(x.channels))
    css = {"input": "before", "output": "after"}.get(x.role, x.role)
    return (
        f'<tr><th scope="row" class="key-{css}">{x.role.capitalize()}</th><td>{escape(x.file)}</td>'
        f"<td>{rate}</td><td>{channels}</td><td>{seconds(x.duration_s)}</td></tr>"
    )


def _footer(s: SettingsFile) -> str:
    made = ", ".join(f"{name} {version}" for name, version in s.versions.items())
    return f"<footer>Settings chosen by: {escape(s.estimator)}. Made with {escape(made)}.</footer>"
