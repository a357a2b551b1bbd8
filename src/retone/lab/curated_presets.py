"""The shipped presets: processing applied to voices or pieces before they are averaged.

Each is made by the protocol of the five styles (``retone.training.data.styles``): a clip's peak
is set 3-9 dB below full scale, an equaliser and a compressor with drawn settings are applied, the
peak is normalised. ``scripts/make_presets.py`` does it with free recordings. Neutral, Broadcast and
Telephone are the paper's styles; its Warm and Bright (shelves of 20-26 dB) are meant for
classifiers, so those here are gentler.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch

from retone import __version__
from retone.effects import MATCH_CHAIN
from retone.errors import DataError
from retone.estimators.base import NORMAL_PEAK_DB, Excerpt
from retone.presets.file import Preset
from retone.presets.making import VoiceExcerpt, profile_of
from retone.training.data.corpora import Corpus, Track
from retone.training.data.styles import (
    LEAD_SAMPLES,
    MIN_MEAN_SQUARE,
    STYLES,
    TRIES,
    Style,
    apply_style,
)


@dataclass(frozen=True)
class Curated:
    """One preset to make: processing, kind, and loudness in LUFS (None: a result's own)."""

    style: Style
    kind: str
    loudness_lufs: float | None
    description: str

    @property
    def name(self) -> str:
        return self.style.name


def _gentle(
    name: str,
    low: tuple[float, float, float, float],
    high: tuple[float, float, float, float],
    *,
    compressor: tuple[float, float, float, float, float, float, float, float] | None = None,
    peak: tuple[float, float, float, float] | None = None,
) -> Style:
    """A style from (gain, gain, Hz, Hz) ranges and (threshold, ratio, attack, release) ranges."""
    more = {}
    if compressor:
        c = compressor
        more = {"threshold_db": c[:2], "ratio": c[2:4], "attack_ms": c[4:6], "release_ms": c[6:]}
    if peak:
        more |= {"peak_gain_db": peak[:2], "peak_hz": peak[2:]}
    return Style(name, name, low[:2], low[2:], high[:2], high[2:], **more)  # type: ignore[arg-type]


CURATED: dict[str, Curated] = {
    c.name: c
    for c in (
        Curated(
            STYLES["neutral"], "speech", None,
            "A little body and air, light levelling; the recording's own loudness. Changes least.",
        ),
        Curated(
            STYLES["broadcast"], "speech", -23.0,
            "Dense and present, as on television: strong fast compression, at -23 LUFS "
            "(EBU R 128).",
        ),
        Curated(
            _gentle("podcast", (1, 3, 80, 150), (1, 3, 7000, 9000),
                    compressor=(-35, -28, 2.5, 3.5, 5, 15, 80, 150), peak=(1.5, 2.5, 2500, 4000)),
            "speech", -16.0,
            "Clear and even, for headphones and cars: some presence, moderate compression, at -16 "
            "LUFS.",
        ),
        Curated(
            _gentle("audiobook", (-1, 1, 80, 150), (0, 2, 6000, 8000),
                    compressor=(-32, -26, 1.8, 2.5, 10, 25, 120, 250)),
            "speech", -20.0,
            "Natural tone and gentle levelling for hours of listening, at -20 LUFS.",
        ),
        Curated(
            _gentle("radio", (3, 6, 100, 200), (3, 6, 6000, 8000),
                    compressor=(-50, -42, 4, 6, 2, 10, 40, 100), peak=(2, 4, 2500, 4000)),
            "speech", -14.0,
            "Loud, close and very dense, as a music station's presenter, at -14 LUFS.",
        ),
        Curated(
            _gentle("warm", (3, 5, 150, 300), (-5, -3, 5000, 7000)), "speech", None,
            "More body, softer highs; dynamics and loudness stay.",
        ),
        Curated(
            _gentle("bright", (-4, -2, 150, 250), (4, 6, 5000, 8000)), "speech", None,
            "More air and clarity, less body; dynamics and loudness stay.",
        ),
        Curated(
            STYLES["telephone"], "speech", None,
            "The narrow band of a telephone line, slightly compressed; an effect, not a repair.",
        ),
        Curated(
            _gentle("master-neutral", (0.5, 1.5, 80, 150), (0.5, 1.5, 7000, 10000),
                    compressor=(-24, -18, 1.3, 1.7, 20, 40, 100, 300)),
            "music", -14.0,
            "Even tone and light glue for streaming services, at -14 LUFS.",
        ),
        Curated(
            _gentle("master-loud", (1, 2, 60, 120), (1, 3, 7000, 10000),
                    compressor=(-32, -26, 2.5, 3.5, 5, 15, 50, 150)),
            "music", -9.0,
            "Dense and loud, at -9 LUFS; the true-peak limiter will work.",
        ),
        Curated(
            _gentle("master-warm", (2, 4, 120, 250), (-4, -2, 6000, 9000),
                    compressor=(-24, -18, 1.3, 1.7, 20, 40, 100, 300)),
            "music", -14.0,
            "Fuller lows, softer highs, light glue, at -14 LUFS.",
        ),
        Curated(
            _gentle("master-bright", (-2, -1, 120, 250), (3, 5, 6000, 10000),
                    compressor=(-24, -18, 1.3, 1.7, 20, 40, 100, 300)),
            "music", -14.0,
            "Open highs and leaner lows, light glue, at -14 LUFS.",
        ),
        Curated(
            _gentle("lo-fi", (-8, -4, 150, 300), (-14, -10, 3500, 5000),
                    compressor=(-30, -22, 2, 3, 5, 20, 80, 200), peak=(2, 4, 700, 1200)),
            "music", None,
            "An old radio or cassette: little bass, dull highs, squashed; an effect.",
        ),
    )
}  # fmt: skip


def processed_excerpts(
    corpus: Corpus, style: Style, *, seconds: float, per_voice: int, seed: int
) -> list[VoiceExcerpt]:
    """Clips of every voice or piece of a corpus, processed with random settings of a style."""
    excerpts = []
    length = round(seconds * corpus.sample_rate)
    for number, track in enumerate(sorted(corpus.tracks, key=lambda t: t.group)):
        if track.samples < length + LEAD_SAMPLES:
            continue
        rng = np.random.default_rng([seed, number])
        for _ in range(per_voice):
            patch = pick_patch(track, length + LEAD_SAMPLES, rng)
            if patch is None:
                continue
            patch *= np.float32(10 ** (-float(rng.uniform(*style.headroom_db)) / 20))
            before = patch[LEAD_SAMPLES:] * np.float32(
                10 ** (NORMAL_PEAK_DB / 20) / np.abs(patch[LEAD_SAMPLES:]).max()
            )
            out = apply_style(patch, corpus.sample_rate, MATCH_CHAIN, style.draw(rng))
            out = out[LEAD_SAMPLES:]
            out *= np.float32(10 ** (NORMAL_PEAK_DB / 20) / np.abs(out).max())
            both = [Excerpt(torch.from_numpy(x), corpus.sample_rate) for x in (out, before)]
            excerpts.append(VoiceExcerpt(both[0], number, both[1]))
    if not excerpts:
        raise DataError(f"{corpus.name}: no voice or piece of {seconds:g} s and more.")
    return excerpts


def pick_patch(track: Track, need: int, rng: np.random.Generator) -> np.ndarray | None:
    """A passage with its peak at 1 whose pauses are short, else the best of many."""
    best: tuple[float, np.ndarray] | None = None
    for _ in range(TRIES):
        start = int(rng.integers(track.samples - need + 1))
        patch = track.read(start, need)
        peak = float(np.abs(patch).max(initial=0.0))
        if peak < 1e-4:
            continue
        patch = patch / np.float32(peak)
        level = float((patch * patch).mean())
        if best is None or level > best[0]:
            best = (level, patch)
        if level > MIN_MEAN_SQUARE * 10:
            break
    return None if best is None else best[1].copy()


def make_curated(
    curated: Curated,
    corpus: Corpus,
    *,
    licence: str,
    credits: tuple[str, ...],
    seconds: float = 10.0,
    per_voice: int = 6,
    seed: int = 0,
    progress: Callable[[str], None] = lambda text: None,
) -> Preset:
    """Make one shipped preset from a corpus of many voices or pieces."""
    excerpts = processed_excerpts(
        corpus, curated.style, seconds=seconds, per_voice=per_voice, seed=seed
    )
    voices = len({h.voice for h in excerpts})
    profile = profile_of(
        curated.name, excerpts, voices=voices, loudness_lufs=curated.loudness_lufs,
        kind=curated.kind, seed=seed,
    )  # fmt: skip
    progress(f"{curated.name}: {voices} voices or pieces, {profile.seconds / 60:.1f} min")
    return Preset(profile, curated.description, licence, credits, f"retone {__version__}")
