"""The curve of a match: which bands it sets, and where it leaves the guarantee to others."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from retone.dsp.third_octaves import BANDS, NOMINAL_HZ
from retone.estimators.curve_fit import WITH_PAUSES_DB, CurveRules, fit
from retone.estimators.guard import LIFT_DB, LIFT_OF_MIX_DB, Guard
from retone.estimators.match_fit import _eased_near, less_noisy
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


def one_sided() -> np.ndarray:
    """Most bands need little, a quarter of them need 30 dB more."""
    need = np.zeros(BANDS)
    need[:8] = 30.0
    return need


def test_gains_are_centred_where_one_side_would_reach_the_limit() -> None:
    guard = guard_for(one_sided())
    gains = gains_of(guard)
    assert np.abs(guard.left_db(gains)).max() < 0.05
    assert gains.max() <= DEFAULT.max_gain_db and np.ptp(gains) == pytest.approx(30.0, abs=0.1)


def test_a_recording_with_pauses_gets_smaller_gains() -> None:
    guard = replace(guard_for(one_sided()), pauses=True)
    gains = gains_of(guard)
    assert gains.max() <= WITH_PAUSES_DB < gains_of(guard_for(1.5 * one_sided())).max()


def test_bands_that_only_the_input_holds_stay_with_the_median() -> None:
    need = 1.4 * one_sided()
    every = np.ones(BANDS, bool)
    theirs = every.copy()
    theirs[-6:] = False
    own = Sound(np.zeros(BANDS), every, ~every, None)
    guard = Guard.of(own, Sound(need, theirs, ~every, None))
    gains = gains_of(guard)
    assert gains[0] == pytest.approx(DEFAULT.max_gain_db)
    assert np.allclose(gains[-3:], np.median(gains[:-6]), atol=0.1)


def test_a_band_of_noise_that_may_stay_does_not_fall_back() -> None:
    every = np.ones(BANDS, bool)
    noise = np.zeros(BANDS, bool)
    noise[20] = True
    need = np.zeros(BANDS)
    need[20] = 12.0
    own = Sound(np.zeros(BANDS), every, noise, None)
    guard = Guard.of(own, Sound(need, every, ~every, None))
    wanted = np.where(noise, -9.0, 0.0)
    values = fit(guard, wanted, np.zeros(BANDS), {}, DEFAULT)
    total = np.array(list(values.values()))[1:]
    assert guard.held_far[20] and abs(guard.relative_db(total)[20]) < 0.1


def test_beyond_the_limits_both_ends_give_up_alike() -> None:
    need = np.concatenate([np.full(15, 40.0), np.full(15, -40.0)])
    gains = gains_of(guard_for(need))
    assert np.allclose(gains[:15], 24.0) and np.allclose(gains[15:], -24.0)


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.floats(-50, 50), min_size=BANDS, max_size=BANDS), st.booleans(), st.integers(0, 9)
)
def test_a_band_that_has_to_move_goes_the_right_way(
    need_db: list[float], pauses: bool, seed: int
) -> None:
    added_db = np.random.default_rng(seed).normal(size=BANDS)
    need = np.array(need_db)
    guard = replace(guard_for(need - np.median(need)), pauses=pauses)
    wanted_db = guard.need_db + np.random.default_rng(seed + 10).normal(0, 8, BANDS)
    values = fit(guard, wanted_db, added_db, {}, DEFAULT)
    total = np.array(list(values.values()))[1:] + added_db
    limited = np.abs(total - added_db) > (WITH_PAUSES_DB if pauses else DEFAULT.max_gain_db) - 0.01
    assert guard.further_db(total)[~limited].max(initial=-1.0) <= 0.05


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 10_000), st.floats(0.5, 20.0))
def test_noise_comes_down_and_no_gain_changes_its_sign(seed: int, by_db: float) -> None:
    rng = np.random.default_rng(seed)
    gain, noise, programme = rng.normal(0, 9, BANDS), *10 ** rng.normal(-3, 1, (2, BANDS))

    def lift_db(gains: np.ndarray) -> float:
        rose = 10 ** ((gains - gain) / 10)
        return float(10 * np.log10((noise * rose).sum() / (programme * rose).sum()))

    less = less_noisy(gain, noise, programme, by_db)
    middle = np.median(gain)
    change, left = gain - middle, less - middle
    assert np.all(left * change >= -1e-9) and np.all(np.abs(left) <= np.abs(change) + 1e-9)
    reached = lift_db(gain) - lift_db(less)
    most = lift_db(gain) - lift_db(np.full(BANDS, middle))
    assert min(by_db, most) - 0.6 <= reached <= by_db + 0.6
