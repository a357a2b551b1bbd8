"""Linkwitz-Riley crossovers of 4th order, compensated so that the bands sum to an all-pass.

At every crossover the signal is split by a Butterworth low-pass twice and a high-pass twice,
whose sum is the second-order all-pass of the same poles (S. Linkwitz, R. Riley, JAES 24(1),
1976). The bands already split off pass through that all-pass too, so that all bands stay in
phase and their sum is the product of the all-passes: flat in magnitude to rounding.
"""

from __future__ import annotations

import torch
from torch import Tensor

from retone.dsp import biquad
from retone.dsp.effect import State
from retone.dsp.recursion import cascade
from retone.errors import SettingError, expect


def split(
    audio: Tensor, crossovers_hz: Tensor, sample_rate: float, state: State | None = None
) -> tuple[Tensor, State]:
    """Split audio into bands.

    Args:
        audio: [B, C, T].
        crossovers_hz: [B, K - 1], rising; frequencies from 0.49 of the rate on are held there.
        sample_rate: in Hz.
        state: the state returned for the previous block; None starts from silence.

    Returns:
        bands [B, K, C, T] from low to high, and the state for the next block.
    """
    sizes = expect(audio, "B C T", "crossover: audio")
    count = expect(crossovers_hz, "B N", "crossover: crossovers_hz", B=sizes["B"])["N"]
    if count < 1:
        raise SettingError("crossover: at least one crossover frequency is needed.")
    batch, channels, length = audio.shape
    low, high, around = biquad.butterworth(crossovers_hz.to(audio.device), sample_rate)
    pairs = torch.stack([low, high], dim=2)[..., None, :].expand(-1, -1, -1, 2, -1)
    after: State = {}
    bands: list[Tensor] = []
    rest = audio
    for i in range(count):
        if bands:
            done = torch.stack(bands, dim=1).reshape(batch * i * channels, length)
            name = f"around_{i}"
            done, after[name] = cascade(done, around[:, i, None], state[name] if state else None)
            bands = list(done.reshape(batch, i, channels, length).unbind(1))
        both = rest[:, None].expand(-1, 2, -1, -1).reshape(batch * 2 * channels, length)
        name = f"split_{i}"
        both, after[name] = cascade(
            both, pairs[:, i].reshape(batch * 2, 2, 5), state[name] if state else None
        )
        below, rest = both.reshape(batch, 2, channels, length).unbind(1)
        bands.append(below)
    return torch.stack([*bands, rest], dim=1), after
