"""A wanted curve becomes gains: as it is, smoothed, and only within its range."""

from __future__ import annotations

import numpy as np
import pytest

from retone.effects.curve_equalizer import CENTRES_HZ, CURVE_TABLE
from retone.errors import SettingError
from retone.estimators.curve_fit import curve_gains

CENTRES = np.array(CENTRES_HZ)
WANTED = 8 * np.sin(np.arange(31) / 2)


def gains(wanted=WANTED, hz=CENTRES, **options) -> np.ndarray:  # type: ignore[no-untyped-def]
    found = curve_gains(hz, wanted, **options)
    assert tuple(found) == CURVE_TABLE.names
    return np.array(list(found.values()))


def test_without_smoothing_the_gains_are_the_curve() -> None:
    np.testing.assert_allclose(gains(smoothing_octaves=0), WANTED, atol=0.25)  # the grid's step


@pytest.mark.parametrize("octaves", [1 / 3, 1, 2])
def test_smoothing_lessens_detail_and_keeps_slopes(octaves: float) -> None:
    teeth = np.where(np.arange(31) % 2, 3.0, -3.0)
    slope = 0.4 * np.arange(31)
    left = gains(teeth, smoothing_octaves=octaves)[6:-6]
    assert np.abs(left).max() < 3.0 / (1 + octaves)
    np.testing.assert_allclose(
        gains(slope, smoothing_octaves=octaves)[6:-6], slope[6:-6], atol=0.05
    )


def test_nothing_is_done_an_octave_outside_the_range() -> None:
    found = gains(np.full(31, 6.0), lowest_hz=100, highest_hz=5000, smoothing_octaves=0)
    inside = (CENTRES >= 100) & (CENTRES <= 5000)
    outside = (CENTRES < 49) | (CENTRES > 10200)
    np.testing.assert_allclose(found[inside], 6, atol=1e-9)
    np.testing.assert_allclose(found[outside], 0, atol=1e-9)
    steps = np.abs(np.diff(found))
    assert steps.max() < 6 * 0.6  # no cliff


def test_unknown_bands_follow_their_neighbours() -> None:
    holes = WANTED.copy()
    holes[[0, 1, 10, 30]] = np.nan
    found = gains(holes, smoothing_octaves=0)
    np.testing.assert_allclose(found[[0, 1]], WANTED[2], atol=0.25)
    assert abs(found[10] - (WANTED[9] + WANTED[11]) / 2) < 0.25


def test_gains_stay_in_range() -> None:
    assert np.abs(gains(np.full(31, 90.0))).max() == 24.0


@pytest.mark.parametrize(
    ("hz", "wanted", "options", "text"),
    [
        (CENTRES[::-1], WANTED, {}, "increase"),
        (CENTRES, WANTED[:5], {}, "got"),
        (CENTRES, np.full(31, np.nan), {}, "known"),
        (CENTRES, WANTED, {"lowest_hz": 900.0, "highest_hz": 500.0}, "below the highest"),
        (CENTRES, WANTED, {"smoothing_octaves": -1.0}, "outside 0..4"),
    ],
)
def test_what_is_no_curve_is_refused(hz, wanted, options, text) -> None:  # type: ignore[no-untyped-def]
    with pytest.raises(SettingError, match=text):
        curve_gains(hz, wanted, **options)
