"""What tonal matching compares: third-octave levels, where they hold sound, and short-term levels.

An input and its references are compared band by band. A band is *occupied* if its level is within
45 dB of the loudest one; it may still hold nothing but noise, which is known from the pauses. Only
bands occupied on both sides are matched; levels are relative to the median of these bands, because
loudness is matched apart from tone.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from retone.dsp.measure import Array
from retone.dsp.short_levels import PAUSE_DB, Floor, dynamics_db, short_levels_db
from retone.dsp.third_octaves import CENTRES_HZ, DENSE, occupied_bands, third_octave_levels_db
from retone.estimators.base import Excerpt, Reference
from retone.estimators.profile import Profile

Mask = NDArray[np.bool_]

ABOVE_NOISE_DB = 4.0
"""A band whose level exceeds that of the pauses by less holds nothing but noise."""
SHORTEST_PAUSES_S = 0.3
UNSURE_DB = 6.0
"""If the quietest tenth is this much louder than a noise floor, there are no pauses."""


@dataclass(frozen=True, eq=False)
class Sound:
    """A recording as tonal matching sees it.

    ``levels_db`` [F] are third-octave levels, NaN where the sample rate or a profile gives none;
    ``occupied`` [F] marks bands within 45 dB of the loudest, ``noise`` [F] those of them that hold
    no more than the pauses; ``spread_db`` is the distance of the 95th and 20th percentiles of the
    50 ms levels, None if unknown; ``mixed``: of several channels their mix is rendered;
    ``pauses``: the confidence, from 0 to 1, that it has pauses quiet enough to reveal noise.
    """

    levels_db: Array
    occupied: Mask
    noise: Mask
    spread_db: float | None
    mixed: bool = False
    pauses: float = 0.0


def sound_of(recording: Reference) -> Sound:
    """Analyse an excerpt or a profile."""
    if isinstance(recording, Profile):
        levels = recording.spectrum(CENTRES_HZ)
        levels = np.where(CENTRES_HZ * 2 ** (1 / 6) <= recording.sample_rate / 2, levels, np.nan)
        return Sound(levels, occupied_bands(levels), np.zeros(len(levels), dtype=bool), None)
    audio = recording.audio.detach().cpu().numpy()
    own = third_octave_levels_db(audio, recording.sample_rate, DENSE)
    levels = own if recording.tone_db is None else recording.tone_db
    noise = noise_db(recording)
    with np.errstate(invalid="ignore"):
        only = np.zeros(len(levels), bool) if noise is None else own - noise < ABOVE_NOISE_DB
    inside = occupied_bands(levels)
    spread_db = recording.spread_db
    if spread_db is None:
        spread_db = dynamics_db(audio, recording.sample_rate)
    mixed = recording.tone_db is not None or recording.side is not None
    passage = recording.passage if recording.passage.numel() else recording.audio
    floor = Floor(short_levels_db(passage.detach().cpu().numpy(), recording.sample_rate))
    below_db = 0.0 if np.isnan(floor.distance_db) else -floor.distance_db
    pauses = float(np.clip((below_db - PAUSE_DB) / UNSURE_DB + 1, 0.0, 1.0))
    return Sound(levels, inside, inside & only, spread_db, mixed, pauses)


def noise_db(excerpt: Excerpt) -> Array | None:
    """Third-octave levels [F] of what sounds in pauses; None if there is too little of it."""
    if excerpt.pauses.numel() < SHORTEST_PAUSES_S * excerpt.sample_rate:
        return None
    return third_octave_levels_db(excerpt.pauses.numpy(), excerpt.sample_rate, DENSE)


def mean_of(sounds: Sequence[Sound]) -> Sound:
    """Several references as one: levels averaged at equal median, occupied where most are."""
    if len(sounds) == 1:
        return sounds[0]
    both = np.mean([s.occupied for s in sounds], axis=0) >= 0.5
    rows = []
    for s in sounds:
        use = s.occupied & both if (s.occupied & both).any() else s.occupied
        rows.append(s.levels_db - np.median(s.levels_db[use]))
    stack = np.stack(rows)
    known = np.isfinite(stack)
    total = np.where(known, stack, 0.0).sum(axis=0)
    levels = np.where(known.any(axis=0), total / np.maximum(known.sum(axis=0), 1), np.nan)
    spreads = [s.spread_db for s in sounds if s.spread_db is not None]
    noise = np.mean([s.noise for s in sounds], axis=0) > 0.5
    inside = both & np.isfinite(levels)
    return Sound(levels, inside, inside & noise, float(np.mean(spreads)) if spreads else None)
