"""The page docs/styles.md and its pictures, from result files."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from retone.files.atomic import write_text_atomic
from retone.lab.evaluate import probes, realistic
from retone.lab.evaluate.figures import Trend, load_trends, trend_picture
from retone.lab.evaluate.result import Result, interval, rows_measured_later
from retone.report.heatmap import Panel, render
from retone.training.data.styles import STYLES

TITLES = {
    "msd": "MSD",
    "sce": "SCE (Hz)",
    "rms_paper": "RMS (20 ln)",
    "rms": "RMS (dB)",
    "lufs": "LUFS (LU)",
}


def heat_map(result: Result, method: str) -> str:
    """The 5x5 matrices of one method as SVG: errors, coloured by their ratio to Input's."""
    names = [STYLES[n].label.split(" (")[0] for n in result.question["styles"]]
    panels = []
    for metric in ("msd", "sce", "rms", "lufs"):
        ours, own = (realistic.matrix(result, m, metric) for m in (method, "Input"))
        panels.append(Panel(TITLES[metric], ours, ours / np.maximum(own, 1e-9)))
    about = f"{method}: mean error, input by row, reference by column; blue is less than Input's."
    return render(panels, names, names, about)


def realistic_section(result: Result, picture: str | None, method: str) -> list[str]:
    """Lines of the page for one evaluation of realistic transfer."""
    q = result.question
    items = {r.item for r in result.rows}
    lines = [
        f"## {q['kind'].capitalize()}: {q['corpus']}, {q['sample_rate']} Hz",
        "",
        f"{len(items)} pairs ({q['trials']} trials for each of 25 ordered pairs of styles), "
        f"{q['length']} samples, seed {q['seed']}; styles never share {q['apart']}. "
        f"retone {result.provenance['retone']}, "
        f"{result.provenance['date']}{rows_measured_later(result)}.",
        "",
        realistic.table(result),
        "",
        "Mean [95 % interval from a bootstrap over inputs' voices or tracks], x = ratio to Input.",
    ]
    missing = [n for n in ("NP-HH", "SPSA", "AD") if n not in result.names("method")]
    if missing:
        lines.append(f"Rows without weights, left out: {', '.join(missing)}.")
    if picture:
        lines += ["", f"![Errors for each pair of styles]({picture})"]
    lines += ["", f"MSD of *{method}* (ratio to Input's):", "",
              realistic.matrix_table(result, method, "msd"), ""]  # fmt: skip
    return lines


def preset_table(result: Result) -> str:
    """A Markdown table: presets by row, one table for each estimator."""
    lines = []
    for method in result.names("method"):
        lines += [
            f"Estimator: {method}",
            "",
            "| preset | distance to style before | after | change, first | second | in style |",
            "|---|---|---|---|---|---|",
        ]
        for name in result.names("case"):
            cells = []
            for columns in ("to_style_before", "to_style", "first", "second", "styled"):
                means = [
                    interval(result.values(name, method, f"{what}_{columns}").values())[0]
                    for what in ("tone", "spread")
                ]
                cells.append(" / ".join(f"{m:.1f}" for m in means))
            lines.append(f"| {name} | " + " | ".join(cells) + " |")
        lines.append("")
    q = result.question
    voices = {r.group for r in result.rows}
    lines.append(
        f"dB, tone / spread of short levels, means over {q['count']} passages of "
        f"{q['seconds']:g} s from {len(voices)} voices or tracks of "
        f"{q['corpus']}. The first two columns are the "
        "distance to the recording with settings of the style; the others are the changes made the "
        "first time, the second time, and to a recording that already is in the style."
    )
    return "\n".join(lines)


def preset_section(result: Result) -> list[str]:
    """Lines of the page for what presets do."""
    kind = "speech" if "broadcast" in result.names("case") else "music"
    return [f"## What presets do: {kind}", "", preset_table(result), ""]


def probe_section(result: Result) -> list[str]:
    """Lines of the page for one evaluation of probes."""
    q = result.question
    counts = ", ".join(f"{n} {name}" for name, n in q["counts"].items())
    return [
        f"## Linear probes: {q['kind']}, {q['corpus']}, {q['sample_rate']} Hz",
        "",
        f"F1 of a linear layer on frozen embeddings; clips per style: {counts}; {q['epochs']} "
        f"epochs; styles never share {q['apart']}. retone {result.provenance['retone']}, "
        f"{result.provenance['date']}.",
        "",
        probes.table(result),
        "",
        "CDPAM needs `pip install 'retone[probes]'` and about ten seconds of one core per clip; "
        "no package contains OpenL3's weights. Missing rows were not measured. "
        "Among retone's rows, *hidden* compares the clip with white noise, *embedding* with the "
        "shipped preset Neutral; "
        "*embedding minus neutral* is *hidden* together with twice the difference between "
        "*embedding* and the preset's own embedding.",
        "",
    ]


def trend_section(found: dict[str, Trend], estimator: str, picture: str | None) -> list[str]:
    """Lines of the page for the trend of settings over the input."""
    count = len(found["brighter"].groups)
    lines = [
        f"## How settings follow the input ({estimator})",
        "",
        f"{count} recordings of {len(set(found['brighter'].groups))} voices, each with a fixed "
        "reference by another voice in the style Broadcast. The input's highs are raised by 0, 6, "
        "12, 18, 24 dB; then the input is compressed in five steps.",
        "",
        "| input becomes | setting | Spearman, mean [95 % interval] | medians by step |",
        "|---|---|---|---|",
    ]
    for what, trend in found.items():
        for name, rows in trend.readings.items():
            mean, low, high = trend.spearman(name)
            medians = ", ".join(f"{v:.1f}" for v in np.median(rows, axis=0))
            lines.append(f"| {what} | {name} | {mean:+.2f} [{low:+.2f}, {high:+.2f}] | {medians} |")
    if picture:
        lines += ["", f"![Medians and middle halves by step]({picture})"]
    return [*lines, ""]


def render_folder(results: Path) -> str:
    """The page of every result file in a folder; heat maps are written to ``pictures``."""
    sections = []
    for path in sorted(results.glob("styles_*.json")):
        result = Result.load(path)
        method = next((m for m in result.names("method") if m.startswith("full-match")), "Input")
        name = f"pictures/{path.stem}.svg"
        write_text_atomic(results.parent / name, heat_map(result, method), force=True)
        sections.append(realistic_section(result, name, method))
    for path in sorted(results.glob("presets_*.json")):
        sections.append(preset_section(Result.load(path)))
    for path in sorted(results.glob("probes_*.json")):
        sections.append(probe_section(Result.load(path)))
    for path in sorted(results.glob("trend_*.json")):
        found, estimator = load_trends(path)
        name = f"pictures/{path.stem}.svg"
        write_text_atomic(results.parent / name, trend_picture(found, ""), force=True)
        sections.append(trend_section(found, estimator, name))
    return page(sections)


def page(sections: Sequence[Sequence[str]]) -> str:
    """The whole page."""
    head = [
        "# Styles: realistic transfer, and what the encoder learned",
        "",
        "Generated by `python -m retone.lab evaluate render-docs` from `docs/results/`.",
        "",
        "Five production styles (DeepAFx-ST's Telephone, Warm, Bright, Neutral, Broadcast) are",
        "applied to recordings with random settings. An input in one style is matched to a",
        "reference in another style, by another voice or of another piece, and the result is",
        "compared with that reference. The error cannot reach zero, since the content differs. The",
        "paper's figures are for other recordings, so only ratios to Input can be compared.",
        "",
        "Rows called *ours* are the style network, for speech or music, that shipped on the day of",
        "the measurement ([Models](models.md)), without its gate. *network, gated* is what `match`",
        "uses at strength 0: both networks, with the share of their change that the",
        "evidence supports ([Estimators](estimators.md)). *full-match* matches",
        "spectrum and dynamics in full ([Estimators](estimators.md)). *loudness matched* is the",
        "default of `retone match`. *oracle* is the input's unprocessed recording with the",
        "reference's own settings: its remaining error is content. A method with a smaller",
        "error also copies content, which this comparison rewards.",
        "",
    ]
    return "\n".join([*head, *(line for s in sections for line in s)]) + "\n"
