"""Measures of natural pairs: exact answers on made-up signals, and what must not change them."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.signal import butter, sosfiltfilt

from retone.dsp.short_levels import (
    dynamics_db,
    noise_floor_change_db,
    octave_dynamics_db,
    short_levels_db,
)
from retone.dsp.third_octaves import CENTRES_HZ, third_octave_levels_db
from retone.errors import ShapeError
from retone.metrics.natural import boost_of_nothing_db, tone

RATE = 44100
FLAT = np.where(CENTRES_HZ < 19000, -40.0, np.nan)


def phrases(seed: int, pause_db: float = -60.0, rate: int = RATE) -> np.ndarray:
    """Noise of 8 s that alternates between loud, 12 dB softer and a pause."""
    x = np.random.default_rng(seed).standard_normal(8 * rate) * 0.1
    level = np.resize(np.repeat([0.0, -12.0, pause_db, 0.0], rate // 2), x.size)
    return x * 10 ** (level / 20)


def test_tone_counts_bands_that_come_nearer_or_end_further_away() -> None:
    need = np.where(CENTRES_HZ > 4000, 10.0, 0.0)
    found = tone(FLAT, FLAT + 0.5 * need, FLAT + need)
    assert found.apart == found.right == 6
    assert found.worse == 0
    assert found.before_db == pytest.approx(60 / 29)
    assert found.after_db == pytest.approx(30 / 29)
    assert tone(FLAT, FLAT, FLAT + need).right == 0
    wrong = tone(FLAT, FLAT - 0.2 * need, FLAT + need)
    assert (wrong.right, wrong.worse) == (0, 6)


@pytest.mark.parametrize("gains_db", [(-40.0, 0.0, 0.0), (0.0, 30.0, 0.0), (0.0, 0.0, -60.0)])
def test_tone_does_not_depend_on_levels(gains_db: tuple[float, float, float]) -> None:
    rng = np.random.default_rng(0)
    three = [FLAT + rng.uniform(-8, 8, FLAT.size) for _ in range(3)]
    moved = [x + g for x, g in zip(three, gains_db, strict=True)]
    assert tone(*moved).after_db == pytest.approx(tone(*three).after_db)
    assert tone(*moved).right == tone(*three).right


def test_tone_of_silence_is_undefined() -> None:
    found = tone(np.full(30, -300.0), FLAT, FLAT)
    assert np.isnan(found.before_db) and found.apart == 0


def test_boost_of_nothing_is_the_gain_of_empty_bands_against_the_rest() -> None:
    own = np.where(CENTRES_HZ < 200, FLAT - 50.0, FLAT)
    assert boost_of_nothing_db(own, own + 7.0) == pytest.approx(0.0)
    lifted = own + 7.0 + np.where(np.abs(CENTRES_HZ - 63) < 2, 9.0, 0.0)
    assert boost_of_nothing_db(own, lifted) == pytest.approx(9.0)
    assert np.isnan(boost_of_nothing_db(FLAT, FLAT + 3.0))


def test_a_boost_that_stays_inaudible_is_none() -> None:
    own = np.where(CENTRES_HZ < 200, -290.0, FLAT)
    out = np.where(CENTRES_HZ < 200, -160.0, FLAT)
    assert boost_of_nothing_db(own, out) == pytest.approx(0.0)


@pytest.mark.parametrize("gain_db", [-60.0, 12.0])
def test_dynamics_do_not_depend_on_level_silence_or_rate(gain_db: float) -> None:
    x = phrases(1)
    spread = dynamics_db(x, RATE)
    assert spread == pytest.approx(12.0, abs=0.5)
    assert dynamics_db(x * 10 ** (gain_db / 20), RATE) == pytest.approx(spread, abs=0.1)
    assert dynamics_db(np.concatenate([np.zeros(RATE * 3), x]), RATE) == pytest.approx(spread)
    assert dynamics_db(np.stack([x, -x]), RATE) == pytest.approx(spread)
    assert dynamics_db(phrases(1, rate=24000), 24000) == pytest.approx(spread, abs=0.3)


def test_octave_dynamics_see_one_octave_compressed() -> None:
    steady = np.random.default_rng(2).standard_normal(8 * RATE) * 0.1
    high = butter(8, 2800, "highpass", fs=RATE, output="sos")
    low = butter(8, 1000, "lowpass", fs=RATE, output="sos")
    x = sosfiltfilt(low, phrases(3)) + sosfiltfilt(high, steady)
    found = octave_dynamics_db(x, RATE)
    assert found.shape == (7,)
    np.testing.assert_allclose(found[1:3], 12.0, atol=3.0)
    assert (found[5:] < 3.0).all()
    assert np.isnan(octave_dynamics_db(phrases(3, rate=8000), 8000)[5:]).all()
    assert np.isnan(octave_dynamics_db(sosfiltfilt(low, phrases(3)), RATE)[5:]).all()


def test_noise_floor_change_is_what_the_pauses_rose_against_the_programme() -> None:
    x = phrases(4)
    assert noise_floor_change_db(x, 0.2 * x, RATE) == pytest.approx(0.0, abs=0.01)
    frame = round(0.05 * RATE)
    levels = short_levels_db(x, RATE)
    gain = np.repeat(np.where(levels < levels.max() - 40, 10 ** (5 / 20), 1.0), frame)
    lifted = x[: gain.size] * gain
    assert noise_floor_change_db(x[: gain.size], lifted, RATE) == pytest.approx(5.0, abs=0.1)


def test_digital_silence_is_no_noise_floor_and_steady_music_has_none() -> None:
    x = phrases(5)
    gapped = np.concatenate([x, np.zeros(20 * RATE)])
    louder = np.concatenate([x, np.full(20 * RATE, 1e-4)])
    assert noise_floor_change_db(gapped, louder, RATE) == pytest.approx(0.0, abs=0.01)
    steady = np.random.default_rng(6).standard_normal(4 * RATE)
    assert np.isnan(noise_floor_change_db(steady, steady, RATE))
    assert np.isnan(noise_floor_change_db(np.zeros(RATE), np.zeros(RATE), RATE))
    with pytest.raises(ShapeError, match="as long as the input"):
        noise_floor_change_db(x, x[:RATE], RATE)


def test_measures_agree_with_the_levels_of_real_signals() -> None:
    x = phrases(7)
    y = sosfiltfilt(butter(1, 2000, "lowpass", fs=RATE, output="sos"), x)
    a, b = third_octave_levels_db(x, RATE), third_octave_levels_db(y, RATE)
    assert tone(a, b, b).after_db == pytest.approx(0.0, abs=1e-9)
    assert tone(a, a, b).before_db > 3.0
