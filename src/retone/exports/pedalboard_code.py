"""pedalboard: a Python program with ``process(audio, sample_rate)``.

pedalboard's filters are cookbook biquads and its LowpassFilter is first-order, as in our bands.
Its Compressor has a hard knee and a separate detector for each channel, and states a time of 2 pi
time constants. A curve is convolved by numpy: pedalboard's Convolution normalises responses.
"""

from __future__ import annotations

import sys
from math import pi
from pathlib import Path

import numpy as np

from retone.exports.base import (
    SINE_DB,
    Exported,
    Target,
    ToolMissing,
    call,
    common_notes,
    follower_release_s,
    impulse_name,
    impulse_notes,
    impulse_wav,
    number,
    read_float,
    write_float,
)
from retone.exports.escape import docstring
from retone.exports.plan import Bands, Dynamics, Filter, Fixed, Level, Plan

_HEAD = '''"""{title}, as pedalboard code. Run: python {{this file}} in.wav out.wav"""

import sys
from pathlib import Path

import numpy as np
from pedalboard import {names}
from pedalboard.io import AudioFile
'''
_CONVOLVE = '''

def convolve(audio, name, late):
    """Convolution with the impulse response in a file beside this one, aligned to the input."""
    with AudioFile(str(Path(__file__).with_name(name))) as file:
        response = file.read(file.frames)[0]
    size = audio.shape[1] + len(response)
    product = np.fft.rfft(audio, size) * np.fft.rfft(response, size)
    return np.fft.irfft(product, size)[:, late : late + audio.shape[1]].astype(np.float32)
'''
_PROCESS = '''

def process(audio, sample_rate):
    """audio: float32 [channels, samples]."""
'''
_TAIL = """    return audio


if __name__ == "__main__":
    with AudioFile(sys.argv[1]) as source:
        sound, rate = source.read(source.frames), source.samplerate
    sound = process(sound, rate)
    with AudioFile(sys.argv[2], "w", rate, sound.shape[0], bit_depth=32) as out:
        out.write(np.ascontiguousarray(sound, dtype=np.float32))
"""
_CLASSES = {"peak": "PeakFilter", "low_shelf": "LowShelfFilter", "high_shelf": "HighShelfFilter"}


def write(plan: Plan) -> Exported:
    notes = common_notes(plan)
    used = {"Pedalboard"}
    body: list[str] = []
    row: list[str] = []
    files: dict[str, bytes] = {}

    def flush() -> None:
        if row:
            lines = "".join(f"            {item},\n" for item in row)
            body.append(
                f"    audio = Pedalboard(\n        [\n{lines}        ]\n    )(audio, sample_rate)\n"
            )
            row.clear()

    for stage in plan.stages:
        if isinstance(stage, Bands):
            flush()
            body.append(_bands(stage, used, notes))
        elif isinstance(stage, Fixed):
            if stage.points:
                flush()
                name = impulse_name(plan, stage, ".wav")
                files[name] = impulse_wav(plan, stage)
                notes += impulse_notes(plan, stage, late=False)
                body.append(f"    audio = convolve(audio, {name!r}, {stage.latency_samples})\n")
        else:
            row += _plugins(stage, used, notes)
    flush()
    head = _HEAD.format(title=docstring(plan.title), names=", ".join(sorted(used)))
    text = head + (_CONVOLVE if files else "") + _PROCESS + "".join(body) + _TAIL
    return Exported(text, tuple(notes), files)


def _plugins(stage: object, used: set[str], notes: list[str]) -> list[str]:
    if isinstance(stage, Filter):
        used.add(_CLASSES[stage.kind])
        return [
            f"{_CLASSES[stage.kind]}({number(stage.frequency_hz)}, "
            f"gain_db={number(stage.gain_db)}, q={number(stage.q)})"
        ]
    if isinstance(stage, Level):
        used.add("Gain")
        return [f"Gain({number(stage.gain_db)})"]
    if isinstance(stage, Dynamics):
        return _dynamics(stage, used, notes)
    return []


def _dynamics(d: Dynamics, used: set[str], notes: list[str]) -> list[str]:
    found = []
    shift = SINE_DB if d.rms_ms else 0.0
    attack, release = (number(2000 * pi * t) for t in (d.attack_tau_s, d.release_tau_s))
    if d.ratio > 1 and d.compresses:
        used.add("Compressor")
        found.append(
            f"Compressor(threshold_db={number(d.threshold_db + shift)}, ratio={number(d.ratio)}, "
            f"attack_ms={attack}, release_ms={release})"
        )
        if d.knee_db > 0:
            notes.append(f"{d.name}: pedalboard's compressor has no knee ({number(d.knee_db)} dB).")
        notes.append(
            f"{d.name}: pedalboard detects each channel separately and smooths the level before "
            "the curve; times are converted, the gain reduction differs slightly."
        )
    elif d.compresses:
        notes.append(
            f"{d.name}: upward expansion ({number(d.ratio)}:1) cannot be expressed and is left out."
        )
    if d.expands:
        release = number(2000 * pi * follower_release_s(d))
        used.add("NoiseGate")
        found.append(
            f"NoiseGate(threshold_db={number(d.expander_threshold_db + shift)}, "
            f"ratio={number(d.expander_ratio)}, attack_ms={attack}, release_ms={release})"
        )
        notes.append(f"{d.name}: the expander is written as a NoiseGate, which has no knee.")
    if abs(d.makeup_db) > 0.005:
        used.add("Gain")
        found.append(f"Gain({number(d.makeup_db)})")
    return found


def _bands(b: Bands, used: set[str], notes: list[str]) -> str:
    rows = []
    for i, d in enumerate(b.dynamics):
        f = b.filters[i]
        items = ([*_plugins(f, used, notes)] if f else []) + _dynamics(d, used, notes)
        rows.append(f"            [{', '.join(items)}],\n")
    edges = ", ".join(number(f) for f in b.crossovers_hz)
    used.add("LowpassFilter")
    if b.split != "subtracted":
        notes.append(
            f"{b.name}: pedalboard has no Linkwitz-Riley crossover; bands are split by first-order "
            "low-passes instead and overlap more."
        )
    return (
        f"    edges = [{edges}]\n"
        "    lows = [Pedalboard([LowpassFilter(f)])(audio, sample_rate) for f in edges]\n"
        "    bands = [lows[0], *(b - a for a, b in zip(lows, lows[1:])), audio - lows[-1]]\n"
        f"    boards = [\n        Pedalboard(plugins)\n        for plugins in [\n{''.join(rows)}"
        "        ]\n    ]\n"
        "    audio = sum(board(band, sample_rate) for board, band in zip(boards, bands))\n"
    )


def render(text: str, audio: np.ndarray, sample_rate: int, folder: Path) -> np.ndarray:
    """As a program of its own."""
    import importlib.util

    if importlib.util.find_spec("pedalboard") is None:
        raise ToolMissing("pedalboard is not installed: pip install 'retone[plugins]'.")
    write_float(folder / "in.wav", audio, sample_rate)
    program = folder / "chain.py"
    program.write_text(text)
    call([sys.executable, str(program), str(folder / "in.wav"), str(folder / "out.wav")])
    return read_float(folder / "out.wav")


TARGET = Target(
    name="pedalboard",
    title="pedalboard code",
    suffix=".pedalboard.py",
    usage="python {file} in.wav out.wav",
    write=write,
    render=render,
    verified_by="pedalboard",
)
