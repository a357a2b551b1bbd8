"""Steady noise is told from what varies by nothing but how its level varies."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import signal

from retone.dsp.steady import steady_bands
from retone.dsp.third_octaves import CENTRES_HZ, occupied_bands, third_octave_levels_db

SPLIT_HZ = 2000.0


def swelling(size: int, rate: int, seed: int) -> np.ndarray:
    """Noise from 300 Hz to ``SPLIT_HZ`` whose level rises and falls like that of syllables."""
    rng = np.random.default_rng(seed)
    sections = signal.butter(8, (300.0, SPLIT_HZ), "bandpass", fs=rate, output="sos")
    level_db = -15 + 15 * np.sin(2 * np.pi * 4 * np.arange(size) / rate + rng.uniform(0, 6))
    return np.asarray(signal.sosfilt(sections, rng.standard_normal(size)) * 10 ** (level_db / 20))


def steady(size: int, rate: int, seed: int, slope: float) -> np.ndarray:
    """Noise whose power falls with frequency to this power."""
    spectrum = np.fft.rfft(np.random.default_rng(seed + 100).standard_normal(size))
    spectrum *= np.maximum(np.fft.rfftfreq(size, 1 / rate), 20.0) ** (-slope / 2)
    x = np.fft.irfft(spectrum, size)
    return np.asarray(x / np.sqrt(np.mean(x**2)))


def mixed(
    rate: int, seconds: float, seed: int, slope: float, below_db: float
) -> tuple[np.ndarray, np.ndarray]:
    """What swells with noise below it, and the occupied bands that hold nothing else."""
    size = round(seconds * rate)
    own, other = swelling(size, rate, seed), steady(size, rate, seed, slope)
    own /= np.sqrt(np.mean(own**2))
    x = own + other * 10 ** (-below_db / 20)
    alone, both = (third_octave_levels_db(a, rate) for a in (own, x))
    return x, occupied_bands(both) & (alone < both - 15)


@pytest.mark.parametrize("rate", [16000, 24000, 44100, 48000])
@pytest.mark.parametrize(
    ("slope", "below_db"), [(0.0, 25.0), (0.0, 35.0), (1.0, 25.0), (0.5, 30.0)]
)
@pytest.mark.parametrize("seconds", [4.0, 12.0])
def test_noise_of_any_level_and_colour_is_found(
    rate: int, slope: float, below_db: float, seconds: float
) -> None:
    missed = total = 0
    for seed in range(4):
        x, empty = mixed(rate, seconds, seed, slope, below_db)
        found = steady_bands(x, rate)
        missed += int((empty & ~found).sum())
        total += int(empty.sum())
    assert total > 10
    assert missed <= 0.05 * total


def test_what_varies_is_not_taken_for_noise() -> None:
    for seed in range(6):
        x, _ = mixed(24000, 8.0, seed, 0.0, 25.0)
        found = steady_bands(x, 24000)
        assert not found[(CENTRES_HZ > 320) & (CENTRES_HZ < 0.9 * SPLIT_HZ)].any()


@pytest.mark.parametrize("gain", [1e-4, 30.0])
def test_the_level_of_the_recording_does_not_count(gain: float) -> None:
    x, _ = mixed(24000, 8.0, 0, 0.0, 25.0)
    np.testing.assert_array_equal(steady_bands(gain * x, 24000), steady_bands(x, 24000))


def test_a_loud_steady_sound_is_none() -> None:
    rate = 24000
    t = np.arange(8 * rate) / rate
    x = swelling(len(t), rate, 0)
    for hz in (40.0, 6000.0):
        tone = 0.3 * np.sqrt(np.mean(x**2)) * np.sin(2 * np.pi * hz * t)
        assert not steady_bands(x + tone, rate)[np.argmin(np.abs(CENTRES_HZ - hz))]


def test_noise_between_what_varies_is_none() -> None:
    """A gap in the middle is no limit of a band: only the ends of the spectrum count."""
    rate = 24000
    size = 8 * rate
    top = signal.butter(8, 6000.0, "highpass", fs=rate, output="sos")
    level = 10 ** ((-15 + 15 * np.sin(2 * np.pi * 3 * np.arange(size) / rate)) / 20)
    high = signal.sosfilt(top, steady(size, rate, 1, 0.0)) * level
    x = swelling(size, rate, 0) + high + 0.01 * steady(size, rate, 2, 0.0)
    assert not steady_bands(x, rate)[(CENTRES_HZ > 320)].any()


def test_silence_and_little_sound_have_none() -> None:
    assert not steady_bands(np.zeros(24000), 24000).any()
    assert not steady_bands(steady(1000, 24000, 0, 0.0), 24000).any()
