"""Content statistics: how much unprocessed recordings differ, learnt from voices or music.

The band levels of two recordings differ because of content (the words and the speaker) and because
of processing. An estimator should match only the second part. ``ContentStatistics`` holds the
covariance of the first, for two recordings of one voice and of two voices, and that of the second
for random equaliser curves.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from functools import cache
from importlib import resources
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch

from retone.dsp import biquad
from retone.dsp.measure import BANDS, Array, StyleStatistics, band_centres_hz, measure
from retone.errors import DataError

FORMAT = 2
FIELDS = ("band_level_db", "level_percentiles_db", "band_crest_db", "modulation_db", "crest_db")
"""Statistics whose covariance is learnt, side by side; loudness at equal peak comes last."""
ARRAYS = {"same": "same", "other": "other", "processing": "treatment", "voice": "voice"}
"""Fields -> names of the arrays in the file."""
CURVE_RATE = 48000.0
PEAK_DB = -12.0


class Recording(NamedTuple):
    """One unprocessed recording: voice (or piece), mono audio [T] and its rate in Hz."""

    group: str
    audio: Any
    sample_rate: int


@dataclass(frozen=True, eq=False)
class ContentStatistics:
    """Covariances in dB^2 of differences between two recordings.

    Args:
        same: [P, P] two passages of one recording.
        other: [P, P] passages of two voices.
        processing: [BANDS, BANDS] difference of two random equaliser curves.
        voice: [4] weights of ``voice_features`` and a constant: the log odds of one voice.
        passages, voices: how many it was learnt from.
    """

    same: Array
    other: Array
    processing: Array
    voice: Array
    passages: int
    voices: int

    def against_mean_of(self, voices: int) -> ContentStatistics:
        """Adapt ``other`` to comparing one voice with the mean of ``voices`` others.

        Two voices differ by twice the variance of one; a voice and a mean of n by 1 + 1/n of it.
        """
        return replace(self, other=0.5 * (1 + 1 / voices) * self.other)

    def negligible(self) -> ContentStatistics:
        """Statistics for which content hardly matters: 2 dB each, uncorrelated."""
        small = 4.0 * np.eye(len(self.same))
        return replace(self, same=small, other=small)

    def save(self, path: Path) -> None:
        """Write an npz file (float32, no pickled objects)."""
        arrays = {array: getattr(self, name).astype(np.float32) for name, array in ARRAYS.items()}
        counts = np.array([FORMAT, BANDS, self.passages, self.voices])
        np.savez_compressed(path, counts=counts, **arrays)

    @classmethod
    def load(cls, path: Any) -> ContentStatistics:
        """Read what ``save`` wrote.

        Raises:
            DataError: the file is missing, damaged or made for other bands.
        """
        try:
            with path.open("rb") as file, np.load(file, allow_pickle=False) as data:
                version, bands, passages, voices = (int(n) for n in data["counts"])
                arrays = {name: data[array].astype(np.float64) for name, array in ARRAYS.items()}
        except (OSError, ValueError, KeyError) as error:
            raise DataError(
                f"{path}: not a file of content statistics ({error}). Learn them again with "
                "retone.estimators.content_statistics.learn."
            ) from error
        if (version, bands) != (FORMAT, BANDS):
            raise DataError(
                f"{path}: format {version} with {bands} bands, expected {FORMAT} with {BANDS}. "
                "Learn the statistics again."
            )
        return cls(passages=passages, voices=voices, **arrays)


@cache
def packaged(kind: str = "speech") -> ContentStatistics:
    """The statistics that come with retone, of ``"speech"`` or ``"music"`` (see ``learn``)."""
    name = "content.npz" if kind == "speech" else f"content_{kind}.npz"
    return ContentStatistics.load(resources.files("retone.estimators") / "data" / name)


def columns(statistics: StyleStatistics) -> Array:
    """The statistics in the order of the covariances, [B, P]: ``FIELDS``, then loudness at peak."""
    rows = len(statistics)
    parts = [getattr(statistics, name).reshape(rows, -1) for name in FIELDS]
    peak = statistics.level_db + statistics.crest_db
    loudness = (statistics.loudness_db - peak + PEAK_DB).reshape(rows, 1)
    return np.concatenate([*parts, loudness], axis=1)


def voice_features(source: StyleStatistics, reference: StyleStatistics) -> Array:
    """Differences between two recordings that an equaliser hardly changes, [B, 3].

    Logarithms of: the roughness across bands of the difference in level (equaliser curves are
    smooth), and the spread across bands of the difference in level over the noise floor and in
    level's spread over time (a filter changes neither).
    """
    level = reference.band_level_db - source.band_level_db
    floor = reference.band_floor_db - source.band_floor_db
    spread = reference.band_spread_db - source.band_spread_db
    rough = np.sqrt(np.nanmean(np.diff(level, 2, axis=1) ** 2, axis=1))
    parts = [rough, np.nanstd(level - floor, axis=1), np.nanstd(spread, axis=1)]
    return np.log(np.stack(parts, axis=1) + 0.1)


def learn(
    recordings: Iterable[Recording],
    *,
    seconds: float,
    seed: int,
    passages_per_voice: int = 40,
    curves: int = 4000,
    voice_pairs: int = 4000,
) -> ContentStatistics:
    """Learn content statistics from unprocessed recordings.

    Passages are cut without overlap. The covariance of a same-voice difference is that between
    neighbouring passages of one recording; of a difference between two voices, twice the
    covariance within and between voices.
    Every voice has the same weight. Bands that only some recordings hold use those recordings.

    Args:
        recordings: several for each voice where possible.
        seconds: length of a passage.
        seed: for the choice of passages and the random equaliser curves.
        passages_per_voice: most passages per voice; evenly spaced ones are used.
        curves: number of random equaliser curves.
        voice_pairs: number of processed pairs to learn to tell one voice from two.

    Raises:
        DataError: fewer than three voices with two passages each.
    """
    by_voice: dict[str, list[StyleStatistics]] = {}
    steps: dict[str, list[Array]] = {}
    for recording in recordings:
        previous: Array | None = None
        size = int(seconds * recording.sample_rate)
        for start in range(0, len(recording.audio) - size + 1, size):
            passage = np.asarray(recording.audio[start : start + size])
            peak = float(np.abs(passage).max())
            if peak <= 0 or np.sqrt(np.mean(passage**2)) < 0.01 * peak:
                previous = None
                continue
            scaled = passage * (10 ** (PEAK_DB / 20) / peak)
            measured = measure(scaled, recording.sample_rate)
            by_voice.setdefault(recording.group, []).append(measured)
            now = columns(measured)[0]
            if previous is not None:
                steps.setdefault(recording.group, []).append(now - previous)
            previous = now
    statistics = [
        _thinned(rows, passages_per_voice) for rows in by_voice.values() if len(rows) >= 2
    ]
    if len(statistics) < 3:
        raise DataError(
            f"content statistics need three voices with two passages each, got {len(statistics)}."
        )
    voices = [np.concatenate([columns(s) for s in rows]) for rows in statistics]
    means = [_mean(v) for v in voices]
    within = _pooled([v - m for v, m in zip(voices, means, strict=True)], lost=1)
    centres = np.stack(means)
    between = _pooled([centres - _mean(centres)], lost=1)
    count = sum(len(v) for v in voices)
    # A voice's centre carries within-voice noise of 1/n, which is not between-voice variance.
    between = between - within * np.mean([1 / len(v) for v in voices])
    within, between = _shrink(within, count), _shrink(between, len(voices))
    moves = [np.stack(rows) for rows in steps.values()]
    if not moves:
        raise DataError("content statistics need recordings of two passages or more each.")
    same = _shrink(_pooled(moves, lost=0), sum(len(m) for m in moves))
    rng = np.random.default_rng(seed)
    drawn = random_curves(2 * curves, rng)
    difference = drawn[:curves] - drawn[curves:]
    return ContentStatistics(
        same=same,
        other=2 * (within + between),
        processing=difference.T @ difference / curves + 0.25 * np.eye(BANDS),
        voice=_learn_voice(statistics, difference, voice_pairs, rng),
        passages=count,
        voices=len(voices),
    )


def _pooled(groups: list[Array], lost: int) -> Array:
    """Covariance over groups of equal weight, by pairs of columns that are both known."""
    total: Array = np.zeros((groups[0].shape[1],) * 2)
    known: Array = np.zeros_like(total)
    for rows in groups:
        mask = np.isfinite(rows).astype(np.float64)
        clean = np.nan_to_num(rows)
        pairs = mask.T @ mask
        use = pairs > lost
        total += np.where(use, clean.T @ clean / np.maximum(pairs - lost, 1), 0.0)
        known += use
    return np.where(known > 0, total / np.maximum(known, 1), 0.0)


def _shrink(covariance: Array, samples: int) -> Array:
    """Towards the diagonal by P / (P + samples) / 2, then made positive definite."""
    diagonal = np.diag(np.maximum(np.diag(covariance), 0.01))
    share = 0.5 * len(covariance) / (len(covariance) + samples)
    mixed = (1 - share) * (covariance + covariance.T) / 2 + share * diagonal
    values, vectors = np.linalg.eigh(mixed)
    return (vectors * np.maximum(values, 0.01)) @ vectors.T


def random_curves(count: int, rng: np.random.Generator) -> Array:
    """Equaliser curves in dB at the band centres, drawn as DeepAFx-ST draws its corruption.

    Four peaks (chance 0.8 each; 200-2000, 800-4000, 2000-8000 and 4000-10800 Hz, Q 0.1-10.1, up to
    48 dB either way as long as the running sum stays under 24 dB) and two shelves (chance 0.8, up
    to 24 dB); a quarter of the curves are flat. Returns [count, BANDS].
    """
    frequency = torch.tensor(band_centres_hz())
    sections = torch.zeros(count, 6, 5, dtype=torch.float64)
    sections[..., 0] = 1.0
    for i in range(count):
        if rng.random() >= 0.75:
            continue
        total = 0.0
        for k, (low, high) in enumerate(((200, 2000), (800, 4000), (2000, 8000), (4000, 10800))):
            if rng.random() < 0.8:
                f, q = rng.uniform(low, high), rng.uniform(0.1, 10.1)
                gain = rng.uniform(0, 48) * rng.choice((-1, 1))
                total += gain
                if abs(total) < 24:
                    sections[i, k] = biquad.peak(*_numbers(f, gain, q), sample_rate=CURVE_RATE)
        for k, (low, high) in ((4, (20, 200)), (5, (4000, 10800))):
            if rng.random() < 0.8:
                f, gain = rng.uniform(low, high), rng.uniform(0, 24) * rng.choice((-1, 1))
                a = 10 ** (gain / 40)
                q = 1 / np.sqrt((a + 1 / a) * (1 / 0.5 - 1) + 2)  # a shelf slope of 0.5
                design = biquad.low_shelf if k == 4 else biquad.high_shelf
                sections[i, k] = design(*_numbers(f, gain, q), sample_rate=CURVE_RATE)
    response = biquad.response(sections, frequency, CURVE_RATE)
    return (20 * torch.log10(response.abs())).numpy()


def _numbers(
    frequency: float, gain: float, q: float
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    f, g, k = torch.tensor([frequency, gain, q], dtype=torch.float64)
    return f, g, k


def _thinned(rows: list[StyleStatistics], most: int) -> list[StyleStatistics]:
    return [rows[i] for i in np.linspace(0, len(rows) - 1, min(len(rows), most)).astype(int)]


def _mean(rows: Array) -> Array:
    """Mean of each column over what is known of it; NaN where nothing is."""
    known = np.isfinite(rows)
    total = np.where(known, rows, 0.0).sum(axis=0)
    return np.where(known.any(axis=0), total / np.maximum(known.sum(axis=0), 1), np.nan)


def _learn_voice(
    statistics: list[list[StyleStatistics]], difference: Array, pairs: int, rng: np.random.Generator
) -> Array:
    """Logistic regression of "one voice" on ``voice_features`` of processed pairs.

    Processing is simulated on the statistics: an equaliser moves band levels and floors; in three
    pairs of four a compressor shrinks variation over time to 40-100 %.
    """
    rows, truth = [], []
    for i in range(pairs):
        same = bool(i % 2)
        first = int(rng.integers(len(statistics)))
        second = (
            first if same else int((first + rng.integers(1, len(statistics))) % len(statistics))
        )
        a = int(rng.integers(len(statistics[first])))
        b = int(rng.integers(len(statistics[second])))
        if same and a == b:
            b = (b + 1) % len(statistics[second])
        left, right = statistics[first][a], statistics[second][b]
        shrink = rng.uniform(0.4, 1.0) if rng.random() < 0.75 else 1.0
        level = right.band_level_db + difference[i % len(difference)]
        over_floor = shrink * (right.band_level_db - right.band_floor_db)
        processed = replace(
            right,
            band_level_db=level,
            band_floor_db=level - over_floor,
            band_spread_db=shrink * right.band_spread_db,
        )
        rows.append(voice_features(left, processed)[0])
        truth.append(same)
    x, y = np.stack(rows), np.array(truth, dtype=np.float64)
    x = np.concatenate([x, np.ones((len(x), 1))], axis=1)
    weight = np.zeros(4)
    for _ in range(30):  # Newton steps; the ridge keeps separable data finite
        p = 1 / (1 + np.exp(-x @ weight))
        hessian = x.T @ (x * (p * (1 - p))[:, None]) + np.eye(4)
        weight += np.linalg.solve(hessian, x.T @ (y - p) - weight)
    return weight
