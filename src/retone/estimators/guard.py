"""The guarantee of a match: no band ends further from the reference, and nothing is not boosted.

``Guard`` compares the gain that a result gives each third octave with what the recording needs:

- a band that differs from the reference by more than ``FAR_DB`` moves towards it;
- a band in which the input holds nothing, or next to nothing, is not lifted against the occupied
  ones;
- a band in which only the reference holds nothing is left alone.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from retone.dsp.measure import Array
from retone.dsp.third_octaves import OCCUPIED_DB, occupied_bands
from retone.estimators.sound import Mask, Sound

LEAST_BANDS = 3
"""With fewer bands in common, the tone is not matched."""
FAR_DB = 3.0
ALLOWED_DB = 0.3
"""How much further from the reference such a band may end (the guarantee allows 0.5)."""
TOLERATED_DB = 0.2
"""What may be missing to that where no better setting is found."""
LIFT_DB, LIFT_OF_MIX_DB = 0.5, 0.3
"""How far an empty band may rise against the occupied ones (the guarantee allows 1); less where
what is rendered is a mix of channels, which does not hold quite what they do."""
FAINT_DB = OCCUPIED_DB - 0.5
"""A band this far below the loudest may count as empty in the whole file: it is not lifted."""


@dataclass(frozen=True, eq=False)
class Guard:
    """The bands of an input and a reference, and what each needs.

    ``known`` [F]: the band exists in the input; ``occupied``: within 45 dB of its loudest;
    ``common``: occupied on both sides; ``matched``: those of them that are to move; ``empty``: the
    input holds next to nothing there, or only noise; ``noise``: only noise; ``levels_db`` [F]: the
    input's, relative to their median over the common bands; ``need_db`` [F]: the reference's,
    relative to theirs, less the input's; both 0 elsewhere; ``lift_db``: how far an empty band may
    rise; ``pauses``: the input's (see ``Sound``).
    """

    known: Mask
    occupied: Mask
    common: Mask
    matched: Mask
    empty: Mask
    noise: Mask
    levels_db: Array
    need_db: Array
    lift_db: float = LIFT_DB
    pauses: float = 0.0

    @classmethod
    def of(cls, own: Sound, reference: Sound, inside: Mask | None = None) -> Guard:
        """The guard of an input and a reference; only bands ``inside`` [F] are matched."""
        known = np.isfinite(own.levels_db)
        common = own.occupied & reference.occupied
        if common.sum() < LEAST_BANDS:
            common = np.zeros_like(common)
        levels, goal = np.zeros(len(known)), np.zeros(len(known))
        if common.any():
            levels[common] = own.levels_db[common] - np.median(own.levels_db[common])
            goal[common] = reference.levels_db[common] - np.median(reference.levels_db[common])
        return cls(
            known,
            known & own.occupied,
            common,
            common if inside is None else common & inside,
            known & (~occupied_bands(own.levels_db, FAINT_DB) | own.noise),
            own.noise,
            levels,
            goal - levels,
            LIFT_OF_MIX_DB if own.mixed else LIFT_DB,
            own.pauses,
        )

    @property
    def far(self) -> Mask:
        """Matched bands that have to move: by more than ``FAR_DB``, and no noise upwards."""
        return self.matched & (np.abs(self.need_db) > FAR_DB) & ~self.held

    @property
    def held(self) -> Mask:
        """Matched bands that hold next to nothing or noise, and that the reference would lift."""
        return self.matched & self.empty & (self.need_db > 0)

    @property
    def held_far(self) -> Mask:
        """Of those with noise, the ones that differ by more than ``FAR_DB``: they may stay, but not
        fall back."""
        return self.held & self.noise & (self.need_db > FAR_DB)

    def relative_db(self, gain_db: Array) -> Array:
        """Gains [F] relative to the change of the median level of the common bands."""
        if not self.common.any():
            return gain_db
        return gain_db - float(np.median((self.levels_db + gain_db)[self.common]))

    def left_db(self, gain_db: Array) -> Array:
        """What is still needed after gains [F]; 0 outside the matched bands."""
        return np.where(self.matched, self.need_db - self.relative_db(gain_db), 0.0)

    def excess_db(self, gain_db: Array) -> float:
        """How far gains [F] break the guarantee, in dB; 0 or less if they keep it."""
        return float(self._excess_db(gain_db).max())

    def weakest(self, gain_db: Array) -> int:
        """The band in which gains [F] come nearest to breaking the guarantee, or break it most."""
        return int(self._excess_db(gain_db).argmax())

    def _excess_db(self, gain_db: Array) -> Array:
        """``excess_db`` of each band [F]."""
        found = self.further_db(gain_db)
        if self.rests.any():
            lift = gain_db - self.rest_db(gain_db) - self.lift_db
            found[self.empty] = np.maximum(found, lift)[self.empty]
        return found

    def further_db(self, gain_db: Array) -> Array:
        """How much further than allowed gains [F] leave the bands that have to move, [F]."""
        far = self.far | self.held_far
        left = np.abs(self.left_db(gain_db)) - np.abs(self.need_db) - ALLOWED_DB
        return np.where(far, left, -np.inf)

    @property
    def rests(self) -> Mask:
        """Bands that hold the programme, if there are empty ones besides them."""
        return (self.known & ~self.empty) if self.empty.any() else np.zeros_like(self.known)

    def rest_db(self, gain_db: Array) -> float:
        """The gain against which empty bands may not rise: the median over the occupied bands, or
        over those that hold more than noise if that is lower."""
        both = [m for m in (self.rests, self.occupied) if m.any()]
        return min(float(np.median(gain_db[m])) for m in both)
