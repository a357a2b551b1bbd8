"""Initial weights from another recipe, whose effect may have fewer parameters."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor

from retone.dsp.effect import Effect
from retone.effects.spec import effect_from_spec
from retone.training.model import Model


def fitted_to(
    tensors: Mapping[str, Tensor], header: Mapping[str, Any], model: Model, effect: Effect
) -> dict[str, Tensor]:
    """Weights with an output for each of ``effect``'s parameters.

    Layers whose first dimension is the number of outputs are matched by parameter name: ``q`` of
    the weights' own effect may be ``equalizer.q`` of the new one. New parameters keep what
    ``model`` has for them. Weights that already fit, or cannot be matched, come back unchanged.
    """
    spec = header.get("recipe", {}).get("effect")
    if not isinstance(spec, Mapping):
        return dict(tensors)
    old = effect_from_spec(spec, 1.0, where="warm start").params.names
    new = effect.params.names
    index = {n: i for i, n in enumerate(new)}
    rows = [(i, index.get(n, _only_ending(new, n))) for i, n in enumerate(old)]
    if old == new or any(j is None for _, j in rows):
        return dict(tensors)
    found = dict(tensors)
    for name, own in model.tensors().items():
        given = tensors.get(name)
        if given is None or given.shape == own.shape or given.shape[0] != len(old):
            continue
        wide = own.clone()
        for i, j in rows:
            wide[j] = given[i]
        found[name] = wide
    return found


def _only_ending(names: tuple[str, ...], name: str) -> int | None:
    hits = [i for i, n in enumerate(names) if n.endswith(f".{name}")]
    return hits[0] if len(hits) == 1 else None
