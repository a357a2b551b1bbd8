"""The guarantee of a match: no band ends further from the reference, and nothing is not boosted.

``Guard`` compares the gain that a result gives each third octave with what the recording needs:

- a band that differs from the reference by more than ``FAR_DB`` moves towards it;
- a band in which the input holds nothing is not lifted against the occupied ones;
- a band in which only the reference holds nothing is left alone.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from retone.dsp.measure import Array
from retone.estimators.sound import Mask, Sound

FAR_DB = 3.0
ALLOWED_DB = 0.3
"""How much further from the reference such a band may end (the guarantee allows 0.5)."""
LIFT_DB = 0.8
"""How far an empty band may rise against the occupied ones (the guarantee allows 1)."""


@dataclass(frozen=True, eq=False)
class Guard:
    """The bands of an input and a reference, and what each needs.

    ``known`` [F]: the band exists in the input; ``matched``: occupied on both sides; ``empty``: the
    input holds nothing there, or only noise; ``need_db`` [F]: difference to the reference relative
    to the median of the matched bands, 0 elsewhere.
    """

    known: Mask
    matched: Mask
    empty: Mask
    need_db: Array

    @classmethod
    def of(cls, own: Sound, reference: Sound) -> Guard:
        known = np.isfinite(own.levels_db)
        matched = own.occupied & reference.occupied
        if matched.sum() < 3:  # hardly anything in common: nothing can be said about tone
            matched = np.zeros_like(matched)
        need = np.zeros(len(known))
        if matched.any():
            difference = reference.levels_db[matched] - own.levels_db[matched]
            need[matched] = difference - np.median(difference)
        return cls(known, matched, known & (~own.occupied | own.noise), need)

    @property
    def far(self) -> Mask:
        """Matched bands that have to move: by more than ``FAR_DB``, and no noise upwards."""
        return self.matched & (np.abs(self.need_db) > FAR_DB) & ~self.held

    @property
    def held(self) -> Mask:
        """Matched bands that hold only noise and that the reference would lift."""
        return self.matched & self.empty & (self.need_db > 0)

    def left_db(self, gain_db: Array) -> Array:
        """What is still needed after gains [F], relative to the median; 0 outside of matched."""
        left = np.zeros(len(gain_db))
        if self.matched.any():
            rest = (self.need_db - gain_db)[self.matched]
            left[self.matched] = rest - np.median(rest)
        return left

    def excess_db(self, gain_db: Array) -> float:
        """How far gains [F] break the guarantee, in dB; 0 or less if they keep it."""
        worst = [-np.inf]
        far = self.far
        if far.any():
            left = np.abs(self.left_db(gain_db)[far])
            worst.append(float((left - np.abs(self.need_db[far])).max()) - ALLOWED_DB)
        full = self.known & ~self.empty
        if self.empty.any() and full.any():
            worst.append(float(gain_db[self.empty].max() - np.median(gain_db[full])) - LIFT_DB)
        return max(worst)
