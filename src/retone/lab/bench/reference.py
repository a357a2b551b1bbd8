"""Plain float64 definitions as references, and test signals.

Nothing here shares code with what is measured: the biquads are the cookbook's formulas again,
filtered by scipy; the compressors are loops over samples, as in the papers.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]
LN9 = math.log(9.0)


def error_to_signal_db(estimate: Array, exact: Array) -> float:
    """``10 log10(sum (estimate - exact)^2 / sum exact^2)``, lower is closer; -inf if equal."""
    exact = np.asarray(exact, dtype=np.float64)
    error = np.asarray(estimate, dtype=np.float64).reshape(exact.shape) - exact
    ratio = float(np.sum(error**2) / np.sum(exact**2))
    return 10 * math.log10(ratio) if ratio > 0 else -math.inf


def moving_pink_noise(length: int, sample_rate: float, seed: int, batch: int = 1) -> Array:
    """Pink noise from 20 Hz under a varying envelope, peak 0.5, [B, T] float32.

    Pink noise fills all bands about alike, low ones included, where filters are hardest; the
    envelope moves over 40 dB, four times a second, so that a compressor attacks and releases.
    """
    rng = np.random.default_rng([seed, length, batch])
    frequency = np.fft.rfftfreq(length, 1 / sample_rate)
    shape = np.where(frequency >= 20, 1 / np.sqrt(np.maximum(frequency, 20)), 0)
    white = rng.standard_normal((batch, length))
    pink = np.fft.irfft(np.fft.rfft(white) * shape, length)
    phase = rng.uniform(0, 2 * np.pi, (batch, 1))
    time = np.arange(length) / sample_rate
    level_db = -20 * (1 - np.sin(2 * np.pi * 4 * time + phase))
    audio = pink * 10 ** (level_db / 20)
    peak = np.abs(audio).max(axis=1, keepdims=True)
    return (0.5 * audio / np.maximum(peak, 1e-12)).astype(np.float32)


def cookbook_section(
    kind: str, frequency_hz: float, gain_db: float, q: float, rate: float
) -> list[float]:
    """A row of scipy's ``sos`` by the Audio EQ Cookbook (R. Bristow-Johnson).

    Args:
        kind: ``"low_shelf"``, ``"peak"`` or ``"high_shelf"``.
        frequency_hz, gain_db, q: the band.
        rate: sample rate in Hz.
    """
    w0 = 2 * math.pi * frequency_hz / rate
    cos, alpha = math.cos(w0), math.sin(w0) / (2 * q)
    a = 10 ** (gain_db / 40)
    if kind == "peak":
        b = [1 + alpha * a, -2 * cos, 1 - alpha * a]
        d = [1 + alpha / a, -2 * cos, 1 - alpha / a]
    else:
        beta = 2 * math.sqrt(a) * alpha
        s = 1.0 if kind == "low_shelf" else -1.0
        b = [
            a * ((a + 1) - s * (a - 1) * cos + beta),
            s * 2 * a * ((a - 1) - s * (a + 1) * cos),
            a * ((a + 1) - s * (a - 1) * cos - beta),
        ]
        d = [
            (a + 1) + s * (a - 1) * cos + beta,
            s * -2 * ((a - 1) + s * (a + 1) * cos),
            (a + 1) + s * (a - 1) * cos - beta,
        ]
    return [v / d[0] for v in b + d]


def cookbook_sos(bands: Mapping[str, tuple[float, float, float]], rate: float) -> Array:
    """``sos`` [6, 6] of bands name -> (frequency_hz, gain_db, q); the name tells the kind."""
    return np.array(
        [
            cookbook_section("peak" if name.startswith("peak") else name, *band, rate)
            for name, band in bands.items()
        ]
    )


def compress_loop(audio: Array, sample_rate: float, setting: Mapping[str, float]) -> Array:
    """The attack/release compressor, sample by sample: textbook knee, instantaneous peak level.

    Args:
        audio: [T].
        sample_rate: in Hz.
        setting: threshold_db, ratio, attack_ms, release_ms (10-90 %), knee_db, makeup_db.

    Returns:
        [T] float64.
    """
    attack, release = (
        1 - math.exp(-LN9 / (sample_rate * setting[name] / 1000))
        for name in ("attack_ms", "release_ms")
    )
    slope, knee = 1 - 1 / setting["ratio"], setting["knee_db"]
    smooth, out = 0.0, []
    for x in np.asarray(audio, dtype=np.float64).tolist():
        over = 10 * math.log10(max(x * x, 1e-12)) - setting["threshold_db"]
        if 2 * abs(over) < knee:
            over = (over + knee / 2) ** 2 / (2 * knee)
        else:
            over = max(over, 0.0)
        smooth += (attack if over > smooth else release) * (over - smooth)
        out.append(x * 10 ** ((setting["makeup_db"] - slope * smooth) / 20))
    return np.array(out)


def linear_gain_loop(
    level: Array, threshold_db: float, ratio: float, attack: float, release: float
) -> Array:
    """torchcomp's compressor gain, sample by sample: hard knee, the linear gain smoothed from 1.

    Args:
        level: amplitude > 0, [T].
        threshold_db, ratio: of the compressor; no expander.
        attack, release: update coefficients.

    Returns:
        Linear gain [T] float64. (C.-Y. Yu et al., "Differentiable all-pole filters for
        time-varying audio systems", DAFx 2024.)
    """
    slope = 1 - 1 / ratio
    smooth, out = 1.0, []
    for value in np.asarray(level, dtype=np.float64).tolist():
        gain = 10 ** (min(0.0, slope * (threshold_db - 20 * math.log10(value))) / 20)
        smooth += (attack if gain < smooth else release) * (gain - smooth)
        out.append(smooth)
    return np.array(out)
