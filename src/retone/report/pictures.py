"""Figures of whole recordings: difference of spectra, loudness, spectrograms, stereo field."""

from __future__ import annotations

import base64
import math
import struct
import zlib

import numpy as np

from retone.audio.meters.spectrogram import Picture
from retone.report.data import ReportData
from retone.report.figures import WIDTH, frequency_axis
from retone.report.format import plain
from retone.report.summary import octaves
from retone.report.svg import Axis, Plot, ticks, time_ticks

_COLOURS = np.array(
    [[13, 8, 35], [58, 20, 92], [122, 32, 104], [186, 54, 85], [233, 98, 50], [250, 165, 40],
     [252, 233, 145]]
)  # fmt: skip
"""From quiet to loud: dark to light, evenly, so that it reads the same without colour."""
_RANGE_DB = 70.0
_NAMES = (("before", "Before"), ("after", "After"))


def difference(data: ReportData) -> Plot:
    """What was added at each frequency, and what the reference would have asked for."""
    before = data.spectra["before"]
    curves = [("after", "Changed by", data.spectra["after"] - before)]
    if "reference" in data.spectra:
        apart = data.spectra["reference"] - before
        known = np.isfinite(apart)
        apart[known] = octaves(data.frequency_hz[known], apart[known])
        name = "Reference above your recording (averaged over an octave)"
        curves.insert(0, ("reference", name, apart))
    reach = [np.abs(c[np.isfinite(c)]).max(initial=0.0) for _, _, c in curves]
    span = max(6.0, 1.3 * reach[-1], min(12.0, reach[0]))
    span = min(30.0, 3.0 * math.ceil(span / 3))
    plot = Plot(
        "difference", "Difference of the average spectra: what was changed at each frequency",
        WIDTH, 230, frequency_axis(data.frequency_hz),
        Axis(-span, span, "Difference (dB)", "dB", ticks=ticks(-span, span, 6)), top=30,
    )  # fmt: skip
    for css, name, curve in curves:
        plot.line(data.frequency_hz, curve, css, legend=name, read=name)
    return plot


def loudness(data: ReportData) -> Plot:
    """Short-term loudness before and after, and the target."""
    values = np.concatenate([v for _, v in data.loudness.values()])
    values = values[np.isfinite(values)]
    target = target_lufs(data)
    top = max(values.max(initial=-20.0), target if target is not None else -70.0)
    top = 6 * math.ceil((top + 1) / 6)
    bottom = 6 * math.floor(max(values.min(initial=top - 12.0), top - 36.0) / 6)
    duration = max((float(t[-1]) + 1.5 for t, _ in data.loudness.values() if len(t)), default=3.0)
    title = "Time (s)" if duration < 120 else "Time (min:s)"
    plot = Plot(
        "loudness", "Loudness over time before and after processing", WIDTH, 220,
        Axis(0.0, duration, title, "s", ticks=time_ticks(duration, 12)),
        Axis(bottom, top, "Loudness (LUFS, 3 s)", "LUFS"), top=30, right=22,
    )  # fmt: skip
    for role, name in _NAMES:
        if role in data.loudness and len(data.loudness[role][0]):
            time_s, lufs = data.loudness[role]
            plot.line(time_s, lufs, role, legend=name, read=name)
    if target is not None:
        plot.rule(y=target, legend=f"Target of the whole: {plain(target, 1)} LUFS")
    return plot


def target_lufs(data: ReportData) -> float | None:
    """The loudness that was aimed at, where the amount did not scale it."""
    plan = data.settings.level_plan
    return plan.target_lufs if plan is not None and data.settings.amount == 1 else None


def spectrogram(data: ReportData, role: str, *, last: bool) -> Plot:
    """Levels by time and frequency as a picture; both recordings share one scale."""
    picture = data.spectrograms[role]
    top = max(float(p.level_db.max()) for p in data.spectrograms.values())
    duration = float(picture.time_s[-1])
    marks = time_ticks(duration, 12)
    if not last:
        marks = tuple((v, "") for v, _ in marks)
    title = ("Time (s)" if duration < 120 else "Time (min:s)") if last else ""
    plot = Plot(
        f"spectrogram-{role}", f"Spectrogram {role}: level by time and frequency", WIDTH,
        170 + (34 if last else 0), Axis(0.0, duration, title, "s", ticks=marks),
        Axis(float(picture.frequency_hz[0]), float(picture.frequency_hz[-1]), "Hz", "Hz", log=True,
             ticks=((100.0, "100"), (1000.0, "1k"), (10000.0, "10k"))),
        top=20, bottom=42 if last else 8, right=22,
    )  # fmt: skip
    plot.image(png(picture, top), "spectrogram")
    plot.note(0.0, float(picture.frequency_hz[-1]), role.capitalize(), dy=-6)
    return plot


def stereo(data: ReportData) -> Plot:
    """Share of the energy by direction."""
    most = max(float(share.max()) for _, share in data.stereo.values())
    top = max(5.0, 100 * most * 1.08)
    marks = ((-90.0, "out of phase"), (-45.0, "left"), (0.0, "centre"), (45.0, "right"),
             (90.0, "out of phase"))  # fmt: skip
    plot = Plot(
        "stereo", "Stereo field: share of the energy by direction before and after", WIDTH, 220,
        Axis(-90, 90, "Direction", "°", ticks=marks),
        Axis(0, top, "Share per 2° (%)", "%", ticks=ticks(0, top, 4)), top=30, right=40,
    )  # fmt: skip
    for role, name in _NAMES:
        if role in data.stereo:
            angle, share = data.stereo[role]
            plot.line(angle, 100 * share, role, legend=name, read=name)
    return plot


def png(picture: Picture, top_db: float) -> str:
    """A spectrogram as the data address of a PNG, lowest frequency at the bottom."""
    share = np.clip((picture.level_db - (top_db - _RANGE_DB)) / _RANGE_DB, 0, 1)
    level = np.round(share * 255).astype(np.uint8)[::-1]
    at = np.linspace(0, len(_COLOURS) - 1, 256)
    palette = np.stack(
        [np.interp(at, np.arange(len(_COLOURS)), _COLOURS[:, c]) for c in range(3)], axis=1
    )
    level = level // 4 * 4  # 64 steps look the same and take half the room
    rows = np.concatenate([np.zeros((len(level), 1), np.uint8), level], axis=1)
    head = struct.pack(">IIBBBBB", level.shape[1], level.shape[0], 8, 3, 0, 0, 0)
    content = b"\x89PNG\r\n\x1a\n" + b"".join(
        _chunk(kind, data)
        for kind, data in (
            (b"IHDR", head),
            (b"PLTE", palette.round().astype(np.uint8).tobytes()),
            (b"IDAT", zlib.compress(rows.tobytes(), 9)),
            (b"IEND", b""),
        )
    )
    return "data:image/png;base64," + base64.b64encode(content).decode()


def _chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
