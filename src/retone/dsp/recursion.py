"""Exact recursive filters and dynamics as differentiable functions of tensors.

Each function chooses its path by the tensor's device: compiled loops on the CPU
(``retone.kernels``), a parallel-in-time formulation on a GPU (``retone.dsp.scan``). Both are
exact. Recursions run in float64; the result has the audio's dtype.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor

from retone.dsp import biquad, scan
from retone.dsp.no_double_backward import no_double_backward


def _numpy(tensor: Tensor, dtype: torch.dtype | None = None) -> Any:
    tensor = tensor.detach()
    if dtype is not None:
        tensor = tensor.to(dtype)
    return tensor.contiguous().resolve_neg().numpy()


def use_scan(tensor: Tensor) -> bool:
    """Whether to use the parallel formulation: off the CPU, or inside ``scan.forced()``."""
    return tensor.device.type != "cpu" or scan.is_forced()


class _Sections(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, audio: Tensor, sections: Tensor, state: Tensor) -> tuple[Tensor, Tensor]:
        from retone.kernels.sections import sections_forward

        x, sos, s0 = _numpy(audio), _numpy(sections), _numpy(state)
        keep = any(ctx.needs_input_grad)
        result: Any = sections_forward(  # type: ignore[call-overload]
            x, sos, s0, threads=torch.get_num_threads(), checkpoints=keep
        )
        ctx.arrays = (x, sos, s0, result[2]) if keep else None
        ctx.save_for_backward(audio, sections, state)
        return torch.from_numpy(result[0]), torch.from_numpy(result[1])

    @staticmethod
    @no_double_backward
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        from retone.kernels.sections import sections_backward

        x, sos, s0, checkpoints = ctx.arrays
        grad_y, grad_state = grads
        out = sections_backward(
            _numpy(grad_y, torch.float64 if x.dtype == "float64" else torch.float32),
            x,
            sos,
            s0,
            _numpy(grad_state),
            threads=torch.get_num_threads(),
            checkpoints=checkpoints,
        )
        return tuple(torch.from_numpy(g) for g in out)  # type: ignore[return-value]


def cascade(audio: Tensor, sections: Tensor, state: Tensor | None = None) -> tuple[Tensor, Tensor]:
    """Second-order sections in series.

    Args:
        audio: [R, T], float32 or float64.
        sections: [K, S, 5] float64; R is a multiple of K; row r uses ``sections[r // (R // K)]``.
        state: [R, S, 2] float64, transposed direct form II (scipy's ``zi``); None means zeros.

    Returns:
        The filtered audio [R, T] in the audio's dtype, and the state after it.
    """
    if state is None:
        state = audio.new_zeros(audio.shape[0], sections.shape[1], 2, dtype=torch.float64)
    if audio.shape[0] == 0:
        return audio.clone(), state.clone()
    if use_scan(audio):
        return scan.cascade(audio, sections, state)
    return _Sections.apply(audio, sections, state)


class _Design(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, frequency_hz: Tensor, gain_db: Tensor, q: Tensor, kinds: Any, rates: Any
    ) -> Tensor:
        from retone.kernels.designs import design_forward

        arrays = (_numpy(frequency_hz), _numpy(gain_db), _numpy(q))
        sections = design_forward(kinds, *arrays, *rates)
        ctx.arrays = (kinds, *arrays, *rates, sections)
        ctx.save_for_backward(frequency_hz, gain_db, q)
        return torch.from_numpy(sections)

    @staticmethod
    @no_double_backward
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        from retone.kernels.designs import design_backward

        saved: Any = ctx.arrays
        out: Any = design_backward(*(*saved, _numpy(grads[0])))
        return (*(torch.from_numpy(g) for g in out), None, None)


def peaks_and_shelves(
    frequency_hz: Tensor, gain_db: Tensor, q: Tensor, sample_rate: float
) -> Tensor:
    """A low shelf, peaks and a high shelf, from S >= 2 bands in that order.

    Args:
        frequency_hz, gain_db, q: [B, S].
        sample_rate: in Hz.

    Returns:
        Sections [B, S, 5], float64, as ``biquad.low_shelf``, ``peak`` and ``high_shelf`` design
        them.
    """
    values: Any = tuple(v.double() for v in (frequency_hz, gain_db, q))
    if use_scan(frequency_hz):
        parts = (
            (biquad.low_shelf, slice(0, 1)),
            (biquad.peak, slice(1, -1)),
            (biquad.high_shelf, slice(-1, None)),
        )
        f, gain, quality = values
        return torch.cat(
            [design(f[:, k], gain[:, k], quality[:, k], sample_rate) for design, k in parts], dim=1
        )
    from retone.kernels.designs import HIGH_SHELF, LOW_SHELF, PEAK

    kinds = np.array([LOW_SHELF, *[PEAK] * (frequency_hz.shape[1] - 2), HIGH_SHELF])
    rates = (float(sample_rate), biquad.TOP_OF_BAND * sample_rate)
    return _Design.apply(*values, kinds, rates)  # type: ignore[no-any-return]


class _Ballistics(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, signal: Tensor, k_attack: Tensor, k_release: Tensor, start: Tensor
    ) -> Tensor:
        from retone.kernels.ballistics import ballistics_forward

        arrays: tuple[Any, Any, Any, Any] = (
            _numpy(signal), _numpy(k_attack), _numpy(k_release), _numpy(start)
        )  # fmt: skip
        y = ballistics_forward(*arrays, threads=torch.get_num_threads())
        ctx.arrays = arrays
        ctx.save_for_backward(signal, k_attack, k_release, start)
        return torch.from_numpy(y)

    @staticmethod
    @no_double_backward
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, ...]:
        from retone.kernels.ballistics import ballistics_backward

        x, k_attack, k_release, start = ctx.arrays
        grad = _numpy(grads[0]).astype(x.dtype)
        out = ballistics_backward(
            grad, x, k_attack, k_release, start, threads=torch.get_num_threads()
        )
        return tuple(torch.from_numpy(g) for g in out)


def ballistics(signal: Tensor, k_attack: Tensor, k_release: Tensor, start: Tensor) -> Tensor:
    """Smooth with separate attack and release: ``y += k (x - y)``.

    ``k`` is ``k_attack`` where x is above y and ``k_release`` elsewhere.

    Args:
        signal: [R, T]; k_attack, k_release, start (y before the first sample): [R] float64.

    Returns:
        [R, T] in the signal's dtype. The gradient follows the branch that the forward pass took at
        each sample, which is exact except where x equals y (C.-Y. Yu et al., arXiv 2404.07970).
    """
    if use_scan(signal):
        return scan.ballistics(signal, k_attack, k_release, start)
    return _Ballistics.apply(signal, k_attack, k_release, start)


class _Compress(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        audio: Tensor,
        params: Tensor,
        state: Tensor,
        expander: bool,
        averaged: bool,
        curves: bool,
    ) -> tuple[Tensor, ...]:
        from retone.kernels.dynamics import compress_forward

        x, p, s0 = _numpy(audio), _numpy(params), _numpy(state)
        keep = any(ctx.needs_input_grad)
        y, state_out, gain_db, checkpoints = compress_forward(
            x,
            p,
            s0,
            threads=torch.get_num_threads(),
            curves=curves,
            checkpoints=keep,
            expander=expander,
        )
        ctx.arrays = (x, p, s0, checkpoints) if keep else None
        ctx.save_for_backward(audio, params, state)
        ctx.expander, ctx.averaged, ctx.curves = expander, averaged, curves
        out = (torch.from_numpy(y), torch.from_numpy(state_out))
        return (*out, torch.from_numpy(gain_db)) if curves else out

    @staticmethod
    @no_double_backward
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        from retone.kernels.dynamics import compress_backward

        x, p, s0, checkpoints = ctx.arrays
        out = compress_backward(
            _numpy(grads[0]),
            x,
            p,
            s0,
            _numpy(grads[1]),
            grad_gain_db=_numpy(grads[2]) if ctx.curves else None,
            checkpoints=checkpoints,
            threads=torch.get_num_threads(),
            expander=ctx.expander,
            averaged=ctx.averaged,
        )
        return (*(torch.from_numpy(g) for g in out), None, None, None)


def compress(
    audio: Tensor,
    params: Tensor,
    state: Tensor,
    *,
    expander: bool,
    curves: bool,
    averaged: bool = True,
) -> tuple[Tensor, Tensor, Tensor | None]:
    """The feed-forward compressor in one pass; see ``retone.effects.compressor`` for the formula.

    Args:
        audio: [B, C, T].
        params: [B, 9] float64: threshold_db, slope (1 - 1/ratio), attack coefficient, release
            coefficient, knee_db, makeup_db, level coefficient (1 = instantaneous peak),
            expander_threshold_db, expander_slope (expander ratio - 1).
        state: [B, 3] float64: mean square, smoothed dB above the compressor's threshold,
            smoothed dB below the expander's.
        expander: whether to apply the last two columns.
        curves: also return the gain over time.
        averaged: whether the level is averaged over time. False promises that the level
            coefficients are a constant 1, which makes gradients cheaper.

    Returns:
        audio [B, C, T], state [B, 3], and the gain in dB [B, T] (makeup included) or None.
    """
    if use_scan(audio):
        return scan.compress(audio, params, state, expander=expander, curves=curves)
    out = _Compress.apply(audio, params, state, expander, averaged, curves)
    return out[0], out[1], out[2] if curves else None
