"""Whole files: ``retone match`` and matchering."""

from __future__ import annotations

import importlib
import io
from collections.abc import Callable, Sequence
from contextlib import redirect_stdout
from pathlib import Path
from typing import Any

import numpy as np

from retone.errors import AudioError
from retone.lab.bench.methods import Method, measure
from retone.lab.bench.result import Section

MATCHERING = {"matchering": "matchering"}


def write_looped(
    source: Path, target: Path, seconds: float, rate: int | None = None, channels: int = 2
) -> None:
    """Repeat a recording until it lasts ``seconds``, as PCM of 16 bits.

    Args:
        source: any recording; one channel is doubled, more are cut.
        target: WAV file to write.
        seconds: wanted length.
        rate: sample rate to convert to, None keeps the source's.
        channels: 1 or 2.

    Raises:
        AudioError: the source is empty.
    """
    import soundfile
    import soxr

    with soundfile.SoundFile(source) as file:
        audio = file.read(dtype="float32", always_2d=True)[:, :channels]
        own = file.samplerate
    if rate is not None and rate != own:
        audio, own = soxr.resample(audio, own, rate), rate
    if not len(audio):
        raise AudioError(f"{source} is empty. Use another recording.")
    if audio.shape[1] < channels:
        audio = np.repeat(audio, channels, axis=1)
    left = round(seconds * own)
    with soundfile.SoundFile(target, "w", own, channels, "PCM_16") as out:
        while left > 0:
            part = audio[: min(left, len(audio))]
            out.write(part)
            left -= len(part)


def match_section(
    *,
    audio: Sequence[str],
    seconds: float,
    sample_rate: int,
    rounds: int,
    seed: int,
    folder: str,
    entry: str,
    say: Callable[[str], None],
) -> Section:
    """Measure whole-file matching in this process, warm.

    Args:
        audio: two recordings, the input and the reference.
        seconds: length to which both are looped.
        sample_rate: of both files, in Hz.
        rounds, seed, say: as in ``equalizer_section``.
        folder: where the files go; it must exist.
        entry: the command's function as ``module:name``; it takes a list of arguments.
    """
    place = Path(folder)
    files = [place / "target.wav", place / "reference.wav"]
    for source, file in zip(audio, files, strict=True):
        write_looped(Path(source), file, seconds, sample_rate)
    module, _, name = entry.partition(":")
    command: Callable[[list[str]], int] = getattr(importlib.import_module(module), name)

    def retone(*more: str) -> Callable[[], int]:
        output = str(place / "retone.wav")
        arguments = ["match", str(files[0]), "--to", str(files[1]), "-o", output, "--force", "-q"]
        arguments += more

        def call() -> int:
            code = command(arguments)
            if code:
                raise AudioError(f"retone match refused the files (code {code}).")
            return code

        return call

    def matchering() -> Callable[[], Any]:
        import matchering as mg

        result = mg.pcm16(str(place / "matchering.wav"))

        def call() -> None:
            with redirect_stdout(io.StringIO()):
                mg.process(target=str(files[0]), reference=str(files[1]), results=[result])

        return call

    section = Section(
        "match",
        f"Whole files: {seconds:g} s stereo at {sample_rate} Hz matched to a reference of the same "
        "length, read from and written to 16-bit WAV",
        baseline="retone match",
        audio_s=seconds,
        figures=[
            ("peak_mib", f"peak memory, {seconds:g} s, own process (MiB)"),
            ("cold_s", "wall of that process, cold (s)"),
            ("long_minutes", "long file (min)"),
            ("long_peak_mib", "peak memory, long file (MiB)"),
            ("long_cpu_s", "CPU, long file (s)"),
        ],
        notes=[
            "Different methods: retone estimates readable settings of an equaliser and a "
            "compressor and writes settings and a report with the audio; matchering builds a "
            "long FIR filter and limits. The default fits under a guarantee, which it checks by "
            "rendering; the closed form is selected by name. Timed in one "
            "process, warm; peak memory is the largest resident size of a fresh process, "
            "interpreter and libraries included."
        ],
    )
    methods = [
        Method("retone match", lambda: retone()),
        Method("retone match, no picture", lambda: retone("--no-report")),
        Method("retone match, closed form", lambda: retone("--estimator", "closed-form")),
        Method("matchering", matchering, MATCHERING),
    ]
    return measure(section, methods, rounds=rounds, seed=seed, say=say)
