"""Small multiples of square tables as one SVG: a number in every cell, a colour for its ratio."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

import numpy as np

from retone.report.theme import SVG_STYLE

CELL, LEFT, TOP, GAP = 62, 92, 58, 34
_STYLE = """
.better{fill:var(--after)}.worse{fill:var(--reference)}.cell text{fill:var(--ink)}
.frame{fill:none;stroke:var(--edge)}.head{font-weight:600}
"""


@dataclass(frozen=True)
class Panel:
    """One table: ``values`` [R, C] printed in the cells, ``ratio`` [R, C] as colour (1 is none)."""

    title: str
    values: np.ndarray
    ratio: np.ndarray


def render(panels: Sequence[Panel], rows: Sequence[str], columns: Sequence[str], about: str) -> str:
    """An SVG file: panels two abreast; blue is below a ratio of 1, orange above."""
    wide, high = LEFT + CELL * len(columns) + GAP, TOP + CELL * len(rows) * 0.62 + GAP
    across = min(2, len(panels))
    down = -(-len(panels) // across)
    width, height = across * wide, down * high + 26
    parts = [
        f'<svg class="plot" xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width:.0f} '
        f'{height:.0f}" width="{width:.0f}" height="{height:.0f}" role="img">',
        f"<title>{escape(about)}</title><style>{SVG_STYLE}{_STYLE}</style>",
        f'<rect class="page" width="{width:.0f}" height="{height:.0f}"/>',
    ]
    for k, panel in enumerate(panels):
        x0, y0 = (k % across) * wide + LEFT, (k // across) * high + TOP
        parts.append(f'<text class="key head" x="{x0}" y="{y0 - 34}">{escape(panel.title)}</text>')
        for j, name in enumerate(columns):
            x = x0 + (j + 0.5) * CELL
            parts.append(
                f'<text class="tick" x="{x:.0f}" y="{y0 - 8}" text-anchor="middle">'
                f"{escape(name)}</text>"
            )
        for i, name in enumerate(rows):
            y = y0 + (i + 0.5) * CELL * 0.62
            parts.append(
                f'<text class="tick" x="{x0 - 8}" y="{y + 4:.0f}" text-anchor="end">'
                f"{escape(name)}</text>"
            )
            for j in range(len(columns)):
                parts.append(_cell(panel, i, j, x0 + j * CELL, y - CELL * 0.31))
    parts.append(f'<text x="{LEFT}" y="{height - 12:.0f}">{escape(about)}</text></svg>')
    return "\n".join(parts) + "\n"


def _cell(panel: Panel, i: int, j: int, x: float, y: float) -> str:
    value, ratio = float(panel.values[i, j]), float(panel.ratio[i, j])
    if not np.isfinite(value):
        return ""
    strength = min(1.0, abs(np.log2(max(ratio, 1e-3))) / 3) if np.isfinite(ratio) else 0.0
    css = "better" if ratio < 1 else "worse"
    tall = CELL * 0.62
    text = f"{value:.0f}" if abs(value) >= 100 else f"{value:.2g}" if value < 10 else f"{value:.0f}"
    return (
        f'<g class="cell"><rect class="{css}" x="{x:.1f}" y="{y:.1f}" width="{CELL}" '
        f'height="{tall:.1f}" fill-opacity="{0.06 + 0.7 * strength:.2f}"/>'
        f'<rect class="frame" x="{x:.1f}" y="{y:.1f}" width="{CELL}" height="{tall:.1f}"/>'
        f'<text x="{x + CELL / 2:.1f}" y="{y + tall / 2 + 4:.1f}" text-anchor="middle">'
        f"{text}</text></g>"
    )
