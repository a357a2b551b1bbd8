"""The trained estimator: a network that compares the input with the references."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor

from retone.dsp.effect import Effect
from retone.dsp.measure import measure
from retone.dsp.param import Setting
from retone.errors import AudioError, DataError, SettingError
from retone.estimators.base import Estimate, Excerpt, Reference
from retone.estimators.common_band import in_common_band
from retone.estimators.content_statistics import packaged
from retone.estimators.expectation import Descent, fit_expectation
from retone.estimators.frame_fit import FitRules, FrameGoal
from retone.estimators.frames import Frames
from retone.estimators.frames import load as load_frames
from retone.estimators.gate import (
    Shares,
    agreement_of,
    blended,
    evidence_of,
    without_locked,
)
from retone.estimators.gate import packaged as packaged_gate
from retone.estimators.level_rule import LevelRule, levels_of, same_sources, sounding
from retone.estimators.loading import (
    Loaded,
    load,
    louder,
    loudest,
    makeup_of,
    pieces,
    rendered,
)
from retone.estimators.own_rate import at_own_rate
from retone.estimators.preset_change import infer_change
from retone.estimators.profile import Profile, with_measures
from retone.estimators.shipped import FRAMES_MISSING, lacks_frames
from retone.nets import checkpoint
from retone.nets.aligned import AlignedNet
from retone.nets.frames import DB, FramePrediction
from retone.nets.frontend import MEASURES, Features, merge_clips
from retone.nets.iterative import Expected, IterativeNet
from retone.nets.tcn import Tcn
from retone.progress import Progress, silent


class PredictedLevel(NamedTuple):
    """Level of a result, from that which a second network predicts; found on held-out recordings.

    With ``q`` in 0..1 the doubt about the prediction, from the logarithm ``s`` of its scale in
    dB / 20: ``q = 1 / (1 + exp(-SHARPNESS (s - even)))``::

        gain = ((1 - q) certain + q doubtful) (predicted - result)
               + q peak (reference's peak - result's peak)

    The fit comes near the level where the prediction is certain.
    """

    certain: float
    doubtful: float
    peak: float
    even: float


SHARPNESS = 10.0
LEVELS = {
    "speech": PredictedLevel(certain=0.25, doubtful=0.85, peak=0.0, even=-1.0),
    "music": PredictedLevel(certain=0.3, doubtful=0.6, peak=0.3, even=-0.8),
}
ALONE = Descent(16, 0.06, 0.02, (0.9, 0.999))
TOGETHER = Descent(24, 0.08, 0.02)
"""Fit where a network that predicts frames takes part."""
MOST_STEPS = 16
"""Steps of a fit to several pieces: each costs more, and several hold more than one."""
SILENT = 1e-6
SHIPPED, USUAL = "shipped", "usual"


@dataclass(frozen=True)
class Network:
    """Predicts the setting of its effect.

    Excerpts longer than the network's training clips are split into pieces. Networks that compare
    frames analyse all pieces of a recording as one; for others the predictions of the pieces are
    averaged on each parameter's own scale, as are those for several references.

    A network that predicts the statistics of the result has its setting fitted to them. A second
    network can predict the frames of the result (``Frames``): then one setting is fitted to both
    predictions, each value weighted by its certainty. Their errors differ, so the setting is better
    than that from either.

    Args:
        weights: a ``.safetensors`` file written by ``retone train``, or ``"speech"`` or ``"music"``
            for those that ship with the package.
        frames: weights of the second network, as in ``Frames``; ``"shipped"`` takes those that ship
            beside ``weights``, if there are any, and None uses none. Profiles have no frames, so
            the network then works alone.
        max_pieces: most pieces of one recording.
        fit_steps: steps of the fit; None takes those of ``ALONE`` or ``TOGETHER``, 0 uses the
            predicted setting unchanged.
        fit_pieces: number of pieces, the loudest, for the fit and for measuring levels.
        level: rule that adjusts the level at last; ``"usual"`` is ``LevelRule()`` for a network
            that works alone and none beside a second one, which predicts the level itself
            (``PredictedLevel``); None is none.
        caution: 1 makes only the shares of the change that ``retone.estimators.gate`` finds, 0 the
            whole change. Custom weights, profiles and ``fit_steps=0`` make the whole change.

    Raises:
        SettingError: the caution is outside 0..1, or the level is another word.
    """

    weights: Path | str = "speech"
    frames: Path | str | None = SHIPPED
    max_pieces: int = 4
    fit_steps: int | None = None
    fit_pieces: int = 2
    level: LevelRule | str | None = USUAL
    caution: float = 1.0
    name: str = "network"

    def __post_init__(self) -> None:
        if not 0 <= self.caution <= 1:
            raise SettingError(f"caution = {self.caution} is outside 0..1.")
        if isinstance(self.level, str) and self.level != USUAL:
            raise SettingError(f"level = {self.level!r}: expected a LevelRule, {USUAL!r} or None.")

    @property
    def effect(self) -> Effect:
        """The effect that the weights set."""
        return load(self.weights).effect

    def estimate(
        self,
        source: Excerpt,
        references: Sequence[Reference],
        *,
        locks: Mapping[str, float],
        progress: Progress = silent,
    ) -> Estimate:
        """Find the setting; see ``Estimator.estimate``. The caller applies the locks."""
        gated = self.caution > 0 and self.frames in (None, SHIPPED, self.weights)
        gate = packaged_gate(str(self.weights)) if gated else None
        estimate, evidence = self.answer(
            source, references, locks=locks, progress=progress, explain=gate is not None
        )
        if gate is None or evidence is None or not gate.takes(evidence):
            return estimate
        shares = without_locked(
            estimate.effect.params, gate.shares(evidence).lessened(self.caution), locks
        )
        setting = self.made(estimate, shares, source, locks)
        return replace(
            estimate, setting=setting, notes=(*estimate.notes, *shares.notes()),
            reference_level_share=shares.level,
        )  # fmt: skip

    def made(
        self, estimate: Estimate, shares: Shares, source: Excerpt, locks: Mapping[str, float]
    ) -> Setting:
        """The setting that makes these shares of an estimate's change, for its source."""
        table = estimate.effect.params
        setting = blended(table, estimate.setting, shares)
        makeup = makeup_of(table)
        if not makeup or makeup in locks:
            return setting
        loaded = load(self.weights)
        rate = _rate(loaded)
        own = loudest(pieces(source, rate, loaded.length, self.max_pieces), self.fit_pieces)
        levels = [
            levels_of(clips, rate)
            for clips in (
                own,
                *(
                    rendered(loaded.effect, own, rate, table.to_unit(s))
                    for s in (estimate.setting, setting)
                ),
            )
        ]
        first, whole, now = levels
        if first is None or whole is None or now is None:
            return setting
        wanted_db = shares.level * whole.over(first) - now.over(first)
        return table.to_physical(louder(table, table.to_unit(setting), wanted_db))

    def answer(
        self,
        source: Excerpt,
        references: Sequence[Reference],
        *,
        locks: Mapping[str, float],
        progress: Progress = silent,
        explain: bool = True,
    ) -> tuple[Estimate, dict[str, float] | None]:
        """The whole change, and the evidence for it; None for a network without expectations.

        Args:
            source, references, locks, progress: see ``Estimator.estimate``.
            explain: whether the evidence is wanted.
        """
        if not references:
            raise AudioError("network: a reference is needed; give one or more recordings.")
        references = sounding(references)
        loaded = load(self.weights)
        network: Any = loaded.network
        if isinstance(network, Tcn):
            raise DataError(
                f"network: {self.weights} takes no reference: it is for enhancement. "
                "Use weights of a style recipe."
            )
        rate = _rate(loaded)
        own, *others = (
            pieces(each, rate, loaded.length, self.max_pieces)
            for each in (source, *references)
            if not isinstance(each, Profile)
        )
        recordings = len(others) == len(references)
        alike = None
        if recordings:
            loud = [loudest(each, self.fit_pieces) for each in (own, *others)]
            alike = same_sources(loud[0], loud[1:], rate, loaded.kind)
        octaves_lost = None
        if loaded.kind == "speech" and recordings:  # a profile is not low-passed
            own, others, octaves_lost = in_common_band(own, others, rate, alike)
        left = iter(others)
        reference_features: list[Features] = []
        units, expected = [], []
        merged = isinstance(network, AlignedNet)
        where = Path(self.weights).name
        with torch.no_grad(), checkpoint.damaged(where):
            parts = network.encode(own)
            source_features = merge_clips(parts) if merged else parts
            for reference in references:
                if isinstance(reference, Profile):
                    other = features_of_profile(reference, network)
                else:
                    other = network.encode(next(left))
                    if merged:
                        other = merge_clips(other)
                        reference_features.append(other)
                for j in range(other[0].shape[0]):
                    count = source_features[0].shape[0]
                    one = type(other)(*(t[j : j + 1].expand(count, *t.shape[1:]) for t in other))
                    predicted, statistics = _compare(loaded, own, source_features, one)
                    units.append(predicted)
                    expected += [statistics] if statistics else []
        unit = checkpoint.finite(torch.cat(units).double().mean(0, keepdim=True), where)
        makeup = makeup_of(loaded.effect.params)
        clips = loudest(own, self.fit_pieces)
        known: list[Tensor] = []
        aim: _Aim | None = None
        loud = [clips, *(loudest(other, self.fit_pieces) for other in others)]
        if expected and self.fit_steps != 0:
            if recordings:
                audible = any(bool(clips.any()) for clips in others)
                aim = self._aim(loaded, own, parts, reference_features if audible else [])
            descent = TOGETHER if aim else ALONE
            expected_stats = Expected(
                *(torch.stack(t).mean(0) for t in zip(*expected, strict=True))
            )
            if clips.shape[0] < own.shape[0]:  # their content differs a little from that of all
                offset = network.statistics(clips).mean(0) - network.statistics(own).mean(0)
                mean = expected_stats.mean + offset / network.scale
                expected_stats = expected_stats._replace(mean=mean)
            predicted_unit = unit
            steps = descent.steps if len(clips) == 1 else MOST_STEPS
            unit = fit_expectation(
                network, loaded.effect, clips, rate, expected_stats, unit,
                rules=replace(descent, steps=self.fit_steps or steps),
                also=aim.misfit if aim else None, locks=locks, progress=progress,
            ).double()  # fmt: skip
            if explain and network.config.front_end.measures:
                known = [
                    network.standardized(network.statistics(audio).mean(0, keepdim=True))[0]
                    for audio in (clips, rendered(loaded.effect, clips, rate, unit))
                ]
            if makeup not in locks and network.config.front_end.measures:
                unit = (
                    aim.at_level(loaded, unit, loud)
                    if aim
                    else _at_level(loaded, own, unit, predicted_unit)
                )
        usual = None if aim else LevelRule()
        rule = usual if isinstance(self.level, str) else self.level
        by_rule = rule if recordings and makeup and makeup not in locks else None
        if by_rule:
            result = rendered(loaded.effect, clips, rate, unit)
            gain_db = by_rule.for_clips(result, clips, loud[1:], rate, alike)
            unit = louder(loaded.effect.params, unit, gain_db)
        table = loaded.effect.params
        setting = table.blend(table.to_physical(unit), _needed(source, references))
        evidence = None
        if known and alike is not None:
            evidence = evidence_of(
                known[0], known[1], expected_stats, alike, loaded.effect, setting, loud, rate
            )
            if octaves_lost is not None:
                evidence["octaves lost"] = octaves_lost
            if aim:
                result = rendered(loaded.effect, clips, rate, unit)
                evidence |= aim.evidence(loaded, expected_stats, result)
        if expected and self.fit_steps != 0 and alike is not None:
            setting = at_own_rate(
                loaded.effect, setting, source,
                [r for r in references if isinstance(r, Excerpt)],
                network_rate=rate, kind=loaded.kind, same_source=alike, locks=locks,
            )  # fmt: skip
        incomplete = recordings and self.frames == SHIPPED and lacks_frames(str(self.weights))
        notes = (FRAMES_MISSING[str(self.weights)],) if incomplete else ()
        return Estimate(loaded.effect, setting, notes), evidence

    def _aim(
        self, loaded: Loaded, own: Tensor, parts: Features, references: Sequence[Features]
    ) -> _Aim | None:
        """What the second network predicts from references that are not silent, if there are any.

        Raises:
            DataError: the networks analyse recordings differently.
        """
        weights = self.frames
        if weights == SHIPPED:
            kind = str(self.weights)
            weights = kind if kind in FRAMES_MISSING and not lacks_frames(kind) else None
        if weights is None or not references:
            return None
        first: Any = loaded.network
        if load_frames(weights).network.front_end.config != first.config.front_end:
            raise DataError(
                f"network: {weights} analyses recordings differently from {self.weights}, so no "
                "setting can be fitted to both. Leave out one of them."
            )
        frames = Frames(weights, fit_pieces=self.fit_pieces)
        return _Aim(*frames.aim(own, parts, references), weights)


class _Aim(NamedTuple):
    """Clips [N, T], their predicted frames and measures, and all that was predicted."""

    clips: Tensor
    goal: FrameGoal
    wanted: FramePrediction
    weights: Path | str

    def misfit(self, features: Features) -> Tensor:
        """The distance of results from what was predicted; see ``FrameGoal``."""
        measures = features.summary[:, -MEASURES:]
        return self.goal.misfit(features.frames, measures, FitRules.bend)

    def at_level(self, loaded: Loaded, unit: Tensor, loud: Sequence[Tensor]) -> Tensor:
        """A fitted setting with the makeup moved as ``PredictedLevel`` says.

        Args:
            loaded, unit: the first network and its fitted parameters.
            loud: loud clips [N, T] of the source and of each reference.
        """
        network: Any = loaded.network
        rule, rate = LEVELS[loaded.kind], _rate(loaded)
        now = network.statistics(rendered(loaded.effect, self.clips, rate, unit))[:, -MEASURES:]
        above_db = DB * float((self.goal.measures - now)[:, :-1].mean())
        scale = float(self.wanted.expected.log_scale[0, -MEASURES:-1].mean())
        doubt = 1 / (1 + math.exp(-SHARPNESS * (scale - rule.even)))
        gain_db = (rule.certain + doubt * (rule.doubtful - rule.certain)) * above_db
        if rule.peak:
            own_db = _peak_db(rendered(loaded.effect, loud[0], rate, unit))
            others_db = [_peak_db(clips) for clips in loud[1:]]
            gain_db += doubt * rule.peak * (sum(others_db) / len(others_db) - own_db)
        return louder(loaded.effect.params, unit, gain_db)

    def evidence(self, loaded: Loaded, expected: Expected, result: Tensor) -> dict[str, float]:
        """See ``gate.agreement_of``."""
        network: Any = loaded.network
        second = load_frames(self.weights).network
        mean = self.wanted.expected.mean * second.scale + second.center
        with torch.no_grad():
            sides = [network.encode(audio) for audio in (self.clips, result)]
            return agreement_of(
                expected, network.standardized(mean)[0],
                [float(self.misfit(side)) for side in sides],
                [DB * float(side.summary[:, -MEASURES:-1].mean()) for side in sides],
                self.wanted,
            )  # fmt: skip


def _rate(loaded: Loaded) -> int:
    """Sample rate of a network in Hz."""
    network: Any = loaded.network
    return int(network.config.front_end.sample_rate)


def _peak_db(clips: Tensor) -> float:
    """Sample peak in dBFS, -120 or more."""
    return 20 * math.log10(max(float(clips.abs().max()), SILENT))


def _at_level(loaded: Loaded, own: Tensor, unit: Tensor, predicted: Tensor) -> Tensor:
    """A fitted setting with the makeup that gives it the level of the prediction.

    An iterative network predicts the level better than the fit; it is the mean of RMS and
    K-weighted level.
    """
    network: Any = loaded.network
    levels = [
        network.statistics(rendered(loaded.effect, own, _rate(loaded), u)).mean(0)
        for u in (unit, predicted)
    ]
    above_db = DB * float((levels[1] - levels[0])[-MEASURES:-1].mean())
    return louder(loaded.effect.params, unit, above_db)


def _needed(source: Excerpt, references: Sequence[Reference]) -> float:
    """Share of the change that a recording still needs: less than 1 for a preset's style only."""
    only = references[0]
    if len(references) != 1 or not isinstance(only, Profile) or only.unprocessed is None:
        return 1.0
    return infer_change(
        measure(source.audio, source.sample_rate),
        only,
        packaged(only.kind).against_mean_of(only.voices),
        sample_rate=min(source.sample_rate, only.sample_rate),
        scales=(0.0,),
        temper=1.0,
    ).needed


def features_of_profile(profile: Profile, network: Any) -> Any:
    """A profile as features for a network.

    Raises:
        DataError: the profile holds no features for this kind of network.
    """
    known = profile.typical
    if known is not None and network.config.front_end.measures:
        known = with_measures(known)
    if known is None or known.front_end != network.config.front_end:
        raise DataError(
            f"network: preset '{profile.name}' holds no features for this "
            f"{type(network).__name__}. Use the estimator closed-form, or make the preset again."
        )
    return known.features()


def _compare(
    loaded: Loaded, own: Tensor, source: Any, other: Any
) -> tuple[Tensor, Expected | None]:
    """Unit parameters [B, P] for the features of a source, with pieces ``own`` [N, T], and of a
    reference; and the predicted statistics, if the network predicts them.
    """
    network: Any = loaded.network
    if not isinstance(network, IterativeNet):
        return network.compare(source, other), None
    rate, effect = network.config.front_end.sample_rate, loaded.effect

    def render(unit: Tensor) -> Tensor:
        setting = effect.params.to_physical(unit.expand(own.shape[0], -1))
        return effect.render(own[:, None], rate, setting).audio[:, 0]

    predictions = network.predict(
        Features(*source),
        Features(*other),
        render,
        lambda audio: merge_clips(network.encode(audio)),
    )
    return predictions.units[-1], predictions.expected[-1]


def frames_match(weights: Path | str = "speech", start: str = "speech") -> Frames:
    """The prediction of frames, with a fit that begins at the other network's prediction.

    The fit aims at the predicted frames, and to a lesser part at the result of the initial setting,
    since the errors of both networks differ.

    Args:
        weights: as in ``Frames``.
        start: weights of the network that predicts the initial setting, as in ``Network``.
    """
    first = Network(weights=start, fit_steps=0, level=None, frames=None)
    return Frames(weights, first, first_share=0.3, rules=FitRules(steps=24))
