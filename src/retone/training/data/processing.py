"""Random processing of clips: equalizer, expander, compressor, pitch, tempo, levels and noise.

Ranges and probabilities are those of the DeepAFx-ST generator (Steinmetz, Bryan and Reiss, JAES
70(9), 2022, and the published program).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from retone.audio.resampling import resampled
from retone.kernels.sox_effects import Band, CompandSetting, compand, equalize, tempo

Array = np.ndarray
MAX_GAIN_SUM_DB = 24.0
BAND_PROBABILITY = 0.8


def normalise(audio: Array, peak_dbfs: float = -12.0) -> Array:
    """Scale ``audio`` [T] to a peak in dB of full scale; silence stays silence."""
    peak = float(np.max(np.abs(audio), initial=0.0))
    if peak < 1e-9:
        return audio
    return audio * audio.dtype.type(10.0 ** (peak_dbfs / 20.0) / peak)


@dataclass(frozen=True)
class Processing:
    """Processing of one branch: bands, then normalisation, then an optional compander.

    ``level``: normalise the clip to its peak before the compander; ``clip``: clip the outputs at
    full scale, as SoX does.
    """

    bands: tuple[Band, ...] = ()
    compander: CompandSetting | None = None
    level: bool = True
    clip: bool = False

    def apply(self, audio: Array, sample_rate: float, peak_dbfs: float) -> Array:
        """Process ``audio`` [T], float32 or float64; the dtype is preserved."""
        out = equalize(audio, sample_rate, self.bands)
        if self.clip:
            out = np.clip(out, -1.0, 1.0)
        if self.level:
            out = normalise(out, peak_dbfs)
        if self.compander is not None:
            out = compand(out, sample_rate, self.compander)
            if self.clip:
                out = np.clip(out, -1.0, 1.0)
        return out


def pitch(audio: Array, sample_rate: float, cents: float) -> Array:
    """Raise ``audio`` [T] by ``cents`` (hundredths of a semitone) at the same length, as SoX does.

    A stretch by ``2^(cents/1200)`` with ``tempo``, then resampling back to the old length.

    Raises:
        MemoryError: too little memory is left to resample.
    """
    ratio = 2.0 ** (cents / 1200.0)
    longer = tempo(audio, sample_rate, 1.0 / ratio)
    shifted = resampled(longer, sample_rate * ratio, sample_rate)
    result = np.zeros_like(audio)
    size = min(audio.size, shifted.size)
    result[:size] = shifted[:size]
    return result


@dataclass(frozen=True)
class Warp:
    """Pitch shift in cents and tempo factor; ``as_stretch`` changes the length instead of the
    pitch.

    The published program asks SoX for a pitch shift but skips its last step, so it does a second
    stretch of the length by ``2^(cents / 1200)``.
    """

    cents: float
    factor: float
    as_stretch: bool = False

    @property
    def length_factor(self) -> float:
        """Length after over length before."""
        return (2.0 ** (self.cents / 1200.0) if self.as_stretch else 1.0) / self.factor

    def apply(self, audio: Array, sample_rate: float) -> Array:
        """Shift the pitch and change the tempo of ``audio`` [T]."""
        if self.as_stretch:
            audio = tempo(audio, sample_rate, 2.0 ** (-self.cents / 1200.0))
        else:
            audio = pitch(audio, sample_rate, self.cents)
        return tempo(audio, sample_rate, self.factor)


def draw_warp(rng: np.random.Generator, as_stretch: bool) -> Warp:
    """Cents in -200..200 and factor in 0.8..1.2, uniform."""
    return Warp(float(rng.uniform(-200, 200)), float(rng.uniform(0.8, 1.2)), as_stretch)


def draw_bands(rng: np.random.Generator, sample_rate: float) -> tuple[Band, ...]:
    """Up to four peaks and two shelves.

    Each of the four ranges gets a peak with probability 0.8: gain up to 48 dB either way, unless
    the sum of gains drawn so far reaches 24 dB; Q in 0.1..10.1. Each shelf comes with
    probability 0.8 and up to 24 dB either way.
    """
    top = 0.9 * sample_rate / 2
    bands = []
    total = 0.0
    for low, high in ((200, 2000), (800, 4000), (2000, 8000), (4000, top)):
        if rng.random() >= BAND_PROBABILITY:
            continue
        frequency_hz, q = _integer(rng, low, min(high, top)), float(rng.uniform(0.1, 10.1))
        gain_db = _signed(rng, 48.0)
        total += gain_db
        if abs(total) < MAX_GAIN_SUM_DB:
            bands.append(Band("peak", frequency_hz, gain_db, q))
    for kind, low, high in (("bass", 20, 200), ("treble", 4000, top)):
        if rng.random() < BAND_PROBABILITY:
            gain_db = _signed(rng, 24.0)
            bands.append(Band(kind, _integer(rng, low, high), gain_db))
    return tuple(bands)


def draw_color(rng: np.random.Generator, sample_rate: float) -> tuple[Band, ...]:
    """A coloration: five broad peaks of 0 +- 5 dB and two shelves of up to 10 dB either way."""
    top = 0.9 * sample_rate / 2
    bands = [
        Band(
            "peak",
            float(np.exp(rng.uniform(np.log(80.0), np.log(top)))),
            float(np.clip(rng.normal(0.0, 5.0), -12.0, 12.0)),
            float(rng.uniform(0.4, 2.0)),
        )
        for _ in range(5)
    ]
    for kind, low, high in (("bass", 40, 300), ("treble", 2500, top)):
        bands.append(Band(kind, _integer(rng, low, high), _signed(rng, 10.0)))
    return tuple(bands)


def draw_noise(rng: np.random.Generator, samples: int, sample_rate: float) -> Array:
    """Steady background noise [samples]: -90..-50 dBFS RMS, white with a low-pass of first order.

    Its corner lies anywhere from 100 Hz to half the sample rate.
    """
    corner_hz = float(np.exp(rng.uniform(np.log(100.0), np.log(sample_rate / 2))))
    level = 10.0 ** (float(rng.uniform(-90.0, -50.0)) / 20.0)
    keep = float(np.exp(-2.0 * np.pi * corner_hz / sample_rate))
    white = rng.standard_normal(samples, dtype=np.float32)
    from scipy.signal import lfilter

    noise = lfilter([1.0 - keep], [1.0, -keep], white)
    return noise * (level / max(float(np.sqrt(np.mean(noise * noise))), 1e-12))


def draw_levels(rng: np.random.Generator, samples: int, sample_rate: float) -> Array:
    """Gains [samples] of a speaker who moves: 0 +- 4 dB, changing every 1..6 s within 0.1 s."""
    times, levels = [0.0], [float(rng.normal(0.0, 4.0))]
    while times[-1] < samples / sample_rate:
        start = times[-1] + float(rng.uniform(1.0, 6.0))
        times += [start, start + 0.1]
        levels += [levels[-1], float(np.clip(rng.normal(0.0, 4.0), -10.0, 10.0))]
    level_db = np.interp(np.arange(samples) / sample_rate, times, levels)
    return np.asarray(10.0 ** (level_db / 20.0))


def draw_expander(rng: np.random.Generator) -> CompandSetting:
    """Unity above a threshold in -30..-10 dB, slope 1..5 below it; makeup 0..6 dB."""
    attack_s = float(rng.uniform(0.001, 0.051))
    decay_s = attack_s + float(rng.uniform(0.0, 0.2))
    knee_db = float(rng.uniform(0.0, 12.0))
    threshold_db = float(rng.uniform(-30.0, -10.0))
    ratio = float(rng.uniform(1.0, 5.0))
    gain_db = float(rng.uniform(0.0, 6.0))
    floor_db = -((100.0 - abs(threshold_db)) / ratio + abs(threshold_db))
    points = ((floor_db, -100.0), (threshold_db, threshold_db), (0.0, 0.0))
    return CompandSetting(attack_s, decay_s, points, knee_db, gain_db)


def draw_compressor(rng: np.random.Generator) -> CompandSetting:
    """Slope 1/R, R in 1..11, above a threshold in -64..-12 dB; looks ahead by its attack."""
    attack_s = float(rng.uniform(0.0005, 0.0505))
    decay_s = attack_s + float(rng.uniform(0.0, 0.2))
    knee_db = float(rng.uniform(0.0, 12.0))
    threshold_db = float(rng.uniform(-64.0, -12.0))
    ratio = float(rng.uniform(1.0, 11.0))
    gain_db = float(rng.uniform(0.0, 6.0))
    top_db = threshold_db * (1.0 - 1.0 / ratio)
    points = ((-100.0, -100.0), (threshold_db, threshold_db), (0.0, top_db))
    return CompandSetting(attack_s, decay_s, points, knee_db, gain_db, delay_s=attack_s)


def _integer(rng: np.random.Generator, low: float, high: float) -> float:
    return float(rng.integers(int(low), max(int(low) + 1, int(high))))


def _signed(rng: np.random.Generator, largest: float) -> float:
    size = float(rng.uniform(0.0, largest))
    return -size if rng.random() < 0.5 else size
