"""``Recipe``: everything that decides the outcome of a training run, as a frozen, typed tree.

Recipes are Python functions that return a ``Recipe``; a variant is another function that calls
``replace``. JSON is written for the record, never edited by hand. ``recipes.record`` writes,
compares and overrides recipes.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from retone.dsp.effect import Effect
from retone.errors import SettingError
from retone.losses import Loss
from retone.nets.iterative import IterativeNet, Predictions, Render
from retone.nets.precision import full_precision
from retone.training.data.enhance_pairs import EnhanceMaker
from retone.training.data.pairs import PairMaker
from retone.training.data.proxy_pairs import ProxyMaker
from retone.training.gradients import Exact, Gradient
from retone.training.model import Model, effect_networks_of, network_of

PRECISIONS = ("float32", "bfloat16")


class NetConfig(Protocol):
    """A network's sizes; ``build`` makes it."""

    def build(self) -> nn.Module: ...


@dataclass(frozen=True, kw_only=True)
class Optimizer:
    """Adam and its learning-rate schedule.

    The rate rises linearly over ``warmup_steps``; then it is divided by ten at the ``milestones``
    (fractions of the run), or decays by a ``cosine`` to ``cosine_end``, a share of the rate.
    ``clip_norm`` bounds the gradient's norm; 0 leaves it unbounded.
    """

    learning_rate: float = 1e-4
    milestones: tuple[float, ...] = (0.8, 0.95)
    warmup_steps: int = 0
    cosine: bool = False
    cosine_end: float = 0.01
    clip_norm: float = 4.0


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """Everything that decides the outcome of a run, except the recordings.

    Args:
        name: unique, lower case.
        kind: ``"speech"`` or ``"music"``: which recordings of a corpus are used.
        pairs: the generator of training pairs; it holds sample rate and length.
        allpass_target: pass the target through the all-pass of the predicted effect's crossovers
            before the loss, since no setting can undo that phase.
        effect: the processor whose settings are predicted.
        network: config of the estimator's network.
        gradient: how gradients get through the effect.
        loss: what is minimised.
        optimizer: Adam and its schedule.
        batch_size: examples per process and batch.
        accumulate: batches per process and step, for a larger step than fits into memory: their
            gradients are averaged.
        average: decay of averaged weights, such as 0.999, which are validated and become the best
            weights; 0 keeps none.
        steps: length of the run.
        validation_pairs: size of the fixed, seeded list of pairs from held-out voices.
        validate_every: steps between validations.
        best_by: the validation score whose lowest value makes the best weights: ``"loss"``, or
            ``"l1"``, its mean absolute error, as DeepAFx-ST's published program chooses.
        seed: random seed for weights and data.
        expectation_weight: weight of the negative log-likelihood of the target's statistics, for
            networks that predict them.
        scored_passes: how many passes of an iterative network are scored, drawn again for every
            step; 0 for all. The other passes cost little and still learn to predict statistics.
        precision: ``"float32"``, or ``"bfloat16"`` for the network's inner layers in training;
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
    accumulate: int = 1
    average: float = 0.0
    steps: int = 10_000
    validation_pairs: int = 64
    validate_every: int = 500
    best_by: str = "loss"
    seed: int = 42
    precision: str = "float32"
    allpass_target: bool = False
    expectation_weight: float = 0.2
    scored_passes: int = 0

    def __post_init__(self) -> None:
        if self.precision not in PRECISIONS:
            raise SettingError(
                f"{self.name}: precision '{self.precision}' is unknown; "
                f"choose one of {', '.join(PRECISIONS)}."
            )
        if not 0 <= self.average < 1:
            raise SettingError(f"{self.name}: average {self.average} must be in 0..1, below 1.")
        if self.best_by not in ("loss", "l1"):
            raise SettingError(f"{self.name}: best_by '{self.best_by}' must be loss or l1.")
        for field in ("batch_size", "accumulate", "steps", "validation_pairs", "validate_every"):
            if getattr(self, field) < 1:
                raise SettingError(
                    f"{self.name}: {field} {getattr(self, field)} must be 1 or more."
                )

    def build(self, *, pretrained: bool = True) -> Model:
        """The untrained network, with the networks that the strategy puts in the effect's place.

        Args:
            pretrained: load the strategy's proxies; False if weights are loaded afterwards.

        Raises:
            DataError: a proxy is missing or was trained for another effect.
        """
        network: nn.Module = self.network.build()
        return Model(network, self.gradient.build(self.effect, pretrained=pretrained))

    def infer(self, model: nn.Module, source: Tensor, unit: Tensor) -> Tensor:
        """Render sources [B, T] with predicted unit parameters as after training: [B, 1, T]."""
        rate, networks = self.pairs.sample_rate, effect_networks_of(model)
        return self.gradient.infer(self.effect, source[:, None], rate, unit, networks)

    def predict(
        self, model: nn.Module, source: Tensor, reference: Tensor, render: Render
    ) -> Predictions:
        """A network's predictions for clips [B, T]; iterative networks give one per pass."""
        if isinstance(network_of(model), IterativeNet):
            return model(source, reference, render)  # type: ignore[no-any-return]
        unit = model(source, reference)
        with full_precision(unit.device):
            return Predictions([unit], [render(unit)], [])

    @torch.no_grad()
    def loss_target(self, target: Tensor, unit: Tensor) -> Tensor:
        """The loss's target [B, C, T], given predicted unit parameters [B, P].

        No gradient flows through it; its phase matches the current crossovers.
        """
        if not self.allpass_target:
            return target
        setting = self.effect.params.to_physical(unit.float())
        return self.effect.static_path(target, self.pairs.sample_rate, setting)
