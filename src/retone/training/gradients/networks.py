"""Strategies that put networks in the effect's place: neural proxies, and networks end to end.

Both follow DeepAFx-ST. A proxy is trained beforehand to imitate an effect (the ``proxy_`` recipes)
and then frozen. The networks of ``EndToEnd`` (the paper's cTCN) are trained together with the
estimator; their inputs have no meaning in dB, Hz or ms.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from retone.dsp.effect import Effect
from retone.effects.chain import Chain
from retone.effects.spec import effect_to_spec
from retone.errors import DataError, SettingError
from retone.nets import checkpoint
from retone.nets.proxy import EffectNetworks, ProxyConfig, TcnSizes
from retone.training.gradients.base import Contract, rendered

MODES = ("np", "np_hh", "np_fh")


def members(effect: Effect) -> tuple[Effect, ...]:
    """The effects of a chain, or the one effect."""
    return effect.members if isinstance(effect, Chain) else (effect,)


def parts(effect: Effect, unit: Tensor) -> Iterator[tuple[Effect, Tensor]]:
    """Each member with its own columns of unit parameters [B, P]."""
    start = 0
    for member in members(effect):
        yield member, unit[:, start : start + len(member.params)]
        start += len(member.params)


def proxy_config(effect: Effect, sizes: TcnSizes) -> ProxyConfig:
    """A network as wide as the effect's table; a make-up gain stays outside it."""
    rows = tuple(effect.params)
    gains = [i for i, p in enumerate(rows) if p.role == "makeup"]
    if len(rows) < 2 or gains != [len(rows) - 1]:  # only a gain at the end can be applied outside
        return ProxyConfig(len(rows), sizes)
    last = rows[-1]
    return ProxyConfig(len(rows), sizes, gains[0], (last.low, last.high))


@dataclass(frozen=True)
class NeuralProxy:
    """Frozen networks that imitate the effects; ``mode`` says where they run.

    ``"np"``: everywhere. ``"np_hh"``: in training, with the effects at inference. ``"np_fh"``: the
    effects run in training too, and only the gradients come from the networks, effect by effect.

    Args:
        mode: see above.
        proxies: weights of ``proxy_`` recipes, one file per effect of the chain, in order.
        sizes: sizes of these networks.

    Raises:
        SettingError: an unknown mode.
    """

    mode: str = "np_fh"
    proxies: tuple[str, ...] = ()
    sizes: TcnSizes = TcnSizes()

    def __post_init__(self) -> None:
        object.__setattr__(self, "mode", self.mode.replace("-", "_"))  # as earlier weights have it
        if self.mode not in MODES:
            raise SettingError(
                f"NeuralProxy: mode '{self.mode}' is unknown; choose one of {', '.join(MODES)}."
            )

    @property
    def name(self) -> str:
        return self.mode

    @property
    def contract(self) -> Contract:
        return Contract(
            "the effect" if self.mode == "np_fh" else "frozen networks",
            "autograd of the networks",
            "frozen networks" if self.mode == "np" else "the effect",
        )

    def build(self, effect: Effect, *, pretrained: bool = True) -> EffectNetworks:
        chain = members(effect)
        networks = EffectNetworks({m.name: proxy_config(m, self.sizes) for m in chain}, frozen=True)
        if pretrained:
            if len(self.proxies) != len(chain):
                raise DataError(
                    f"{self.name}: {len(self.proxies)} proxies are named for "
                    f"{', '.join(m.name for m in chain)}. Train one for each (proxy_ recipes) "
                    "and put their best.safetensors into the recipe's gradient.proxies, in the "
                    "chain's order."
                )
            for member, file in zip(chain, self.proxies, strict=True):
                _load(networks, member, Path(file))
        return networks

    def train(
        self,
        effect: Effect,
        audio: Tensor,
        sample_rate: float,
        unit: Tensor,
        networks: nn.Module | None = None,
    ) -> Tensor:
        own_networks = _given(self.name, networks)
        for member, own in parts(effect, unit):
            proxy = own_networks(member.name, audio, own)
            if self.mode == "np_fh":
                with torch.no_grad():
                    value = rendered(member, audio, sample_rate, own)
                proxy = _StraightThrough.apply(value, proxy)  # type: ignore[no-untyped-call]
            audio = proxy
        return audio

    def infer(
        self,
        effect: Effect,
        audio: Tensor,
        sample_rate: float,
        unit: Tensor,
        networks: nn.Module | None = None,
    ) -> Tensor:
        if self.mode == "np":
            return self.train(effect, audio, sample_rate, unit, networks)
        return rendered(effect, audio, sample_rate, unit)


@dataclass(frozen=True)
class EndToEnd:
    """Networks trained together with the estimator; the effect never runs.

    Args:
        name: name in tables.
        per_effect: one network per effect of the chain, in series (cTCN2 for two), instead of one
            for the whole chain (cTCN1).
        sizes: sizes of the networks.
    """

    name: str = "ctcn1"
    per_effect: bool = False
    sizes: TcnSizes = TcnSizes()

    @property
    def contract(self) -> Contract:
        return Contract(
            "trained networks", "autograd of the networks", "trained networks", readable=False
        )

    def _replaced(self, effect: Effect) -> tuple[Effect, ...]:
        return members(effect) if self.per_effect else (effect,)

    def build(self, effect: Effect, *, pretrained: bool = True) -> EffectNetworks:
        return EffectNetworks({m.name: proxy_config(m, self.sizes) for m in self._replaced(effect)})

    def train(
        self,
        effect: Effect,
        audio: Tensor,
        sample_rate: float,
        unit: Tensor,
        networks: nn.Module | None = None,
    ) -> Tensor:
        own_networks = _given(self.name, networks)
        if not self.per_effect:
            return own_networks(effect.name, audio, unit)  # type: ignore[no-any-return]
        for member, own in parts(effect, unit):
            audio = own_networks(member.name, audio, own)
        return audio

    infer = train


class _StraightThrough(torch.autograd.Function):
    """Value of the first argument, gradient to the second."""

    @staticmethod
    def forward(ctx: Any, value: Tensor, proxy: Tensor) -> Tensor:
        return value.clone()

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> Any:
        return None, grads[0]


def _given(name: str, networks: nn.Module | None) -> Any:
    if networks is None:
        raise SettingError(f"{name}: the networks are missing; pass the result of build(effect).")
    return networks


def _load(networks: EffectNetworks, member: Effect, path: Path) -> None:
    """Load a proxy's weights if they were trained for exactly this effect."""
    if not path.is_file():
        raise DataError(
            f"no proxy of {member.name} at {path}: train the recipe proxy_{member.name} in the run "
            f"folder {path.parent}, or put another file into the recipe's gradient.proxies."
        )
    tensors, header = checkpoint.read(path)
    trained_for = header.get("recipe", {}).get("effect")
    if trained_for != effect_to_spec(member, 1.0):
        raise DataError(
            f"{path} imitates another effect than this chain's {member.name}: {trained_for}. Train "
            "a proxy of this one."
        )
    own = checkpoint.tensors_under(tensors, f"{checkpoint.EFFECT_NETWORKS}networks.{member.name}.")
    checkpoint.load_module(networks.networks[member.name], own, path)
