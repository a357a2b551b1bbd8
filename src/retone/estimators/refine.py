"""Refine another estimator's setting by a few steps through the exact effects."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import torch
from numpy.typing import NDArray

from retone.dsp.effect import Effect
from retone.dsp.measure import BANDS, Array, StyleStatistics, average, measure, valid_bands
from retone.dsp.param import Setting
from retone.estimators import compression, content_statistics, separation
from retone.estimators.base import Estimate, Estimator, Excerpt, Reference
from retone.estimators.closed_form import ClosedForm, average_of, normalised
from retone.estimators.profile import Profile
from retone.progress import ESTIMATING, Progress, silent

STEP = 0.01
MIN_HALF_S = 1.0


@dataclass(frozen=True)
class Refined:
    """Levenberg-Marquardt steps on whitened style statistics around a first estimate.

    The objective is ``|W (s(output) - s(reference))|^2 + |(u - u0) / prior_sd|^2`` over unit
    parameters ``u``, with statistics ``s``. W whitens by the content covariance, so that usual
    differences between unprocessed recordings count little; the prior keeps the result close to
    the first estimate. The steps use the first halves of source and references. They are kept only
    if the misfit of the second halves falls by ``margin``; otherwise the first estimate is
    returned. Loudness stays that of the first estimate.

    Args:
        first: the estimator whose setting is refined.
        steps: number of steps; each renders half the source once per free parameter.
        prior_sd: standard deviation of the prior, as a fraction of each parameter's range.
        model_db: standard deviation in dB added to every statistic for what the effect cannot
            match.
        margin: smallest relative decrease of the held-out misfit.
        content: statistics of voices; None takes the packaged ones.
    """

    first: Estimator = field(default_factory=ClosedForm)
    steps: int = 3
    prior_sd: float = 0.08
    model_db: float = 1.0
    margin: float = 0.0
    content: content_statistics.ContentStatistics | None = field(default=None, repr=False)
    name: str = "refined"

    def estimate(
        self,
        source: Excerpt,
        references: Sequence[Reference],
        *,
        locks: Mapping[str, float],
        progress: Progress = silent,
    ) -> Estimate:
        """Estimate, then refine; see ``Estimator.estimate``.

        Any effect with parameters can be refined. Recordings of less than two seconds are too
        short to hold out one half, and so are those with a silent half: the first estimate is
        returned with a note.
        """
        start = self.first.estimate(source, references, locks=locks)
        table = start.effect.params
        free = [i for i, p in enumerate(table) if p.name not in locks and p.role != "makeup"]
        recordings = (source, *(r for r in references if isinstance(r, Excerpt)))
        shortest = min(e.audio.numel() / e.sample_rate for e in recordings)
        if not free or shortest < 2 * MIN_HALF_S:
            return replace(
                start, notes=(*start.notes, "The recordings are too short to refine the settings.")
            )
        own = torch.as_tensor(normalised(source))
        both = halves(own, source.sample_rate, references)
        if both is None:
            note = "Half of a recording is silent; the settings are not refined."
            return replace(start, notes=(*start.notes, note))
        near, far = both
        weights = self._weights(source, references, near.valid)

        u0 = table.to_unit({n: v.double() for n, v in start.setting.items()}).numpy()[0]
        # A band at 0 dB has no gradient for its frequency and Q, which then stay.
        u = u0.copy()
        damping = 1.0
        misfit = self._objective(near, start.effect, weights, u[None], u0, free)[0]
        for step in range(self.steps):
            moved = np.repeat(u[None], len(free), axis=0)
            sign = np.where(u[free] > 0.5, -1.0, 1.0)
            moved[np.arange(len(free)), free] += sign * STEP
            rows = near.statistics(start.effect, np.concatenate([u[None], moved]))
            error = weights @ (rows[0] - near.reference)
            slope = weights @ ((rows[1:] - rows[0]) / (sign * STEP)[:, None]).T
            prior = np.eye(len(free)) / self.prior_sd**2
            pull = slope.T @ error + prior @ (u - u0)[free]
            change = np.linalg.solve(slope.T @ slope + (1 + damping) * prior, pull)
            trial = u.copy()
            trial[free] = np.clip(u[free] - change, 0.0, 1.0)
            value = self._objective(near, start.effect, weights, trial[None], u0, free)[0]
            u, misfit, damping = (
                (trial, value, damping / 3) if value < misfit else (u, misfit, damping * 5)
            )
            progress(ESTIMATING, step + 1, self.steps)

        before, after = (
            float(((weights @ (row - far.reference)) ** 2).sum())
            for row in far.statistics(start.effect, np.stack([u0, u]))
        )
        if not after < (1 - self.margin) * before:
            return replace(
                start, notes=(*start.notes, "Refinement did not help on the held-out part.")
            )
        setting = setting_of(start.effect, u[None])
        for name, value in start.setting.items():
            if table.names.index(name) not in free:
                setting[name] = value.clone()
        return replace(start, setting=_same_loudness(start, setting, source, own, locks))

    def _weights(
        self, source: Excerpt, references: Sequence[Reference], valid: NDArray[np.bool_]
    ) -> Array:
        content = self.content or content_statistics.packaged()
        own = measure(normalised(source), source.sample_rate)
        reference = average_of(references)
        voices = [r.voices if isinstance(r, Profile) else 1 for r in references]
        if all(n > 1 for n in voices):
            content, p = content.against_mean_of(sum(voices)), 0.0
        else:
            p = separation.same_voice(own, reference, content)
        mixed = p * content.same + (1 - p) * content.other
        bands = np.flatnonzero(valid)
        percentiles = BANDS + np.arange(15)
        chosen = np.concatenate([bands, percentiles, [len(mixed) - 2]])
        covariance = mixed[np.ix_(chosen, chosen)] + self.model_db**2 * np.eye(len(chosen))
        covariance[: len(bands), : len(bands)] += separation.LEVEL_VARIANCE
        return np.linalg.inv(np.linalg.cholesky(covariance))

    def _objective(
        self, side: Half, effect: Effect, weights: Array, u: Array, u0: Array, free: list[int]
    ) -> Array:
        error = (side.statistics(effect, u) - side.reference) @ weights.T
        prior = ((u - u0)[:, free] / self.prior_sd) ** 2
        return np.asarray((error**2).sum(axis=1) + prior.sum(axis=1))


def halves(
    audio: torch.Tensor, sample_rate: int, references: Sequence[Reference]
) -> tuple[Half, Half] | None:
    """Both halves of the source's audio [T] and of the references; None where one is silent."""
    valid = valid_bands(min(sample_rate, *(r.sample_rate for r in references)))
    middle = audio.numel() // 2
    found = []
    for half, part in enumerate((audio[:middle], audio[middle:])):
        statistics = _statistics(references, half)
        if not statistics or not part.any():
            return None
        found.append(Half(part, sample_rate, statistics, valid))
    return found[0], found[1]


def _statistics(references: Sequence[Reference], half: int) -> list[StyleStatistics]:
    """Statistics of one half of every reference that sounds there."""
    found = []
    for r in references:
        if isinstance(r, Profile):
            found.append(r.statistics)
            continue
        whole = normalised(r)
        middle = whole.size // 2
        part = whole[middle:] if half else whole[:middle]
        if part.any():
            found.append(measure(part, r.sample_rate))
    return found


class Half:
    """One half of the source and of the references, and their statistics."""

    def __init__(
        self,
        audio: torch.Tensor,
        sample_rate: int,
        references: Sequence[StyleStatistics],
        valid: NDArray[np.bool_],
    ) -> None:
        self.audio, self.sample_rate, self.valid = audio, sample_rate, valid
        self.reference = self._chosen(average(references))[0]

    def _chosen(self, s: StyleStatistics) -> Array:
        return np.concatenate([s.band_level_db[:, self.valid], compression.dynamics(s)], axis=1)

    def statistics(self, effect: Effect, u: Array) -> Array:
        """Statistics [N, S] of the audio rendered with N unit vectors, eight at a time."""
        out = []
        for start in range(0, len(u), 8):
            rows = u[start : start + 8]
            many = self.audio.expand(len(rows), 1, -1)
            with torch.no_grad():
                setting = setting_of(effect, rows)
                y = effect.render(many, self.sample_rate, setting, checked=False).audio[:, 0]
            out.append(self._chosen(measure(y, self.sample_rate)))
        return np.concatenate(out)


def setting_of(effect: Effect, u: Array) -> Setting:
    return effect.params.to_physical(torch.as_tensor(u, dtype=torch.float64))


def _same_loudness(
    start: Estimate,
    setting: Setting,
    source: Excerpt,
    audio: torch.Tensor,
    locks: Mapping[str, float],
) -> Setting:
    """The setting with its level parameter moved so that the loudness stays."""
    names = [n for n in start.effect.params.with_role("makeup") if n not in locks]
    if not names:
        return setting
    with torch.no_grad():
        was, now = (
            float(
                measure(
                    start.effect.render(audio[None, None], source.sample_rate, s).audio[0],
                    source.sample_rate,
                ).loudness_db[0]
            )
            for s in (start.setting, setting)
        )
    param = start.effect.params[names[-1]]
    value = (setting[names[-1]] + was - now).clamp(param.low, param.high)
    return {**setting, names[-1]: value}
