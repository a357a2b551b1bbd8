"""How gradients get through an effect: one small object per strategy, passed to a recipe.

===================  ==================  =========================  ==================
strategy             training forward    training backward          inference
===================  ==================  =========================  ==================
``Exact``            the effect          its exact adjoint          the effect
``FrequencySampled`` the stand-in        autograd of the stand-in   the effect
``Spsa``             the effect          two-sided differences      the effect
``NeuralProxy`` np   frozen networks     autograd of the networks   frozen networks
``NeuralProxy`` hh   frozen networks     autograd of the networks   the effect
``NeuralProxy`` fh   the effect          autograd of the networks   the effect
``EndToEnd``         trained networks    autograd of the networks   trained networks
===================  ==================  =========================  ==================

Each object says its own row (``contract``), and reports print it. Settings enter as unit
parameters [B, P] in [0, 1]. Strategies that put networks in the effect's place build them
(``build``); whoever trains or infers hands them back in.
"""

from __future__ import annotations

from retone.training.gradients.base import Contract, Gradient
from retone.training.gradients.direct import Exact, FrequencySampled
from retone.training.gradients.networks import EndToEnd, NeuralProxy
from retone.training.gradients.spsa import Spsa

STRATEGIES: dict[str, type] = {
    kind.__name__: kind for kind in (Exact, FrequencySampled, Spsa, NeuralProxy, EndToEnd)
}
"""The classes by name, as recipes in weights name them."""

__all__ = [
    "STRATEGIES",
    "Contract",
    "EndToEnd",
    "Exact",
    "FrequencySampled",
    "Gradient",
    "NeuralProxy",
    "Spsa",
]
