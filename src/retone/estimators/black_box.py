"""Black-box fit: set any effect that renders, without gradients or knowledge of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch

from retone.dsp.effect import Effect
from retone.dsp.measure import Array, measure
from retone.errors import AudioError
from retone.estimators.base import Estimate, Excerpt, Reference
from retone.estimators.closed_form import normalised
from retone.estimators.refine import MIN_HALF_S, Half, Refined, halves, setting_of
from retone.progress import ESTIMATING, Progress, silent

USUAL_GAIN_DB = 12.0
LEVEL_WORDS = {"makeup", "master", "output", "volume"}


@dataclass(frozen=True)
class FixedSetting:
    """An estimator that always returns one setting, the start of a fit."""

    effect: Effect
    unit: tuple[float, ...]
    name: str = "fixed"

    def estimate(
        self,
        source: Excerpt,
        references: Sequence[Reference],
        *,
        locks: Mapping[str, float],
        progress: Progress = silent,
    ) -> Estimate:
        """Return the setting with the locks applied; no audio is analysed."""
        setting = setting_of(self.effect, np.array([self.unit]))
        checked = self.effect.params.setting(locks)
        return Estimate(self.effect, {n: checked[n] if n in locks else v
                                      for n, v in setting.items()})  # fmt: skip


@dataclass(frozen=True)
class BlackBoxFit:
    """Finds the setting of any effect whose output is closest to the references in style.

    The distance is that of ``Refined``: style statistics whitened by the covariance of content.
    First the settings of a low-discrepancy sequence are rendered; the best few and the effect's
    defaults are refined by finite-difference steps. All of this uses the first halves of the
    recordings. The second halves decide which candidate is used, and whether it is closer than
    the unprocessed recording. If none is, every parameter is neutral, or at its default if it has
    no neutral value.

    Args:
        effect: the effect to set; it need not be differentiable.
        draws: settings that are rendered first.
        starts: how many of them are refined.
        steps: finite-difference steps for each; a step renders once per parameter.
        max_seconds: longest part of the recording that is rendered.
    """

    effect: Effect
    draws: int = 48
    starts: int = 2
    steps: int = 4
    max_seconds: float = 16.0
    name: str = "fitted"

    def estimate(
        self,
        source: Excerpt,
        references: Sequence[Reference],
        *,
        locks: Mapping[str, float],
        progress: Progress = silent,
    ) -> Estimate:
        """Find the setting; see ``Estimator.estimate``.

        Raises:
            AudioError: there is no reference, or a recording is silent or too short to hold half
                of it out.
            SettingError: a lock names no parameter or is out of range.
            PluginError: a plug-in failed.
        """
        if not references:
            raise AudioError("there is no reference. Give at least one reference recording.")
        source = Excerpt(source.audio[: round(self.max_seconds * source.sample_rate)],
                         source.sample_rate)  # fmt: skip
        recordings = (source, *(r for r in references if isinstance(r, Excerpt)))
        shortest = min(e.audio.numel() / e.sample_rate for e in recordings)
        if shortest < 2 * MIN_HALF_S:
            raise AudioError(
                f"fitting an effect needs {2 * MIN_HALF_S:g} s of each recording; one is only "
                f"{shortest:.1f} s long."
            )
        table = self.effect.params
        own = torch.as_tensor(normalised(source))
        both = halves(own, source.sample_rate, references)
        if both is None:
            raise AudioError(
                "fitting an effect needs sound in both halves of each recording; one is silent. "
                "Use a recording with more sound."
            )
        near, far = both
        weights = Refined()._weights(source, references, near.valid)
        held = table.to_unit(table.setting(locks)).numpy()[0]
        for i, p in enumerate(table):
            if p.name not in locks:
                held[i] = np.nan
        default = table.to_unit(table.defaults(1)).numpy()[0]

        total = 1 + self.starts + 1
        units = np.concatenate([default[None], self._sequence(len(table))])
        for i, p in enumerate(table):
            if LEVEL_WORDS & set(p.name.split("_")):
                units[:, i] = default[i]  # loudness is set after rendering
            elif p.unit == "dB" and p.neutral is not None:  # gains in the usual range
                span = min(1.0, 2 * USUAL_GAIN_DB / (p.high - p.low))
                middle = (p.neutral - p.low) / (p.high - p.low)
                units[1:, i] = np.clip(middle + span * (units[1:, i] - 0.5), 0.0, 1.0)
        units = np.where(np.isnan(held), units, held)
        errors = _misfit(near, self.effect, weights, units)
        progress(ESTIMATING, 1, total)
        order = [0, *(1 + np.argsort(errors[1:])[: self.starts])]
        candidates = []
        for number, index in enumerate(order):
            refined = Refined(
                first=FixedSetting(self.effect, tuple(units[index])),
                steps=self.steps,
                prior_sd=0.25,
            )
            candidates.append(refined.estimate(source, references, locks=locks))
            progress(ESTIMATING, 2 + number, total)
        found = np.concatenate(
            [
                table.to_unit({n: v.double() for n, v in a.setting.items()}).numpy()
                for a in candidates
            ]
        )
        misfits = _misfit(far, self.effect, weights, found)
        unprocessed_row = far._chosen(measure(far.audio[None], source.sample_rate))
        unprocessed = float(_distance(far, weights, unprocessed_row)[0])
        best = int(np.argmin(misfits))
        if not misfits[best] < unprocessed:
            neutral = table.neutral(1)
            checked = table.setting(locks)
            setting = {n: checked[n] if n in locks else v for n, v in neutral.items()}
            note = (
                f"No setting of {self.effect.name} brought the held-out half closer to the "
                "reference; its parameters are neutral, or at their defaults."
            )
            return Estimate(self.effect, setting, (note,))
        note = (
            f"{self.effect.name} was fitted on one half of the recordings; on the other half the "
            f"style distance fell to {100 * misfits[best] / unprocessed:.0f} % of that before."
        )
        return replace(candidates[best], notes=(note,))

    def _sequence(self, parameters: int) -> Array:
        from scipy.stats import qmc

        points = qmc.Sobol(parameters, scramble=True, rng=np.random.default_rng(0))
        size = 1 << (self.draws - 1).bit_length()
        return 0.05 + 0.9 * points.random(size)[: self.draws]


def _distance(side: Half, weights: Array, rows: Array) -> Array:
    return np.asarray((((rows - side.reference) @ weights.T) ** 2).sum(axis=1))


def _misfit(side: Half, effect: Effect, weights: Array, units: Array) -> Array:
    """Whitened distances [N] to the references of the audio rendered with units [N, P]."""
    found = []
    for row in units:
        try:
            found.append(_distance(side, weights, side.statistics(effect, row[None])))
        except AudioError:  # the output is silent
            found.append(np.array([np.inf]))
    return np.concatenate(found)
