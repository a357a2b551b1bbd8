"""Profiles: statistics of recordings, used as a reference without any audio.

A profile holds statistics averaged over recordings and, for networks that compare frames, a few
dozen *typical* frames. A typical frame is the mean of many similar log-mel frames from any of the
recordings. It holds no phase, no order and no single moment of a recording, so no speech can be
reconstructed from it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch

from retone.dsp.measure import Array, StyleStatistics
from retone.nets.frontend import Features, FrontEnd, FrontEndConfig

MIN_FRAMES = 3
"""Fewest frames that are averaged to one typical frame."""
HOLD = 4
"""Repetitions of each typical frame for a network, whose layers look at neighbouring frames."""


@dataclass(frozen=True, eq=False)
class TypicalFrames:
    """Reduced features of a front end: ``frames`` [M, K], ``energy`` [K] and ``summary`` [S].

    Units are those of ``retone.nets.frontend.Features``; ``front_end`` is the config used.
    """

    front_end: FrontEndConfig
    frames: Array
    energy: Array
    summary: Array

    def features(self) -> Features:
        """As features for a network, a batch of one."""
        frames = torch.from_numpy(np.repeat(self.frames, HOLD, axis=1)).float()
        energy = torch.from_numpy(np.repeat(self.energy / HOLD, HOLD)).float()
        return Features(frames[None], energy[None], torch.from_numpy(self.summary).float()[None])


@dataclass(frozen=True, eq=False)
class Profile:
    """A reference that carries no audio.

    Args:
        name: name in reports.
        statistics: one row, of excerpts whose peak is -12 dBFS.
        frequency_hz, spectrum_db: average level in 1/6 octave [F] at the same peak; NaN where
            unknown.
        sample_rate: sample rate in Hz of the recordings.
        voices: how many voices (or pieces of music) it averages; 1 if unknown.
        seconds: total duration analysed.
        loudness_lufs: loudness of results; None keeps a recording's own.
        typical: features for networks, if known.
        kind: ``"speech"`` or ``"music"``.
        unprocessed: statistics of the same recordings before processing, if known.
    """

    name: str
    statistics: StyleStatistics
    frequency_hz: Array
    spectrum_db: Array
    sample_rate: int
    voices: int
    seconds: float
    loudness_lufs: float | None
    typical: TypicalFrames | None
    kind: str = "speech"
    unprocessed: StyleStatistics | None = None

    def spectrum(self, frequency_hz: Array) -> Array:
        """Level in dB of the 1/6 octave around each frequency; NaN where unknown."""
        known = np.isfinite(self.spectrum_db)
        f, db = np.log(self.frequency_hz[known]), self.spectrum_db[known]
        return np.interp(np.log(np.maximum(frequency_hz, 1e-3)), f, db, right=np.nan)


def typical_frames(
    clips: Sequence[tuple[torch.Tensor, int]], config: FrontEndConfig, *, count: int, seed: int
) -> TypicalFrames:
    """Reduce clips to ``count`` typical frames (k-means, weighted by energy).

    Args:
        clips: (audio [T], recording number) at the front end's rate, peak -12 dBFS. Every
            recording has the same weight, whatever its length.
    """
    front_end = FrontEnd(config)
    frames, weights, summaries = [], [], []
    numbers = [n for _, n in clips]
    with torch.no_grad():
        for audio, number in clips:
            features = front_end(audio[None])
            frames.append(features.frames[0].T.numpy())
            weights.append(features.energy[0].numpy() / numbers.count(number))
            summaries.append(features.summary[0].double().numpy() / numbers.count(number))
    x, w = np.concatenate(frames).astype(np.float64), np.concatenate(weights)
    x, w = x[w > 0], w[w > 0].astype(np.float64)
    count = min(count, max(1, len(x) // 4))
    rng = np.random.default_rng(seed)
    drawn = rng.permutation(len(x))[:20000]
    from scipy.cluster.vq import kmeans2

    centres, _ = kmeans2(x[drawn], count, minit="++", rng=rng, iter=20)
    place = _nearest(x, centres)
    while len(centres) > 1:  # no typical frame may be only one or two frames
        members = np.bincount(place, minlength=len(centres))
        if members.min() >= MIN_FRAMES:
            break
        centres = np.delete(centres, int(members.argmin()), axis=0)
        place = _nearest(x, centres)
    count = len(centres)
    energy = np.bincount(place, weights=w, minlength=count)
    total = np.stack([np.bincount(place, weights=w * x[:, m], minlength=count)
                      for m in range(x.shape[1])])  # fmt: skip
    used = energy > 0
    order = np.argsort(-energy[used])
    means = (total[:, used] / energy[used])[:, order]
    recordings = len(set(numbers))
    return TypicalFrames(
        config, means, (energy[used] / energy.sum())[order], np.sum(summaries, axis=0) / recordings
    )


def with_measures(known: TypicalFrames) -> TypicalFrames:
    """The same for a front end with ``measures``; they are estimated if absent.

    RMS is the summary's own; K-weighted level and centroid are those of the typical frames, a
    spectrum interpolated between their bands: within 1 dB and 0.2 kHz on the presets that ship.
    """
    if known.front_end.measures:
        return known
    config = replace(known.front_end, measures=True)
    front_end = FrontEnd(config)
    bank = front_end.bank.double().numpy()
    share = bank / np.maximum(bank.sum(axis=0), 1e-9)
    power = share.T @ (10 ** (2 * known.frames) / bank.sum(axis=1)[:, None])  # [F, K]
    weight, frequency_khz = front_end.k_weight.double().numpy(), front_end.frequency.numpy()
    mean = power @ known.energy
    peak, crest = known.summary[-2:]
    loud = peak - crest + 10 * np.log10(mean @ weight / mean.sum()) / 20
    magnitude = np.sqrt(power)
    centroid = ((frequency_khz @ magnitude) / magnitude.sum(axis=0)).mean()
    summary = np.concatenate([known.summary, [peak - crest, loud, centroid]])
    return TypicalFrames(config, known.frames, known.energy, summary)


def _nearest(x: Array, centres: Array) -> np.ndarray:
    out = np.empty(len(x), dtype=np.intp)
    half = 0.5 * (centres**2).sum(axis=1)
    for start in range(0, len(x), 4096):
        out[start : start + 4096] = (half - x[start : start + 4096] @ centres.T).argmin(axis=1)
    return out
