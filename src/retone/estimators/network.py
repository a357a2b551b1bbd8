"""The trained estimator: a network that hears the input and the references."""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from importlib import resources
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from retone import checkpoint
from retone.audio import Clip
from retone.dsp.effect import Effect
from retone.effects.spec import effect_from_spec
from retone.errors import AudioError, DataError
from retone.estimators.base import Estimate, Excerpt
from retone.nets.aligned import AlignedNet, AlignedNetConfig
from retone.nets.frontend import FrontEndConfig


@dataclass(frozen=True)
class Loaded:
    """A network ready for use, the effect it drives, and how long the clips were it learnt on."""

    network: AlignedNet
    effect: Effect
    length: int


@dataclass(frozen=True)
class Network:
    """Predicts the setting of its effect from what it hears.

    Excerpts longer than the network's training clips are heard in pieces; the pieces' predictions
    are averaged on each parameter's own scale. Several references are averaged alike.

    Args:
        weights: a ``.safetensors`` file of ``retone train``, or ``"speech"`` or ``"music"`` for
            those that ship with the package.
        most_pieces: how many pieces are heard of one recording.
    """

    name: str = "network"
    weights: Path | str = "speech"
    most_pieces: int = 8

    def estimate(
        self,
        source: Excerpt,
        references: Sequence[Excerpt],
        *,
        locks: Mapping[str, float],
        progress: object | None = None,
    ) -> Estimate:
        """Find the setting; see ``Estimator.estimate``. Locks are the matcher's to apply."""
        if not references:
            raise AudioError("network: a reference is needed; give one or more recordings.")
        loaded = load(self.weights)
        rate = loaded.network.config.front_end.sample_rate
        own = self._pieces(source, rate, loaded.length)
        units = []
        with torch.no_grad():
            heard = loaded.network.listen(own)
            for reference in references:
                other = loaded.network.listen(self._pieces(reference, rate, loaded.length))
                for j in range(other.energy.shape[0]):
                    one = type(other)(*(t[j : j + 1].expand(own.shape[0], *t.shape[1:])
                                        for t in other))  # fmt: skip
                    units.append(loaded.network.compare(heard, one))
        unit = torch.cat(units).double().mean(0, keepdim=True)
        return Estimate(loaded.effect, loaded.effect.params.to_physical(unit))

    def _pieces(self, excerpt: Excerpt, rate: int, length: int) -> Tensor:
        """Clips [N, length] at the network's rate, the loudest pieces first chosen."""
        clip = Clip(excerpt.audio[None].numpy(), excerpt.sample_rate).resample(rate)
        audio = torch.from_numpy(clip.samples[0])
        if audio.numel() <= length * 3 // 2:
            return audio[None]
        count = audio.numel() // length
        pieces = audio[: count * length].reshape(count, length)
        level = (pieces * pieces).mean(1)
        keep = torch.argsort(level, descending=True)[: self.most_pieces].sort().values
        return pieces[keep]


def _config(kind: type, data: Mapping[str, Any], where: str) -> Any:
    """A dataclass from what ``recipes.config.describe`` wrote, refusing unknown fields."""
    known = {f.name for f in fields(kind)}
    values = {k: v for k, v in data.items() if k != "type"}
    extra = set(values) - known
    if extra or data.get("type") != kind.__name__:
        raise DataError(
            f"{where}: these weights are of a {data.get('type')} with {sorted(extra) or 'other'} "
            f"settings; this version has {kind.__name__}. Train again, or use its own weights."
        )
    return kind(**values)


@functools.lru_cache(maxsize=4)
def load(weights: Path | str) -> Loaded:
    """Read weights.

    Raises:
        DataError: the file is missing, damaged, or of another kind of network.
    """
    path = Path(weights)
    if str(weights) in ("speech", "music"):
        path = Path(str(resources.files("retone") / "weights" / f"style_{weights}.safetensors"))
    tensors, header = checkpoint.read(path)
    recipe = header["recipe"]
    net = dict(recipe["network"])
    net["front_end"] = _config(FrontEndConfig, net["front_end"], path.name)
    network = _config(AlignedNetConfig, net, path.name).build()
    model = {n.removeprefix("model."): t for n, t in tensors.items() if n.startswith("model.")}
    checkpoint.load_module(network, model, path)
    network.eval()
    effect = effect_from_spec(recipe["effect"], 1.0, where=path.name)
    return Loaded(network, effect, int(recipe["pairs"]["length"]))
