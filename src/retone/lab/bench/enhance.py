"""Whole files: ``retone enhance``."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from pathlib import Path

from retone.errors import AudioError
from retone.lab.bench.match import write_looped
from retone.lab.bench.methods import Method, measure
from retone.lab.bench.result import Section

NAME = "retone enhance"
BARE = f"{NAME}, no picture"


def arguments(source: Path, place: Path, weights: str) -> list[str]:
    """Arguments after ``retone``."""
    words = ["enhance", str(source), "-o", str(place / "enhanced.wav"), "--force", "-q"]
    return [*words, "--weights", weights] if weights else words


def enhance_section(
    *,
    audio: str,
    weights: str,
    seconds: float,
    sample_rate: int,
    rounds: int,
    seed: int,
    folder: str,
    entry: str,
    say: Callable[[str], None],
) -> Section:
    """Measure enhancing whole files of one channel in this process, warm.

    Args:
        audio: a recording of speech.
        weights: weights of the network; empty for those that ship.
        seconds: length to which it is looped.
        sample_rate: of the file, in Hz.
        rounds, seed, say: as in ``equalizer_section``.
        folder: where the files go; it must exist.
        entry: the command's function as ``module:name``; it takes a list of arguments.
    """
    place = Path(folder)
    source = place / "source.wav"
    write_looped(Path(audio), source, seconds, sample_rate, channels=1)
    module, _, name = entry.partition(":")
    command: Callable[[list[str]], int] = getattr(importlib.import_module(module), name)

    def enhance(*more: str) -> Callable[[], int]:
        def call() -> int:
            code = command([*arguments(source, place, weights), *more])
            if code:
                raise AudioError(f"retone enhance refused the file (code {code}).")
            return code

        return call

    section = Section(
        "enhance",
        f"Whole files: {seconds:g} s of speech in one channel at {sample_rate} Hz, enhanced, read "
        "from and written to 16-bit WAV",
        baseline=NAME,
        audio_s=seconds,
        figures=[
            ("peak_mib", f"peak memory, {seconds:g} s, own process (MiB)"),
            ("cold_s", "wall of that process, cold (s)"),
            ("long_minutes", "long file (min)"),
            ("long_peak_mib", "peak memory, long file (MiB)"),
            ("long_cpu_s", "CPU, long file (s)"),
        ],
        notes=["Timed in one process, warm, its network loaded; settings and picture included."],
    )
    methods = [Method(NAME, lambda: enhance()), Method(BARE, lambda: enhance("--no-report"))]
    return measure(section, methods, rounds=rounds, seed=seed, say=say)
