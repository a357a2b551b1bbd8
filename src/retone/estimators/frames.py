"""The estimator that predicts the wanted frames and fits the effects to them."""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor

from retone import checkpoint
from retone.effects import MATCH_CHAIN
from retone.errors import AudioError, DataError
from retone.estimators.base import NORMAL_PEAK_DB, Estimate, Estimator, Excerpt, Reference
from retone.estimators.closed_form import ClosedForm
from retone.estimators.frame_fit import FitRules, FrameGoal, fit_frames
from retone.estimators.level import LevelRule
from retone.estimators.network import MAKEUP, Loaded, _by_rule, loudest, network_config, pieces
from retone.estimators.profile import Profile
from retone.nets.frames import DB, FrameNet, FrameNetConfig, Wanted
from retone.nets.frontend import FrontEnd, Heard, together

MODEL = "model."
QUIET_DB = -90.0


class Predictor(NamedTuple):
    """A network ready for use; ``length`` is that of the clips it learnt on, in samples."""

    network: FrameNet
    length: int


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
        level: what the levels of recordings then add to the makeup; None leaves it.
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
    level: LevelRule | None = None
    name: str = "frames"

    def estimate(
        self,
        source: Excerpt,
        references: Sequence[Reference],
        *,
        locks: Mapping[str, float],
        progress: object | None = None,
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
            parts = network.listen(own)
            heard = together(parts)
            others = [
                pieces(r, rate, length, self.most_pieces)
                for r in references
                if isinstance(r, Excerpt)
            ]
            wanted = agreed(
                [network.predict(heard, together(network.listen(o)))[-1] for o in others]
            )
        level = (own * own).mean(1)
        kept = torch.argsort(level, descending=True)[: self.fit_pieces].sort().values
        unit = self._begin(source, references, locks)
        clips, goal = self._goal(network, own, parts, wanted, kept)
        goal = self._halfway(front_end, clips, goal, unit)
        unit, _ = fit_frames(
            MATCH_CHAIN, front_end, clips, goal, unit, rules=self.rules, locks=locks,
            progress=progress if callable(progress) else None,
        )  # fmt: skip
        unit = unit.double()
        if self.level and MAKEUP not in locks:
            loaded = Loaded(network, MATCH_CHAIN, length, NORMAL_PEAK_DB, "speech")
            few = [loudest(other, self.fit_pieces) for other in others]
            unit = _by_rule(loaded, self.level, clips, few, unit)
        return Estimate(MATCH_CHAIN, MATCH_CHAIN.params.to_physical(unit))

    def _begin(
        self, source: Excerpt, references: Sequence[Reference], locks: Mapping[str, float]
    ) -> Tensor:
        first = self.first.estimate(source, references, locks=locks)
        return MATCH_CHAIN.params.to_unit(first.setting).float()

    def _goal(
        self, network: FrameNet, own: Tensor, parts: Heard, wanted: Wanted, kept: Tensor
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
        sure = torch.full_like(measures, self.measure_weight)
        return clips, FrameGoal(frames, weight, measures + shown, sure)

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
    model = {n.removeprefix(MODEL): t for n, t in tensors.items() if n.startswith(MODEL)}
    checkpoint.load_module(network, model, path)
    network.eval()
    return Predictor(network, length)
