"""Scenes: two voices, each treated two ways, from which many training pairs follow at one cost.

A pair needs an input, a target and a reference. Of two clips that both went through the same two
treatments every half of every clip can be the input, either treatment the wanted one, and the
other half of the same clip or a half of the other clip the reference. A network that hears frames
only (no render) then learns from 24 pairs for the price of four treated clips.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np

from retone.data.corpora import Corpus, Track
from retone.data.pairs import PairMaker, _single
from retone.data.treatments import Treatment, draw_warp, normalise

Array = np.ndarray
VOICES = TREATMENTS = HALVES = 2
PITCH_SHARE = 0.89
"""A shift of 200 cents down takes the bandwidth to this share of itself."""


class Scene(NamedTuple):
    """Treated audio and what is known of it.

    ``audio`` [voices, treatments, halves, L] float32, each with a peak of the maker's
    ``peak_dbfs``; ``gain_db`` [voices, treatments, halves] brought it there from its level within
    its clip; ``bandwidth_hz`` [voices] is where the content ends. Treatment 0 is what inputs get,
    treatment 1 a style. ``groups``: the speakers or tracks.
    """

    audio: Array
    gain_db: Array
    bandwidth_hz: Array
    groups: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class SceneMaker(PairMaker):
    """Makes scenes; what is drawn and how often is a pair maker's.

    Args:
        same_treatment_probability: how often both treatments are one, so that nothing is wanted.
    """

    same_treatment_probability: float = 0.05

    def scene(self, corpus: Corpus, index: int, seed: int) -> Scene:
        """Scene number ``index``; the same arguments always give the same scene.

        A corpus of one speaker gives two clips of them.

        Raises:
            DataError: no two speakers or tracks are long and loud enough.
        """
        rng = np.random.default_rng([seed, index])
        warped = rng.random() < self.augment_probability
        warps = [draw_warp(rng, as_stretch=False) if warped else None for _ in range(VOICES)]
        treatments = [self._draw_input(rng), self._draw_style(rng)]
        if rng.random() < self.same_treatment_probability:
            treatments[0] = treatments[1]
        length = 2 * self.length
        tracks: list[Track] = []
        parts, gains = [], []
        several = len({track.group for track in corpus.tracks}) > 1
        for warp in warps:
            first = tracks[0] if tracks and several else None
            track, _, clip = self._draw_clip(corpus, rng, length, warp, first)
            tracks.append(track)
            for treatment in treatments:
                for half in self._halves(clip, treatment):
                    audio, gain_db = at_peak(half, self.peak_dbfs)
                    parts.append(_single(audio))
                    gains.append(gain_db)
        shape = (VOICES, TREATMENTS, HALVES)
        share = PITCH_SHARE if warped else 1.0
        share /= self.speed
        band = [min(share * t.bandwidth_hz, self.sample_rate / 2) for t in tracks]
        return Scene(
            np.stack(parts).reshape(*shape, self.length),
            np.array(gains, np.float32).reshape(shape),
            np.array(band, np.float32),
            tuple(t.group for t in tracks),
        )

    def plain(self) -> SceneMaker:
        """The same without what makes few voices many: how scenes for measuring are made."""
        return replace(
            self,
            augment_probability=0.0,
            color_probability=0.0,
            levels_probability=0.0,
            noise_probability=0.0,
            same_treatment_probability=0.0,
            speed=1.0,
            min_mean_square=1e-5,
        )

    def _halves(self, clip: Array, treatment: Treatment) -> tuple[Array, Array]:
        whole = self._finish(treatment.apply(clip, self.sample_rate, self.peak_dbfs))
        return whole[: self.length], whole[self.length : 2 * self.length]


def at_peak(audio: Array, peak_dbfs: float) -> tuple[Array, float]:
    """Audio [T] with that peak, and the gain in dB that took it there; silence stays."""
    peak = float(np.abs(audio).max(initial=0.0))
    gain_db = peak_dbfs - 20.0 * math.log10(max(peak, 1e-9)) if peak >= 1e-9 else 0.0
    return normalise(audio, peak_dbfs), gain_db
