"""ffmpeg: one audio filter line for ``-af``.

Equaliser sections are cookbook biquads; for shelves ffmpeg's Q is ours divided by sqrt(2).
``acompressor`` smooths the rectified level with a quarter of the times it is given, before its
curve; retone smooths decibels above the threshold, after it. Curves that ``acompressor`` cannot
draw become a ``compand`` table, an expander one of its own. A curve becomes ``firequalizer``.
"""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import torch

from retone.dsp import biquad
from retone.exports.base import (
    SINE_DB,
    Exported,
    Target,
    call,
    common_notes,
    expander_note,
    follower_release_s,
    in_series,
    linear,
    number,
    points_of,
    read_float,
    tool,
    write_float,
)
from retone.exports.plan import Bands, Dynamics, Filter, Fixed, Level, Plan, double

KNEE_MOST_DB = 20 * math.log10(8)
THRESHOLD_LEAST_DB = -60.0
CURVE_SHORT, CURVE_LONG = 4800, 16320
"""Longest delay of ``firequalizer`` in samples, of minimum and of linear phase."""


def write(plan: Plan) -> Exported:
    notes = common_notes(plan)
    parts: list[str] = []
    for stage in plan.stages:
        if isinstance(stage, Filter):
            parts.append(_filter(stage))
        elif isinstance(stage, Level):
            parts.append(_volume(stage.gain_db))
        elif isinstance(stage, Dynamics):
            parts += _dynamics(stage, notes)
        elif isinstance(stage, Bands):
            parts.append(_bands(stage, plan, notes))
        elif isinstance(stage, Fixed) and stage.points:
            parts += _curve(stage, plan, notes)
    return Exported(",".join(parts or ["anull"]) + "\n", tuple(notes))


def _filter(f: Filter) -> str:
    if f.kind == "peak":
        return f"equalizer=f={number(f.frequency_hz)}:t=q:w={number(f.q)}:g={number(f.gain_db)}"
    kind = "bass" if f.kind == "low_shelf" else "treble"
    width = number(f.q / math.sqrt(2))
    return f"{kind}=f={number(f.frequency_hz)}:t=q:w={width}:g={number(f.gain_db)}"


def _curve(c: Fixed, plan: Plan, notes: list[str]) -> list[str]:
    """``firequalizer`` over octaves above 20 Hz, through the curve's points and half way between.

    Its minimum phase takes at most half the length of its linear phase, which is late by
    ``delay``; the delay is cut off again.
    """
    entries = ";".join(
        f"entry({math.log2(hz / 20):.5g},{gain:.4g})" for hz, gain in points_of(c, per_octave=6)
    )
    linear_phase = c.latency_samples > 0
    most = (CURVE_LONG if linear_phase else CURVE_SHORT) / plan.sample_rate
    delay = min(c.latency_samples / plan.sample_rate if linear_phase else 0.1, most)
    if most < 0.1:
        notes.append(
            f"{c.name}: firequalizer's longest filter at {plan.sample_rate} Hz is {most:.2f} s, so "
            "detail below 50 Hz is lost."
        )
    line = (
        f"firequalizer=gain='cubic_interpolate(f)':gain_entry='{entries}':scale=loglog"
        f":delay={number(delay)}:accuracy=2:wfunc=tukey"
    )
    if not linear_phase:
        return [line + ":min_phase=1"]
    notes.append(f"{c.name}: written for {plan.sample_rate} Hz; export again for another rate.")
    late = math.floor(delay * plan.sample_rate + 0.5)
    return [line, f"atrim=start_sample={late}", "asetpts=PTS-STARTPTS"]


def _volume(gain_db: float) -> str:
    return f"volume={number(gain_db)}dB:precision=double"


def _dynamics(d: Dynamics, notes: list[str]) -> list[str]:
    makeup = [_volume(d.makeup_db)] if abs(d.makeup_db) > 0.005 else []
    if not d.acts:
        return makeup
    return [*(_one_curve(one, notes) for one in in_series(d)), *makeup]


def _one_curve(d: Dynamics, notes: list[str]) -> str:
    """``acompressor`` where it can draw the curve, else ``compand``."""
    plain = not d.expands and 1 < d.ratio <= 20
    if plain and d.threshold_db >= THRESHOLD_LEAST_DB:
        knee = min(d.knee_db, KNEE_MOST_DB)
        if knee < d.knee_db:
            notes.append(
                f"{d.name}: the knee of {number(d.knee_db)} dB is limited to {knee:.1f} dB, "
                "acompressor's widest."
            )
        notes.append(
            f"{d.name}: acompressor smooths the level before the curve, retone after it; "
            "times are converted, the gain reduction differs slightly."
        )
        level = d.threshold_db + (SINE_DB if d.rms_ms else 0.0)
        return (
            f"acompressor=threshold={linear(min(level, 0.0))}:ratio={number(d.ratio)}"
            f":attack={number(_clip(4000 * d.attack_tau_s, 0.01, 2000))}"
            f":release={number(_clip(4000 * follower_release_s(d), 0.01, 9000))}"
            f":knee={linear(max(knee, 0.0))}:detection=peak:link=maximum:makeup=1"
        )
    notes.append(
        f"{d.name}: written as a compand table (a curve acompressor cannot draw); compand detects "
        "each channel separately and has no RMS detector."
    )
    notes += expander_note(d)
    points = "|".join(
        f"{number(x)}/{number(y)}" for x, y in d.points(-120.0, SINE_DB if d.rms_ms else 0.0)
    )
    return (
        f"compand=attacks={number(d.attack_tau_s)}:decays={number(follower_release_s(d))}"
        f":points={points}:soft-knee=0.01:gain=0:volume=-90"
    )


def _clip(value: float, low: float, high: float) -> float:
    return min(max(value, low), high)


def _bands(b: Bands, plan: Plan, notes: list[str]) -> str:
    """Parallel bands between ``asplit`` and ``amix``, the same split as ours."""
    count = len(b.dynamics)
    chains = []
    for i in range(count):
        parts = [_filter(f)] if (f := b.filters[i]) else []
        parts += _dynamics(b.dynamics[i], notes)
        chains.append(",".join(parts or ["anull"]))
    split = _subtracted if b.split == "subtracted" else _linkwitz_riley
    lines = split(b, plan.sample_rate)
    lines += [f"[band{i}]{chains[i]}[out{i}]" for i in range(count)]
    ends = "".join(f"[out{i}]" for i in range(count))
    notes.append(
        f"{b.name}: the crossover is written as coefficients for {plan.sample_rate} Hz; export "
        "again for another rate."
    )
    return ";".join([*lines, f"{ends}amix=inputs={count}:normalize=0"])


def _subtracted(b: Bands, rate: int) -> list[str]:
    """Band k is low-pass k less low-pass k - 1; the last is the input less the last low-pass."""
    n = len(b.crossovers_hz)
    lines = [f"asplit={n + 1}" + "".join(f"[in{i}]" for i in range(n + 1))]
    for i, f in enumerate(b.crossovers_hz):
        low = _coefficients(biquad.low_pass_first_order(double(f), rate)[0])
        lines.append(f"[in{i}]{low},asplit=2[{'band0' if i == 0 else f'plus{i}'}][same{i}]")
        lines.append(f"[same{i}]volume=-1:precision=double[minus{i + 1}]")
    lines.append(f"[in{n}]anull[plus{n}]")
    for i in range(1, n + 1):
        lines.append(f"[plus{i}][minus{i}]amix=inputs=2:normalize=0[band{i}]")
    return lines


def _linkwitz_riley(b: Bands, rate: int) -> list[str]:
    """Low-pass twice and high-pass twice at each border; lower bands go through its all-pass."""
    n = len(b.crossovers_hz)
    lines = []
    for i, f in enumerate(b.crossovers_hz):
        low, high, around = (_coefficients(s[0]) for s in biquad.butterworth(double(f), rate))
        source = "" if i == 0 else f"[rest{i}]"
        lines.append(f"{source}asplit=2[low{i}][high{i}]")
        after = "".join(
            "," + _coefficients(biquad.butterworth(double(g), rate)[2][0])
            for g in b.crossovers_hz[i + 1 :]
        )
        lines.append(f"[low{i}]{low},{low}{after}[band{i}]")
        end = f"band{n}" if i == n - 1 else f"rest{i + 1}"
        lines.append(f"[high{i}]{high},{high}[{end}]")
        del around
    return lines


def _coefficients(section: torch.Tensor) -> str:
    b0, b1, b2, a1, a2 = (f"{float(v):.12g}" for v in section)
    return f"biquad=b0={b0}:b1={b1}:b2={b2}:a0=1:a1={a1}:a2={a2}"


def render(text: str, audio: np.ndarray, sample_rate: int, folder: Path) -> np.ndarray:
    """Through the ffmpeg on this machine."""
    program = tool("ffmpeg")
    write_float(folder / "in.wav", audio, sample_rate)
    call(
        [program, "-v", "error", "-y", "-i", str(folder / "in.wav"), "-af", text.strip(),
         "-c:a", "pcm_f32le", str(folder / "out.wav")]
    )  # fmt: skip
    return read_float(folder / "out.wav")


TARGET = Target(
    name="ffmpeg",
    title="ffmpeg filter line",
    suffix=".ffmpeg.txt",
    usage='ffmpeg -i in.wav -af "$(cat {file})" out.wav',
    write=write,
    render=render,
    verified_by="ffmpeg",
)
