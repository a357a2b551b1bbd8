"""Weights of one recipe as a beginning for another whose effect has more parameters."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor, nn

from retone.dsp.effect import Effect
from retone.effects.spec import effect_from_spec


def grown(
    tensors: Mapping[str, Tensor], header: Mapping[str, Any], network: nn.Module, effect: Effect
) -> dict[str, Tensor]:
    """A network's weights with an output for each of ``effect``'s parameters.

    Layers whose first dimension is the number of outputs are matched by parameter: what the
    weights' own effect calls ``q``, the new one may call ``equalizer.q``. New parameters keep what
    ``network`` has for them. Weights that fit as they are, or not at all, come back unchanged.
    """
    spec = header.get("recipe", {}).get("effect")
    if not isinstance(spec, Mapping):
        return dict(tensors)
    old = effect_from_spec(spec, 1.0, where="warm start").params.names
    new = effect.params.names
    place = {n: i for i, n in enumerate(new)}
    rows = [(i, place.get(n, _ending(new, n))) for i, n in enumerate(old)]
    if old == new or any(j is None for _, j in rows):
        return dict(tensors)
    found = dict(tensors)
    for name, own in network.state_dict().items():
        given = tensors.get(name)
        if given is None or given.shape == own.shape or given.shape[0] != len(old):
            continue
        wide = own.clone()
        for i, j in rows:
            wide[j] = given[i]
        found[name] = wide
    return found


def _ending(names: tuple[str, ...], name: str) -> int | None:
    hits = [i for i, n in enumerate(names) if n.endswith(f".{name}")]
    return hits[0] if len(hits) == 1 else None
