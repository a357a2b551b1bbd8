"""The curve of a match: which bands it sets, and where it leaves the guarantee to others."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from retone.dsp.third_octaves import BANDS, NOMINAL_HZ
from retone.estimators.curve_fit import CurveRules, fit
from retone.estimators.guard import LIFT_DB, LIFT_OF_MIX_DB, Guard
from retone.estimators.match_fit import _eased_near
from retone.estimators.matching import _notes
from retone.estimators.sound import Sound

DEFAULT = CurveRules()


def guard_for(need_db: np.ndarray, rules: CurveRules = DEFAULT) -> Guard:
    """A guard for a flat input and a reference that needs these gains."""
    every = np.ones(BANDS, bool)
    own = Sound(np.zeros(BANDS), every, ~every, None)
    return Guard.of(own, replace(own, levels_db=need_db), rules.inside)


def gains_of(guard: Guard, rules: CurveRules = DEFAULT) -> np.ndarray:
    values = fit(guard, guard.need_db, np.zeros(BANDS), {}, rules)
    return np.array(list(values.values()))[1:]


def bent(top_db: float) -> np.ndarray:
    """What is needed where the highest band goes the other way than its neighbours."""
    need = np.zeros(BANDS)
    need[-4:-1], need[-1] = -5.0, top_db
    return need


def test_the_default_range_holds_every_band() -> None:
    need = bent(3.5)
    assert np.allclose(gains_of(guard_for(need)), need, atol=0.01)


def test_outside_the_range_the_curve_fades_and_nothing_has_to_move() -> None:
    rules = CurveRules(lowest_hz=100.0, highest_hz=10000.0)
    need = np.linspace(-12.0, 12.0, BANDS)
    guard = guard_for(need, rules)
    gains = gains_of(guard, rules)
    outside = ~rules.inside
    assert guard.matched[rules.inside].all() and not guard.matched[outside].any()
    assert np.ptp((gains - need)[rules.inside]) < 0.01
    assert np.all(np.diff(np.abs(gains[NOMINAL_HZ >= 10000])) < 0) and abs(gains[-1]) < 0.01
    assert guard.excess_db(gains) <= 0 and not guard.far[outside].any()


@pytest.mark.parametrize("limits_hz", [(20.0, 200.0), (900.0, 1100.0)])
def test_a_range_that_differs_as_a_whole_moves_as_a_whole(limits_hz: tuple[float, float]) -> None:
    rules = CurveRules(0.0, *limits_hz)
    need = np.where(rules.inside, 8.0, 0.0)
    gains = gains_of(guard_for(need, rules), rules)
    assert rules.inside.any() and np.allclose(gains[rules.inside], 8.0)


def test_limits_are_those_of_the_nominal_bands() -> None:
    inside = NOMINAL_HZ[CurveRules(lowest_hz=80.0, highest_hz=12500.0).inside]
    assert (inside[0], inside[-1]) == (80.0, 12500.0)


@pytest.mark.parametrize(("mixed", "lift_db"), [(False, LIFT_DB), (True, LIFT_OF_MIX_DB)])
def test_an_empty_band_of_a_mix_may_rise_less(mixed: bool, lift_db: float) -> None:
    levels = np.zeros(BANDS)
    levels[-1] = -60.0
    own = Sound(levels, levels > -45, np.zeros(BANDS, bool), None, mixed)
    guard = Guard.of(own, own)
    for by_db in (-0.01, 0.01):
        gain = np.zeros(BANDS)
        gain[-1] = lift_db + by_db
        assert guard.excess_db(gain) == pytest.approx(by_db)


def test_a_band_just_above_the_limit_of_nothing_is_not_lifted() -> None:
    levels = np.zeros(BANDS)
    levels[-1] = -44.8
    own = Sound(levels, levels > -45, np.zeros(BANDS, bool), None)
    guard = Guard.of(own, replace(own, levels_db=levels + np.linspace(-9.0, 9.0, BANDS)))
    assert guard.held[-1] and not guard.held[:-1].any()
    notes = _notes(guard, own, own)
    assert notes == ("Above 16 kHz the input holds next to nothing; that range is not lifted.",)


@pytest.mark.parametrize(("gain_db", "rises"), [(-2.0, True), (12.0, False)])
def test_a_band_that_goes_the_wrong_way_is_pushed_and_one_that_goes_too_far_eased(
    gain_db: float, rises: bool
) -> None:
    guard = guard_for(bent(4.0))
    gain = np.zeros(BANDS)
    gain[-1] = gain_db
    wanted = guard.need_db
    found = _eased_near(wanted, BANDS - 1, 1.0, gain, guard)
    assert (found[-1] > wanted[-1]) == rises and found[-1] != wanted[-1]
    assert np.array_equal(found[:20], wanted[:20])
