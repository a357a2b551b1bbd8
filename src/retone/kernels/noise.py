"""Noise reduction as compiled loops; formulas: ``retone.effects.noise_reduction``."""

from __future__ import annotations

from dataclasses import astuple, dataclass
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from retone import core

Array = NDArray[Any]


@dataclass(frozen=True)
class NoiseConstants:
    """What a frame is weighed with.

    ``keep_noise``, ``keep_speech`` and ``keep_ratio`` are the shares of the previous frame's noise,
    mean probability of speech and signal-to-noise ratio; ``steep`` and ``bias`` make a probability
    of speech of a frame's power over the noise; above ``sure`` it is limited; ``least_ratio`` is
    the least signal-to-noise ratio and ``floor`` is added to powers of noise. ``keep_start`` is the
    share by which a frame makes less of not knowing the noise at the start.
    """

    keep_noise: float
    keep_speech: float
    keep_ratio: float
    steep: float
    bias: float
    sure: float
    least_ratio: float
    floor: float
    keep_start: float


def learn_noise(power: Array, learnt: Array, known: Array, c: NoiseConstants) -> Array:
    """The noise and what else is carried from frame to frame, after the powers [F, K] of frames.

    Args:
        power: [F, K] float64.
        learnt: [3, K] before: noise, mean probability of speech, and the last frame's power that is
            not noise.
        known: [F] from 0, where every sound is taken for noise, to 1.
        c: what a frame is weighed with.

    Returns:
        [3, K] after the frames.
    """
    learnt, numbers = learnt.copy(), np.array([*astuple(c), 1.0, 0.0])
    core.noise_gains(power.copy(), *learnt, np.ascontiguousarray(known), numbers, *power.shape)
    return learnt


def reduce_noise(
    x: Array, past: Array, removed: Array, learnt: Array, at: Array, c: NoiseConstants,
    louder: float, least_nepers: float,
) -> None:  # fmt: skip
    """Take the noise from the channels of one recording, in place and late by a frame of S samples.

    Args:
        x: [C, T] float64, contiguous.
        past, removed: [C, S], zeros at the start: the samples still to come out, and what has been
            found so far to be taken from them; S is a power of two.
        learnt: [3, S / 2 + 1] as in ``learn_noise``, zeros at the start.
        at: [2] samples since the last frame began to be complete, and how well the noise is known;
            zeros at the start.
        c: what a frame is weighed with.
        louder: factor on the noise's power.
        least_nepers: depth of the reduction in nepers.
    """
    channels, size = past.shape
    window, table = tables(size)
    scratch = core.scratch(core.noise_scratch(channels, size))
    numbers = np.array([*astuple(c), louder, least_nepers])
    core.noise_forward(
        x, past, removed, *learnt, at, numbers, window, table, scratch, channels, x.shape[1], size
    )


@lru_cache(maxsize=8)
def tables(size: int) -> tuple[Array, Array]:
    """The window of a frame, the root of a Hann window, and its transform's table."""
    table = np.empty(size)
    core.fft_table(table, size)
    return np.sin(np.pi * np.arange(size) / size), table
