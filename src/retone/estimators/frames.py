"""The estimator that predicts the target's frames and fits the effects to them."""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor

from retone.effects import MATCH_CHAIN
from retone.errors import AudioError, DataError
from retone.estimators.base import Estimate, Estimator, Excerpt, Reference
from retone.estimators.closed_form import ClosedForm
from retone.estimators.common_band import in_common_band
from retone.estimators.frame_fit import FitRules, FrameGoal, fit_frames
from retone.estimators.level_rule import LevelRule, same_sources, sounding
from retone.estimators.loading import (
    LONGEST,
    SHORTEST,
    louder,
    loudest,
    makeup_of,
    network_config,
    pieces,
    rendered,
)
from retone.estimators.own_rate import at_own_rate
from retone.estimators.profile import Profile
from retone.estimators.shipped import KINDS, frames_weights
from retone.files.fields import number
from retone.nets import checkpoint
from retone.nets.frames import DB, FrameNet, FrameNetConfig, FramePrediction
from retone.nets.frontend import MEASURES, Features, FrontEnd, merge_clips
from retone.progress import Progress, silent

MAKEUP = makeup_of(MATCH_CHAIN.params)
QUIET_DB = -90.0


class Predictor(NamedTuple):
    """A network ready for use.

    ``length`` (samples) is that of its training clips; ``kind`` is ``"speech"`` or ``"music"``.
    """

    network: FrameNet
    length: int
    kind: str


@dataclass(frozen=True)
class Frames:
    """Sets ``MATCH_CHAIN`` so that results have the frames that a network predicts.

    Args:
        weights: a ``.safetensors`` file of a recipe that predicts frames, or ``"speech"`` for those
            that ship with the package.
        first: estimator of the initial setting of the fit.
        first_share: 0 aims at the predicted frames, 1 at the result of the initial setting.
        rules: rules of the fit.
        measure_weight: weight of levels and centroid, relative to 1 for all frames.
        linear: 1 weights bands by their width in Hz, 0 all alike.
        trust: exponent of the certainty of each value: 0 weights all alike.
        amount: share of the predicted change that the fit aims at.
        max_pieces, fit_pieces: most pieces of a long recording for the network and for the fit.
        fit_frames: number of frames of each piece for the fit, where it is loudest; 0 for all.
        statistics_share: share of the change of levels and centroid that follows from the predicted
            statistics; the rest follows from the predicted frames.
        level: rule that then adjusts the makeup; None keeps that of the fit.
        level_scale_db: uncertainty of the network about the level at which half of the rule's gain
            applies; where the network is more certain, less applies.
    """

    weights: Path | str = "speech"
    first: Estimator = field(default_factory=ClosedForm)
    first_share: float = 0.0
    rules: FitRules = FitRules(steps=40)
    measure_weight: float = 0.03
    linear: float = 0.5
    trust: float = 1.0
    amount: float = 1.0
    max_pieces: int = 4
    fit_pieces: int = 1
    fit_frames: int = 0
    statistics_share: float = 0.5
    level: LevelRule | None = LevelRule(same=0.5, peak=0.5, own=0.0)
    level_scale_db: float = 1.0
    name: str = "frames"

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
            AudioError: there is no reference, or one is a profile.
        """
        if not references or any(isinstance(r, Profile) for r in references):
            raise AudioError("frames: recordings are needed as references; give one or more.")
        references = sounding(references)
        network, length, kind = load(self.weights)
        front_end = network.front_end
        rate = front_end.config.sample_rate
        own, *others = (
            pieces(e, rate, length, self.max_pieces)
            for e in (source, *references)
            if isinstance(e, Excerpt)
        )
        loud = [loudest(clips, self.fit_pieces) for clips in (own, *others)]
        alike = same_sources(loud[0], loud[1:], rate, kind)
        if kind == "speech":
            own, others, _ = in_common_band(own, others, rate, alike)
        unit = self._begin(source, references, locks)
        with torch.no_grad():
            parts, *reference_parts = (network.encode(clips) for clips in (own, *others))
        merged = [merge_clips(features) for features in reference_parts]
        clips, goal, wanted = self.aim(own, parts, merged)
        goal = self._halfway(front_end, clips, goal, unit)
        unit, _ = fit_frames(
            MATCH_CHAIN, front_end, clips, goal, unit, rules=self.rules, locks=locks,
            progress=progress,
        )  # fmt: skip
        unit = unit.double()
        if self.level and MAKEUP not in locks:
            loud = [loudest(clips, self.fit_pieces) for clips in (own, *others)]
            gain_db = self.level.for_clips(
                rendered(MATCH_CHAIN, loud[0], rate, unit), loud[0], loud[1:], rate, alike
            )  # fmt: skip
            unit = louder(MATCH_CHAIN.params, unit, gain_db * self._doubt(network, wanted))
        setting = MATCH_CHAIN.params.to_physical(unit)
        if alike is not None:
            setting = at_own_rate(
                MATCH_CHAIN, setting, source, [r for r in references if isinstance(r, Excerpt)],
                network_rate=rate, kind=kind, same_source=alike, locks=locks,
            )  # fmt: skip
        return Estimate(MATCH_CHAIN, setting)

    def aim(
        self, own: Tensor, parts: Features, references: Sequence[Features]
    ) -> tuple[Tensor, FrameGoal, FramePrediction]:
        """Clips [N, T] for a fit, its goal for them, and the prediction for all pieces as one clip.

        Args:
            own, parts: pieces [N, T] of the source at the network's rate, and their features.
            references: features of each reference, merged into one clip.
        """
        network = load(self.weights).network
        features = merge_clips(parts)
        with torch.no_grad(), checkpoint.damaged(Path(self.weights).name):
            wanted = combined([network.predict(features, r)[-1] for r in references])
        level = (own * own).mean(1)
        kept = torch.argsort(level, descending=True)[: self.fit_pieces].sort().values
        return *self._goal(network, own, parts, features, wanted, kept), wanted

    def _begin(
        self, source: Excerpt, references: Sequence[Reference], locks: Mapping[str, float]
    ) -> Tensor:
        first = self.first.estimate(source, references, locks=locks)
        return MATCH_CHAIN.params.to_unit(first.setting).float()

    def _goal(
        self,
        network: FrameNet,
        own: Tensor,
        parts: Features,
        features: Features,
        wanted: FramePrediction,
        kept: Tensor,
    ) -> tuple[Tensor, FrameGoal]:
        """Clips [N, T] for the fit, from the pieces numbered ``kept``, and their goal.

        ``wanted`` is the prediction for all pieces as one clip.
        """
        count, front_end = own.shape[0], network.front_end
        now = parts.frames[kept]
        frames = now + self.amount * (_split(wanted.frames, count)[kept] - now)
        weight = (-self.trust * _split(wanted.log_scale, count)[kept]).exp()
        weight = weight * (torch.maximum(frames, now) > QUIET_DB / DB)
        width = front_end.widths()
        weight = weight * (1 - self.linear + self.linear * width / width.mean())[:, None]
        clips, frames, weight = shortened(
            own[kept], frames, weight, self.fit_frames, front_end.config.hop
        )
        with torch.no_grad():
            now, measures = front_end.frames_and_measures(clips)
        shown = front_end.measures_of(frames) - front_end.measures_of(now)
        change = self.amount * (statistics(network, wanted) - features.summary)[:, -MEASURES:]
        sure = torch.full_like(measures, self.measure_weight)
        measures = measures + torch.lerp(shown, change, self.statistics_share)
        return clips, FrameGoal(frames, weight, measures, sure)

    def _doubt(self, network: FrameNet, wanted: FramePrediction) -> float:
        """Share of the rule's gain that applies, from the uncertainty about the level."""
        scale = (wanted.expected.log_scale.exp() * network.scale)[0, -MEASURES:-1]
        doubt_db = max(DB * float(scale.mean()), 1e-3)
        return 1 / (1 + (self.level_scale_db / doubt_db) ** 4)

    def _halfway(
        self, front_end: FrontEnd, clips: Tensor, goal: FrameGoal, unit: Tensor
    ) -> FrameGoal:
        """A goal between the prediction and the result of the initial setting."""
        if not self.first_share:
            return goal
        out = rendered(MATCH_CHAIN, clips, front_end.config.sample_rate, unit)
        with torch.no_grad():
            frames, measures = front_end.frames_and_measures(out)
        return goal._replace(
            frames=torch.lerp(goal.frames, frames, self.first_share),
            measures=torch.lerp(goal.measures, measures, self.first_share),
        )


def _split(frames: Tensor, count: int) -> Tensor:
    """Frames [1, M, count * K] of merged pieces as [count, M, K]."""
    return frames[0].unflatten(1, (count, -1)).transpose(0, 1)


def statistics(network: FrameNet, wanted: FramePrediction) -> Tensor:
    """Predicted summary statistics of the target, [B, S], on the scale of ``Features.summary``."""
    return wanted.expected.mean * network.scale + network.center


def shortened(
    clips: Tensor, frames: Tensor, weight: Tensor, most: int, hop: int
) -> tuple[Tensor, Tensor, Tensor]:
    """Clips [N, T], frames and weights [N, M, K] cut to the loudest ``most`` frames of each clip.

    The outermost frames are affected by the cut, so their weight is 0.
    """
    count = frames.shape[-1]
    if not 2 < most < count:
        return clips, frames, weight
    blocks = clips[:, : (count - 1) * hop].unflatten(1, (count - 1, hop))
    level = blocks.square().mean(2)
    begin = level.unfold(1, most - 1, 1).mean(2).argmax(1).tolist()
    cut = [slice(b, b + most) for b in begin]
    audio = [c[b * hop : (b + most - 1) * hop] for c, b in zip(clips, begin, strict=True)]
    frames = torch.stack([f[:, s] for f, s in zip(frames, cut, strict=True)])
    weight = torch.stack([w[:, s] for w, s in zip(weight, cut, strict=True)])
    weight[..., [0, -1]] = 0.0
    return torch.stack(audio), frames, weight


def combined(each: list[FramePrediction]) -> FramePrediction:
    """The combined prediction for several references: means weighted by certainty."""
    if len(each) == 1:
        return each[0]
    sure = torch.stack([(-w.log_scale).exp() for w in each])
    frames = (torch.stack([w.frames for w in each]) * sure).sum(0) / sure.sum(0)
    scale = torch.stack([w.log_scale for w in each]).mean(0)
    expected = [w.expected for w in each]
    mean = torch.stack([e.mean for e in expected]).mean(0)
    spread = torch.stack([e.log_scale for e in expected]).mean(0)
    return FramePrediction(frames, scale, expected[0]._replace(mean=mean, log_scale=spread))


@functools.lru_cache(maxsize=4)
def load(weights: Path | str) -> Predictor:
    """Read weights.

    Raises:
        DataError: the file is missing, damaged, or of another kind of network.
    """
    path = frames_weights(str(weights)) if str(weights) in KINDS else Path(weights)
    tensors, header = checkpoint.read(path)
    try:
        described = header["recipe"]["network"]
        length = number(header["recipe"]["scenes"]["length"], f"{path.name}: scenes.length",
                        low=SHORTEST, high=LONGEST, whole=True)  # fmt: skip
        kind = str(header["recipe"]["kind"])
    except (KeyError, TypeError, ValueError) as e:
        raise DataError(
            f"{path.name}: its header has no recipe that predicts frames; use weights of "
            "a frames_ recipe."
        ) from e
    config = network_config(described, path.name)
    if not isinstance(config, FrameNetConfig):
        raise DataError(
            f"{path.name}: these weights predict no frames; use weights of a frames_ recipe."
        )
    own = checkpoint.network_tensors(tensors)
    network = checkpoint.built(config, own, path.name)
    checkpoint.load_module(network, own, path)
    network.eval()
    return Predictor(network, length, kind)
