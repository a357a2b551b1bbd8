"""Exact recursive filters and dynamics as differentiable functions of tensors.

Each function chooses its path by the tensor's device: compiled loops on the CPU
(``retone.kernels``), a parallel-in-time formulation on a GPU (``retone.dsp.scan``). Both are
exact. Recursions run in float64; the result has the audio's dtype.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from retone.dsp import biquad, scan
from retone.dsp.kernel_function import Arrays, KernelFunction, as_array


def use_scan(tensor: Tensor) -> bool:
    """Whether to use the parallel formulation: off the CPU, or inside ``scan.forced()``."""
    return tensor.device.type != "cpu" or scan.is_forced()


def _sections_forward(arrays: Arrays, keep: bool) -> tuple[Arrays, Any]:
    from retone.kernels.sections import sections_forward

    audio, sections, start = arrays
    found: Any = sections_forward(  # type: ignore[call-overload]
        audio, sections, start, threads=torch.get_num_threads(), checkpoints=keep
    )
    return found[:2], found[2] if keep else None


def _sections_backward(arrays: Arrays, kept: Any, grads: Sequence[Tensor]) -> Arrays:
    from retone.kernels.sections import sections_backward

    dtype = torch.float64 if arrays[0].dtype == "float64" else torch.float32
    audio, sections, start = arrays
    return sections_backward(
        as_array(grads[0], dtype),
        audio,
        sections,
        start,
        as_array(grads[1]),
        threads=torch.get_num_threads(),
        checkpoints=kept,
    )


_sections = KernelFunction(_sections_forward, _sections_backward)


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
    y, after = _sections(audio, sections, state)
    return y, after


def _design_forward(
    arrays: Arrays, keep: bool, kinds: Any, rates: tuple[float, float]
) -> tuple[Arrays, Any]:
    from retone.kernels.designs import design_forward

    frequency_hz, gain_db, q = arrays
    sections = design_forward(kinds, frequency_hz, gain_db, q, *rates)
    return (sections,), sections


def _design_backward(
    arrays: Arrays, kept: Any, grads: Sequence[Tensor], kinds: Any, rates: tuple[float, float]
) -> Arrays:
    from retone.kernels.designs import design_backward

    frequency_hz, gain_db, q = arrays
    return design_backward(kinds, frequency_hz, gain_db, q, *rates, kept, as_array(grads[0]))


_design = KernelFunction(_design_forward, _design_backward)


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
    return _design(*values, kinds=kinds, rates=rates)[0]


def _ballistics_forward(arrays: Arrays, keep: bool) -> tuple[Arrays, Any]:
    from retone.kernels.ballistics import ballistics_forward

    signal, k_attack, k_release, start = arrays
    threads = torch.get_num_threads()
    return (ballistics_forward(signal, k_attack, k_release, start, threads=threads),), None


def _ballistics_backward(arrays: Arrays, kept: Any, grads: Sequence[Tensor]) -> Arrays:
    from retone.kernels.ballistics import ballistics_backward

    signal, k_attack, k_release, start = arrays
    grad = as_array(grads[0]).astype(signal.dtype)
    threads = torch.get_num_threads()
    return ballistics_backward(grad, signal, k_attack, k_release, start, threads=threads)


_ballistics = KernelFunction(_ballistics_forward, _ballistics_backward)


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
    return _ballistics(signal, k_attack, k_release, start)[0]


def _compress_forward(
    arrays: Arrays, keep: bool, expander: bool, averaged: bool, curves: bool
) -> tuple[Arrays, Any]:
    from retone.kernels.dynamics import compress_forward

    audio, params, start = arrays
    y, state, gain_db, kept = compress_forward(
        audio,
        params,
        start,
        threads=torch.get_num_threads(),
        curves=curves,
        checkpoints=keep,
        expander=expander,
    )
    return ((y, state, gain_db) if curves else (y, state)), kept


def _compress_backward(
    arrays: Arrays,
    kept: Any,
    grads: Sequence[Tensor],
    expander: bool,
    averaged: bool,
    curves: bool,
) -> Arrays:
    from retone.kernels.dynamics import compress_backward

    audio, params, start = arrays
    return compress_backward(
        as_array(grads[0]),
        audio,
        params,
        start,
        as_array(grads[1]),
        grad_gain_db=as_array(grads[2]) if curves else None,
        checkpoints=kept,
        threads=torch.get_num_threads(),
        expander=expander,
        averaged=averaged,
    )


_compress = KernelFunction(_compress_forward, _compress_backward)


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
    out = _compress(audio, params, state, expander=expander, averaged=averaged, curves=curves)
    return out[0], out[1], out[2] if curves else None
