"""Targets that cannot run here, run as their documentation says: scipy and plain loops.

Written from the targets' own documents and formulas, without retone's filters or compressor, so
that what is verified is the exported text.
"""

from __future__ import annotations

import math

import numpy as np


def cookbook(kind: str, frequency_hz: float, gain_db: float, q: float, rate: int) -> np.ndarray:
    """A cookbook biquad as an SOS row; ``kind`` is ``peak``, ``low`` or ``high``."""
    a, w = 10 ** (gain_db / 40), 2 * math.pi * frequency_hz / rate
    alpha, c = math.sin(w) / (2 * q), math.cos(w)
    if kind == "peak":
        row = [1 + alpha * a, -2 * c, 1 - alpha * a, 1 + alpha / a, -2 * c, 1 - alpha / a]
    else:
        s = 1 if kind == "low" else -1
        beta = 2 * math.sqrt(a) * alpha
        row = [
            a * ((a + 1) - s * (a - 1) * c + beta),
            s * 2 * a * ((a - 1) - s * (a + 1) * c),
            a * ((a + 1) - s * (a - 1) * c - beta),
            (a + 1) + s * (a - 1) * c + beta,
            s * -2 * ((a - 1) + s * (a + 1) * c),
            (a + 1) + s * (a - 1) * c - beta,
        ]
    return np.array(row) / row[3]


def first_order_low_pass(frequency_hz: float, rate: int) -> np.ndarray:
    """Bilinear first-order low-pass as an SOS row."""
    k = math.tan(math.pi * frequency_hz / rate)
    return np.array([k, k, 0.0, k + 1, k - 1, 0.0]) / (k + 1)


def run_sections(rows: list[np.ndarray], audio: np.ndarray) -> np.ndarray:
    """[C, T] through sections in series."""
    from scipy.signal import sosfilt

    return np.asarray(sosfilt(np.array(rows), audio, axis=-1)) if rows else audio


def convolved(audio: np.ndarray, response: np.ndarray) -> np.ndarray:
    """[C, T] convolved with a response [K], cut to the same length."""
    from scipy.signal import fftconvolve

    return np.asarray(fftconvolve(audio, response[None], axes=1)[:, : audio.shape[1]])


def graphic_equalizer(points: np.ndarray, rate: int) -> np.ndarray:
    """Equalizer APO's ``GraphicEQ``: decibels between points over log frequency, minimum phase.

    Args:
        points: [N, 2], frequency in Hz and gain in dB; held beyond the ends.
        rate: in Hz.

    Returns:
        The impulse response, half a second.
    """
    size = 1 << (2 * rate).bit_length()
    hz = np.maximum(np.fft.rfftfreq(size, 1 / rate), 1e-3)
    gain_db = np.interp(np.log(hz), np.log(points[:, 0]), points[:, 1])
    cepstrum = np.fft.irfft(gain_db * (math.log(10) / 20))
    cepstrum[1 : size // 2] *= 2
    cepstrum[size // 2 + 1 :] = 0
    return np.asarray(np.fft.irfft(np.exp(np.fft.rfft(cepstrum)))[: rate // 2])


def camilla_compressor(
    audio: np.ndarray,
    rate: int,
    *,
    threshold: float,
    factor: float,
    attack: float,
    release: float,
    makeup_gain: float,
    monitor: list[int],
    process: list[int],
) -> np.ndarray:
    """CamillaDSP's Compressor: the sum of the monitored channels in dB, smoothed, then the curve.

    Attack and release are time constants in seconds; there is no knee.
    """
    level = 20 * np.log10(np.abs(audio[monitor].sum(axis=0)) + 1e-9)
    up, down = math.exp(-1 / (rate * attack)), math.exp(-1 / (rate * release))
    smooth = np.empty_like(level)
    before = -100.0
    for i, now in enumerate(level.tolist()):
        k = up if now >= before else down
        before = k * before + (1 - k) * now
        smooth[i] = before
    gain = -np.maximum(smooth - threshold, 0) * (factor - 1) / factor + makeup_gain
    out = audio.copy()
    out[process] *= 10 ** (gain / 20)
    return out
