"""What a training run is made of: one frozen, typed tree, changed by typed overrides.

Recipes are Python functions that return a ``Recipe``; a variant is another function that calls
``replace``. JSON is written for the record, never edited by hand.
"""

from __future__ import annotations

import dataclasses
import difflib
import hashlib
import json
import types
import typing
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, is_dataclass
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from retone.data.enhance_pairs import EnhanceMaker
from retone.data.pairs import PairMaker
from retone.data.proxy_pairs import ProxyMaker
from retone.dsp.effect import Effect
from retone.errors import SettingError
from retone.gradients import Exact, Gradient
from retone.losses import Loss
from retone.nets.iterative import Answers, IterativeNet, Render
from retone.nets.precision import full_precision

PRECISIONS = ("float32", "bfloat16")


class NetConfig(Protocol):
    """A network's sizes; ``build`` makes it."""

    def build(self) -> nn.Module: ...


@dataclass(frozen=True, kw_only=True)
class Optimizer:
    """Adam with the learning rate divided by ten at two points of the run.

    ``warmup_steps`` raises the rate linearly from zero; ``clip_norm`` bounds the gradient's norm.
    """

    learning_rate: float = 1e-4
    milestones: tuple[float, ...] = (0.8, 0.95)
    warmup_steps: int = 0
    cosine: bool = False
    clip_norm: float = 4.0


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """Everything that decides the outcome of a run, but the recordings themselves.

    Args:
        name: what the command line calls it.
        kind: ``"speech"`` or ``"music"``, which corpora it is meant for.
        pairs: the generator of training pairs; it holds rate and length.
        rest_in_target: the loss compares with the target as the predicted effect at rest leaves
            it: through the all-pass of its crossovers, whose turn of phase no setting can undo.
        effect: the processor whose settings are predicted.
        network: the estimator's sizes.
        gradient: how gradients get through the effect.
        loss: what is minimised.
        optimizer: Adam and its schedule.
        batch_size: examples per process and step.
        steps: length of the run.
        validation_pairs: a fixed, seeded list on held-out voices.
        validate_every: steps between validations.
        seed: of weights and data.
        expectation_weight: of the statistics that a network expects of the target, if it does.
        scored_passes: how many of a network's passes, drawn anew each step, the loss hears;
            0 for all. A pass that is not heard is cheap and still learns what to expect.
        precision: ``"float32"``, or ``"bfloat16"`` for the network's inner layers while training;
            spectra, unit parameters, effects and loss stay in float32.

    Raises:
        SettingError: an unknown precision, or a size below 1.
    """

    name: str
    kind: str
    pairs: PairMaker | EnhanceMaker | ProxyMaker
    effect: Effect
    network: Any
    loss: Loss
    gradient: Gradient = Exact()
    optimizer: Optimizer = Optimizer()
    batch_size: int = 16
    steps: int = 10_000
    validation_pairs: int = 64
    validate_every: int = 500
    seed: int = 42
    precision: str = "float32"
    rest_in_target: bool = False
    expectation_weight: float = 0.2
    scored_passes: int = 0

    def __post_init__(self) -> None:
        if self.precision not in PRECISIONS:
            raise SettingError(
                f"{self.name}: precision '{self.precision}' is unknown; "
                f"choose one of {', '.join(PRECISIONS)}."
            )
        for field in ("batch_size", "steps", "validation_pairs", "validate_every"):
            if getattr(self, field) < 1:
                raise SettingError(
                    f"{self.name}: {field} {getattr(self, field)} must be 1 or more."
                )

    def build(self, *, pretrained: bool = True) -> nn.Module:
        """The estimator's network, with what stands in for the effect as its ``stand_in``.

        Args:
            pretrained: load the strategy's proxies; False where weights are loaded afterwards.

        Raises:
            DataError: a proxy is missing or of another effect.
        """
        network: nn.Module = self.network.build()
        stand_in = self.gradient.build(self.effect, pretrained=pretrained)
        if stand_in is not None:
            network.stand_in = stand_in
        return network

    def infer(self, network: nn.Module, source: Tensor, unit: Tensor) -> Tensor:
        """Render sources [B, T] with predicted unit parameters as the finished system will."""
        rate = self.pairs.sample_rate
        networks = getattr(network, "stand_in", None)
        return self.gradient.infer(self.effect, source[:, None], rate, unit, networks)

    def answers(
        self, network: nn.Module, source: Tensor, reference: Tensor, render: Render
    ) -> Answers:
        """What a network says of clips [B, T]: once, or after hearing its own results."""
        if isinstance(getattr(network, "module", network), IterativeNet):
            return network(source, reference, render)
        unit = network(source, reference)
        with full_precision(unit.device):
            return Answers([unit], [render(unit)], [])

    @torch.no_grad()
    def goal(self, target: Tensor, unit: Tensor) -> Tensor:
        """What the loss compares with, [B, C, T], for predicted unit parameters [B, P].

        No gradient goes through it: seen from the crossovers' present place its phase is right.
        """
        if not self.rest_in_target:
            return target
        setting = self.effect.params.to_physical(unit.float())
        return self.effect.at_rest(target, self.pairs.sample_rate, setting)


def describe(value: Any) -> Any:
    """A JSON-ready picture of a recipe or any part of it."""
    if isinstance(value, Effect):
        from retone.effects.spec import effect_to_spec

        return effect_to_spec(value, 1.0)
    if is_dataclass(value) and not isinstance(value, type):
        return {
            "type": type(value).__name__,
            **{f.name: describe(getattr(value, f.name)) for f in fields(value)},
        }
    if isinstance(value, Mapping):
        return {str(k): describe(v) for k, v in value.items()}
    if isinstance(value, Sequence) and not isinstance(value, str):
        return [describe(v) for v in value]
    return value


def fingerprint(recipe: Any) -> str:
    """Short hash of everything in a recipe; it names the run folder."""
    text = json.dumps(describe(recipe), sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:10]


def differences(stored: Any, recipe: Any, path: str = "") -> list[str]:
    """Where a recipe differs from what ``describe`` once wrote, as ``path: then, now``.

    A field the stored one does not know yet is no difference while it stands at its default.
    """
    now = describe(recipe)
    if not (is_dataclass(recipe) and isinstance(stored, Mapping)) or isinstance(recipe, Effect):
        if isinstance(recipe, tuple) and isinstance(stored, list) and len(stored) == len(recipe):
            parts = zip(stored, recipe, strict=True)
            return [d for i, (s, r) in enumerate(parts) for d in differences(s, r, f"{path}.{i}")]
        return [] if stored == now else [f"{path}: {_short(stored)}, now {_short(now)}"]
    found = []
    if stored.get("type") != now["type"]:
        return [f"{path}: {stored.get('type')}, now {now['type']}"]
    for f in fields(recipe):
        here = f"{path}.{f.name}" if path else f.name
        value = getattr(recipe, f.name)
        if f.name in stored:
            found += differences(stored[f.name], value, here)
        elif describe(value) != describe(f.default):
            found.append(f"{here}: not there, now {_short(now[f.name])}")
    gone = set(stored) - set(now)
    for name in sorted(gone):
        here = f"{path}.{name}" if path else name
        found.append(f"{here}: {_short(stored[name])}, now gone")
    return found


def _short(value: Any) -> str:
    text = value if isinstance(value, str) else json.dumps(value)
    return text if len(text) <= 40 else text[:37] + "..."


def override(recipe: Any, assignments: Sequence[str]) -> Any:
    """A recipe with ``path.to.field=value`` assignments applied, typed by the field.

    Raises:
        SettingError: unknown path (with the nearest names) or a value of the wrong type.
    """
    for text in assignments:
        path, equals, value = text.partition("=")
        if not equals:
            raise SettingError(
                f"--set {text}: expected path=value, as in optimizer.learning_rate=3e-5."
            )
        recipe = _assign(recipe, path.strip().split("."), value.strip(), text)
    return recipe


def _assign(node: Any, path: list[str], value: str, text: str) -> Any:
    names = [f.name for f in fields(node)] if is_dataclass(node) else []
    head = path[0]
    if head not in names:
        near = difflib.get_close_matches(head, names, n=3, cutoff=0.3) or names
        raise SettingError(f"--set {text}: there is no '{head}'. Nearest: {', '.join(near)}.")
    current = getattr(node, head)
    if len(path) > 1:
        return dataclasses.replace(node, **{head: _assign(current, path[1:], value, text)})
    hint = typing.get_type_hints(type(node)).get(head, type(current))
    return dataclasses.replace(node, **{head: _parse(value, hint, current, text)})


def _parse(value: str, hint: Any, current: Any, text: str) -> Any:
    if isinstance(hint, types.UnionType) or typing.get_origin(hint) is typing.Union:
        if value.lower() == "none" and type(None) in typing.get_args(hint):
            return None
        hint = next(a for a in typing.get_args(hint) if a is not type(None))
    if is_dataclass(current):
        raise SettingError(
            f"--set {text}: this holds {[f.name for f in fields(current)]}; name one."
        )
    try:
        if hint is bool:
            return {"true": True, "false": False}[value.lower()]
        if hint in (int, float, str):
            return hint(value)
        parsed = json.loads(value)
        return tuple(parsed) if isinstance(parsed, list) else parsed
    except (KeyError, ValueError):
        kind = getattr(hint, "__name__", str(hint))
        raise SettingError(f"--set {text}: expected a value of type {kind}.") from None
