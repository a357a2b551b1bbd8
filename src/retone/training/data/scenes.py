"""Scenes: two voices, each processed in two ways, which give many training pairs at one cost.

A pair needs an input, a target and a reference. If two clips both get the same two kinds of
processing, every half of every clip can be the input, either processing can be the target's, and
the reference can be the other half of the same clip or a half of the other clip. A network that
needs frames only (no render) thus learns from 24 pairs for the cost of four processed clips.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np

from retone.training.data.corpora import Corpus, Track, full_band
from retone.training.data.pairs import PairMaker, as_float32
from retone.training.data.processing import Processing, draw_warp, normalise

Array = np.ndarray
VOICES = PROCESSINGS = HALVES = 2
PITCH_SHARE = 0.89
"""A shift of 200 cents down multiplies the bandwidth by this factor."""


class Scene(NamedTuple):
    """Processed audio and its properties.

    ``audio`` [voices, processings, halves, L] float32, each with a peak of the maker's
    ``peak_dbfs``; ``gain_db`` [voices, processings, halves]: the gain to that peak from the level
    within the clip; ``bandwidth_hz`` [voices]: the upper limit of the content. Processing 0 is that
    of inputs, processing 1 is a style. ``groups``: the speakers or tracks.
    """

    audio: Array
    gain_db: Array
    bandwidth_hz: Array
    groups: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class SceneMaker(PairMaker):
    """Makes scenes; ranges and probabilities are those of ``PairMaker``.

    Args:
        same_processing_probability: probability that both processings are the same, so that
            the network must learn to change nothing.
        full_band_weight: a speaker or track whose content reaches ``FULL_BAND`` of half the sample
            rate is drawn this many times as often as another of its length.
    """

    same_processing_probability: float = 0.05
    full_band_weight: float = 1.0

    def scene(self, corpus: Corpus, index: int, seed: int) -> Scene:
        """Scene number ``index``; the same arguments always give the same scene.

        If the corpus has only one speaker, both clips are theirs.

        Raises:
            DataError: no two speakers or tracks are long and loud enough.
        """
        rng = np.random.default_rng([seed, index])
        warped = rng.random() < self.augment_probability
        warps = [draw_warp(rng, as_stretch=False) if warped else None for _ in range(VOICES)]
        processings = [self._draw_input(rng), self._draw_style(rng)]
        if rng.random() < self.same_processing_probability:
            processings[0] = processings[1]
        length = 2 * self.length
        tracks: list[Track] = []
        parts, gains = [], []
        several = len({track.group for track in corpus.tracks}) > 1
        for warp in warps:
            first = tracks[0] if tracks and several else None
            track, _, clip = self._draw_clip(corpus, rng, length, warp, first)
            tracks.append(track)
            for processing in processings:
                for half in self._halves(clip, processing):
                    audio, gain_db = at_peak(half, self.peak_dbfs)
                    parts.append(as_float32(audio))
                    gains.append(gain_db)
        shape = (VOICES, PROCESSINGS, HALVES)
        share = PITCH_SHARE if warped else 1.0
        share /= self.speed
        band = [min(share * t.bandwidth_hz, self.sample_rate / 2) for t in tracks]
        return Scene(
            np.stack(parts).reshape(*shape, self.length),
            np.array(gains, np.float32).reshape(shape),
            np.array(band, np.float32),
            tuple(t.group for t in tracks),
        )

    def _shares(self, corpus: Corpus) -> Array:
        return super()._shares(corpus) * np.where(full_band(corpus), self.full_band_weight, 1.0)

    def plain(self) -> SceneMaker:
        """The maker without augmentation, for validation scenes."""
        return replace(
            self,
            augment_probability=0.0,
            color_probability=0.0,
            levels_probability=0.0,
            noise_probability=0.0,
            same_processing_probability=0.0,
            speed=1.0,
            min_mean_square=1e-5,
        )

    def _halves(self, clip: Array, processing: Processing) -> tuple[Array, Array]:
        whole = self._finish(processing.apply(clip, self.sample_rate, self.peak_dbfs))
        return whole[: self.length], whole[self.length : 2 * self.length]


def at_peak(audio: Array, peak_dbfs: float) -> tuple[Array, float]:
    """Audio [T] scaled to a peak, and the gain in dB; silence stays silence."""
    peak = float(np.abs(audio).max(initial=0.0))
    gain_db = peak_dbfs - 20.0 * math.log10(max(peak, 1e-9)) if peak >= 1e-9 else 0.0
    return normalise(audio, peak_dbfs), gain_db
