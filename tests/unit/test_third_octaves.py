"""Third-octave levels: known signals, and what must not change them."""

from __future__ import annotations

import numpy as np
import pytest
import soxr
from scipy.signal import firwin2, lfilter, welch

from retone.dsp.third_octaves import (
    CENTRES_HZ,
    SILENCE_DB,
    levels_db,
    occupied_bands,
    segment_powers,
    third_octave_levels_db,
    tone_difference_db,
    used_bands,
)
from retone.errors import AudioError, ShapeError

RATE = 44100


def noise(seed: int, seconds: float = 6.0, rate: int = RATE) -> np.ndarray:
    return 0.1 * np.random.default_rng(seed).standard_normal(int(seconds * rate))


def shaped(x: np.ndarray, points: list[tuple[float, float]], rate: int = RATE) -> np.ndarray:
    """``x`` through a filter with (Hz, dB) as its response."""
    hz = [0.0, *(f for f, _ in points), rate / 2]
    db = [points[0][1], *(g for _, g in points), points[-1][1]]
    taps = firwin2(8191, hz, 10 ** (np.array(db) / 20), fs=rate)
    return lfilter(taps, 1.0, np.concatenate([x, np.zeros(4095)]))[4095:]


def test_a_sine_has_its_power_in_its_own_band() -> None:
    x = np.sin(2 * np.pi * 1000 * np.arange(4 * RATE) / RATE)
    found = third_octave_levels_db(x, RATE)
    assert found[16] == pytest.approx(-3.01, abs=0.01)
    assert CENTRES_HZ[16] == 1000
    assert list(np.flatnonzero(occupied_bands(found))) == [16]


def test_white_noise_rises_by_a_decibel_per_band_to_its_known_level() -> None:
    found = third_octave_levels_db(noise(0, 30.0), RATE)
    width_hz = CENTRES_HZ * (2 ** (1 / 6) - 2 ** (-1 / 6))
    want = 10 * np.log10(0.01 * width_hz / (RATE / 2))
    np.testing.assert_allclose(found[4:29], want[4:29], atol=0.6)


def test_the_segments_are_those_of_welch() -> None:
    x = noise(1)[None].repeat(2, 0)
    x[1] *= 0.5
    f, density = welch(x, RATE, nperseg=8192)
    inside = (f > CENTRES_HZ[20] * 2 ** (-1 / 6)) & (f < CENTRES_HZ[20] * 2 ** (1 / 6))
    want = 10 * np.log10(density.mean(0)[inside].sum() * f[1])
    assert levels_db(segment_powers(x, RATE))[20] == pytest.approx(want, abs=0.05)


def test_a_filter_is_read_exactly_as_a_difference_in_tone() -> None:
    points = [(100.0, -6.0), (400.0, -6.0), (2000.0, 6.0), (16000.0, 6.0)]
    x = noise(2, 12.0)
    a, b = (third_octave_levels_db(v, RATE) for v in (x, 5.0 * shaped(x, points)))
    used = used_bands(a, b)
    found = tone_difference_db(a, b, used)
    assert np.median(found[used]) == pytest.approx(0.0, abs=1.0)
    low, high = found[5:10].mean(), found[22:28].mean()
    assert high - low == pytest.approx(12.0, abs=0.2)


@pytest.mark.parametrize("gain_db", [-60.0, 12.0])
def test_gain_moves_all_bands_alike(gain_db: float) -> None:
    x = noise(3)
    a, b = (third_octave_levels_db(v, RATE) for v in (x, x * 10 ** (gain_db / 20)))
    np.testing.assert_allclose((b - a)[:29], gain_db, atol=1e-6)


@pytest.mark.parametrize("where", ["before", "after"])
def test_digital_silence_moves_all_bands_alike(where: str) -> None:
    x, nothing = noise(4), np.zeros(24 * RATE)
    y = np.concatenate([nothing, x] if where == "before" else [x, nothing])
    moved = (third_octave_levels_db(y, RATE) - third_octave_levels_db(x, RATE))[3:29]
    np.testing.assert_allclose(moved, 10 * np.log10(x.size / y.size), atol=0.6)
    assert np.ptp(moved) < 1.0


@pytest.mark.parametrize("rate", [8000, 22050, 24000, 96000, 192000])
def test_a_copy_at_another_rate_reads_alike(rate: int) -> None:
    x = shaped(noise(5, 12.0), [(100.0, 0.0), (16000.0, -20.0)])
    a, b = (
        third_octave_levels_db(x, RATE),
        third_octave_levels_db(soxr.resample(x, RATE, rate), rate),
    )
    inside = CENTRES_HZ * 2 ** (1 / 6) < 0.45 * min(rate, RATE)
    np.testing.assert_allclose(b[inside][3:], a[inside][3:], atol=0.7)
    assert np.isnan(b[CENTRES_HZ * 2 ** (1 / 6) > rate / 2]).all()


def test_channels_add_in_power_so_opposite_ones_do_not_vanish() -> None:
    x = noise(6)
    one = third_octave_levels_db(x, RATE)
    np.testing.assert_allclose(third_octave_levels_db(np.stack([x, -x]), RATE), one, atol=1e-9)
    dead = third_octave_levels_db(np.stack([x, 0 * x]), RATE)
    np.testing.assert_allclose((one - dead)[:29], 10 * np.log10(2), atol=1e-6)


def test_single_and_double_precision_read_alike() -> None:
    x = shaped(noise(7), [(1000.0, 0.0), (8000.0, -80.0)])
    a, b = (third_octave_levels_db(x.astype(t), RATE) for t in (np.float32, np.float64))
    np.testing.assert_allclose(a[:29], b[:29], atol=0.01)


def test_short_silent_and_empty_recordings() -> None:
    assert np.isfinite(third_octave_levels_db(noise(8)[:500], RATE)[10:29]).all()
    silent = third_octave_levels_db(np.zeros(RATE), RATE)
    assert (silent[:29] == SILENCE_DB).all()
    assert not occupied_bands(silent).any()
    assert np.isnan(tone_difference_db(silent, silent, occupied_bands(silent))).all()
    with pytest.raises(AudioError, match="expected samples"):
        third_octave_levels_db(np.zeros(0), RATE)
    with pytest.raises(ShapeError, match="third octaves"):
        third_octave_levels_db(np.zeros((1, 2, 3)), RATE)
