"""Scores in training: a fixed, seeded list of pairs from held-out voices or tracks."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from retone.metrics import METRICS
from retone.training.processes import DistributedContext
from retone.training.recipes.recipe import Recipe

ALONE = DistributedContext(0, 1, torch.device("cpu"))
SCORES = tuple(METRICS[name] for name in ("stft", "msd", "sce", "rms", "lufs"))


class Validation:
    """Fixed pairs, the errors of the unprocessed input on them, and the recipe to score."""

    def __init__(
        self,
        recipe: Recipe,
        batches: list[tuple[Tensor, Tensor, Tensor]],
        context: DistributedContext = ALONE,
    ) -> None:
        self.recipe, self.batches, self.context = recipe, batches, context
        self.input_scores = self._means(self._sums([b[0] for b in batches]))

    @staticmethod
    def of(recipe: Recipe, corpus: Any, context: DistributedContext = ALONE) -> Validation:
        """Make the pairs with the recipe's ``pairs.for_validation``; every process its share."""
        maker = recipe.pairs.for_validation(corpus)
        mine = range(context.rank, recipe.validation_pairs, context.world)
        pairs = [maker.make(corpus, i, recipe.seed + 1_000_003) for i in mine]
        size = recipe.batch_size
        batches = []
        for i in range(0, len(pairs), size):
            part = pairs[i : i + size]
            batches.append(
                tuple(
                    torch.from_numpy(np.stack([getattr(p, name) for p in part]))
                    for name in ("input", "reference", "target")
                )
            )
        return Validation(recipe, batches, context)  # type: ignore[arg-type]

    @torch.no_grad()
    def run(self, network: nn.Module, device: torch.device) -> dict[str, float]:
        """Mean loss, mean absolute error, and each score as a ratio to the input's.

        Every process must call this; all get the same numbers.
        """
        was_training = network.training
        network.eval()
        r, estimates = self.recipe, []
        losses, errors = 0.0, 0.0
        rate = r.pairs.sample_rate
        for source, reference, target in self.batches:
            unit, out = self._result(network, source.to(device), reference.to(device))
            goal = r.loss_target(target[:, None].to(device), unit)
            losses += float(r.loss.per_item(out, goal, rate).double().sum())
            errors += float((out - goal).abs().flatten(1).mean(1).double().sum())
            estimates.append(out[:, 0].cpu())
        network.train(was_training)
        means = self._means({"loss": losses, "l1": errors, **self._sums(estimates)})
        return {k: v / max(self.input_scores.get(k, 1.0), 1e-9) for k, v in means.items()}

    @torch.no_grad()
    def examples(
        self, network: nn.Module, device: torch.device, count: int = 3
    ) -> list[dict[str, np.ndarray]]:
        """The first pairs with the rendered output, for listening: signals [T] by name."""
        was_training = network.training
        network.eval()
        found: list[dict[str, np.ndarray]] = []
        for source, reference, target in self.batches:
            for i in range(min(len(source), count - len(found))):
                one = source[i : i + 1].to(device)
                _, out = self._result(network, one, reference[i : i + 1].to(device))
                signals = (source[i], reference[i], target[i], out[0, 0].cpu())
                names = ("input", "reference", "target", "output")
                named = zip(names, signals, strict=True)  # settings are no audio
                found.append({n: s.numpy() for n, s in named if s.shape == source[i].shape})
        network.train(was_training)
        return found

    def _result(
        self, network: nn.Module, source: Tensor, reference: Tensor
    ) -> tuple[Tensor, Tensor]:
        """The last prediction [B, P] and its render [B, 1, T]."""

        def render(unit: Tensor) -> Tensor:
            return self.recipe.infer(network, source, unit)[:, 0]

        predictions = self.recipe.predict(network, source, reference, render)
        return predictions.units[-1], predictions.renders[-1][:, None]

    def _means(self, sums: dict[str, float]) -> dict[str, float]:
        """Means over the pairs of all processes."""
        count = sum(len(b[0]) for b in self.batches)
        own = torch.tensor([*sums.values(), float(count)], dtype=torch.float64)
        *totals, total = self.context.sum(own).tolist()
        return {k: v / total for k, v in zip(sums, totals, strict=True)}

    def _sums(self, estimates: list[Tensor]) -> dict[str, float]:
        """Sum of each score over this process's pairs."""
        rate = self.recipe.pairs.sample_rate
        sums = {m.name: 0.0 for m in SCORES}
        for out, (_, _, target) in zip(estimates, self.batches, strict=True):
            for a, b in zip(out.numpy(), target.numpy(), strict=True):
                for metric in SCORES:
                    sums[metric.name] += metric(a, b, rate)
        return sums
