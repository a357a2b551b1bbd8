"""Recordings made here, and what may be added to them without a change of what sounds."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from scipy import signal

from retone.audio.array_reader import ArrayReader
from retone.dsp.spectral import stft
from retone.estimators.base import Excerpt
from retone.process.excerpt import load_excerpt

RATE = 24000
THIRDS_HZ = 1000.0 * 2.0 ** (np.arange(-12, 13) / 3.0)
USED_DB = 45.0
"""Bands further below the loudest one hold no sound of the recording."""


@dataclass(frozen=True)
class Recording:
    """Samples [T] or [C, T], and where its phrases end, in samples."""

    samples: np.ndarray
    rate: int
    ends: tuple[int, ...]


@functools.cache
def voice(
    seed: int = 0, rate: int = RATE, phrases: int = 5, floor_db: float = -62.0, bright_db: float = 0
) -> Recording:
    """Phrases of voiced syllables and fricatives with pauses of 0.4 s, over steady room noise.

    Args:
        floor_db: level of the room noise in dBFS.
        bright_db: gain of a shelf above 2 kHz.
    """
    rng = np.random.default_rng(seed)
    pitch, parts, ends = rng.uniform(95, 210), [], []
    length = 0
    for _ in range(phrases):
        for _ in range(int(rng.integers(5, 9))):
            n = int(rng.uniform(0.12, 0.24) * rate)
            t = np.arange(n) / rate
            glide = pitch * rng.uniform(0.85, 1.2) * (1 + 0.15 * t)
            phase = 2 * np.pi * np.cumsum(glide) / rate
            first, second = rng.uniform(300, 800), rng.uniform(900, 2300)
            vowel = np.zeros(n)
            for k in range(1, int(5000 / glide.max())):
                f = k * pitch
                shape = sum(np.exp(-(((f - c) / w) ** 2)) for c, w in ((first, 200), (second, 350)))
                vowel += (shape + 0.03) * np.sin(k * phase + rng.uniform(0, 6)) / np.sqrt(k)
            hiss = signal.lfilter([1, -0.9], [1], rng.standard_normal(n)) * rng.uniform(0.02, 0.12)
            part = vowel * np.hanning(n) ** 0.7 + hiss * np.roll(np.hanning(n), n // 3)
            parts.append(rng.uniform(0.5, 1.0) * part)
            parts.append(np.zeros(int(rng.uniform(0.02, 0.06) * rate)))
            length += n + len(parts[-1])
        ends.append(length + round(0.2 * rate))
        parts.append(np.zeros(round(0.4 * rate)))
        length += len(parts[-1])
    x = np.concatenate(parts)
    if bright_db:
        high = signal.sosfilt(signal.butter(1, 2000, "high", fs=rate, output="sos"), x)
        x = x + (10 ** (bright_db / 20) - 1) * high
    x = 0.4 * x / np.abs(x).max() + 10 ** (floor_db / 20) * rng.standard_normal(len(x))
    return Recording(x.astype(np.float32), rate, tuple(ends))


@functools.cache
def music(seed: int = 0, rate: int = RATE, seconds: float = 12.0) -> Recording:
    """Sustained chords over a bass, a new one every second, louder and quieter."""
    rng = np.random.default_rng(seed)
    t = np.arange(round(seconds * rate)) / rate
    out = 0.002 * rng.standard_normal(len(t))
    for start in range(int(seconds)):
        on = np.clip(20 * (t - start), 0, 1) * np.clip(20 * (start + 1.1 - t), 0, 1)
        for base in (55.0, *rng.choice([220.0, 262.0, 330.0, 392.0], 3, replace=False)):
            for k in range(1, 9):
                out += rng.uniform(0.3, 1) * on * np.sin(2 * np.pi * base * k * t) / k
    x = (0.4 * out / np.abs(out).max()).astype(np.float32)
    return Recording(x, rate, tuple(int(s * rate) for s in range(2, int(seconds), 2)))


def zeros(n: int, seed: int = 0) -> np.ndarray:
    """Digital silence."""
    return np.zeros(n, np.float32)


def dither(n: int, seed: int = 0) -> np.ndarray:
    """Silence with the triangular dither of 16 bits."""
    rng = np.random.default_rng([seed, n])
    return (np.round(rng.random(n) - rng.random(n)) * 2.0**-15).astype(np.float32)


def hiss(n: int, seed: int = 0) -> np.ndarray:
    """White noise at -80 dBFS."""
    return (1e-4 * np.random.default_rng([seed, n]).standard_normal(n)).astype(np.float32)


SILENCES: dict[str, Callable[[int, int], np.ndarray]] = {
    "zeros": zeros, "dither": dither, "-80 dB": hiss,
}  # fmt: skip
PLACES = ("before", "after", "between", "short gaps")


def with_silence(recording: Recording, silence: str, place: str, seconds: float) -> np.ndarray:
    """A recording with so many seconds of silence in all; short gaps last at most 0.3 s each."""
    make, x, rate = SILENCES[silence], recording.samples, recording.rate
    n = round(seconds * rate)
    if place == "before":
        return np.concatenate([make(n, 1), x])
    if place == "after":
        return np.concatenate([x, make(n, 2)])
    ends = recording.ends[:-1]
    each = n // len(ends)
    if place == "short gaps":
        each = min(each, round(0.3 * rate))
    parts, last = [], 0
    for i, end in enumerate(ends):
        parts += [x[last:end], make(each, 3 + i)]
        last = end
    return np.concatenate([*parts, x[last:]])


def excerpt_of(samples: np.ndarray, rate: int = RATE) -> tuple[Excerpt, float]:
    """Excerpt and peak of [T] or [C, T]."""
    samples = samples[None] if samples.ndim == 1 else samples
    return load_excerpt(ArrayReader(samples, rate, "recording"))


def thirds_db(audio: torch.Tensor, rate: int) -> np.ndarray:
    """Third-octave levels of [T] in dB, NaN above 0.42 times the rate."""
    size = 8 * round(0.0427 * rate)  # the same resolution at every rate
    x = torch.nn.functional.pad(audio.double(), (0, max(0, size - len(audio))))
    power = stft(x[None], size, size // 8).abs().square()[0].sum(1).numpy() / len(audio) / size
    frequency = np.fft.rfftfreq(size, 1 / rate)
    edge = 2 ** (1 / 6)
    found = [
        10 * np.log10(power[(frequency >= f / edge) & (frequency < f * edge)].sum() + 1e-20)
        if f * edge < 0.42 * rate else np.nan
        for f in THIRDS_HZ
    ]  # fmt: skip
    return np.array(found)


def spectrum_difference_db(one: Excerpt, other: Excerpt) -> float:
    """Largest difference of third-octave levels where both hold sound."""
    a, b = (thirds_db(e.audio, e.sample_rate) for e in (one, other))
    known = np.isfinite(a) & np.isfinite(b)
    known &= np.where(known, a, -np.inf) > np.nanmax(a) - USED_DB
    return float(np.abs(a[known] - b[known]).max())


def resampled(recording: Recording, rate: int) -> np.ndarray:
    """A copy at another rate [T]."""
    import soxr

    return np.asarray(soxr.resample(recording.samples, recording.rate, rate), np.float32)


def stereo(left: Sequence[float] | np.ndarray, right: np.ndarray) -> np.ndarray:
    """Two channels [2, T]."""
    return np.stack([np.asarray(left, np.float32), np.asarray(right, np.float32)])
