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
from retone.nets.frontend import MEASURES, Heard, together

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
        rules: of the fit.
        measure_weight: what levels and centroid count in it, against all frames together.
        told: how much of the change of levels and centroid is the network's word on them; the
            rest is what its frames show.
        linear: how far bands count by their width in Hz (1) rather than all alike (0).
        trust: exponent of how certain each frame is: 0 takes all alike, 1 believes the network.
        amount: how much of the wanted change is aimed at.
        most_pieces, fit_pieces: how many pieces of a long recording are heard, and fitted.
        level: what the levels of recordings then add to the makeup; None leaves it.
    """

    weights: Path | str
    first: Estimator = field(default_factory=ClosedForm)
    rules: FitRules = FitRules(steps=40)
    measure_weight: float = 0.1
    told: float = 0.0
    linear: float = 0.5
    trust: float = 1.0
    amount: float = 1.0
    most_pieces: int = 4
    fit_pieces: int = 1
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
        clips = own[kept]
        goal = self._goal(network, parts, heard, wanted, kept)
        unit = self._begin(source, references, locks)
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
        self,
        network: FrameNet,
        parts: Heard,
        heard: Heard,
        wanted: Wanted,
        kept: Tensor,
    ) -> FrameGoal:
        """What the pieces numbered ``kept`` should become, of what is wanted of all."""
        count = parts.frames.shape[0]
        change = self.amount * (_apart(wanted.frames, count) - parts.frames)[kept]
        frames = parts.frames[kept] + change
        loudest_of_both = torch.maximum(frames, parts.frames[kept])
        weight = (-self.trust * _apart(wanted.log_scale, count)[kept]).exp()
        weight = weight * (loudest_of_both > QUIET_DB / DB)
        width = network.front_end.widths()
        weight = weight * (1 - self.linear + self.linear * width / width.mean())[:, None]
        means = wanted.expected.mean * network.scale + network.center
        told = self.amount * (means - heard.summary)[:, -MEASURES:]
        of = network.front_end.measures_of
        shown = of(frames) - of(parts.frames[kept])
        shift = self.told * told + (1 - self.told) * shown
        measures = parts.summary[kept][:, -MEASURES:] + shift
        sure = torch.full_like(measures, self.measure_weight)
        return FrameGoal(frames, weight, measures, sure)


def _apart(frames: Tensor, count: int) -> Tensor:
    """Frames [1, M, count * K] of all pieces together as [count, M, K]."""
    return frames[0].unflatten(1, (count, -1)).transpose(0, 1)


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
