"""The recordings of a listening test as in the papers: the same passages by several methods.

Each given recording is cut in two. The first half is the input; the second half, put into one of
the five production styles of DeepAFx-ST, is the reference, so that the reference has other content.
The oracle is the first half with the reference's own settings.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from retone.audio import loudness_lufs
from retone.audio.files import load
from retone.audio.writer import AtomicWriter
from retone.effects import MATCH_CHAIN
from retone.errors import DataError
from retone.estimators.choose import estimator_named
from retone.estimators.matching import Matching
from retone.lab.evaluate.methods import Estimated, Input, Matchering, Target
from retone.training.data.styles import FIVE, apply_style, style_named
from retone.units import db_to_gain

STRENGTHS = (0.0, 0.5, 0.9)
LEVEL_LUFS = -26.0
"""Loudness of every file; listening tests align them again."""


@dataclass(frozen=True)
class _Three:
    """What methods read of a pair, each [T]."""

    input: np.ndarray
    reference: np.ndarray
    target: np.ndarray


def methods() -> dict[str, Any]:
    """Folder -> method; matchering only where it is installed."""
    found: dict[str, Any] = {
        "input": Input(),
        "rb-dsp": Estimated("RB-DSP", estimator_named("rules"), at_peak=True),
        "oracle": Target("oracle"),
    }
    for strength in STRENGTHS:
        found[f"ours-{100 * strength:.0f}"] = Estimated("ours", Matching(strength=strength), 1.0)
    if importlib.util.find_spec("matchering"):
        found["matchering"] = Matchering()
    return found


def make_study(
    recordings: Sequence[Path],
    folder: Path,
    *,
    styles: Sequence[str] = FIVE,
    seconds: float = 10.0,
    seed: int = 0,
    force: bool = False,
) -> Mapping[str, int]:
    """Write one folder for each method, and ``reference``.

    Args:
        recordings: voices or pieces, unprocessed; each twice as long as ``seconds`` or longer.
        folder: where to write.
        styles: the styles of references, in turn.
        seconds: length of each file.
        seed: of the styles' settings.
        force: replace existing files.

    Returns:
        Folder -> number of files.

    Raises:
        AudioError: a recording cannot be read.
        DataError: a recording is too short or silent, or two have the same name.
        OutputExistsError: a file exists and ``force`` is false.
        SettingError: a style is unknown.
    """
    names = [p.stem for p in recordings]
    if len(set(names)) < len(names):
        raise DataError("two recordings have the same name. Rename one.")
    known = [style_named(s) for s in styles]
    made = methods()
    counts = dict.fromkeys([*made, "reference"], 0)
    for number, path in enumerate(recordings):
        rng = np.random.default_rng([seed, number])
        style = known[number % len(known)]
        clip = load(path).mono()
        rate, frames = clip.sample_rate, round(seconds * clip.sample_rate)
        audio = np.asarray(clip.samples[0], dtype=np.float32)
        if audio.size < 2 * frames:
            raise DataError(
                f"{path} lasts {audio.size / rate:.1f} s; expected {2 * seconds:g} s or more."
            )
        audio = audio / np.float32(max(float(np.abs(audio).max()), 1e-9))
        audio *= np.float32(db_to_gain(-float(rng.uniform(*style.headroom_db))))
        setting = style.draw(rng)
        styled = apply_style(audio, rate, MATCH_CHAIN, setting)
        half = audio.size // 2
        first, second = slice(half - frames, half), slice(half, half + frames)
        pair: Any = _Three(audio[first], styled[second], styled[first])
        made_here = {name: method.run(pair, rate) for name, method in made.items()}
        for name, out in {**made_here, "reference": pair.reference}.items():
            _write(folder / name / f"{path.stem}-{style.name}.wav", out, rate, force)
            counts[name] += 1
    return counts


def _write(path: Path, audio: np.ndarray, rate: int, force: bool) -> None:
    lufs = loudness_lufs(audio[None], rate)
    if not np.isfinite(lufs):
        raise DataError(f"{path} would be silent. Leave the recording out.")
    path.parent.mkdir(parents=True, exist_ok=True)
    out = (audio * db_to_gain(LEVEL_LUFS - lufs)).astype(np.float32)[None]
    with AtomicWriter(path, sample_rate=rate, channels=1, force=force) as writer:
        writer.write(out)
