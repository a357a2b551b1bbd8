"""Ordinary voices and what is not: a distance that level, noise and empty bands do not change."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from retone.dsp.third_octaves import CENTRES_HZ
from retone.estimators.ordinary import ORDINARY, SPREAD_DB, UNUSUAL, VOICE_DB, damaged, distance
from retone.estimators.sound import Sound

WHERE = np.flatnonzero((CENTRES_HZ > 95) & (CENTRES_HZ < 8500))


def sound(apart_db: np.ndarray | float = 0.0) -> Sound:
    """The mean voice, with a difference in each of its bands."""
    levels = np.full(CENTRES_HZ.size, -80.0)
    levels[WHERE] = np.array(VOICE_DB) + apart_db
    inside = np.zeros(CENTRES_HZ.size, dtype=bool)
    inside[WHERE] = True
    return Sound(levels, inside, np.zeros(CENTRES_HZ.size, dtype=bool), None)


@given(st.floats(-60, 20))
def test_a_level_is_no_difference(level_db: float) -> None:
    assert distance(sound(level_db)) == pytest.approx(0, abs=1e-9)
    assert damaged(sound(level_db)) == 0


def test_the_distance_is_in_deviations_of_voices() -> None:
    signs = np.resize([1.0, -1.0], WHERE.size)
    for times in (0.5, 1.0, 2.0):
        assert distance(sound(times * signs * np.array(SPREAD_DB))) == pytest.approx(times, rel=0.3)
    tilt = np.linspace(-1, 1, WHERE.size)
    found = [damaged(sound(db * tilt)) for db in (3.0, 6.0, 12.0, 20.0)]
    assert found == sorted(found) and found[0] == 0 and found[-1] == 1
    assert 0 < ORDINARY < UNUSUAL


def test_bands_that_hold_nothing_or_noise_do_not_count() -> None:
    apart = np.zeros(WHERE.size)
    apart[-5:] = -25.0
    whole = sound(apart)
    assert damaged(whole) == 1
    noise = np.isin(np.arange(CENTRES_HZ.size), WHERE[-5:])
    assert distance(replace(whole, noise=noise)) == pytest.approx(0, abs=1e-9)
    levels = np.where(noise, whole.levels_db - 40, whole.levels_db)
    assert distance(replace(whole, levels_db=levels)) == pytest.approx(0, abs=1e-9)


def test_hum_below_the_voice_hides_nothing() -> None:
    unusual = sound(20 * np.linspace(-1, 1, WHERE.size))
    levels = unusual.levels_db.copy()
    levels[np.argmin(np.abs(CENTRES_HZ - 50))] = levels.max() + 60
    hum = replace(unusual, levels_db=levels, occupied=levels > levels.max() - 45)
    assert not hum.occupied[WHERE].any()
    assert distance(hum) == distance(unusual)
    assert damaged(hum) == 1


def test_too_few_bands_cannot_be_judged() -> None:
    noise = np.ones(CENTRES_HZ.size, dtype=bool)
    noise[WHERE[:7]] = False
    few = replace(sound(), noise=noise)
    assert distance(few) is None and damaged(few) is None
    noise[WHERE[7]] = False
    assert distance(replace(sound(), noise=noise)) == pytest.approx(0, abs=1e-9)
