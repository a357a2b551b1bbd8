"""What an export target is, and notes all targets share."""

from __future__ import annotations

import io
import math
import os
import shutil
import subprocess
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from retone.effects.curve_equalizer import curve_matrix
from retone.errors import AudioError, OutputExistsError, RetoneError
from retone.exports.escape import file_stem
from retone.exports.plan import Bands, Dynamics, Fixed, NotExpressible, Plan, limiter_note
from retone.files.atomic import AtomicFile, protect, together, write_text_atomic

SINE_DB = 20 * math.log10(math.sqrt(2))
"""How much higher a sine's peak reads than its RMS."""
EXPANDER_RELEASE = 1 / 3
"""Release time of a level follower that closes most like retone's expander, found on voices."""


def follower_release_s(d: Dynamics) -> float:
    """Time constant in s of the release of a program that smooths the rectified level.

    Such a level falls by 8.7 dB in each time constant, however far it has to go. retone's gain
    covers 63 % of the way, and with a peak detector each zero crossing draws it on.
    """
    if d.expands and (not d.rms_ms or d.smooth == "gain"):
        return EXPANDER_RELEASE * d.release_tau_s
    return d.release_tau_s


def in_series(d: Dynamics) -> tuple[Dynamics, ...]:
    """The expander and then the compressor, each with its own times, where that is nearly the same
    curve: the expander leaves alone what the compressor lowers. Makeup gains are left out."""
    d = replace(d, makeup_db=0.0)
    apart = d.expander_threshold_db <= d.threshold_db + d.knee_db / 2
    alike = d.smooth == "gain" or follower_release_s(d) == d.release_tau_s
    if alike or not (d.compresses and apart):
        return (d,)
    return replace(d, ratio=1.0), replace(d, expander_ratio=1.0)


def expander_note(d: Dynamics) -> tuple[str, ...]:
    """A sentence where quiet passages come out otherwise."""
    if not d.expands:
        return ()
    if d.smooth == "gain":
        what = "retone smooths this expander's gain, so quiet passages differ by several decibels."
    else:
        what = "the expander opens and closes along another curve, so short pauses differ most."
    return (f"{d.name}: {what}",)


class ToolMissing(RetoneError):
    """The program that a target is made for is not on this machine."""


@dataclass(frozen=True)
class Exported:
    """A target's text, and a sentence for everything it cannot express.

    ``files`` are what the text refers to, such as impulse responses: name -> content. They must
    lie in the text's folder unless a note says otherwise.
    """

    text: str
    notes: tuple[str, ...] = ()
    files: Mapping[str, bytes] = field(default_factory=dict)

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
        keeps_latency: whether a linear-phase curve comes out late.
        inside: where the output is a folder: name of the text's file in it.
    """

    name: str
    title: str
    suffix: str
    usage: str
    write: Callable[[Plan], Exported]
    render: Callable[[str, np.ndarray, int, Path], np.ndarray]
    verified_by: str
    same_biquads: bool = True
    keeps_latency: bool = False
    inside: str = ""


def write_exported(
    exported: Exported,
    output: Path,
    *,
    force: bool = False,
    reads: Mapping[Path, str] | None = None,
    inside: str = "",
) -> tuple[Path, ...]:
    """Write the text, and beside it the files that it refers to.

    Args:
        exported: what a target wrote.
        output: the text's file, or the folder for it.
        force: replace existing files.
        reads: the files that it was made from, and what each is; none of them is replaced.
        inside: the target's (see ``Target``).

    Returns:
        The files beside the text.

    Raises:
        OutputExistsError: one of the files exists and ``force`` is not set; none is written.
        AudioError: one cannot be written.
    """
    if inside:
        output = _in_folder(output, inside, force)
    beside = {output.with_name(name): content for name, content in exported.files.items()}
    protect(reads or {}, (output, *beside))
    for path in (output, *beside):
        if path.exists() and not force:
            raise OutputExistsError(path)
    with together():
        for path, content in beside.items():
            with AtomicFile(path, force=force) as file:
                file.path.write_bytes(content)
        write_text_atomic(output, exported.text, force)
    return tuple(beside)


def _in_folder(folder: Path, name: str, force: bool) -> Path:
    if folder.exists() and not force:
        raise OutputExistsError(folder)
    try:
        folder.mkdir(exist_ok=True)
    except OSError as error:
        raise AudioError(f"{folder} cannot be written ({error.strerror}).") from None
    return folder / name


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
        if isinstance(s, Fixed) and not s.points
    ] + [
        f"{s.name}: {s.what} cannot be expressed in other programs and is left out."
        for s in plan.stages
        if isinstance(s, NotExpressible)
    ]
    limiter = limiter_note(plan)
    return [*notes, limiter] if limiter else notes


def curves(plan: Plan) -> list[Fixed]:
    """The filters that were made from a curve."""
    return [s for s in plan.stages if isinstance(s, Fixed) and s.points]


def points_of(curve: Fixed, per_octave: int) -> list[tuple[float, float]]:
    """The curve at evenly spaced points, (frequency in Hz, gain in dB), as retone draws it."""
    low, high = curve.points[0][0], curve.points[-1][0]
    hz = np.geomspace(low, high, round(per_octave * math.log2(high / low)) + 1)
    gain_db = curve_matrix(hz) @ np.array([g for _, g in curve.points])
    return [(float(f), float(g)) for f, g in zip(hz, gain_db, strict=True)]


def impulse_name(plan: Plan, curve: Fixed, suffix: str) -> str:
    """A file name for a curve's impulse response, of characters that need no quoting."""
    name = ".".join(file_stem(part) for part in curve.name.split("."))
    title = plan.title.rpartition(".")[0] or plan.title
    return f"{file_stem(title)}.{name}{suffix}"


def impulse_wav(plan: Plan, curve: Fixed, channels: int = 1) -> bytes:
    """A curve's impulse response as a WAV of 32-bit floats, the same in every channel."""
    import soundfile

    out = io.BytesIO()
    rows = np.tile(np.array(curve.taps, np.float32)[:, None], channels)
    soundfile.write(out, rows, plan.sample_rate, "FLOAT", format="WAV")
    return out.getvalue()


def impulse_notes(plan: Plan, curve: Fixed, *, late: bool) -> list[str]:
    """What to know of an impulse response; ``late`` if the target does not undo its latency."""
    notes = [
        f"{curve.name}: the impulse response is for {plan.sample_rate} Hz; export again for "
        "another rate."
    ]
    if late and curve.latency_samples:
        delay_ms = 1000 * curve.latency_samples / plan.sample_rate
        notes.append(f"{curve.name}: its linear phase delays the sound by {delay_ms:.0f} ms.")
    return notes


def _dynamics_of(d: Dynamics) -> str:
    parts = []
    if d.compresses:
        what = "compression" if d.ratio > 1 else "upward expansion"
        parts.append(f"{what} ({number(d.ratio)}:1 above {number(d.threshold_db)} dBFS)")
    if d.expands:
        low = number(d.expander_threshold_db)
        parts.append(f"downward expansion ({number(d.expander_ratio)}:1 below {low} dBFS)")
    return " with ".join(parts)


def dynamics_left_out(plan: Plan) -> list[str]:
    """Notes for targets without any dynamics."""
    return [
        f"{s.name}: {_dynamics_of(s)} cannot be expressed and is left out; its makeup gain is in "
        "the preamp."
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


def call(
    command: Sequence[str], folder: Path | None = None, variables: Mapping[str, str] | None = None
) -> None:
    """Run a program, in a folder if given; what it prints on failure becomes the error.

    ``variables`` are added to its environment.

    Raises:
        ToolMissing: it fails.
    """
    done = subprocess.run(
        command,
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
        cwd=folder,
        env={**os.environ, **(variables or {})},
    )
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
