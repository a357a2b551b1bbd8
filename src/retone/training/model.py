"""The trained model: the estimator's network, and any networks in the effect's place."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from retone.nets import checkpoint
from retone.nets.proxy import EffectNetworks


class Model(nn.Module):
    """A network, called as ``model(source, reference, ...)``, and the networks that replace
    effects.

    Args:
        network: predicts unit parameters.
        effect_networks: what the differentiation strategy puts in the effect's place: frozen
            proxies or networks that learn along; None for strategies that run the effect.
    """

    def __init__(self, network: nn.Module, effect_networks: EffectNetworks | None = None) -> None:
        super().__init__()
        self.network = network
        self.effect_networks = effect_networks

    def forward(self, *inputs: Any) -> Any:
        return self.network(*inputs)

    def tensors(self) -> dict[str, Tensor]:
        """All weights and buffers by their names in a weights file."""
        found = {checkpoint.NETWORK + n: t for n, t in self.network.state_dict().items()}
        if self.effect_networks is not None:
            networks = self.effect_networks.state_dict()
            found |= {checkpoint.EFFECT_NETWORKS + n: t for n, t in networks.items()}
        return found

    def load(self, tensors: Mapping[str, Tensor], where: Path) -> None:
        """Load what ``tensors`` gave.

        Raises:
            DataError: names or shapes differ.
        """
        checkpoint.load_module(self.network, checkpoint.network_tensors(tensors), where)
        if self.effect_networks is not None:
            own = checkpoint.tensors_under(tensors, checkpoint.EFFECT_NETWORKS)
            checkpoint.load_module(self.effect_networks, own, where)


def network_of(model: nn.Module) -> nn.Module:
    """The network of a ``Model``, also one that runs data-parallel, or ``model`` itself."""
    inner = getattr(model, "module", model)
    return inner.network if isinstance(inner, Model) else inner


def effect_networks_of(model: nn.Module) -> EffectNetworks | None:
    """The networks in the effect's place of a ``Model``, also one that runs data-parallel."""
    inner = getattr(model, "module", model)
    return inner.effect_networks if isinstance(inner, Model) else None


def follow(average: nn.Module, network: nn.Module, keep: float) -> None:
    """Update averaged weights: they keep a share ``keep`` and take the rest from a network."""
    own, other = average.state_dict(), network.state_dict()
    names = [name for name, tensor in own.items() if tensor.is_floating_point()]
    torch._foreach_lerp_([own[n] for n in names], [other[n] for n in names], 1 - keep)
