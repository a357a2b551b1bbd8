"""How far a recording's spectrum is from that of ordinary voices, as evidence that it is damaged.

Without a reference, a network cannot tell an unusual voice from a damaged recording, and the size
of the change that it predicts hardly depends on the damage. The long-term spectrum does: voices
differ by known amounts in each third octave, most in the bass and the treble.
"""

from __future__ import annotations

import numpy as np

from retone.dsp.third_octaves import CENTRES_HZ, occupied_bands
from retone.estimators.sound import Sound

BANDS_HZ = (95.0, 8500.0)
VOICE_DB = (-10.3, -6.2, -1.6, 4.0, 5.5, 4.7, 6.8, 7.1, 6.3, 4.0,
            1.7, 0.2, -0.5, -2.5, -2.8, -3.5, -5.0, -6.5, -8.2, -12.1)  # fmt: skip
SPREAD_DB = (10.9, 11.4, 8.9, 7.2, 5.8, 4.6, 4.7, 4.3, 3.6, 3.6,
             3.5, 3.1, 2.9, 3.4, 3.8, 4.1, 4.8, 5.5, 6.4, 9.1)  # fmt: skip
"""Mean and standard deviation of third-octave levels from 100 Hz to 8 kHz, relative to their
median, over 173 training voices: full-band recordings and LibriVox readers
(``scripts/fit_ordinary.py``)."""
LEAST_BANDS = 8
ORDINARY, UNUSUAL = 1.1, 1.6
"""Distances from which on a part, and all, of a change is made. Three in four training voices lie
below the first, one in twenty above the second."""


def distance(sound: Sound) -> float | None:
    """RMS distance of a spectrum from the mean voice, in standard deviations of voices.

    Only bands count that hold sound above the noise, within 45 dB of the loudest band in the range
    of voices, so that hum below it hides nothing. None if fewer than 8 do.
    """
    inside = (CENTRES_HZ > BANDS_HZ[0]) & (CENTRES_HZ < BANDS_HZ[1])
    known = occupied_bands(sound.levels_db[inside]) & ~sound.noise[inside]
    if known.sum() < LEAST_BANDS:
        return None
    apart = sound.levels_db[inside][known] - np.array(VOICE_DB)[known]
    apart -= np.median(apart)
    return float(np.sqrt(np.mean((apart / np.array(SPREAD_DB)[known]) ** 2)))


def damaged(sound: Sound) -> float | None:
    """Share of a change, 0 to 1, that the distance from ordinary voices supports; None if too
    little of a voice is there to judge."""
    found = distance(sound)
    if found is None:
        return None
    return float(np.clip((found - ORDINARY) / (UNUSUAL - ORDINARY), 0.0, 1.0))
