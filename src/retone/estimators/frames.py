"""The estimator that predicts the wanted frames and fits the effects to them."""

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
from retone.estimators.base import NORMAL_PEAK_DB, Estimate, Estimator, Excerpt, Reference
from retone.estimators.closed_form import ClosedForm
from retone.estimators.frame_fit import FitRules, FrameGoal, fit_frames
from retone.estimators.network import makeup_of, network_config, pieces
from retone.estimators.profile import Profile
from retone.nets import checkpoint
from retone.nets.frames import DB, FrameNet, FrameNetConfig, Wanted
from retone.nets.frontend import MEASURES, Features, FrontEnd, merge_clips
from retone.progress import Progress, silent
from retone.units import gain_to_db

MAKEUP = makeup_of(MATCH_CHAIN.params)
QUIET_DB = -90.0


class Predictor(NamedTuple):
    """A network ready for use; ``length`` is that of the clips it learnt on, in samples."""

    network: FrameNet
    length: int


@dataclass(frozen=True)
class PeakRule:
    """A gain after the fit, by two opinions on the level: the network's, and the peak's.

    Results have much the same peak as references, whoever speaks; what a network thinks of their
    level is better where voices are alike and worse where they are not, and it knows that.

    Args:
        peak_dbfs: usual peak of a result beside a reference at its normal peak.
        scale_db: how far results lie from it, as the network's own uncertainty counts.
        power: how fast the less certain opinion is given up.
    """

    peak_dbfs: float = NORMAL_PEAK_DB
    scale_db: float = 2.2
    power: float = 4.0

    def gain_db(self, told_db: float, told_scale_db: float, peak_dbfs: float) -> float:
        """The gain, of what the network asks for with its uncertainty, and the result's peak."""
        share = 1 / (1 + (self.scale_db / max(told_scale_db, 1e-3)) ** self.power)
        return (1 - share) * told_db + share * (self.peak_dbfs - peak_dbfs)


@dataclass(frozen=True)
class Frames:
    """Sets the chain of ``retone match`` so that results have the frames a network wants.

    Args:
        weights: a ``.safetensors`` file of a recipe of frames.
        first: gives the setting that the fit begins from.
        first_share: how far the goal lies from what the network wants to what that setting gives.
        rules: of the fit.
        measure_weight: what levels and centroid count in it, against all frames together.
        linear: how far bands count by their width in Hz (1) rather than all alike (0).
        trust: exponent of how certain each frame is: 0 takes all alike, 1 believes the network.
        amount: how much of the wanted change is aimed at.
        most_pieces, fit_pieces: how many pieces of a long recording are heard, and fitted.
        fit_frames: how many frames of each piece are fitted, its loudest; 0 for all.
        told: how much of the change of levels and centroid is the network's word on them; the
            rest is what its frames show.
        peak: what the result's peak then says of the makeup; None leaves it.
    """

    weights: Path | str
    first: Estimator = field(default_factory=ClosedForm)
    first_share: float = 0.0
    rules: FitRules = FitRules(steps=40)
    measure_weight: float = 0.1
    linear: float = 0.5
    trust: float = 1.0
    amount: float = 1.0
    most_pieces: int = 4
    fit_pieces: int = 1
    fit_frames: int = 0
    told: float = 0.5
    peak: PeakRule | None = PeakRule()
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
        network, length = load(self.weights)
        front_end = network.front_end
        rate = front_end.config.sample_rate
        own = pieces(source, rate, length, self.most_pieces)
        with torch.no_grad():
            parts = network.encode(own)
            heard = merge_clips(parts)
            others = [
                pieces(r, rate, length, self.most_pieces)
                for r in references
                if isinstance(r, Excerpt)
            ]
            wanted = agreed(
                [network.predict(heard, merge_clips(network.encode(o)))[-1] for o in others]
            )
        level = (own * own).mean(1)
        kept = torch.argsort(level, descending=True)[: self.fit_pieces].sort().values
        unit = self._begin(source, references, locks)
        clips, goal = self._goal(network, own, parts, heard, wanted, kept)
        goal = self._halfway(front_end, clips, goal, unit)
        unit, _ = fit_frames(
            MATCH_CHAIN, front_end, clips, goal, unit, rules=self.rules, locks=locks,
            progress=progress,
        )  # fmt: skip
        unit = unit.double()
        if self.peak and MAKEUP not in locks:
            unit = self._at_level(network, own[kept], parts, wanted, kept, unit)
        return Estimate(MATCH_CHAIN, MATCH_CHAIN.params.to_physical(unit))

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
        heard: Features,
        wanted: Wanted,
        kept: Tensor,
    ) -> tuple[Tensor, FrameGoal]:
        """Clips [N, T] to be fitted, of the pieces numbered ``kept``, and what they should become.

        ``wanted`` is told of all pieces together.
        """
        count, front_end = own.shape[0], network.front_end
        now = parts.frames[kept]
        frames = now + self.amount * (_apart(wanted.frames, count)[kept] - now)
        weight = (-self.trust * _apart(wanted.log_scale, count)[kept]).exp()
        weight = weight * (torch.maximum(frames, now) > QUIET_DB / DB)
        width = front_end.widths()
        weight = weight * (1 - self.linear + self.linear * width / width.mean())[:, None]
        clips, frames, weight = shortened(
            own[kept], frames, weight, self.fit_frames, front_end.config.hop
        )
        with torch.no_grad():
            now, measures = front_end.frames_and_measures(clips)
        shown = front_end.measures_of(frames) - front_end.measures_of(now)
        told = self.amount * (statistics(network, wanted) - heard.summary)[:, -MEASURES:]
        sure = torch.full_like(measures, self.measure_weight)
        measures = measures + torch.lerp(shown, told, self.told)
        return clips, FrameGoal(frames, weight, measures, sure)

    def _at_level(
        self,
        network: FrameNet,
        clips: Tensor,
        parts: Features,
        wanted: Wanted,
        kept: Tensor,
        unit: Tensor,
    ) -> Tensor:
        """Unit parameters [1, P] whose makeup heeds the peak of what clips [N, T] become."""
        assert self.peak is not None
        table, rate = MATCH_CHAIN.params, network.front_end.config.sample_rate
        setting = table.to_physical(unit.float().expand(clips.shape[0], -1))
        with torch.no_grad():
            out = MATCH_CHAIN.render(clips[:, None], rate, setting).audio[:, 0]
            _, measures = network.front_end.frames_and_measures(out)
        scale = (wanted.expected.log_scale.exp() * network.scale)[0, -MEASURES:-1]
        level = statistics(network, wanted)[:, -MEASURES:-1]
        level = level + (parts.summary[kept] - parts.summary.mean(0))[:, -MEASURES:-1]
        gain_db = self.peak.gain_db(
            DB * float((level - measures[:, :-1]).mean()),
            DB * float(scale.mean()),
            gain_to_db(float(out.abs().max())),
        )
        physical, param = table.to_physical(unit), table[MAKEUP]
        wish = (physical[MAKEUP] + gain_db).clamp(param.low, param.high)
        return table.to_unit({**physical, MAKEUP: wish})

    def _halfway(
        self, front_end: FrontEnd, clips: Tensor, goal: FrameGoal, unit: Tensor
    ) -> FrameGoal:
        """A goal on the way from what is wanted to what the first setting gives."""
        if not self.first_share:
            return goal
        setting = MATCH_CHAIN.params.to_physical(unit.expand(clips.shape[0], -1))
        with torch.no_grad():
            out = MATCH_CHAIN.render(clips[:, None], front_end.config.sample_rate, setting)
            frames, measures = front_end.frames_and_measures(out.audio[:, 0])
        return goal._replace(
            frames=torch.lerp(goal.frames, frames, self.first_share),
            measures=torch.lerp(goal.measures, measures, self.first_share),
        )


def _apart(frames: Tensor, count: int) -> Tensor:
    """Frames [1, M, count * K] of all pieces together as [count, M, K]."""
    return frames[0].unflatten(1, (count, -1)).transpose(0, 1)


def statistics(network: FrameNet, wanted: Wanted) -> Tensor:
    """Summary statistics expected of the result, [B, S], on the scale of ``Features.summary``."""
    return wanted.expected.mean * network.scale + network.center


def shortened(
    clips: Tensor, frames: Tensor, weight: Tensor, most: int, hop: int
) -> tuple[Tensor, Tensor, Tensor]:
    """Clips [N, T], frames and weights [N, M, K] cut to ``most`` frames where a clip is loudest.

    The outermost frames hear what the cut made of the edges, so they have no weight.
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


def agreed(each: list[Wanted]) -> Wanted:
    """What several references want of one source: means weighed by certainty."""
    if len(each) == 1:
        return each[0]
    sure = torch.stack([(-w.log_scale).exp() for w in each])
    frames = (torch.stack([w.frames for w in each]) * sure).sum(0) / sure.sum(0)
    scale = torch.stack([w.log_scale for w in each]).mean(0)
    hopes = [w.expected for w in each]
    mean = torch.stack([h.mean for h in hopes]).mean(0)
    spread = torch.stack([h.log_scale for h in hopes]).mean(0)
    return Wanted(frames, scale, hopes[0]._replace(mean=mean, log_scale=spread))


@functools.lru_cache(maxsize=4)
def load(weights: Path | str) -> Predictor:
    """Read weights.

    Raises:
        DataError: the file is missing, damaged, or of another kind of network.
    """
    path = Path(weights)
    tensors, header = checkpoint.read(path)
    try:
        described = header["recipe"]["network"]
        length = int(header["recipe"]["scenes"]["length"])
    except (KeyError, TypeError, ValueError) as e:
        raise DataError(f"{path.name}: not weights of a recipe of frames.") from e
    config = network_config(described, path.name)
    if not isinstance(config, FrameNetConfig):
        raise DataError(f"{path.name}: these weights predict no frames.")
    network = config.build()
    checkpoint.load_module(network, checkpoint.network_tensors(tensors), path)
    network.eval()
    return Predictor(network, length)
