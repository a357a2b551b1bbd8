"""Tables of natural pairs, and the page docs/natural.md."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import numpy as np

from retone.lab.evaluate.devices import DEVICES, described
from retone.lab.evaluate.natural import ANOTHER_VOICE, SAME_VOICE
from retone.lab.evaluate.natural_rows import ROWS
from retone.lab.evaluate.result import BOOTSTRAPS, Result, Row, interval, rows_measured_later

BOOST_DB = 1.0
"""A boost of nothing above this counts."""
ROUNDING_DB = 1e-3
"""A difference in dB up to this is left out of what counts as worse."""
QUALITY_FALL = 0.1
MIN_RATIO_DB = 0.5
COLUMNS = (
    "tone, dB", "pairs worse", "right way", "bands worse", "dynamics, dB", "octave dynamics, dB",
    "boost of nothing, dB", "noise floor, dB", "DNSMOS", "CPU s",
)  # fmt: skip


def rows_of(result: Result, case: str, method: str) -> list[Row]:
    """The rows of one case and method."""
    return [r for r in result.rows if r.case == case and r.method == method]


def pairs_table(result: Result, case: str) -> str:
    """A Markdown table of one kind of recordings: one line per method, ``COLUMNS`` as columns."""
    lines = ["| | " + " | ".join(COLUMNS) + " |", "|---|" + "---|" * len(COLUMNS)]
    for row in ROWS.values():
        found = rows_of(result, case, row.label)
        if found:
            cells = [make(found) for make in _CELLS]
        elif row.package:
            cells = ["not measured", *[""] * (len(COLUMNS) - 1)]
        else:
            continue
        lines.append(f"| {row.label} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def change(rows: Sequence[Row], key: str) -> str:
    """Mean of ``key_after`` with its 95 % interval, and its ratio to the mean before."""
    pairs = _both(rows, key)
    if not pairs:
        return "-"
    mean, low, high = interval((group, after) for group, _, after in pairs)
    before = float(np.mean([b for _, b, _ in pairs]))
    return f"{mean:.2f} [{low:.2f}, {high:.2f}]{_ratio(before, mean)}"


def ratio_interval(rows: Sequence[Row], key: str) -> str:
    """The 95 % interval of the ratio of the means, by a bootstrap over inputs; '' for none."""
    sums: dict[str, np.ndarray] = {}
    for group, before, after in _both(rows, key):
        sums[group] = sums.get(group, np.zeros(2)) + (before, after)
    totals = np.array(list(sums.values()))
    if not len(sums) or np.array_equal(totals[:, 0], totals[:, 1]):
        return ""
    pick = np.random.default_rng(0).integers(len(sums), size=(BOOTSTRAPS, len(sums)))
    before, after = np.moveaxis(totals[pick].sum(axis=1), 1, 0)
    low, high = np.quantile(after / np.maximum(before, 1e-9), [0.025, 0.975])
    return f" [{low:.2f}, {high:.2f}]"


def _both(rows: Sequence[Row], key: str) -> list[tuple[str, float, float]]:
    """(group, before, after) of the rows that have both."""
    before, after = f"{key}_before", f"{key}_after"
    return [
        (r.group, r.values[before], r.values[after])
        for r in rows
        if before in r.values and after in r.values
    ]


def _values(rows: Sequence[Row], key: str) -> list[float]:
    return [r.values[key] for r in rows if key in r.values]


def worse_pairs(rows: Sequence[Row], key: str = "tone") -> tuple[int, int]:
    """(pairs further from the reference than before, by more than rounding; pairs)."""
    pairs = _both(rows, key)
    return sum(after > before + ROUNDING_DB for _, before, after in pairs), len(pairs)


def _worse(rows: Sequence[Row]) -> str:
    worse, count = worse_pairs(rows)
    return f"{worse} of {count} ({100 * worse / max(count, 1):.0f} %)"


def _right(rows: Sequence[Row]) -> str:
    apart = sum(r.values["apart"] for r in rows)
    return f"{100 * sum(r.values['right'] for r in rows) / apart:.1f} %" if apart else "-"


def _worse_bands(rows: Sequence[Row]) -> str:
    return (
        f"{sum(r.values['worse'] for r in rows):.0f} of {sum(r.values['apart'] for r in rows):.0f}"
    )


def _boost(rows: Sequence[Row]) -> str:
    found = _values(rows, "boost")
    if not found:
        return "-"
    count = sum(b > BOOST_DB for b in found)
    return f"{max(found):.1f}, {count} of {len(found)} above {BOOST_DB:g}"


def _floor(rows: Sequence[Row]) -> str:
    found = _values(rows, "floor")
    return f"{np.mean(found):+.1f}, at most {max(found):+.1f}" if found else "-"


def _quality(rows: Sequence[Row]) -> str:
    scored = [r for r in rows if "dnsmos_before" in r.values and "dnsmos_after" in r.values]
    if not scored:
        return "-"
    found = [r.values["dnsmos_after"] - r.values["dnsmos_before"] for r in scored]
    fallen = [r for r, f in zip(scored, found, strict=True) if f < -QUALITY_FALL]
    silent = sum(not r.values.get("notes") for r in fallen)
    falls = f"{len(fallen)} fall by more than {QUALITY_FALL:g}"
    if fallen:
        falls += f", {silent} of them without a note"
    return f"{np.mean(found):+.2f}, worst {min(found):+.2f}, {falls}"


def _cpu(rows: Sequence[Row]) -> str:
    return f"{np.median(_values(rows, 'cpu_s') or [math.nan]):.2f}"


_CELLS: tuple[Callable[[Sequence[Row]], str], ...] = (
    lambda rows: change(rows, "tone") + ratio_interval(rows, "tone"),
    _worse,
    _right,
    _worse_bands,
    lambda rows: change(rows, "dynamics"),
    lambda rows: change(rows, "octaves"),
    _boost,
    _floor,
    _quality,
    _cpu,
)

DEVICE_TABLES: tuple[tuple[str, Callable[[Sequence[Row]], str]], ...] = (
    ("Tone, distance to the reference in dB (x = ratio to the input)", lambda r: _mean(r, "tone")),
    ("Tone, distance to the clean original in dB", lambda r: _mean(r, "truth")),
    ("Dynamics, distance to the reference in dB", lambda r: _mean(r, "dynamics")),
    ("Boost of nothing in dB, highest", lambda r: _most(r, "boost")),
    ("Change of the noise floor in dB, highest", lambda r: _most(r, "floor")),
    ("Change of DNSMOS, mean and worst", lambda r: _quality_short(r)),
)


def _mean(rows: Sequence[Row], key: str) -> str:
    pairs = _both(rows, key)
    if not pairs:
        return "-"
    before, after = (float(np.mean([p[i] for p in pairs])) for i in (1, 2))
    worse, _ = worse_pairs(rows, key)
    return f"{after:.2f}{_ratio(before, after)}" + (f", {worse} worse" if worse else "")


def _ratio(before: float, after: float) -> str:
    """The ratio as text; none for the input itself, or where there was next to no difference."""
    return f" x{after / before:.2f}" if before >= MIN_RATIO_DB and after != before else ""


def _most(rows: Sequence[Row], key: str) -> str:
    found = _values(rows, key)
    return f"{max(found):+.1f}" if found else "-"


def _quality_short(rows: Sequence[Row]) -> str:
    found = [after - before for _, before, after in _both(rows, "dnsmos")]
    return f"{np.mean(found):+.2f}, {min(found):+.2f}" if found else "-"


def device_tables(result: Result, reference: str) -> str:
    """Markdown tables of one kind of reference: devices by line, methods as columns."""
    cases = [c for c in result.names("case") if c.endswith(f", {reference}")]
    known = result.names("method")
    methods = [row.label for row in ROWS.values() if row.label in known]
    parts = []
    for title, make in DEVICE_TABLES:
        rows = [[make(rows_of(result, case, m)) for m in methods] for case in cases]
        if all(cell == "-" for row in rows for cell in row):
            continue
        lines = [
            f"{title}:",
            "",
            "| device | " + " | ".join(methods) + " |",
            "|---|" + "---|" * len(methods),
        ]
        for case, cells in zip(cases, rows, strict=True):
            lines.append(f"| {case.removesuffix(f', {reference}')} | " + " | ".join(cells) + " |")
        parts.append("\n".join(lines))
    return "\n\n".join(parts)


def section(result: Result) -> list[str]:
    """Lines of the page for one result."""
    q = result.question
    about = (
        f"seed {q['seed']}, retone {result.provenance['retone']}, "
        f"{result.provenance['date']}{rows_measured_later(result)}."
    )
    lines = []
    if q["table"] == "pairs":
        for case, count in q["pairs"].items():
            voices = len({r.group for r in result.rows if r.case == case})
            what = "voices" if case == "speech" else "pieces"
            lines += [
                f"## {case.capitalize()}: {q['corpus']}, {q['split']}", "",
                f"{count} pairs, {voices} {what} as input, {about}", "",
                pairs_table(result, case), "",
            ]  # fmt: skip
        return lines
    lines += ["## Through a device", "", *DEVICE_HEAD, ""]
    lines += [f"- **{name}**: {described(name)}" for name in _devices(result)] + [""]
    for reference in (SAME_VOICE, ANOTHER_VOICE):
        voices = len({r.group for r in result.rows if r.case.endswith(reference)})
        lines += [
            f"### Reference by {'the ' if reference == SAME_VOICE else ''}{reference}: "
            f"{q['corpus']}, {q['split']}",
            "",
            f"{voices} voices through each device, {about}", "",
            device_tables(result, reference), "",
        ]  # fmt: skip
    return lines


def _devices(result: Result) -> list[str]:
    return [name for name in DEVICES if any(c.startswith(f"{name},") for c in result.names("case"))]


def page(results: Sequence[Result]) -> str:
    """The whole page: pairs, then devices."""
    results = sorted(results, key=lambda r: r.question["table"] != "pairs")
    lines = [*HEAD]
    label = ROWS["six-band"].label
    if any(row.method == label for result in results for row in result.rows):
        lines += SIX_BANDS
    for result in results:
        lines += section(result)
    return "\n".join(lines).rstrip() + "\n"


DEVICE_HEAD = (
    "A studio recording passes through a device; the reference is a studio recording, another",
    "passage of the same voice or of another voice. Here the truth is known: *distance to the",
    "clean original* compares the result with the recording before the device. A device that",
    "leaves the tone alone (gate, noise, hum, gaps) is at zero there already, and a match moves",
    "away from the original by as much as it follows the other passage or voice. *Worse* counts",
    "voices.",
)

HEAD = (
    "# Recordings as people have them",
    "",
    "Generated by `python -m retone.lab evaluate natural-docs` from `docs/results/natural_*.json`.",
    "",
    "The papers measure one clip processed two ways, where the target is known",
    "([How close the match is](closeness.md)). Here the input is an untreated recording, and the",
    "reference is another voice or another piece of music, at their own sample rates. There is no",
    "target, so the measures ask what a listener asks: is the result nearer to the reference, and",
    "what else changed?",
    "",
    "Levels are those of third octaves (Welch, 8192 points) over the whole file, without their",
    "median, so loudness does not count. A band counts if it is within 45 dB of the loudest band",
    "in the input and in the reference.",
    "",
    "- **tone**: mean absolute difference to the reference after the match; x is the ratio to the",
    "  difference before. Both with a 95 % interval from a bootstrap over inputs.",
    "- **pairs worse**: pairs whose tone is further from the reference than before, by more",
    "  than 0.001 dB.",
    "- **right way**: of the bands more than 3 dB apart before, those that end nearer.",
    "- **bands worse**: of the same bands, those that end more than 0.5 dB further away.",
    "- **dynamics**: difference in the spread of short levels: 95th minus 20th percentile of the",
    "  50 ms levels within 50 dB of the loudest. **Octave dynamics** is the mean of the same",
    "  difference over the octaves from 125 Hz to 8 kHz.",
    "- **boost of nothing**: highest gain in a band where the input is more than 45 dB below its",
    "  loudest band, against the median gain of the other bands; the highest over all pairs.",
    "- **noise floor**: how far the quietest tenth of the input's 50 ms frames rose against the",
    "  loudest twentieth; recordings without a pause have none.",
    "- **DNSMOS**: change of the predicted overall quality of speech at equal loudness, and files",
    "  that fall without any note to the user.",
    "- **CPU s**: median CPU time to find the settings (for other programs: of the whole match).",
    "",
    "At strength 0 networks estimate the processing; *closed form* is the row without them. That",
    "ends nearer to the reference, because it takes more of the difference between two voices or",
    "pieces for processing, and further from the target where one is known",
    "([How close the match is](closeness.md)). From strength 0.5 on the default uses the closed",
    "form, because there the networks came no nearer to references on other recordings and took",
    "longer; in between it mixes both ([Estimators](estimators.md)).",
    "",
)
SIX_BANDS = (
    "*Six bands, fitted freely* is the equaliser of `retone match` fitted to the whole difference",
    "without any of its safeguards: no setting of six bands comes much nearer in tone.",
    "",
)
