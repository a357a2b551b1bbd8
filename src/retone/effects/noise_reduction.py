"""Noise reduction: steady noise is turned down between and below what is said.

The spectrum of overlapping frames is multiplied with a gain for each bin (a Wiener filter)::

    g = w + (1 - w) 10^(-reduction_db / 20),    w = snr / (1 + snr)

``snr`` is the power of what is not noise over that of the noise. It is followed from frame to frame
by the decision-directed rule (Y. Ephraim and D. Malah, 1984)::

    snr[t] = KEPT w[t-1]^2 p[t-1] / noise[t] + (1 - KEPT) max(p[t] / noise[t] - 1, 0)

The power ``noise`` is learnt while the effect runs: in each bin it follows the frame's power ``p``
as far as the probability of speech allows (T. Gerkmann and R. Hendriks, 2012)::

    speech = 1 / (1 + (1 + r) exp(-p / noise  r / (1 + r))),    r = 15 dB
    noise += (1 - KEPT_NOISE) (1 - speech) (p - noise)

So nothing depends on the recording's level, and noise that changes is followed within seconds.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from retone.dsp.effect import Effect, Rendered, State
from retone.dsp.noise import NoiseConstants, noise_gains
from retone.dsp.param import Param, ParamTable, Setting
from retone.dsp.stages import Stage
from retone.effects.fir import delayed

HOP_S, OVERLAP = 1 / 93.75, 4
"""Frames of four hops: 2048 samples at 48 kHz."""
SPEECH_RATIO = 10**1.5
CONSTANTS = NoiseConstants(
    keep_noise=math.exp(-HOP_S / 0.072),
    keep_speech=math.exp(-HOP_S / 0.152),
    keep_ratio=0.96,
    steep=SPEECH_RATIO / (1 + SPEECH_RATIO),
    bias=math.log1p(SPEECH_RATIO),
    sure=0.99,
    least_ratio=10**-2.5,
    floor=1e-30,
)
SETTLING_S = 0.15
"""At the start the noise is unknown: all sound is taken for it with a weight that falls with this
time constant, and the reduction sets in twice as slowly."""
NOISE_HZ, LIVE, HOLDS = (120.0, 8000.0), 1e-8, 1e-6
"""Where noise is judged, and from which power on, against that of the loudest frame or bin, there
is sound."""
PART_S, QUIET = 0.125, 0.2
"""The noise is read so often, and what lies above this share of the readings counts."""
LEARNT = ("noise", "speech", "before")
"""What is carried from frame to frame."""
_FRAMES_AT_ONCE = 256

_TABLE = ParamTable(
    (
        Param("reduction_db", "dB", 0, 24, 0, "linear", "How far noise is turned down at most.",
              neutral=0),
        Param("sensitivity_db", "dB", -6, 12, 0, "linear",
              "How much louder the noise is taken to be than it is measured.",
              audible_when="reduction_db"),
    )
)  # fmt: skip


@dataclass(frozen=True)
class NoiseReduction(Effect):
    """A Wiener filter in each bin with a limited depth; all channels get the same gains.

    The output is late by one frame, 43 ms.
    """

    kind: ClassVar[str] = "noise_reduction"
    level_dependent: ClassVar[bool] = True
    exact_blocks: ClassVar[bool] = False
    name: str = "noise_reduction"

    @property
    def params(self) -> ParamTable:
        return _TABLE

    def latency_samples(self, sample_rate: float) -> int:
        return OVERLAP * _hop(sample_rate)

    def static_path(
        self, audio: Tensor, sample_rate: float, setting: Mapping[str, Tensor]
    ) -> Tensor:
        return delayed(audio, self.latency_samples(sample_rate), None).to(audio.dtype)

    def stages(self, setting: Mapping[str, Tensor], sample_rate: float) -> tuple[Stage, ...] | None:
        return None if float(setting["reduction_db"][0]) else ()

    def _render(
        self, audio: Tensor, sample_rate: float, setting: Setting, state: State | None, curves: bool
    ) -> Rendered:
        hop = _hop(sample_rate)
        values = [setting[p.name].double().to(audio.device)[:, None] for p in _TABLE]
        amount_db, louder = values[0], 10 ** (values[1] / 10)
        own = _start(audio, hop, amount_db + louder) if state is None else dict(state)
        parts = []
        for part in audio.double().split(_FRAMES_AT_ONCE * hop, dim=-1):
            y, own = _filtered(part, hop, amount_db, louder, own)
            parts.append(y)
        return Rendered(torch.cat(parts, dim=-1).to(audio.dtype), own, {})


def programme_to_noise_db(audio: Tensor, sample_rate: float) -> float:
    """How far the programme lies above its steady noise: mean over frequency of the ratio in dB.

    Args:
        audio: [T] with at least a second of sound; digital silence is left out.
        sample_rate: in Hz.

    Returns:
        From ``NOISE_HZ[0]`` to ``NOISE_HZ[1]``; NaN if there is no sound.
    """
    hop = _hop(sample_rate)
    size = OVERLAP * hop
    if len(audio) < size:
        return math.nan
    window = torch.hann_window(size, dtype=torch.float64).sqrt()
    frames = audio.double().unfold(-1, size, hop)
    power = torch.fft.rfft(frames * window).abs().square()  # [frames, bins]
    power = power[power.sum(1) > LIVE * power.sum(1).max()]
    if not len(power):
        return math.nan
    noises, part = [], round(PART_S / HOP_S)
    learnt: State = {n: power.new_zeros(1, power.shape[1]) for n in LEARNT}
    learnt["settling"] = power.new_ones(1, 1)
    none, same = power.new_zeros(1, 1), power.new_ones(1, 1)
    for some in power.split(part):
        learnt = _gains(some[None], none, same, learnt)[1]
        noises.append(learnt["noise"][0])
    noise = torch.quantile(torch.stack(noises), QUIET, dim=0)
    hz = torch.arange(len(noise)) * (sample_rate / size)
    programme = power.mean(0)
    heard = (hz >= NOISE_HZ[0]) & (hz <= NOISE_HZ[1]) & (programme > HOLDS * programme.max())
    ratio = programme / (noise + CONSTANTS.floor)
    return float(10 * torch.log10(ratio[heard]).mean())


def _hop(sample_rate: float) -> int:
    return max(1, round(HOP_S * sample_rate))


def _start(audio: Tensor, hop: int, values: Tensor) -> State:
    """The state before the first sample; a value that is NaN shows from the first sample on."""
    (batch, channels), size = audio.shape[:2], OVERLAP * hop
    zero = 0.0 * values
    bins = zero.expand(batch, size // 2 + 1)
    silence = zero[..., None].expand(batch, channels, size)
    return {
        "past": silence, "removed": silence, "noise": bins, "speech": bins, "before": bins,
        "settling": 1.0 + zero,
    }  # fmt: skip


def _filtered(
    x: Tensor, hop: int, amount_db: Tensor, louder: Tensor, state: State
) -> tuple[Tensor, State]:
    """Audio [B, C, T] float64 without the noise, late by a frame, and the state after it.

    ``state["past"]`` [B, C, 4 hops] are the samples that are still to come out, and ``removed``
    what has been found so far to be taken from them; the next frame begins ``hop - r`` samples into
    them, if ``removed`` is ``r`` samples shorter than ``past``.
    """
    size = OVERLAP * hop
    late = size - state["removed"].shape[-1]
    count = (late + x.shape[-1]) // hop
    x = torch.cat([state["past"], x], dim=-1)
    length = x.shape[-1] - size
    removed = torch.nn.functional.pad(state["removed"], (0, count * hop))
    after = dict(state)
    if count:
        window = torch.hann_window(size, dtype=torch.float64, device=x.device).sqrt()
        frames = x[..., hop - late :].unfold(-1, size, hop)[..., :count, :]
        spectrum = torch.fft.rfft(frames * window)
        power = (spectrum.real.square() + spectrum.imag.square()).mean(1)
        gain, learnt = _gains(power, amount_db, louder, state)
        after |= learnt
        less = torch.fft.irfft((1 - gain)[:, None] * spectrum, size) * (2 / OVERLAP * window)
        parts = less.unflatten(-1, (OVERLAP, hop))
        whole = sum(
            torch.nn.functional.pad(
                parts[..., j, :].flatten(-2), (j * hop, (OVERLAP - 1 - j) * hop)
            )
            for j in range(OVERLAP)
        )
        removed = torch.cat(
            [removed[..., : hop - late], removed[..., hop - late :] + whole], dim=-1
        )
    after |= {"past": x[..., length:], "removed": removed[..., length:]}
    return x[..., :length] - removed[..., :length], after


def _gains(power: Tensor, amount_db: Tensor, louder: Tensor, state: State) -> tuple[Tensor, State]:
    """Gains [B, frames, bins] for powers of the same shape, and the state after them."""
    ages = torch.arange(power.shape[1], dtype=torch.float64, device=power.device)
    unsettled = state["settling"] * torch.exp(-ages * HOP_S / SETTLING_S)  # [B, frames]
    settled, settling = 1 - unsettled, unsettled[:, -1:] * math.exp(-HOP_S / SETTLING_S)
    least = 10 ** (-settled.square() * amount_db / 20)
    gain, noise, speech, before = noise_gains(
        CONSTANTS, power, louder, least, settled, *(state[n] for n in LEARNT)
    )
    return gain, {"noise": noise, "speech": speech, "before": before, "settling": settling}
