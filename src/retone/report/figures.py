"""The report's figures, each a ``Plot``: for the HTML page, or as SVG files of their own."""

from __future__ import annotations

import math

import numpy as np

from retone.audio.meters.envelope import Envelope
from retone.report.data import BandView, CurveView, ReductionView, ReportData, ResponseView
from retone.report.format import decibels, hertz, plain, significant
from retone.report.svg import Axis, Callout, Plot, ticks, time_ticks

WIDTH = 960.0
_SPECTRA = (("before", "Before"), ("reference", "Reference"), ("after", "After"))


def frequency_axis(frequency_hz: np.ndarray) -> Axis:
    return Axis(float(frequency_hz[0]), float(frequency_hz[-1]), "Frequency (Hz)", "Hz", log=True)


def spectra(data: ReportData) -> Plot:
    """Average spectra before and after and of the reference."""
    shown = np.concatenate([data.spectra[role] for role, _ in _SPECTRA if role in data.spectra])
    shown = shown[np.isfinite(shown)]
    top = 10 * math.ceil((shown.max(initial=-60.0) + 2) / 10)
    bottom = 10 * math.floor(max(shown.min(initial=top - 30.0), top - 80) / 10)
    plot = Plot(
        "spectra", "Average spectra before and after processing and of the reference",
        WIDTH, 350, frequency_axis(data.frequency_hz),
        Axis(bottom, top, "Level (dB per 1/6 octave)", "dB"), top=30,
    )  # fmt: skip
    for role, name in _SPECTRA:
        if role in data.spectra:
            plot.line(data.frequency_hz, data.spectra[role], role, legend=name, read=name)
    return plot


def _id(kind: str, view: ResponseView | CurveView) -> str:
    return "-".join(x for x in (kind, *view.name.split("."), view.part.lower()) if x)


def response(frequency_hz: np.ndarray, view: ResponseView) -> Plot:
    """A filter's response, its bands thin, their sum bold, one labelled handle a band."""
    curves = [view.total_db, *(b.response_db for b in view.bands)]
    crossed = any(b.response_db.min() < -60 for b in view.bands)  # bands split by crossovers
    most = max(float(c.max()) for c in curves)
    least = float(view.total_db.min()) if crossed else min(float(c.min()) for c in curves)
    span = max(6.0, 3 * math.ceil(max(most, -least) * 1.08 / 3))
    step = ticks(-span, span, 8)
    plot = Plot(
        _id("response", view), f"Frequency response of {view.title}",
        WIDTH, 380 if view.bands else 300, frequency_axis(frequency_hz),
        Axis(-span, span, "Gain (dB)", "dB", ticks=step), top=66 if view.bands else 14,
    )  # fmt: skip
    for i, band in enumerate(view.bands, start=1):
        css = f"b{i} band"
        shown = band.response_db
        if not crossed:
            plot.area(frequency_hz, 0.0, shown, css)
            # Along zero every band would draw over the last one.
            shown = np.where(np.abs(shown) < 0.04, np.nan, shown)
        plot.line(frequency_hz, shown, css)
    plot.line(frequency_hz, view.total_db, "sum", read="All bands" if view.bands else "Gain")
    handles = [(b, view.total_db if crossed else b.response_db) for b in view.bands]
    plot.callouts([_callout(frequency_hz, i, *h) for i, h in enumerate(handles, start=1)])
    return plot


def _callout(
    frequency_hz: np.ndarray, number: int, band: BandView, curve_db: np.ndarray
) -> Callout:
    at = min(max(band.frequency_hz, float(frequency_hz[0])), float(frequency_hz[-1]))
    height = float(np.interp(math.log(at), np.log(frequency_hz), curve_db))
    off = abs(band.gain_db) < 0.05
    gain = "off" if off else decibels(band.gain_db, signed=True)
    place = hertz(band.frequency_hz)
    if band.q is not None:
        place += f", Q {significant(band.q, 2)}"
    lines = (band.label, gain, place)
    css = f"b{number}" + (" off" if off else "")
    return Callout(at, height, lines, css)


def curve(view: CurveView) -> Plot:
    """A static curve over the histogram of levels at its input, with a compressor's threshold."""
    d = view.dynamics
    threshold = d.threshold_db if d else 0.0
    low = min(-60.0, max(20.0 * math.floor((threshold - 8) / 20), float(view.input_db[0])))
    keep = view.input_db >= low
    top = max(0.0, 6 * math.ceil((float(view.output_db[keep].max()) - 0.5) / 6))
    marks = ticks(low, 0, 6)
    plot = Plot(
        _id("curve", view), f"Static curve of {view.title}", 460, 420,
        Axis(low, 0, "Input level (dBFS)", "dB", ticks=marks),
        Axis(low, top, "Output level (dBFS)", "dB", ticks=ticks(low, top, 6)),
    )  # fmt: skip
    if view.level_share is not None and view.level_edges_db is not None:
        first = int(np.searchsorted(view.level_edges_db, low))
        edges, share = view.level_edges_db[first:], view.level_share[first:]
        plot.bars(edges, share, "level", share=0.4)
    ends = np.array([low, 0.0])
    plot.line(ends, ends, "unity")
    plot.line(view.input_db[keep], view.output_db[keep], "sum", read="Output")
    if d is None:
        return plot
    if d.ratio > 1.005 and threshold > low:
        at = float(np.interp(threshold, view.input_db, view.output_db))
        plot.rule(x=threshold)
        plot.dot(threshold, at, "after")
        # The label goes where the curve is not: above it on the left, below it on the right.
        left = threshold > low / 2
        plot.note(
            threshold, top, f"Threshold {plain(threshold, 1)} dB", dx=-6 if left else 6, dy=14,
            anchor="end" if left else "start",
        )  # fmt: skip
        middle = threshold / 2
        plot.note(
            middle, float(np.interp(middle, view.input_db, view.output_db)),
            f"{significant(d.ratio)} : 1", dy=24, anchor="middle", css="strong",
        )  # fmt: skip
    below, opening = d.expander_threshold_db, d.expander_ratio
    if opening > 1.005 and below > low:
        at = float(np.interp(below, view.input_db, view.output_db))
        plot.dot(below, at, "reference")
        plot.note(below, at, f"Expander 1 : {significant(opening)}", dx=10, dy=18)
    return plot


def _thinned(e: Envelope, most: int = 1000) -> Envelope:
    """The envelope with no more points than the picture has pixels."""
    while e.time_s.size > most:
        even = e.time_s.size // 2 * 2
        starts = np.arange(0, e.time_s.size, 2)
        time_s = np.append((e.time_s[:even:2] + e.time_s[1:even:2]) / 2, e.time_s[even:])
        low = np.minimum.reduceat(e.low, starts, axis=1)
        e = Envelope(time_s, low, np.maximum.reduceat(e.high, starts, axis=1))
    return e


def _time_axis(data: ReportData, *, labels: bool = True) -> Axis:
    ends = [
        (float(e.time_s[-1] + e.time_s[0]))
        for e in (*data.waveforms.values(), *(d.envelope for d in data.reductions))
        if e.time_s.size
    ]
    duration = max(ends, default=1.0)
    marks = time_ticks(duration, 12)
    title = "Time (s)" if duration < 120 else "Time (min:s)"
    if not labels:
        marks, title = tuple((v, "") for v, _ in marks), ""
    return Axis(0.0, duration, title, "s", ticks=marks)


def waveform(data: ReportData, role: str, *, last: bool) -> Plot:
    """One waveform as linear amplitude, on the same scale as the others."""
    everything = [e for e in data.waveforms.values() if e.time_s.size]
    most = max((float(np.abs([e.low, e.high]).max()) for e in everything), default=1.0)
    top = max(most * 1.05, 0.02)
    e = _thinned(data.waveforms[role])
    plot = Plot(
        f"waveform-{role}", f"Waveform {role}", WIDTH, 104 + (34 if last else 0),
        _time_axis(data, labels=last), Axis(-top, top, count=3),
        top=20, bottom=42 if last else 8,
    )  # fmt: skip
    if e.time_s.size:
        plot.area(e.time_s, e.low.min(axis=0), e.high.max(axis=0), f"{role} wave")
    plot.note(0.0, top, role.capitalize(), dy=-6)
    return plot


def reduction(data: ReportData, view: ReductionView, *, last: bool, many: bool) -> Plot:
    """One curve of gain over time under the waveform; per stretch, the value furthest from 0."""
    everything = [d.envelope for d in data.reductions if d.envelope.time_s.size]
    least = min((float(e.low.min()) for e in everything), default=0.0)
    most = max((float(e.high.max()) for e in everything), default=0.0)
    low = -3.0 * max(1, math.ceil(-least * 1.05 / 3))
    high = 3.0 * math.ceil(most / 3) if most > 0.05 else 0.0
    height = (74 if many else 140) + (30 if last else 0)
    plot = Plot(
        "reduction-" + view.name, f"Gain reduction of {view.title} over time", WIDTH, height,
        _time_axis(data, labels=last),
        Axis(low, high, "" if many else "dB", "dB", count=2 if many else 4),
        top=20 if many else 10, bottom=42 if last else 8,
    )  # fmt: skip
    e = _thinned(view.envelope)
    furthest = np.where(e.high[0] > -e.low[0], e.high[0], e.low[0])  # upward expansion rises
    plot.area(e.time_s, 0.0, furthest, view.css)
    plot.line(e.time_s, furthest, f"{view.css} edge", read=view.title)
    if many:
        plot.note(0.0, high, view.title, dy=-6)
    return plot
