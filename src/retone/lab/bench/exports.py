"""Every export compared with retone's own render, on one recording: docs/exports.md."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from retone.audio import load
from retone.dsp.effect import Effect
from retone.effects import (
    CURVE_TABLE,
    ENHANCE_CHAIN,
    MATCH_CHAIN,
    MATCH_CURVE_CHAIN,
    SOUND_CHAIN,
)
from retone.exports import TARGETS, target_named
from retone.exports.verify import Difference, compare
from retone.process.settings_file import LevelPlan, SettingsFile
from retone.training.provenance import provenance

SECONDS = 6.0
SAME_DB = 0.1
"""Largest difference of responses on targets with the same biquads."""

_EQ = {
    "low_shelf_gain_db": -4.0, "peak_1_gain_db": 3.0, "peak_2_gain_db": -5.0,
    "peak_2_q": 2.5, "peak_3_gain_db": 6.0, "peak_4_gain_db": -3.0, "high_shelf_gain_db": 8.0,
    "high_shelf_q": 0.5,
}  # fmt: skip
_COMPRESSOR = {"threshold_db": -30.0, "ratio": 3.0, "knee_db": 9.0, "makeup_db": 4.0}
_EXPANDER = {"expander_threshold_db": -40.0, "expander_ratio": 2.0}
_CURVE = (
    0, 0, -1, -3, -5, -6, -5, -3, -1, 0, 1, 2, 1, -1, -2, -3,
    -2, 0, 1, 3, 5, 6, 5, 4, 4, 5, 6, 6, 4, 2, 1,
)  # fmt: skip
_BANDS = {
    "gain_db": (-3.0, 2.0, 0.0, -2.0, 3.0, 5.0),
    "ratio": (2.0, 3.0, 1.0, 2.0, 4.0, 3.0),
    "threshold_db": (-40.0,) * 6,
    "expander_ratio": (1.0, 1.0, 1.0, 2.0, 1.0, 1.0),
    "expander_threshold_db": (-60.0, -60.0, -60.0, -55.0, -60.0, -60.0),
}


@dataclass(frozen=True)
class Case:
    """Settings to export, and their title."""

    title: str
    settings: SettingsFile


def cases(sample_rate: int) -> tuple[Case, ...]:
    """An equaliser with a compressor, as ``retone match`` sets them, with bands, as ``retone
    enhance`` does, a curve of third octaves with a compressor, and an equaliser with compressor
    and expander; every band and every kind of dynamics is active.
    """
    eq = {f"equalizer.{n}": v for n, v in _EQ.items()}
    one = {f"compressor.{n}": v for n, v in _COMPRESSOR.items()}
    bands = {
        f"multiband.band_{i}_{n}": v
        for n, values in _BANDS.items()
        for i, v in enumerate(values, start=1)
    }
    both = one | {f"compressor.{n}": v for n, v in _EXPANDER.items()}
    curve = {
        f"curve_equalizer.{n}": float(v) for n, v in zip(CURVE_TABLE.names, _CURVE, strict=True)
    }
    return (
        Case("Equaliser and compressor (`retone match`)",
             _settings(MATCH_CHAIN, {**eq, **one}, sample_rate)),
        Case("Equaliser and six dynamic bands (`retone enhance`)",
             _settings(ENHANCE_CHAIN, {**eq, **bands}, sample_rate)),
        Case("Curve and compressor (`retone match --eq curve`)",
             _settings(MATCH_CURVE_CHAIN, {**curve, **one}, sample_rate)),
        Case("Equaliser, compressor and expander (`retone match`)",
             _settings(SOUND_CHAIN, {**eq, **both}, sample_rate)),
    )  # fmt: skip


def _settings(effect: Effect, values: Mapping[str, float], sample_rate: int) -> SettingsFile:
    full = {p.name: p.default for p in effect.params} | dict(values)
    plan = LevelPlan(gain_db=3.0)
    return SettingsFile(effect, full, sample_rate, "bench", level_plan=plan)


def excerpt(recording: Path) -> tuple[np.ndarray, int]:
    """The first seconds of a recording as [1, T] float32, and its rate in Hz."""
    clip = load(recording, duration_s=SECONDS)
    return clip.samples.mean(axis=0, keepdims=True).astype(np.float32), clip.sample_rate


Measured = Sequence[tuple[Case, Sequence[Difference]]]


def measure_exports(recording: Path, say: Callable[[str], None]) -> Measured:
    """Every target on every case."""
    audio, rate = excerpt(recording)
    found = []
    for case in cases(rate):
        rows = []
        for name in TARGETS:
            say(f"{name}: {case.title}")
            rows.append(compare(name, case.settings, audio, rate))
        found.append((case, rows))
    return found


INTRODUCTION = """# Exports

Made by `python -m retone.lab bench exports -o docs/exports.md`; do not edit by hand. Its figures
stand in `docs/results/exports.json`, which `--record` writes.
`retone export SETTINGS --to TARGET --verify --audio FILE` prints the same figures
for your own settings.

Each row compares the render of an exported text with retone's own render of {recording}
({seconds:g} s, one channel, {rate} Hz), with the gain after the effect and without the limiter.

- **EQ**: largest difference of the equaliser's response from 20 Hz to 20 kHz (to 0.45 of the rate).
- **residual**: RMS of the difference between the two renders, relative to retone's.
- **level**: difference between the levels of 20 ms frames within 50 dB of the loudest; median and
  95th percentile.

Equalisers are the same filters everywhere. Compressors are not: most programs smooth the level
before the static curve, retone smooths decibels above the threshold after it. Times are converted,
and the gain reduction still differs by tenths of a decibel; that of an expander by more, while it
closes. The notes below each table list what a
target cannot express; the command prints them with every export.
"""


def record(results: Measured, recording: Path, rate: int) -> dict[str, Any]:
    """What was measured, as JSON can hold it."""
    return {
        "retone_exports": 1,
        "question": {
            "recording": recording.as_posix(), "seconds": SECONDS, "sample_rate": rate,
            "seed": "nothing is drawn", "counts": sum(len(rows) for _, rows in results),
        },
        "provenance": provenance(),
        "cases": [
            {"title": case.title, "rows": [asdict(row) for row in rows]} for case, rows in results
        ],
    }  # fmt: skip


def page(data: Mapping[str, Any]) -> str:
    """A record as the page, in Markdown."""
    asked = data["question"]
    parts = [
        INTRODUCTION.format(
            recording=f"`{asked['recording']}`", seconds=asked["seconds"],
            rate=asked["sample_rate"],
        ),
        _targets(),
    ]  # fmt: skip
    for case in data["cases"]:
        parts.append(_table(case["title"], [Difference(**row) for row in case["rows"]]))
    parts.append(_others())
    return "\n".join(parts)


def _targets() -> str:
    lines = ["| `--to` | what it writes | verified with | use |", "|---|---|---|---|"]
    for name in TARGETS:
        t = target_named(name)
        use = t.usage.format(file="FILE")
        lines.append(f"| `{name}` | {t.title} | {t.verified_by} | `{use}` |")
    return "\n".join(lines) + "\n"


def _table(title: str, rows: Sequence[Difference]) -> str:
    lines = [
        f"## {title}",
        "",
        "| target | EQ (dB) | residual (dB) | level, median (dB) | level, 95 % (dB) |",
        "|---|---|---|---|---|",
    ]
    for r in rows:
        if r.missing:
            lines.append(f"| {r.target} | - | - | - | not run: {r.missing} |")
            continue
        eq = "-" if r.eq_db is None else f"{r.eq_db:.4f}"
        lines.append(
            f"| {r.target} | {eq} | {r.residual_db:.1f} | {r.level_median_db:.2f} "
            f"| {r.level_p95_db:.2f} |"
        )
    lines.append("")
    for r in rows:
        if r.notes:
            lines.append(f"- **{r.target}**: " + " ".join(r.notes))
    return "\n".join(lines) + "\n"


def _others() -> str:
    return """## Also

- `--to csv --audio FILE`: gain of every compressor or band over time, one row per 10 ms.
- `--to onnx`: a trained estimator (weights instead of settings), kept only if onnxruntime gives the
  same unit parameters within 1e-4; needs `pip install 'retone[export]'`.
- retone does not write an `.RfxChain` of REAPER's own plug-ins, because their states are
  undocumented binary. It writes a JSFX script instead, which is exact.
"""
