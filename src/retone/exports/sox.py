"""SoX: an effects file.

Equaliser sections are cookbook biquads. ``compand`` follows the rectified level of the loudest
channel (one attack/decay pair links the channels) and draws any static curve. Bands become
``mcompand``, whose crossovers are Linkwitz-Riley and not compensated. A curve becomes ``fir``
with a file of coefficients.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from retone.exports.base import (
    SINE_DB,
    Exported,
    Target,
    call,
    common_notes,
    expander_note,
    follower_release_s,
    impulse_name,
    impulse_notes,
    in_series,
    number,
    read_float,
    tool,
    write_float,
)
from retone.exports.plan import Bands, Dynamics, Filter, Fixed, Level, Plan

HEADROOM_DB = 24.0
"""SoX clips between effects: the level is reduced by this much first and restored last."""

_KINDS = {"peak": "equalizer {f} {q}q {g}", "low_shelf": "bass {g} {f} {q}q"}
_KINDS["high_shelf"] = "treble {g} {f} {q}q"


def write(plan: Plan) -> Exported:
    notes = common_notes(plan)
    lines: list[str] = []
    files: dict[str, bytes] = {}
    for stage in plan.stages:
        if isinstance(stage, Filter):
            lines.append(_filter(stage))
        elif isinstance(stage, Level):
            lines.append(f"gain {number(stage.gain_db)}")
        elif isinstance(stage, Dynamics):
            if stage.acts:
                lines += [f"compand {_table(one)} 0 -90" for one in in_series(stage)]
                notes += expander_note(stage)
                notes.append(
                    f"{stage.name}: compand smooths the level before the curve, retone after it; "
                    "times are converted, the gain reduction differs slightly."
                )
            if abs(stage.makeup_db) > 0.005:
                lines.append(f"gain {number(stage.makeup_db)}")
        elif isinstance(stage, Bands):
            lines.append(_bands(stage, notes))
        elif isinstance(stage, Fixed) and stage.points:
            name = impulse_name(plan, stage, ".fir.txt")
            files[name] = _coefficients(stage)
            lines.append(f"fir {name}")
            notes += impulse_notes(plan, stage, late=False)
    if lines:
        lines = [f"gain {number(-HEADROOM_DB)}", *lines, f"gain {number(HEADROOM_DB)}"]
    return Exported(" ".join(lines or ["gain 0"]) + "\n", tuple(notes), files)


def _filter(f: Filter) -> str:
    return _KINDS[f.kind].format(f=number(f.frequency_hz), q=number(f.q), g=number(f.gain_db))


def _coefficients(curve: Fixed) -> bytes:
    """Coefficients a line. SoX takes the middle one as time 0, so the past is filled with zeros."""
    rest = len(curve.taps) - 1 - 2 * curve.latency_samples
    taps = (0.0,) * max(rest, 0) + curve.taps
    return ("\n".join(f"{v:.9g}" for v in taps) + "\n").encode()


def _table(d: Dynamics) -> str:
    """``attack,decay in,out,in,out...``, levels lowered by the headroom."""
    times = f"{number(d.attack_tau_s)},{number(follower_release_s(d))}"
    points = d.points(-140.0, (SINE_DB if d.rms_ms else 0.0) - HEADROOM_DB)
    # upward expansion may end above 0 dB, which SoX refuses; only signals near it are changed
    return times + " " + ",".join(f"{number(x)},{number(min(y, 0.0))}" for x, y in points)


def _bands(b: Bands, notes: list[str]) -> str:
    parts = []
    for i, d in enumerate(b.dynamics):
        gain = d.makeup_db
        f = b.filters[i]
        if f is not None:
            gain += f.gain_db
            notes.append(f"{b.title(i)}: its filter is written as a gain for the whole band.")
        flat = Dynamics(d.name, 0, 1, d.attack_ms, d.release_ms, 0, 0, d.rms_ms)
        table = _table(d if d.acts else flat)
        parts.append(f'"{table} {number(gain)} -90"')
        notes += expander_note(d)
        if i < len(b.crossovers_hz):
            parts.append(number(b.crossovers_hz[i]))
    notes.append(
        f"{b.name}: mcompand splits with its own Linkwitz-Riley crossovers; bands are steeper than "
        "retone's and phase is not preserved."
    )
    return "mcompand " + " ".join(parts)


def render(text: str, audio: np.ndarray, sample_rate: int, folder: Path) -> np.ndarray:
    """Through the SoX on this machine."""
    program = tool("sox")
    write_float(folder / "in.wav", audio, sample_rate)
    (folder / "chain.sox").write_text(text)
    call(
        [program, "-V1", "-D", "--effects-file", str(folder / "chain.sox"),
         str(folder / "in.wav"), "-e", "floating-point", "-b", "32", str(folder / "out.wav")],
        folder,
    )  # fmt: skip
    return read_float(folder / "out.wav")


TARGET = Target(
    name="sox",
    title="SoX effects file",
    suffix=".sox.txt",
    usage="sox --effects-file {file} in.wav out.wav",
    write=write,
    render=render,
    verified_by="SoX",
)
