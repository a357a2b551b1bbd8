"""The saved state of a run: weights, optimiser and position."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

import torch

from retone.errors import DataError
from retone.nets import checkpoint
from retone.training.model import Model
from retone.training.recipes.recipe import Recipe
from retone.training.recipes.record import describe, differences, fingerprint
from retone.training.recipes.warm_start import fitted_to

LAST, BEST = "last.safetensors", "best.safetensors"
AVERAGE = "average."
"""Prefix of the names of averaged weights."""


@dataclass
class RunState:
    """Position of a run; saved with its weights.

    ``best`` is the lowest validation loss; ``skipped`` counts steps without a finite gradient and
    ``replaced`` items that could not be made; ``window`` holds sum and number of the losses since
    the last log row; ``validation`` the scores of the best weights.
    """

    step: int = 0
    best: float = math.inf
    skipped: int = 0
    skipped_in_a_row: int = 0
    replaced: int = 0
    cpu_s: float = 0.0
    window: list[float] = field(default_factory=lambda: [0.0, 0])
    validation: dict[str, float] | None = None

    def to_json(self) -> dict[str, Any]:
        """JSON-ready; infinity is None."""
        known = {k: v for k, v in asdict(self).items() if k != "validation" or v is not None}
        return {k: None if v == math.inf else v for k, v in known.items()}

    @classmethod
    def from_json(cls, stored: Mapping[str, Any]) -> RunState:
        """Read what ``to_json`` gave; fields of other versions are left out."""
        known = {f.name: stored[f.name] for f in fields(cls) if f.name in stored}
        state = cls(**known)
        state.best = math.inf if state.best is None else state.best
        state.validation = None
        return state


def save_state(
    path: Path,
    recipe: Recipe,
    model: Model,
    optimizer: torch.optim.Optimizer | None,
    state: RunState,
    average: Model | None = None,
) -> None:
    """Write weights with recipe and state; with an optimiser the run can be resumed from it.

    ``average`` holds averaged weights, if the run has any.
    """
    tensors = dict(model.tensors())
    if average is not None:
        tensors |= {AVERAGE + n: t for n, t in average.tensors().items()}
    header: dict[str, Any] = {
        "recipe": describe(recipe),
        "fingerprint": fingerprint(recipe),
        "state": state.to_json(),
    }
    if optimizer is not None:
        packed, header["optimizer"] = checkpoint.pack_optimizer(optimizer)
        tensors.update(packed)
    checkpoint.write(path, tensors, header)


def load_state(
    recipe: Recipe,
    model: Model,
    optimizer: torch.optim.Optimizer,
    folder: Path,
    warm_start: Path | None = None,
    average: Model | None = None,
) -> RunState:
    """Load the state of the run in ``folder``, else initial weights, else nothing.

    Raises:
        DataError: the folder's run is of another recipe, or weights are damaged or do not fit.
    """
    last = folder / LAST
    if last.exists():
        tensors, header = checkpoint.read(last)
        if not {"recipe", "state", "optimizer"} <= set(header):
            raise DataError(
                f"{last} holds weights but no training state. Use it as the warm start of a run "
                "in another folder."
            )
        changed = differences(header["recipe"], recipe)
        if changed:
            raise DataError(
                f"{folder} holds a run of another recipe: {'; '.join(changed[:3])} "
                f"({len(changed)} in all). Choose another folder, and to start from its weights "
                f"use {folder / BEST} as warm start."
            )
        model.load(tensors, last)
        if average is not None:
            average.load(checkpoint.tensors_under(tensors, AVERAGE), last)
        checkpoint.unpack_optimizer(optimizer, tensors, header["optimizer"])
        return RunState.from_json(header["state"])
    if warm_start is not None:
        tensors, header = checkpoint.read(warm_start)
        model.load(fitted_to(tensors, header, model, recipe.effect), warm_start)
    if average is not None:
        average.load_state_dict(model.state_dict())
    return RunState()
