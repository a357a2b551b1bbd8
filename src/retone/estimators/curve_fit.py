"""Set a curve equaliser to a wanted gain under the guarantee (``retone.estimators.guard``).

Every third octave has its own gain, so nothing has to be searched: matched bands get what is
wanted, within what the guarantee allows; bands in which only the input holds sound fade from the
nearest matched band to no change within ``FADE_BANDS``; empty bands keep their neighbour's gain but
are not lifted against the rest.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from retone.dsp.measure import Array
from retone.dsp.third_octaves import NOMINAL_HZ
from retone.effects.curve_equalizer import CURVE_TABLE
from retone.errors import SettingError
from retone.estimators.guard import Guard
from retone.estimators.sound import Mask

FADE_BANDS = 3
MARGIN_DB = 0.3
EVEN_DB = 0.3
STEPS, STEADY_DB = 16, 0.02
WITH_PAUSES_DB = 18.0


@dataclass(frozen=True)
class CurveRules:
    """Limits of a curve.

    Args:
        smooth_octaves: full width at half maximum of a Gaussian that smooths the curve; 0 keeps
            the detail of third octaves.
        lowest_hz, highest_hz: outside of these the curve fades to no change.
        max_gain_db: largest gain, either way, of a recording without pauses; with pauses at most
            ``WITH_PAUSES_DB``, so that noise stays low; between the two where the pauses are not
            clear.
    """

    smooth_octaves: float = 0.0
    lowest_hz: float = 20.0
    highest_hz: float = 20000.0
    max_gain_db: float = 24.0

    def __post_init__(self) -> None:
        if not 0 <= self.smooth_octaves <= 3:
            raise SettingError(f"smooth_octaves = {self.smooth_octaves}: expected 0 to 3.")
        if not 0 < self.lowest_hz < self.highest_hz:
            raise SettingError(
                f"lowest_hz = {self.lowest_hz:g} and highest_hz = {self.highest_hz:g}: expected "
                "two frequencies above 0 Hz, the lowest first."
            )

    @property
    def inside(self) -> Mask:
        """The third octaves [F] that the curve may change."""
        return (self.lowest_hz <= NOMINAL_HZ) & (self.highest_hz >= NOMINAL_HZ)


def fit(
    guard: Guard,
    wanted_db: Array,
    added_db: Array,
    locks: Mapping[str, float],
    rules: CurveRules,
) -> dict[str, float]:
    """Find the gains.

    Args:
        guard: the bands and what they need.
        wanted_db: [F] wanted gain in the matched bands, relative to any constant.
        added_db: [F] gain that the rest of the chain adds, and the curve's slopes.
        locks: parameters with fixed values.
        rules: limits.
    """
    gain = np.zeros(len(wanted_db))
    if (guard.matched & rules.inside).any():
        total = smoothed(guard.relative_db(wanted_db), guard.matched, rules.smooth_octaves)
        for _ in range(STEPS):  # the median level moves a little with every correction
            before, gain = gain, _gains(guard, total - added_db, added_db, rules)
            if np.array_equal(before, gain):
                break
            wrong = missing_db(gain + added_db, guard)
            if np.abs(wrong).max() < STEADY_DB:
                break
            total = total + wrong
    values = np.concatenate([gain[:1], gain])  # the curve begins at 20 Hz, the bands at 25 Hz
    return dict(zip(CURVE_TABLE.names, (float(v) for v in values), strict=True)) | dict(locks)


def _gains(guard: Guard, gain_db: Array, added_db: Array, rules: CurveRules) -> Array:
    """What can be set of gains [F] in the matched bands, for all bands."""
    use = guard.matched & rules.inside
    most = rules.max_gain_db
    most -= guard.pauses * max(most - WITH_PAUSES_DB, 0.0)
    rest = 0.0
    if rules.inside.all():
        rest = float(np.median(gain_db[use]))
        centre = guard.pauses * rest + (1 - guard.pauses) * centre_db(gain_db[use], most)
        gain_db, rest = gain_db - centre, rest - centre
    return np.clip(spread_out(gain_db, use, guard, added_db, rest), -most, most)


def centre_db(gain_db: Array, most_db: float) -> float:
    """The gain that becomes 0 dB: the median of gains [N], or as near to it as lets all of them
    stay within ``most_db`` either way; if none does, the one that cuts off as much at the top as at
    the bottom."""
    median = float(np.median(gain_db))
    low, high = float(gain_db.max()) - most_db, float(gain_db.min()) + most_db
    if low <= high:
        return min(max(median, low), high)

    from scipy.optimize import brentq  # slow to import, and seldom needed

    def beyond(centre: float) -> float:
        left = gain_db - centre
        return float((left - np.clip(left, -most_db, most_db)).sum())

    return float(brentq(beyond, high, low))


def smoothed(curve_db: Array, use: Mask, octaves: float) -> Array:
    """The curve [F] smoothed over the bands that count."""
    if octaves <= 0:
        return curve_db
    width = 3 * octaves / 2.355
    at = np.arange(len(curve_db))
    weight = np.exp(-0.5 * ((at[:, None] - at) / width) ** 2) * use
    return np.asarray((weight @ np.where(use, curve_db, 0.0)) / np.maximum(weight.sum(1), 1e-9))


def missing_db(total_db: Array, guard: Guard) -> Array:
    """What gains [F] must change by to keep the guarantee.

    A band far from the reference moves towards it by at least ``MARGIN_DB``, and not beyond its
    mirror image.
    """
    out = guard.relative_db(total_db)
    sign, size = np.sign(guard.need_db), np.abs(guard.need_db)
    most = np.maximum(2 * size - MARGIN_DB, MARGIN_DB)
    goal = np.where(guard.far, sign * np.clip(sign * out, MARGIN_DB, most), out)
    goal = np.where(guard.held_far, np.maximum(goal, 0.0), goal)
    return np.asarray(goal - out)


def spread_out(
    gain_db: Array, use: Mask, guard: Guard, added_db: Array, rest_db: float = 0.0
) -> Array:
    """Gains for all bands from those in use, which fade to ``rest_db``."""
    at = np.flatnonzero(use)
    known = np.arange(len(gain_db))
    nearest = at[np.abs(known[:, None] - at).argmin(axis=1)]
    away = np.abs(known - nearest)
    share = np.clip(1 - away / FADE_BANDS, 0.0, 1.0)
    out = np.where(use, gain_db, rest_db + share * (gain_db[nearest] - rest_db))
    if guard.rests.any():
        top = guard.rest_db(out + added_db) + guard.lift_db - EVEN_DB
        out = np.where(guard.empty, np.minimum(out, top - added_db), out)
    return np.asarray(out)
