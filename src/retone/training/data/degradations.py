"""Degradations of clips: background noise, band limits, and playback at another speed."""

from __future__ import annotations

import math

import numpy as np

from retone.audio.resampling import resampled
from retone.units import db_to_gain

Array = np.ndarray
TILT_DB_PER_OCTAVE = (-6.0, 1.0)
KNEE_HZ = 60.0
HUM_HZ, HUM_PROBABILITY, HUM_PARTIALS = (50.0, 60.0), 0.3, 8
EDGE_OCTAVES = 0.08
"""Width of a low-pass's transition, as steep as in resamplers or telephones."""


def draw_noise(rng: np.random.Generator, length: int, sample_rate: float) -> Array:
    """Steady background noise [length], float32 of RMS 1: coloured, sometimes with mains hum.

    Its power falls by up to 6 dB per octave, or rises by 1, above 60 Hz.
    """
    from scipy.fft import irfft, next_fast_len, rfftfreq

    size = next_fast_len(length, real=True)
    frequency = rfftfreq(size, 1.0 / sample_rate)
    tilt_db = float(rng.uniform(*TILT_DB_PER_OCTAVE))
    octaves = np.log2(np.maximum(frequency, KNEE_HZ) / KNEE_HZ)
    shape = 10.0 ** (tilt_db * octaves / 20.0)
    shape[frequency < KNEE_HZ / 3] = 0.0
    phase = rng.uniform(0.0, 2.0 * math.pi, frequency.size)
    spread = np.sqrt(rng.exponential(size=frequency.size))
    noise = irfft(shape * spread * np.exp(1j * phase), size)[:length]
    noise /= math.sqrt(float(np.mean(noise * noise)))
    if rng.random() < HUM_PROBABILITY:
        mains_hz = float(rng.choice(HUM_HZ)) * float(rng.uniform(0.998, 1.002))
        t = np.arange(length) / sample_rate
        level = float(db_to_gain(rng.uniform(-12.0, 3.0)))
        for partial in range(1, HUM_PARTIALS + 1):
            phase = rng.uniform(0.0, 2.0 * math.pi)
            noise += level / partial * np.sin(2 * math.pi * partial * mains_hz * t + phase)
        noise /= math.sqrt(float(np.mean(noise * noise)))
    return noise.astype(np.float32)


def low_pass(audio: Array, sample_rate: float, edge_hz: float) -> Array:
    """Audio [T] without frequencies above ``edge_hz``: steep, linear phase without delay."""
    from scipy.fft import irfft, next_fast_len, rfft, rfftfreq

    size = next_fast_len(audio.size, real=True)
    frequency = rfftfreq(size, 1.0 / sample_rate)
    octaves = np.log2(np.maximum(frequency, 1.0) / edge_hz) / EDGE_OCTAVES
    keep = 0.5 * (1 + np.cos(math.pi * np.clip(octaves, 0.0, 1.0)))
    cut = irfft(rfft(audio, size) * keep, size)[: audio.size]
    return cut.astype(audio.dtype)


def play_at_speed(audio: Array, speed: float, length: int) -> Array:
    """The first ``length`` samples of audio [T] played ``speed`` times as fast: pitch and formants
    shift together, as for a larger or smaller speaker. Needs ``ceil(length * speed) + 2`` samples.
    """
    fast = resampled(audio, speed, 1.0, "MQ") if speed != 1.0 else audio
    if fast.size < length:  # a rounding short
        fast = np.pad(fast, (0, length - fast.size))
    return np.ascontiguousarray(fast[:length])
