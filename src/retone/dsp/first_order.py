"""Gradients that are exact once and must not be differentiated again.

torch's own ``once_differentiable`` refuses only where ``backward`` runs the whole graph: asked for
the gradient of chosen tensors, torch leaves the refusing node out and returns what is left, a
number that looks like an answer. Here that node hangs on the inputs, so it is always met.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor


class _Refused(torch.autograd.Function):
    """Hands on its first ``count`` tensors; depends on the others as well."""

    @staticmethod
    def forward(ctx: Any, count: int, *tensors: Tensor) -> tuple[Tensor, ...]:
        return tuple(t.view_as(t) for t in tensors[:count])

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> Any:
        raise RuntimeError(
            "retone's effects have exact first derivatives and no second ones. Leave out "
            "create_graph=True, or keep gradients of gradients away from the effects."
        )


def first_order(backward: Callable[..., tuple[Any, ...]]) -> Callable[..., tuple[Any, ...]]:
    """Decorate ``backward`` of an autograd function that saves its inputs for backward.

    Raises torch's error if an input was written to since the forward pass, and a RuntimeError
    where a second derivative is asked for.
    """

    @functools.wraps(backward)
    def checked(ctx: Any, *grads: Any) -> tuple[Any, ...]:
        inputs = ctx.saved_tensors
        with torch.no_grad():
            out = backward(ctx, *grads)
        if not torch.is_grad_enabled():
            return out
        given = [t for t in (*grads, *inputs) if isinstance(t, Tensor) and t.requires_grad]
        found = [t for t in out if isinstance(t, Tensor)]
        if not given or not found:
            return out
        marked = iter(_Refused.apply(len(found), *found, *given))  # type: ignore[no-untyped-call]
        return tuple(next(marked) if isinstance(t, Tensor) else t for t in out)

    return checked
