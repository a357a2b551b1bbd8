"""Noise of short-time spectra, followed from frame to frame, and the gains against it."""

from __future__ import annotations

from dataclasses import astuple, dataclass

import numpy as np
from torch import Tensor

from retone import core


@dataclass(frozen=True)
class NoiseConstants:
    """What a frame is weighed with; see ``retone.effects.noise_reduction``.

    ``keep_noise``, ``keep_speech`` and ``keep_ratio`` are the shares of the previous frame's noise,
    mean probability of speech and signal-to-noise ratio; ``steep`` and ``bias`` make a probability
    of speech of a frame's power over the noise; above ``sure`` it is limited; ``least_ratio`` is
    the least signal-to-noise ratio and ``floor`` is added to powers of noise.
    """

    keep_noise: float
    keep_speech: float
    keep_ratio: float
    steep: float
    bias: float
    sure: float
    least_ratio: float
    floor: float


def noise_gains(
    c: NoiseConstants, power: Tensor, louder: Tensor, least: Tensor, settled: Tensor, noise: Tensor,
    speech: Tensor, before: Tensor,
) -> tuple[Tensor, Tensor, Tensor, Tensor]:  # fmt: skip
    """``retone.dsp.noise.noise_gains`` by a compiled loop, on a CPU without gradients."""
    *head, floor = astuple(c)
    gains = power.detach().contiguous().clone()
    carried = [t.detach().contiguous().clone() for t in (noise, speech, before)]
    rows = [t.detach().contiguous().numpy() for t in (least, settled)]
    for i, factor in enumerate(louder.detach().flatten().tolist()):
        numbers = np.array([*head, factor, floor])
        core.noise_gains(
            gains[i].numpy(), *(t[i].numpy() for t in carried), *(r[i] for r in rows), numbers,
            *power.shape[1:],
        )  # fmt: skip
    noise, speech, before = carried
    return gains, noise, speech, before
