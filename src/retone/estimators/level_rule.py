"""Set the loudness of a network's result from the levels of input and references.

A network sets the level of its result with the other parameters. More is known: two parts of one
voice with the same processing have the same level, so the reference's level is a second estimate.
The loudness of another voice says little; there the best guess is the reference's peak, and the
input's own level at that peak.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from torch import Tensor

from retone.audio import loudness_lufs
from retone.dsp.measure import Array, measure
from retone.estimators.base import Excerpt, Reference
from retone.estimators.content_statistics import packaged
from retone.estimators.separation import same_voice

SHORTEST_S = 0.5
"""Anything shorter has no statistics; see ``retone.dsp.measure``."""
SILENT_LUFS = -70.0
"""Absolute gate of ITU-R BS.1770: what is quieter does not count as sound."""


class Levels(NamedTuple):
    """RMS in dBFS, integrated loudness in LUFS and sample peak in dBFS."""

    rms_dbfs: float
    loudness_lufs: float
    peak_dbfs: float

    def over(self, other: Levels) -> float:
        """Mean difference in RMS and in loudness to another recording, in dB."""
        rms_db = self.rms_dbfs - other.rms_dbfs
        return (rms_db + self.loudness_lufs - other.loudness_lufs) / 2


def levels_of(clips: Tensor | Array, sample_rate: int) -> Levels | None:
    """Levels of clips [N, T] as one recording; None if they are too quiet to have a loudness."""
    audio = np.asarray(clips, dtype=np.float32).reshape(1, -1)
    loudness = loudness_lufs(audio, sample_rate)
    peak = float(np.abs(audio).max(initial=0.0))
    if not math.isfinite(loudness) or peak <= 0:
        return None
    power = float(np.mean(np.square(audio, dtype=np.float64)))
    return Levels(10 * math.log10(power), loudness, 20 * math.log10(peak))


@dataclass(frozen=True)
class LevelRule:
    """Gain in dB added to a network's result; constants fitted on held-out voices and tracks.

    With ``p`` the probability that input and reference are of one source and
    ``w = 1 / (1 + exp(-sharpness (p - even)))``::

        gain = w same (reference - result)
             + (1 - w) (peak (reference's peak - result's peak)
                        + own (input at the reference's peak - result))

    where an unqualified difference is the mean of those in RMS and in loudness.

    Args:
        same: share of the difference to the reference's level if the source is the same.
        peak, own: shares of the differences to the reference's peak and to the input's own level
            at that peak, if it is another source.
        sharpness, even: slope and midpoint of the transition between the two.
    """

    same: float = 0.65
    peak: float = 0.25
    own: float = 0.2
    sharpness: float = 6.0
    even: float = 0.7

    def gain_db(
        self,
        result: Levels,
        source: Levels,
        references: Sequence[Levels],
        same_source: Sequence[float],
    ) -> float:
        """The gain, averaged over several references.

        Args:
            result, source, references: levels of excerpts.
            same_source: probability for each reference that it is of the input's source.
        """
        gains = []
        for reference, p in zip(references, same_source, strict=True):
            weight = 1 / (1 + math.exp(-self.sharpness * (p - self.even)))
            at_peak = source.over(result) + reference.peak_dbfs - source.peak_dbfs
            different = self.peak * (reference.peak_dbfs - result.peak_dbfs) + self.own * at_peak
            gains.append(weight * self.same * reference.over(result) + (1 - weight) * different)
        return sum(gains) / len(gains)

    def for_clips(
        self,
        result: Tensor,
        source: Tensor,
        references: Sequence[Tensor],
        rate: int,
        same_source: Sequence[float] | None,
    ) -> float:
        """The gain, from audio; 0 if a recording is too quiet to have a loudness.

        Args:
            result, source, references: clips [N, T] each.
            rate: their sample rate in Hz.
            same_source: what ``same_sources`` gives for them.
        """
        if same_source is None:
            return 0.0
        levels = [levels_of(clips, rate) for clips in (result, source, *references)]
        known = [each for each in levels if each is not None]
        if len(known) < len(levels):
            return 0.0
        return self.gain_db(known[0], known[1], known[2:], same_source)


def sounding(references: Sequence[Reference]) -> list[Reference]:
    """References without the recordings that are silent or nearly so, unless none would be left.

    Silent is what lies below ``SILENT_LUFS``. References with values that are not finite stay, so
    that they are refused later.
    """
    if len(references) < 2:
        return list(references)
    audible = [r for r in references if not (isinstance(r, Excerpt) and _is_silent(r))]
    return audible or list(references)


def _is_silent(excerpt: Excerpt) -> bool:
    if not bool(excerpt.audio.isfinite().all()):
        return False
    levels = levels_of(excerpt.audio, excerpt.sample_rate)
    return levels is None or levels.loudness_lufs < SILENT_LUFS


def same_sources(
    source: Tensor, references: Sequence[Tensor], rate: int, kind: str
) -> list[float] | None:
    """Probability for each reference that it is of the source's voice or piece.

    None if a recording is silent, or too short for statistics.

    Args:
        source, references: clips [N, T] each.
        rate: their sample rate in Hz.
        kind: ``"speech"`` or ``"music"``.
    """
    for clips in (source, *references):
        if clips.numel() < SHORTEST_S * rate or levels_of(clips, rate) is None:
            return None
    content, statistics = packaged(kind), measure(source.flatten(), rate)
    return [same_voice(statistics, measure(r.flatten(), rate), content) for r in references]
