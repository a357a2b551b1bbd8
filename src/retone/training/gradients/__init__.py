"""Differentiation strategies: how gradients get through an effect. A recipe holds one.

===================  ==================  =========================  ==================
strategy             training forward    training backward          inference
===================  ==================  =========================  ==================
``Exact``            the effect          its exact adjoint          the effect
``FrequencySampled`` approximation       autograd of it             approximation
``Spsa``             the effect          two-sided differences      the effect
``NeuralProxy`` np   frozen networks     autograd of the networks   frozen networks
``NeuralProxy`` hh   frozen networks     autograd of the networks   the effect
``NeuralProxy`` fh   the effect          autograd of the networks   the effect
``EndToEnd``         trained networks    autograd of the networks   trained networks
===================  ==================  =========================  ==================

Each strategy states its own row (``contract``), and reports print it. Settings are unit parameters
[B, P] in [0, 1]. Strategies that put networks in the effect's place create them with ``build``; the
caller passes them to ``train`` and ``infer``.
"""

from __future__ import annotations

from retone.training.gradients.base import Contract, Gradient
from retone.training.gradients.direct import Exact, FrequencySampled
from retone.training.gradients.networks import EndToEnd, NeuralProxy
from retone.training.gradients.spsa import Spsa

STRATEGIES: dict[str, type] = {
    kind.__name__: kind for kind in (Exact, FrequencySampled, Spsa, NeuralProxy, EndToEnd)
}
"""Classes by the type names in weights files; ``recipes.strategies`` names the variants."""

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
