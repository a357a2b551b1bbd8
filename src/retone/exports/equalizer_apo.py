"""Equalizer APO (and PipeWire's parametric equaliser): a text file of filters and a preamp.

Filters are cookbook biquads; there are no dynamics. A curve is a ``GraphicEQ`` line, which is
minimum phase, or ``Convolution`` with a file for linear phase.
"""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np

from retone.exports.base import (
    Exported,
    Target,
    common_notes,
    curves,
    dynamics_left_out,
    grouped,
    impulse_name,
    impulse_notes,
    impulse_wav,
    number,
    points_of,
    read_float,
)
from retone.exports.documented import convolved, cookbook, graphic_equalizer, run_sections
from retone.exports.escape import hash_comment
from retone.exports.plan import Dynamics, Filter, Level, Plan

_KINDS = {"peak": "PK", "low_shelf": "LSC", "high_shelf": "HSC"}
_LINE = re.compile(
    r"Filter \d+: ON (PK|LSC|HSC) Fc ([\d.]+) Hz Gain (-?[\d.]+) dB Q ([\d.]+)|"
    r"Preamp: (-?[\d.]+) dB"
)


def write(plan: Plan) -> Exported:
    notes = common_notes(plan) + dynamics_left_out(plan)
    gain = sum(s.gain_db for s in plan.stages if isinstance(s, Level))
    gain += sum(s.makeup_db for s in plan.stages if isinstance(s, Dynamics))
    filters = [s for s in plan.stages if isinstance(s, Filter)]
    files: dict[str, bytes] = {}
    for c in curves(plan):
        if c.latency_samples:
            name = impulse_name(plan, c, ".wav")
            files[name] = impulse_wav(plan, c)
            notes += impulse_notes(plan, c, late=True)
    lines = [hash_comment(f"{plan.title}, from retone"), *map(hash_comment, grouped(notes))]
    lines.append(f"Preamp: {number(round(gain, 2))} dB")
    lines += [
        f"Filter {i}: ON {_KINDS[f.kind]} Fc {number(f.frequency_hz)} Hz "
        f"Gain {number(f.gain_db)} dB Q {number(f.q)}"
        for i, f in enumerate(filters, start=1)
    ]
    for c in curves(plan):
        if c.latency_samples:
            lines.append(f"Convolution: {impulse_name(plan, c, '.wav')}")
        else:
            points = points_of(c, per_octave=12)
            lines.append("GraphicEQ: " + "; ".join(f"{f:.1f} {g:.2f}" for f, g in points))
    return Exported("\n".join(lines) + "\n", tuple(notes), files)


def render(text: str, audio: np.ndarray, sample_rate: int, folder: Path) -> np.ndarray:
    """Read back and run as documented."""
    rows, factor = [], 1.0
    for kind, fc, gain, q, preamp in _LINE.findall(text):
        if preamp:
            factor *= 10 ** (float(preamp) / 20)
        else:
            shape = {"PK": "peak", "LSC": "low", "HSC": "high"}[kind]
            rows.append(cookbook(shape, float(fc), float(gain), float(q), sample_rate))
    y = run_sections(rows, audio.astype(np.float64)) * factor
    for points in re.findall(r"^GraphicEQ: (.*)$", text, re.MULTILINE):
        pairs = [tuple(float(v) for v in p.split()) for p in points.split(";")]
        y = convolved(y, graphic_equalizer(np.array(pairs), sample_rate))
    for name in re.findall(r"^Convolution: (.*)$", text, re.MULTILINE):
        y = convolved(y, read_float(folder / name)[0])
    return y


TARGET = Target(
    name="equalizer-apo",
    title="Equalizer APO text",
    suffix=".apo.txt",
    usage="Equalizer APO: 'Include: {file}' in config.txt; PipeWire: the parametric equaliser",
    write=write,
    render=render,
    verified_by="the text read back, cookbook filters in scipy",
    keeps_latency=True,
)
