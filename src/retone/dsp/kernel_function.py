"""Wrap compiled functions and their adjoints as differentiable functions of tensors.

They work with ``backward`` and, in ``torch.func``, with ``grad``, ``vjp`` and ``vmap`` in any
nesting: ``vmap`` folds its dimension into the batch. There are no second derivatives and no
forward mode (``jvp``), for which the kernels would need code of their own.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from retone.dsp.no_double_backward import NO_SECOND

Arrays = Any
"""The inputs as NumPy arrays, in order."""
NO_FORWARD_MODE = (
    "retone's effects have reverse-mode derivatives only. Use torch.func.grad, vjp or jacrev "
    "instead of jvp, jacfwd or hessian."
)


def as_array(tensor: Tensor, dtype: torch.dtype | None = None) -> Any:
    """A tensor as a contiguous NumPy array, without a copy where possible."""
    tensor = tensor.detach()
    if dtype is not None:
        tensor = tensor.to(dtype)
    return tensor.contiguous().resolve_neg().numpy()


@dataclass(frozen=True)
class KernelFunction:
    """A compiled function and its adjoint; every tensor's first dimension is the batch.

    Args:
        forward: (arrays, keep, **options) -> arrays, and what the adjoint needs if ``keep``.
        backward: (arrays, kept, gradients as tensors, **options) -> one array per input.
    """

    forward: Callable[..., tuple[Arrays, Any]]
    backward: Callable[..., Arrays]

    def __call__(self, *tensors: Tensor, **options: Any) -> tuple[Tensor, ...]:
        keep = torch.is_grad_enabled() and any(t.requires_grad for t in tensors)
        out = _Forward.apply(self, options, keep, *tensors)  # type: ignore[no-untyped-call]
        return tuple(out[:-1])


class _Kept:
    """Arrays and saved values of a forward pass, opaque to torch."""

    def __init__(self, arrays: Arrays, value: Any) -> None:
        self.arrays, self.value = arrays, value


def _folded(size: int, dims: Sequence[int | None], tensors: Sequence[Tensor]) -> list[Tensor]:
    """Fold the dimension that ``vmap`` adds into each tensor's batch."""
    found = []
    for t, dim in zip(tensors, dims, strict=True):
        t = t.expand(size, *t.shape) if dim is None else t.movedim(dim, 0)
        found.append(t.reshape(size * t.shape[1], *t.shape[2:]))
    return found


def _unfolded(size: int, tensors: Sequence[Tensor]) -> list[Tensor]:
    return [t.reshape(size, -1 if t.numel() else t.shape[0] // size, *t.shape[1:]) for t in tensors]


class _Forward(torch.autograd.Function):
    @staticmethod
    def forward(
        kernel: KernelFunction, options: Mapping[str, Any], keep: bool, *tensors: Tensor
    ) -> tuple[Any, ...]:
        arrays = [as_array(t) for t in tensors]
        out, kept = kernel.forward(arrays, keep, **options)
        return (*(torch.from_numpy(o) for o in out), _Kept(arrays, kept) if keep else None)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: tuple[Any, ...]) -> None:
        ctx.kernel, ctx.options, _, *tensors = inputs
        ctx.kept = output[-1]
        ctx.save_for_backward(*tensors)

    @staticmethod
    def backward(ctx: Any, *grads: Any) -> tuple[Any, ...]:
        inputs = ctx.saved_tensors
        grads = grads[:-1]
        out = _Backward.apply(ctx.kernel, ctx.options, ctx.kept, len(grads), *grads, *inputs)  # type: ignore[no-untyped-call]
        return (None, None, None, *out)

    @staticmethod
    def vmap(
        info: Any, in_dims: tuple[Any, ...], kernel: Any, options: Any, keep: bool, *tensors: Tensor
    ) -> tuple[Any, Any]:
        folded = _folded(info.batch_size, in_dims[3:], tensors)
        out = _Forward.apply(kernel, options, keep, *folded)  # type: ignore[no-untyped-call]
        found = _unfolded(info.batch_size, out[:-1])
        return (*found, out[-1]), (*(0 for _ in found), None)

    @staticmethod
    def jvp(ctx: Any, *tangents: Any) -> Any:
        raise RuntimeError(NO_FORWARD_MODE)


class _Backward(torch.autograd.Function):
    """The adjoint; it depends on the inputs, so that a second derivative is always refused."""

    @staticmethod
    def forward(
        kernel: KernelFunction,
        options: Mapping[str, Any],
        kept: _Kept | None,
        count: int,
        *tensors: Tensor,
    ) -> tuple[Tensor, ...]:
        if kept is None:
            arrays = [as_array(t) for t in tensors[count:]]
            kept = _Kept(arrays, kernel.forward(arrays, True, **options)[1])
        out = kernel.backward(kept.arrays, kept.value, tensors[:count], **options)
        return tuple(torch.from_numpy(o) for o in out)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: tuple[Any, ...]) -> None:
        pass

    @staticmethod
    def backward(ctx: Any, *grads: Any) -> Any:
        raise RuntimeError(NO_SECOND)

    @staticmethod
    def vmap(
        info: Any,
        in_dims: tuple[Any, ...],
        kernel: Any,
        options: Any,
        kept: Any,
        count: int,
        *tensors: Tensor,
    ) -> tuple[Any, Any]:
        folded = _folded(info.batch_size, in_dims[4:], tensors)
        out = _Backward.apply(kernel, options, kept, count, *folded)  # type: ignore[no-untyped-call]
        found = _unfolded(info.batch_size, out)
        return tuple(found), tuple(0 for _ in found)

    @staticmethod
    def jvp(ctx: Any, *tangents: Any) -> Any:
        raise RuntimeError(NO_SECOND)
