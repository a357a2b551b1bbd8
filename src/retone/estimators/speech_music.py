"""Speech or music: nine features of modulation and spectrum, and a logistic regression.

Speech has syllables (deep modulation at 2 to 8 Hz), frequent pauses, and a spectrum that changes
within a quarter of a second. Music sustains: spectral lines stay, bands move together with a slow
beat, and it has more bass. The regression over ``FEATURES`` was trained on labelled recordings.

After E. Scheirer, M. Slaney, "Construction and evaluation of a robust multifeature speech/music
discriminator", ICASSP 1997.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from importlib import resources
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from scipy import fft as sp_fft

from retone.errors import DataError
from retone.estimators.base import Excerpt

Array = NDArray[np.float64]
Kind = Literal["speech", "music"]

FEATURES = (
    "quiet share",  # frames below half of the mean level of their second
    "syllables dB",  # envelopes' power at 2.5-8 Hz over the mean level, bands together
    "slow dB",  # the same at 0.3-1.5 Hz
    "change",  # distance of spectra 80 ms apart, in units of the spectra's own spread
    "stays",  # correlation of fine spectra 250 ms apart, loud frames
    "lines dB",  # peaks over valleys of the fine spectrum, 200-4000 Hz
    "bass dB",  # below 90 Hz, relative to 200-4000 Hz
    "treble dB",  # 4-8 kHz, relative to 200-4000 Hz
    "spread dB",  # standard deviation of frame levels
)
FRAME_S, HOP_S = 0.064, 0.016
BAND_EDGES_HZ = np.geomspace(100.0, 7000.0, 17)
MAX_S = 60.0
SHORTEST_S = 1.5
"""Anything shorter gets a low confidence."""
FLOOR_DB = 60.0
FILE = "speech_music.json"


@dataclass(frozen=True)
class Content:
    """Kind of a recording, and its confidence from 0.5 (a guess) to 1."""

    kind: Kind
    confidence: float


def content_of(excerpt: Excerpt) -> Content:
    """Speech or music, from a recording's active excerpt.

    Returns:
        The likelier kind and its probability. Silence and recordings shorter than 1.5 s give a
        confidence near 0.5.
    """
    audio = np.asarray(excerpt.audio, dtype=np.float64)
    model = _model()
    chance = model.speech_chance(features(audio, excerpt.sample_rate))
    if audio.size < SHORTEST_S * excerpt.sample_rate:
        chance = 0.5 + (chance - 0.5) * audio.size / (SHORTEST_S * excerpt.sample_rate) / 2
    if chance >= 0.5:
        return Content("speech", chance)
    return Content("music", 1.0 - chance)


def features(audio: Array, sample_rate: int) -> Array:
    """The numbers of ``FEATURES`` of mono audio [T] at ``sample_rate`` Hz, [9]."""
    audio = audio[: round(MAX_S * sample_rate)]
    size, hop = round(FRAME_S * sample_rate), round(HOP_S * sample_rate)
    if audio.size < 2 * size or not np.any(audio):
        return np.zeros(len(FEATURES))
    frames = np.lib.stride_tricks.sliding_window_view(audio, size)[::hop]
    power = np.abs(sp_fft.rfft(frames * np.hanning(size), axis=1)) ** 2
    frequency = sp_fft.rfftfreq(size, 1.0 / sample_rate)
    level = power.sum(1)
    level_db = 10 * np.log10(level + 1e-12)
    top_db = float(np.percentile(level_db, 95))
    active = level_db > top_db - 40.0

    edges = np.searchsorted(frequency, BAND_EDGES_HZ)
    inside = edges[:-1] < power.shape[1]  # a low rate has no upper bands
    bands = np.zeros((len(power), len(edges) - 1))
    bands[:, inside] = np.add.reduceat(power, edges[:-1][inside], axis=1)
    floor = 10 ** ((top_db - FLOOR_DB) / 10)
    band_db = 10 * np.log10(bands + floor / len(edges))
    syllables_db, slow_db = _modulation(np.sqrt(bands), 1.0 / HOP_S)

    step = round(0.08 / HOP_S)
    change = np.abs(band_db[step:] - band_db[:-step]).mean(1)
    both = active[step:] & active[:-step]
    moved = float(change[both].mean()) if both.any() else 0.0
    speech_band = (frequency >= 200) & (frequency <= 4000)
    fine = 10 * np.log10(power[:, speech_band] + floor / speech_band.sum())
    fine = fine - _smooth(fine, round(300 * FRAME_S))

    later = round(0.25 / HOP_S)
    stays = _correlation(fine[:-later], fine[later:], active[later:] & active[:-later])
    lines = np.percentile(fine[active], 95, axis=1) - np.percentile(fine[active], 20, axis=1)
    total = power[active].mean(0)
    middle = total[speech_band].sum() + 1e-12
    bass = total[(frequency >= 30) & (frequency < 90)].sum()
    treble = total[(frequency >= 4000) & (frequency < 8000)].sum()
    limited = np.maximum(level_db, top_db - FLOOR_DB)
    return np.array(
        [
            _quiet_share(np.sqrt(level), round(1.0 / HOP_S)),
            syllables_db,
            slow_db,
            moved,
            stays,
            float(lines.mean()),
            _db(bass / middle),
            _db(treble / middle),
            float(limited.std()),
        ]
    )


def _modulation(envelopes: Array, rate: float) -> tuple[float, float]:
    """Power of envelopes [N, B] at syllable rate and at slower rates, dB re their squared means."""
    n = envelopes.shape[0]
    spectrum = np.abs(sp_fft.rfft(envelopes - envelopes.mean(0), axis=0)) ** 2
    frequency = sp_fft.rfftfreq(n, 1.0 / rate)
    scale = 2.0 / (n * n * np.maximum(envelopes.mean(0) ** 2, 1e-20))
    weight = envelopes.mean(0) / max(float(envelopes.mean(0).sum()), 1e-20)
    found = []
    for low, high in ((2.5, 8.0), (0.3, 1.5)):
        here = (frequency >= low) & (frequency < high)
        found.append(_db(float((spectrum[here].sum(0) * scale * weight).sum())))
    return found[0], found[1]


def _quiet_share(amplitude: Array, second: int) -> float:
    width = min(second, amplitude.size)
    mean = np.convolve(amplitude, np.ones(width) / width, mode="same")
    return float((amplitude < 0.5 * mean).mean())


def _smooth(spectra: Array, width: int) -> Array:
    """Moving mean along frequency, edges extended."""
    half = max(1, width // 2)
    padded = np.pad(spectra, ((0, 0), (half + 1, half)), mode="edge")
    total = padded.cumsum(1)
    return np.asarray((total[:, 2 * half + 1 :] - total[:, : -2 * half - 1]) / (2 * half + 1))


def _correlation(a: Array, b: Array, use: NDArray[np.bool_]) -> float:
    if not use.any():
        return 0.0
    a, b = a[use], b[use]
    a, b = a - a.mean(1, keepdims=True), b - b.mean(1, keepdims=True)
    norm = np.sqrt((a * a).sum(1) * (b * b).sum(1)) + 1e-12
    return float(((a * b).sum(1) / norm).mean())


def _db(ratio: float) -> float:
    return float(10 * np.log10(max(ratio, 1e-8)))


@dataclass(frozen=True, eq=False)
class Model:
    """Logistic regression on standardised features: ``weights`` [9], ``constant``."""

    center: Array
    scale: Array
    weights: Array
    constant: float

    def speech_chance(self, values: Array) -> float:
        """Probability of speech, 0 to 1."""
        z = np.clip((values - self.center) / self.scale, -4.0, 4.0)
        return float(1.0 / (1.0 + np.exp(-(z @ self.weights + self.constant))))


def fit(speech: Sequence[Array], music: Sequence[Array], *, penalty: float = 0.02) -> Model:
    """Fit the regression to features of labelled recordings; both kinds have equal weight.

    Args:
        speech, music: features of each recording, [9] each.
        penalty: weight of the squared weights, added to the mean log loss.
    """
    from scipy.optimize import minimize

    x = np.concatenate([np.stack(speech), np.stack(music)])
    sign = np.concatenate([np.ones(len(speech)), -np.ones(len(music))])
    share = np.where(sign > 0, 0.5 / len(speech), 0.5 / len(music))
    center, scale = x.mean(0), np.maximum(x.std(0), 1e-3)
    z = np.clip((x - center) / scale, -4.0, 4.0)

    def cost(w: Array) -> float:
        margin = sign * (z @ w[:-1] + w[-1])
        return float(share @ np.logaddexp(0.0, -margin) + penalty * (w[:-1] @ w[:-1]))

    best = minimize(cost, np.zeros(x.shape[1] + 1), method="BFGS").x
    return Model(center, scale, best[:-1], float(best[-1]))


@cache
def _model() -> Model:
    text = (resources.files("retone") / "estimators" / "data" / FILE).read_text("utf-8")
    data = json.loads(text)
    if list(data["features"]) != list(FEATURES):
        raise DataError(f"{FILE} was made for other features; run scripts/fit_content.py again.")
    center, scale, weights = (
        np.array(data[n], dtype=np.float64) for n in ("center", "scale", "weights")
    )
    return Model(center, scale, weights, float(data["constant"]))


def to_json(model: Model, provenance: dict[str, object]) -> str:
    """The file the package reads."""
    data = {
        "features": FEATURES,
        "center": np.round(model.center, 5).tolist(),
        "scale": np.round(model.scale, 5).tolist(),
        "weights": np.round(model.weights, 5).tolist(),
        "constant": round(model.constant, 5),
        **provenance,
    }
    return json.dumps(data, indent=1) + "\n"
