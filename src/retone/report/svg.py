"""A small plot builder that writes SVG: axes, lines, areas, bars, labels, legend, call-outs.

Colours are classes, so that one style sheet serves light, dark and print; see ``theme.py``.
"""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from typing import NamedTuple

import numpy as np

from retone.report.format import MINUS, significant
from retone.report.theme import SVG_STYLE

Tick = tuple[float, str]
CHARACTER = 0.56
"""Mean width of a character in ems, for keeping labels apart."""


@dataclass(frozen=True)
class Axis:
    """One axis: its range, scale and labels.

    Args:
        low, high: values at its ends; ``low > 0`` if ``log``.
        title: the label of the axis, unit included.
        unit: unit of the hover read-out.
        log: logarithmic scale.
        ticks: (value, label) pairs; None chooses them. Empty draws neither grid nor labels.
        count: about how many ticks to choose.
    """

    low: float
    high: float
    title: str = ""
    unit: str = ""
    log: bool = False
    ticks: tuple[Tick, ...] | None = None
    count: int = 6

    def position(self, value: np.ndarray | float) -> np.ndarray:
        """0 at ``low``, 1 at ``high``."""
        v = np.asarray(value, dtype=np.float64)
        if self.log:
            return np.log(np.maximum(v, 1e-30) / self.low) / math.log(self.high / self.low)
        return (v - self.low) / (self.high - self.low)

    def labelled(self) -> tuple[Tick, ...]:
        if self.ticks is not None:
            return self.ticks
        return (
            log_ticks(self.low, self.high) if self.log else ticks(self.low, self.high, self.count)
        )


def ticks(low: float, high: float, count: int) -> tuple[Tick, ...]:
    """Round values (steps of 1, 2, 3, 5, 6 times a power of ten) inside a range."""
    raw = (high - low) / max(count, 1)
    power = 10 ** math.floor(math.log10(raw))
    steps = [m * power for m in (1, 2, 3, 5, 6, 10)]
    step = next(s for s in steps if s >= raw * 0.999)
    first = math.ceil(low / step - 1e-9)
    values = [k * step for k in range(first, math.floor(high / step + 1e-9) + 1)]
    decimals = max(0, -math.floor(math.log10(step) + 1e-9))
    return tuple((v, f"{v:.{decimals}f}".replace("-", MINUS)) for v in values)


def log_ticks(low: float, high: float) -> tuple[Tick, ...]:
    """1, 2 and 5 times powers of ten inside a range; thousands are written with k."""
    found = []
    for power in range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1):
        for m in (1, 2, 5):
            value = m * 10.0**power
            if low * 0.999 <= value <= high * 1.001:
                text = f"{value / 1000:g}k" if value >= 1000 else f"{value:g}"
                found.append((value, text))
    return tuple(found)


def time_ticks(duration_s: float, count: int = 8) -> tuple[Tick, ...]:
    """Round times: seconds, from two minutes on minutes and seconds."""
    steps = (0.1, 0.2, 0.5, 1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200)
    step = next((s for s in steps if duration_s / s <= count), math.ceil(duration_s / count))
    values = [k * step for k in range(math.floor(duration_s / step + 1e-9) + 1)]
    if duration_s < 120:
        return tuple((v, significant(v) if step >= 1 else f"{v:.1f}") for v in values)
    return tuple((v, f"{int(v) // 60}:{int(v) % 60:02d}") for v in values)


class Callout(NamedTuple):
    """Lines of text in the strip above the plot, with a leader to a handle at (x, y)."""

    x: float
    y: float
    lines: tuple[str, ...]
    css: str


class Plot:
    """One plot; methods add marks in drawing order, ``render`` gives the SVG text.

    Args:
        name: unique on the page, letters and hyphens.
        description: text for screen readers.
        width, height: of the whole picture in CSS pixels.
        x, y: the axes.
        left, right, top, bottom: margins around the plot area.
    """

    def __init__(
        self,
        name: str,
        description: str,
        width: float,
        height: float,
        x: Axis,
        y: Axis,
        *,
        left: float = 54,
        right: float = 14,
        top: float = 14,
        bottom: float = 42,
    ) -> None:
        self.name, self.description = name, description
        self.width, self.height, self.x, self.y = width, height, x, y
        self.x0, self.x1 = left, width - right
        self.y0, self.y1 = height - bottom, top
        self._marks: list[str] = []
        self._over: list[str] = []
        self._legend: list[tuple[str, str]] = []

    def at(self, x: np.ndarray | float, y: np.ndarray | float) -> tuple[np.ndarray, np.ndarray]:
        """Data to pixels."""
        return (
            self.x0 + self.x.position(x) * (self.x1 - self.x0),
            self.y0 + self.y.position(y) * (self.y1 - self.y0),
        )

    def line(
        self,
        x: np.ndarray,
        y: np.ndarray,
        css: str,
        *,
        legend: str | None = None,
        read: str | None = None,
    ) -> None:
        """A polyline; NaN breaks it. ``read`` names it in the hover read-out."""
        px, py = self.at(x, np.where(np.isfinite(y), y, 0.0))
        py = np.clip(py, self.y1 - 500, self.y0 + 500)
        extra = f' data-read="{escape(read)}"' if read else ""
        for run in _runs(np.isfinite(y)):
            points = _points(px[run], py[run])
            self._marks.append(f'<polyline class="line {css}"{extra} points="{points}"/>')
        if legend:
            self._legend.append((legend, css))

    def area(
        self,
        x: np.ndarray,
        low: np.ndarray | float,
        high: np.ndarray,
        css: str,
        *,
        legend: str | None = None,
    ) -> None:
        """The region between two curves; ``low`` may be one number, for a straight edge."""
        if len(x) == 0:
            return
        px, top = self.at(x, np.asarray(high))
        if np.ndim(low) == 0:
            edge = float(self.at(self.x.low, low)[1])
            points = _points(px, top) + " " + _points(px[[-1, 0]], np.array([edge, edge]))
            self._marks.append(f'<polygon class="area {css}" points="{points}"/>')
            return
        _, bottom = self.at(x, np.asarray(low))
        # A stretch may be thinner than a pixel; it should still be seen.
        thin = bottom - top < 1
        middle = (bottom + top) / 2
        bottom, top = np.where(thin, middle + 0.5, bottom), np.where(thin, middle - 0.5, top)
        points = _points(px, top) + " " + _points(px[::-1], bottom[::-1])
        self._marks.append(f'<polygon class="area {css}" points="{points}"/>')
        if legend:
            self._legend.append((legend, css))

    def image(self, data: str, name: str) -> None:
        """A picture, as a data address, that fills the plot area."""
        self._marks.append(
            f'<image class="{name}" x="{self.x0:.1f}" y="{self.y1:.1f}" '
            f'width="{self.x1 - self.x0:.1f}" height="{self.y0 - self.y1:.1f}" '
            f'preserveAspectRatio="none" href="{escape(data)}"/>'
        )

    def bars(self, edges: np.ndarray, heights: np.ndarray, css: str, *, share: float = 0.5) -> None:
        """A histogram on the lower axis; its highest bar takes ``share`` of the plot's height."""
        top = float(np.max(heights, initial=0.0))
        if top <= 0:
            return
        px, _ = self.at(edges, self.y.low)
        for a, b, h in zip(px[:-1], px[1:], heights, strict=True):
            tall = h / top * share * (self.y0 - self.y1)
            if tall > 0.2:
                box = f'x="{a + 0.5:.1f}" y="{self.y0 - tall:.1f}" width="{b - a - 1:.1f}"'
                self._marks.append(f'<rect class="bar {css}" {box} height="{tall:.1f}"/>')

    def rule(
        self,
        *,
        x: float | None = None,
        y: float | None = None,
        css: str = "rule",
        legend: str | None = None,
    ) -> None:
        """A line across the whole plot at one x or one y."""
        if x is not None:
            px = float(self.at(x, self.y.low)[0])
            ends = f'x1="{px:.1f}" x2="{px:.1f}" y1="{self.y1:.1f}" y2="{self.y0:.1f}"'
        else:
            py = float(self.at(self.x.low, y if y is not None else 0.0)[1])
            ends = f'x1="{self.x0:.1f}" x2="{self.x1:.1f}" y1="{py:.1f}" y2="{py:.1f}"'
        self._marks.append(f'<line class="{css}" {ends}/>')
        if legend:
            self._legend.append((legend, css))

    def dot(self, x: float, y: float, css: str, *, radius: float = 4.5) -> None:
        px, py = self.at(x, y)
        self._over.append(f'<circle class="dot {css}" cx="{px:.1f}" cy="{py:.1f}" r="{radius:g}"/>')

    def note(
        self,
        x: float,
        y: float,
        text: str,
        *,
        dx: float = 0,
        dy: float = 0,
        anchor: str = "start",
        css: str = "note",
    ) -> None:
        """Text at a data point, moved by (dx, dy) pixels and kept inside the picture."""
        px, py = (float(v) for v in self.at(x, y))
        wide = len(text) * 12 * CHARACTER
        px = px + dx
        lead = {"start": 0.0, "middle": 0.5, "end": 1.0}[anchor] * wide
        px = min(max(px - lead, 2.0), self.width - wide - 2) + lead
        self._over.append(_text(px, py + dy, text, css, anchor))

    def callouts(self, items: Sequence[Callout]) -> None:
        """Labels in the top margin, never on top of each other, each tied to its handle."""
        items = sorted(items, key=lambda c: c.x)
        widths = [max(len(t) for t in c.lines) * 11.5 * CHARACTER + 14 for c in items]
        wanted = [float(self.at(c.x, c.y)[0]) for c in items]
        places = spread(wanted, widths, self.x0, self.x1)
        for c, place in zip(items, places, strict=True):
            px, py = (float(v) for v in self.at(c.x, c.y))
            base = 13 + 14 * (len(c.lines) - 1) + 6
            self._over.append(
                f'<path class="leader {c.css}" d="M{place:.1f} {base:.1f}V{self.y1:.1f}'
                f'L{px:.1f} {min(max(py, self.y1), self.y0):.1f}"/>'
            )
            self.dot(c.x, c.y, c.css)
            for i, line in enumerate(c.lines):
                css = f"callout {'head ' + c.css if i == 0 else ''}".strip()
                self._over.append(_text(place, 13 + 14 * i, line, css, "middle"))

    def _axes(self) -> str:
        parts = []
        for value, text in self.x.labelled():
            px, _ = self.at(value, self.y.low)
            parts.append(
                f'<line class="grid" x1="{px:.1f}" x2="{px:.1f}" y1="{self.y1:.1f}" '
                f'y2="{self.y0:.1f}"/>' + _text(float(px), self.y0 + 16, text, "tick", "middle")
            )
        for value, text in self.y.labelled():
            _, py = self.at(self.x.low, value)
            css = "grid zero" if value == 0 and self.y.low < 0 < self.y.high else "grid"
            parts.append(
                f'<line class="{css}" x1="{self.x0:.1f}" x2="{self.x1:.1f}" y1="{py:.1f}" '
                f'y2="{py:.1f}"/>' + _text(self.x0 - 8, float(py) + 4, text, "tick", "end")
            )
        if self.x.title:
            middle = (self.x0 + self.x1) / 2
            parts.append(_text(middle, self.y0 + 35, self.x.title, "title", "middle"))
        if self.y.title:
            middle = (self.y0 + self.y1) / 2
            turn = f' transform="rotate(-90 14 {middle:.1f})"'
            parts.append(_text(14, middle, self.y.title, "title", "middle", turn))
        return "".join(parts)

    def _legend_text(self) -> str:
        parts, px, y = [], self.x0, self.y1 - 9
        for text, css in self._legend:
            ends = f'x1="{px:.1f}" x2="{px + 18:.1f}" y1="{y - 4:.1f}" y2="{y - 4:.1f}"'
            parts.append(f'<line class="line {css}" {ends}/>')
            parts.append(_text(px + 24, y, text, "key", "start"))
            px += 24 + len(text) * 12 * CHARACTER + 18
        return "".join(parts)

    def render(self, *, standalone: bool = False) -> str:
        """The SVG element; ``standalone`` adds name space and style, for a file of its own."""
        frame = f'width="{self.x1 - self.x0:.1f}" height="{self.y0 - self.y1:.1f}"'
        scale = {
            "px": [self.x0, self.x1, self.y0, self.y1],
            "x": [self.x.low, self.x.high, int(self.x.log), self.x.unit],
            "y": [self.y.low, self.y.high, int(self.y.log), self.y.unit],
        }
        size = f'viewBox="0 0 {self.width:g} {self.height:g}"'
        head = f'<svg {size} class="plot" role="img" aria-label="{escape(self.description)}"'
        style = ""
        if standalone:
            head += f' xmlns="http://www.w3.org/2000/svg" width="{self.width:g}"'
            style = f"<style>{SVG_STYLE}</style>"
            style += f'<rect class="page" width="{self.width:g}" height="{self.height:g}"/>'
        else:
            head += f' data-plot="{escape(json.dumps(scale))}"'
        clip = f"clip-{self.name}"
        return (
            f"{head}>{style}<title>{escape(self.description)}</title>"
            f'<clipPath id="{clip}"><rect x="{self.x0:.1f}" y="{self.y1:.1f}" {frame}/></clipPath>'
            f'{self._axes()}<g clip-path="url(#{clip})">{"".join(self._marks)}</g>'
            f"{''.join(self._over)}{self._legend_text()}</svg>"
        )


def spread(
    wanted: Sequence[float], widths: Sequence[float], low: float, high: float
) -> list[float]:
    """Centres as near as possible (least squares) to the wanted ones, without overlap.

    ``wanted`` ascends. Labels that would touch form a block around the mean of their positions.
    """
    offsets, edge = [], 0.0
    for w in widths:
        offsets.append(edge + w / 2)
        edge += w
    blocks: list[tuple[float, int]] = []  # (mean of wanted minus offset, labels)
    for place, offset in zip(wanted, offsets, strict=True):
        mean, count = place - offset, 1
        while blocks and blocks[-1][0] >= mean:
            before, n = blocks.pop()
            mean, count = (before * n + mean * count) / (n + count), n + count
        blocks.append((mean, count))
    starts = [max(min(mean, high - edge), low) for mean, count in blocks for _ in range(count)]
    return [start + offset for start, offset in zip(starts, offsets, strict=True)]


def _runs(good: np.ndarray) -> list[slice]:
    """Runs of at least two True in a row."""
    padded = np.concatenate([[False], good, [False]]).astype(np.int8)
    change = np.flatnonzero(np.diff(padded))
    starts, stops = change[::2], change[1::2]
    return [slice(a, b) for a, b in zip(starts, stops, strict=True) if b - a > 1]


def _points(px: np.ndarray, py: np.ndarray) -> str:
    return " ".join(f"{a:.1f},{b:.1f}" for a, b in zip(px, py, strict=True))


def _text(x: float, y: float, text: str, css: str, anchor: str, extra: str = "") -> str:
    return (
        f'<text class="{css}" x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}"{extra}>'
        f"{escape(text)}</text>"
    )
