"""How near an output comes to a reference that is another recording, and what that cost.

Two untreated recordings have no known target: the reference is another voice or piece. These
measures compare long-term tone and dynamics, which a listener hears as "sounds like that one", and
what was done to bands and pauses in which nothing was recorded. The bands that count are chosen
by the input and the reference, so the output cannot choose its own.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from retone.dsp.third_octaves import (
    Array,
    occupied_bands,
    tone_difference_db,
    used_bands,
)

APART_DB = 3.0
"""Bands further apart than this before count for the direction."""
WORSE_DB = 0.5
INAUDIBLE_DB = 100.0


@dataclass(frozen=True)
class Tone:
    """The difference in tone to the reference, before and after.

    Args:
        before_db, after_db: mean absolute difference over the used bands.
        apart: number of used bands that were more than 3 dB apart before.
        right: of these, how many ended nearer.
        worse: of these, how many ended more than 0.5 dB further away.
    """

    before_db: float
    after_db: float
    apart: int
    right: int
    worse: int


def tone(input_db: Array, output_db: Array, reference_db: Array) -> Tone:
    """Compare third-octave levels [BANDS] of input and output with the reference's."""
    used = used_bands(input_db, reference_db) & np.isfinite(output_db)
    if not used.any():
        return Tone(np.nan, np.nan, 0, 0, 0)
    before = np.abs(tone_difference_db(input_db, reference_db, used)[used])
    after = np.abs(tone_difference_db(output_db, reference_db, used)[used])
    apart = before > APART_DB
    return Tone(
        float(before.mean()),
        float(after.mean()),
        int(apart.sum()),
        int((after < before)[apart].sum()),
        int((after > before + WORSE_DB)[apart].sum()),
    )


def boost_of_nothing_db(input_db: Array, output_db: Array) -> float:
    """Highest gain in bands where the input holds nothing, against the median gain elsewhere.

    Input levels more than 100 dB below the loudest band count as 100 dB below: nobody hears what
    is less, whatever its gain.

    Returns:
        In dB; NaN if the input has content in every band.
    """
    known = np.isfinite(input_db) & np.isfinite(output_db)
    occupied = occupied_bands(input_db) & known
    empty = known & ~occupied
    if not (occupied.any() and empty.any()):
        return float("nan")
    floor_db = float(np.max(input_db[occupied])) - INAUDIBLE_DB
    middle = float(np.median((output_db - input_db)[occupied]))
    # The floor is a level of the input; in the output it is moved by the gain of the programme.
    gain = np.maximum(output_db, floor_db + middle) - np.maximum(input_db, floor_db)
    return float(np.max(gain[empty]) - middle)
