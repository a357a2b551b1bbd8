"""Strategies that put networks in the effect's place: neural proxies, and networks end to end.

Both follow DeepAFx-ST. A proxy learnt to imitate an effect beforehand (the ``proxy_`` recipes) and
stays as it is; the networks of ``EndToEnd`` (the paper's cTCN) learn together with the estimator,
and what they are told means nothing to a person.
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
from retone.nets.proxy import ProxyConfig, StandIn, TcnSizes
from retone.training.gradients.base import Contract, rendered

MODES = ("np", "np-hh", "np-fh")
MODEL = "model.stand_in."


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
    if len(rows) < 2 or gains != [len(rows) - 1]:  # only one that comes last is a mere factor
        return ProxyConfig(len(rows), sizes)
    last = rows[-1]
    return ProxyConfig(len(rows), sizes, gains[0], (last.low, last.high))


@dataclass(frozen=True)
class NeuralProxy:
    """Networks that imitate the effects, frozen; ``mode`` says where they run.

    ``"np"``: everywhere. ``"np-hh"``: in training, with the effects at inference. ``"np-fh"``: the
    effects' own output in training too, and only the gradient is the networks', effect by effect.

    Args:
        mode: see above.
        proxies: weights of a ``proxy_`` recipe, one file for every effect of the chain, in order.
        sizes: of those networks.

    Raises:
        SettingError: an unknown mode.
    """

    mode: str = "np-fh"
    proxies: tuple[str, ...] = ()
    sizes: TcnSizes = TcnSizes()

    def __post_init__(self) -> None:
        if self.mode not in MODES:
            raise SettingError(f"NeuralProxy: mode '{self.mode}': choose one of {MODES}.")

    @property
    def name(self) -> str:
        return self.mode

    @property
    def contract(self) -> Contract:
        return Contract(
            "the effect" if self.mode == "np-fh" else "frozen networks",
            "autograd of the networks",
            "frozen networks" if self.mode == "np" else "the effect",
        )

    def build(self, effect: Effect, *, pretrained: bool = True) -> StandIn:
        chain = members(effect)
        stand_in = StandIn({m.name: proxy_config(m, self.sizes) for m in chain}, frozen=True)
        if pretrained:
            if len(self.proxies) != len(chain):
                raise DataError(
                    f"{self.name}: {len(self.proxies)} proxies are named for "
                    f"{', '.join(m.name for m in chain)}. Train one for each with retone train "
                    "(see 'retone train list', proxy_...), and name their best.safetensors with "
                    """--set 'gradient.proxies=["FILE", "FILE"]'."""
                )
            for member, file in zip(chain, self.proxies, strict=True):
                _load(stand_in, member, Path(file))
        return stand_in

    def train(
        self,
        effect: Effect,
        audio: Tensor,
        sample_rate: float,
        unit: Tensor,
        stand_in: nn.Module | None = None,
    ) -> Tensor:
        networks = _given(self.name, stand_in)
        for member, own in parts(effect, unit):
            proxy = networks(member.name, audio, own)
            if self.mode == "np-fh":
                with torch.no_grad():
                    value = rendered(member, audio, sample_rate, own)
                proxy = _Straight.apply(value, proxy)  # type: ignore[no-untyped-call]
            audio = proxy
        return audio

    def infer(
        self,
        effect: Effect,
        audio: Tensor,
        sample_rate: float,
        unit: Tensor,
        stand_in: nn.Module | None = None,
    ) -> Tensor:
        if self.mode == "np":
            return self.train(effect, audio, sample_rate, unit, stand_in)
        return rendered(effect, audio, sample_rate, unit)


@dataclass(frozen=True)
class EndToEnd:
    """Networks that are trained along with the estimator: no effect runs at any time.

    Args:
        name: what tables call it.
        per_effect: one network for every effect of the chain, in series (cTCN2 for two), rather
            than one for all (cTCN1).
        sizes: of the networks.
    """

    name: str = "ctcn1"
    per_effect: bool = False
    sizes: TcnSizes = TcnSizes()

    @property
    def contract(self) -> Contract:
        return Contract(
            "trained networks", "autograd of the networks", "trained networks", readable=False
        )

    def _units(self, effect: Effect) -> tuple[Effect, ...]:
        return members(effect) if self.per_effect else (effect,)

    def build(self, effect: Effect, *, pretrained: bool = True) -> StandIn:
        return StandIn({m.name: proxy_config(m, self.sizes) for m in self._units(effect)})

    def train(
        self,
        effect: Effect,
        audio: Tensor,
        sample_rate: float,
        unit: Tensor,
        stand_in: nn.Module | None = None,
    ) -> Tensor:
        networks = _given(self.name, stand_in)
        if not self.per_effect:
            return networks(effect.name, audio, unit)  # type: ignore[no-any-return]
        for member, own in parts(effect, unit):
            audio = networks(member.name, audio, own)
        return audio

    infer = train


class _Straight(torch.autograd.Function):
    """The first argument's value, the second one's gradient: exact to the last bit."""

    @staticmethod
    def forward(ctx: Any, value: Tensor, proxy: Tensor) -> Tensor:
        return value.clone()

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> Any:
        return None, grads[0]


def _given(name: str, stand_in: nn.Module | None) -> Any:
    if stand_in is None:
        raise SettingError(f"{name}: the networks are missing; pass what build(effect) returned.")
    return stand_in


def _load(stand_in: StandIn, member: Effect, path: Path) -> None:
    """Put a proxy's weights in their place, if they are of this very effect."""
    if not path.is_file():
        raise DataError(
            f"no proxy of {member.name} at {path}: train one, retone train proxy_{member.name} "
            f"--corpus NAME=FOLDER --run {path.parent}, or name another with "
            """--set 'gradient.proxies=["FILE", "FILE"]'."""
        )
    tensors, header = checkpoint.read(path)
    learnt = header.get("recipe", {}).get("effect")
    if learnt != effect_to_spec(member, 1.0):
        raise DataError(
            f"{path} imitates another effect than this chain's {member.name}: {learnt}. Train a "
            "proxy of this one."
        )
    start = f"{MODEL}networks.{member.name}."
    own = {n.removeprefix(start): t for n, t in tensors.items() if n.startswith(start)}
    checkpoint.load_module(stand_in.networks[member.name], own, path)
