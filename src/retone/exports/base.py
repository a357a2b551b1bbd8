"""What an export target is, and notes all targets share."""

from __future__ import annotations

import math
import shutil
import subprocess
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from retone.errors import RetoneError
from retone.exports.plan import Bands, Dynamics, Fixed, NotExpressible, Plan, limiter_note

SINE_DB = 20 * math.log10(math.sqrt(2))
"""How much higher a sine's peak reads than its RMS."""


class ToolMissing(RetoneError):
    """The program that a target is made for is not on this machine."""


@dataclass(frozen=True)
class Exported:
    """A target's text, and a sentence for everything it cannot express."""

    text: str
    notes: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        object.__setattr__(self, "notes", grouped(self.notes))


@dataclass(frozen=True)
class Target:
    """A program or format that settings can be exported to.

    Args:
        name: its name in the registry, such as ``"ffmpeg"``.
        title: its name for users.
        suffix: how the file's name ends.
        usage: how the file is used; ``{file}`` stands for its name.
        write: the plan as the target's text.
        render: runs the exported text on audio [C, T] at a sample rate in a scratch folder, for
            verification; raises ToolMissing.
        verified_by: what runs it.
        same_biquads: whether its filters are the cookbook's.
    """

    name: str
    title: str
    suffix: str
    usage: str
    write: Callable[[Plan], Exported]
    render: Callable[[str, np.ndarray, int, Path], np.ndarray]
    verified_by: str
    same_biquads: bool = True


def grouped(notes: Sequence[str]) -> tuple[str, ...]:
    """Notes once each; those that say the same of several stages become one."""
    stages: dict[str, list[str]] = {}
    for note in notes:
        name, colon, what = note.partition(": ")
        if colon and " " not in name and name not in stages.setdefault(what, []):
            stages[what].append(name)
        elif not colon or " " in name:
            stages.setdefault(note, [])
    return tuple(f"{', '.join(names)}: {what}" if names else what for what, names in stages.items())


def number(value: float) -> str:
    """At most six significant digits, no exponent: ``-3.5``, ``1000``, ``0.00023``."""
    text = f"{value:.6g}"
    if "e" in text:
        text = f"{value:.9f}".rstrip("0").rstrip(".")
    return "0" if text in ("-0", "") else text


def linear(db: float) -> str:
    """Decibels as a factor."""
    return number(10 ** (db / 20))


def common_notes(plan: Plan) -> list[str]:
    """Notes on what no target has: the limiter, fixed filters, effects without stages."""
    notes = [
        f"{s.name}: a fixed filter of {len(s.taps)} taps has no parameters and is left out; "
        "make the settings with another estimator."
        for s in plan.stages
        if isinstance(s, Fixed)
    ] + [
        f"{s.name}: a {s.kind} cannot be expressed in other programs and is left out."
        for s in plan.stages
        if isinstance(s, NotExpressible)
    ]
    limiter = limiter_note(plan)
    return [*notes, limiter] if limiter else notes


def dynamics_left_out(plan: Plan) -> list[str]:
    """Notes for targets without any dynamics."""
    return [
        f"{s.name}: compression ({number(s.ratio)}:1 above {number(s.threshold_db)} dBFS) cannot "
        "be expressed and is left out; its makeup gain is in the preamp."
        for s in plan.stages
        if isinstance(s, Dynamics) and s.acts
    ] + [
        f"{s.name}: bands with their own gain and dynamics cannot be expressed; the whole effect "
        "is left out."
        for s in plan.stages
        if isinstance(s, Bands)
    ]


def tool(name: str) -> str:
    """Path of a program.

    Raises:
        ToolMissing: it is not installed.
    """
    found = shutil.which(name)
    if found is None:
        raise ToolMissing(f"{name} is not installed, so this export cannot be rendered here.")
    return found


def call(command: Sequence[str]) -> None:
    """Run a program; what it prints on failure becomes the error.

    Raises:
        ToolMissing: it fails.
    """
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=300)
    if done.returncode:
        raise ToolMissing(f"{Path(command[0]).name} failed: {done.stderr.strip()[-400:]}")


def write_float(path: Path, audio: np.ndarray, sample_rate: int) -> None:
    """[C, T] as a WAV of 32-bit floats."""
    import soundfile

    soundfile.write(path, audio.T, sample_rate, "FLOAT")


def read_float(path: Path) -> np.ndarray:
    """[C, T] of a WAV."""
    import soundfile

    return np.asarray(soundfile.read(path, dtype="float64", always_2d=True)[0].T)
