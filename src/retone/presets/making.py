"""Make a preset from recordings: analyse them, average the results, keep no audio."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch

from retone import __version__
from retone.audio import Clip, open_reader
from retone.audio.meters.spectrum import SpectrumMeter
from retone.dsp.measure import average
from retone.errors import AudioError
from retone.estimators.base import NORMAL_PEAK_DB, Excerpt
from retone.estimators.closed_form import normalised, statistics_of
from retone.estimators.profile import Profile, TypicalFrames, typical_frames
from retone.nets.frontend import COMPACT_FRONT_END
from retone.presets.file import SPECTRUM_HZ, Preset, check_name
from retone.process.excerpt import load_excerpt
from retone.process.level import loudness_of
from retone.progress import ANALYSING, Progress, silent

FRAMES = 48
CLIP_S = 12.0
"""Length of the pieces that an excerpt is split into for typical frames, as for a network."""


class VoiceExcerpt(NamedTuple):
    """One excerpt, the number of its voice (or piece), and the excerpt before processing."""

    excerpt: Excerpt
    voice: int
    unprocessed: Excerpt | None = None


def make_preset(
    name: str,
    files: Sequence[str | Path],
    *,
    description: str = "",
    kind: str = "speech",
    voices: int = 1,
    loudness_lufs: float | str | None = "match",
    licence: str = "",
    progress: Progress = silent,
) -> Preset:
    """Blend recordings into one preset.

    Args:
        name: lower-case letters, digits and hyphens.
        files: reference recordings; they are weighted by their length.
        description: text for users.
        kind: ``"speech"`` or ``"music"``.
        voices: number of different voices (or pieces), if known. From 2 on, a recording to match is
            taken to be another voice; with 1 that is inferred from its sound.
        loudness_lufs: loudness of results: ``"match"`` for the recordings' mean, None for the
            result's own, or a target in LUFS.
        licence: licence of the recordings.
        progress: called with the number of files done and the total.

    Raises:
        AudioError: no file, or one that cannot be read, is silent or too short.
        SettingError: the name is invalid.
    """
    check_name(name)
    if not files:
        raise AudioError("a preset needs at least one recording.")
    excerpts, levels = [], []
    for number, file in enumerate(files):
        with open_reader(file) as reader:
            excerpt, _ = load_excerpt(reader)
            excerpts.append(VoiceExcerpt(excerpt, number))
            levels.append(loudness_of(reader))
        progress(ANALYSING, number + 1, len(files))
    loudness = loudness_lufs
    if loudness == "match":
        known = [v for v in levels if np.isfinite(v)]
        loudness = round(float(np.mean(known)), 1) if known else None
    profile = profile_of(name, excerpts, voices=voices, loudness_lufs=loudness, kind=kind)  # type: ignore[arg-type]
    credits = tuple(Path(f).name for f in files)
    return Preset(profile, description or f"Made from {_count(files)}.", licence, credits,
                  f"retone {__version__}")  # fmt: skip


def profile_of(
    name: str,
    excerpts: Sequence[VoiceExcerpt],
    *,
    voices: int,
    loudness_lufs: float | None,
    kind: str,
    seed: int = 0,
) -> Profile:
    """Average excerpts; every voice is weighted by its active seconds."""
    spectra = []
    for excerpt, *_ in excerpts:
        meter = SpectrumMeter(excerpt.sample_rate)
        meter.update(normalised(excerpt)[None])
        db = meter.result(SPECTRUM_HZ)
        db[SPECTRUM_HZ > 0.46 * excerpt.sample_rate] = np.nan
        spectra.append(db)
    rows = np.array(spectra)
    known = np.isfinite(rows)
    mean = np.where(known, rows, 0.0).sum(axis=0) / np.maximum(known.sum(axis=0), 1)
    before = [statistics_of(h.unprocessed) for h in excerpts if h.unprocessed is not None]
    weights = [1.0] * len(excerpts) if before else None  # compare the same passages
    return Profile(
        name=name,
        statistics=average([statistics_of(h.excerpt) for h in excerpts], weights),
        frequency_hz=SPECTRUM_HZ,
        spectrum_db=np.where(known.any(axis=0), mean, np.nan),
        sample_rate=max(h.excerpt.sample_rate for h in excerpts),
        voices=voices,
        seconds=sum(h.excerpt.audio.numel() / h.excerpt.sample_rate for h in excerpts),
        loudness_lufs=loudness_lufs,
        typical=_typical(excerpts, seed),
        kind=kind,
        unprocessed=average(before, [1.0] * len(before)) if before else None,
    )


def _typical(excerpts: Sequence[VoiceExcerpt], seed: int) -> TypicalFrames:
    config = COMPACT_FRONT_END
    clips = []
    for excerpt, voice, _ in excerpts:
        clip = Clip(normalised(excerpt)[None], excerpt.sample_rate).resample(config.sample_rate)
        audio = clip.samples[0]
        count = max(1, round(audio.size / (CLIP_S * config.sample_rate)))
        for piece in np.array_split(audio, count):
            peak = float(np.abs(piece).max())
            if peak > 0:
                scaled = piece * np.float32(10 ** (NORMAL_PEAK_DB / 20) / peak)
                clips.append((torch.from_numpy(scaled), voice))
    return typical_frames(clips, config, count=FRAMES, seed=seed)


def _count(files: Sequence[object]) -> str:
    return "one recording" if len(files) == 1 else f"{len(files)} recordings"
