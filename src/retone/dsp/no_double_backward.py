"""Autograd functions with exact first derivatives that refuse second derivatives.

torch's own ``once_differentiable`` raises only if ``backward`` runs the whole graph. When gradients
of selected tensors are requested, torch skips the raising node and silently returns an incomplete
result. Here that node depends on the inputs, so it always runs.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

NO_SECOND = (
    "retone's effects have exact first derivatives but no second derivatives. Leave out "
    "create_graph=True, or keep gradients of gradients away from the effects."
)


class _NoDoubleBackward(torch.autograd.Function):
    """Pass through the first ``count`` tensors; depend on all of them."""

    @staticmethod
    def forward(ctx: Any, count: int, *tensors: Tensor) -> tuple[Tensor, ...]:
        return tuple(t.view_as(t) for t in tensors[:count])

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> Any:
        raise RuntimeError(NO_SECOND)


def no_double_backward(backward: Callable[..., tuple[Any, ...]]) -> Callable[..., tuple[Any, ...]]:
    """Decorate ``backward`` of an autograd function that saves its inputs for backward.

    The decorated function raises torch's error if an input was modified in place since the forward
    pass, and RuntimeError if a second derivative is requested.
    """

    @functools.wraps(backward)
    def checked(ctx: Any, *grads: Any) -> tuple[Any, ...]:
        inputs = ctx.saved_tensors
        with torch.no_grad():
            out = backward(ctx, *grads)
        if not torch.is_grad_enabled():
            return out
        dependencies = [t for t in (*grads, *inputs) if isinstance(t, Tensor) and t.requires_grad]
        tensors = [t for t in out if isinstance(t, Tensor)]
        if not dependencies or not tensors:
            return out
        guarded = iter(_NoDoubleBackward.apply(len(tensors), *tensors, *dependencies))  # type: ignore[no-untyped-call]
        return tuple(next(guarded) if isinstance(t, Tensor) else t for t in out)

    return checked
