"""Steady noise in running audio: how it is estimated and reduced.

The formulas are those of ``retone.effects.noise_reduction``. On a CPU compiled loops run them
(``retone.kernels.noise``); tensor operations serve for gradients and other devices.
"""

from __future__ import annotations

import math
from functools import lru_cache

import numpy as np
import torch
from torch import Tensor

from retone.kernels.noise import NoiseConstants, learn_noise, reduce_noise

HOP_S, OVERLAP = 1 / 93.75, 4
"""Frames of four hops. A hop is the power of two in samples that is nearest to this: 512 at 44.1
and 48 kHz."""
KEPT_RATIO = 0.96
"""Share of the previous frame's signal-to-noise ratio, for a hop of ``HOP_S``."""
NOISE_S, SPEECH_S, START_S = 0.072, 0.152, 0.15
"""Time constants of the noise, of the mean probability of speech, and of not knowing the noise."""
SPEECH_RATIO, LEAST_RATIO = 10**1.5, 10**-2.5
SURE, FLOOR = 0.99, 1e-30
NOISE_HZ, LIVE, HOLDS = (120.0, 8000.0), 1e-8, 1e-6
"""Range in which noise is judged, and the least power of a frame and of a bin that counts as sound,
relative to the loudest."""
READ_S, QUIET = 0.125, 0.2
"""How often the estimate of the noise is read, and the quantile of the readings that counts."""
_FRAMES_AT_ONCE = 256

State = dict[str, Tensor]
"""``past`` [B, C, S], the last samples; ``removed`` [B, C, S - late], what has been found so far to
be taken from them; ``noise``, ``speech`` and ``before`` [B, S / 2 + 1]; ``known`` [B, 1]."""
LEARNT = ("noise", "speech", "before")


def hop_samples(sample_rate: float) -> int:
    """Samples between frames: the power of two nearest to ``HOP_S``."""
    return int(2 ** max(1, round(math.log2(HOP_S * sample_rate))))


@lru_cache(maxsize=8)
def constants(sample_rate: float) -> NoiseConstants:
    """What a frame is weighed with at a sample rate in Hz."""
    hop_s = hop_samples(sample_rate) / sample_rate
    return NoiseConstants(
        keep_noise=math.exp(-hop_s / NOISE_S),
        keep_speech=math.exp(-hop_s / SPEECH_S),
        keep_ratio=KEPT_RATIO ** (hop_s / HOP_S),
        steep=SPEECH_RATIO / (1 + SPEECH_RATIO),
        bias=math.log1p(SPEECH_RATIO),
        sure=SURE,
        least_ratio=LEAST_RATIO,
        floor=FLOOR,
        keep_start=math.exp(-hop_s / START_S),
    )


def without_noise(
    audio: Tensor, sample_rate: float, amount_db: Tensor, louder: Tensor, state: State | None
) -> tuple[Tensor, State]:
    """Audio [B, C, T] without its noise, late by four hops, and the state after it.

    Args:
        audio: float64.
        sample_rate: in Hz.
        amount_db: [B, 1] depth of the reduction.
        louder: [B, 1] factor on the noise's power.
        state: from the audio before; None for silence.
    """
    size, c = OVERLAP * hop_samples(sample_rate), constants(sample_rate)
    own = _start(audio, size, amount_db + louder) if state is None else dict(state)
    given = (audio, amount_db, louder, *own.values())
    learns = torch.is_grad_enabled() and any(v.requires_grad for v in given)
    wrapped = any(torch._C._functorch.is_functorch_wrapped_tensor(v) for v in given)
    if audio.device.type == "cpu" and not learns and not wrapped:
        return _native(audio, amount_db, louder, own, c)
    parts = []
    for part in audio.split(_FRAMES_AT_ONCE * size // OVERLAP, dim=-1):
        y, own = _by_tensors(part, amount_db, louder, own, c)
        parts.append(y)
    return torch.cat(parts, dim=-1), own


def programme_to_noise_db(audio: Tensor, sample_rate: float) -> float:
    """How far the programme lies above its steady noise: mean over frequency of the ratio in dB.

    Args:
        audio: [T]; digital silence is left out.
        sample_rate: in Hz.

    Returns:
        From 120 Hz to 8 kHz, where the recording holds something; NaN if there is no sound, or less
        than a frame.
    """
    hop = hop_samples(sample_rate)
    size = OVERLAP * hop
    if len(audio) < size:
        return math.nan
    frames = audio.double().unfold(-1, size, hop)
    power = torch.fft.rfft(frames * _window(size, audio.device)).abs().square()
    power = power[power.sum(1) > LIVE * power.sum(1).max()]  # [F, K]
    if not len(power):
        return math.nan
    c, readings = constants(sample_rate), []
    learnt = np.zeros((3, power.shape[1]))
    known = 1 - c.keep_start ** np.arange(len(power), dtype=np.float64)
    often = max(1, round(READ_S * sample_rate / hop))
    for first in range(0, len(power), often):
        part = slice(first, first + often)
        learnt = learn_noise(power[part].numpy(), learnt, known[part], c)
        readings.append(learnt[0])
    noise = torch.from_numpy(np.quantile(readings, QUIET, axis=0))
    hz = torch.arange(len(noise)) * (sample_rate / size)
    programme = power.mean(0)
    judged = (hz >= NOISE_HZ[0]) & (hz <= NOISE_HZ[1]) & (programme > HOLDS * programme.max())
    return float(10 * torch.log10(programme / (noise + FLOOR))[judged].mean())


def _start(audio: Tensor, size: int, values: Tensor) -> State:
    """The state before the first sample; a value that is NaN shows from the first sample on."""
    zero = 0.0 * values
    bins = zero.expand(audio.shape[0], size // 2 + 1)
    silence = zero[..., None].expand(*audio.shape[:2], size)
    return {
        "past": silence, "removed": silence, "noise": bins, "speech": bins, "before": bins,
        "known": zero,
    }  # fmt: skip


def _window(size: int, device: torch.device) -> Tensor:
    """Root of a Hann window."""
    return torch.sin(torch.pi * torch.arange(size, dtype=torch.float64, device=device) / size)


def _native(
    audio: Tensor, amount_db: Tensor, louder: Tensor, state: State, c: NoiseConstants
) -> tuple[Tensor, State]:
    size = state["past"].shape[-1]
    late = size - state["removed"].shape[-1]
    out = audio.detach().clone().contiguous()
    past = state["past"].detach().clone().contiguous()
    removed = torch.nn.functional.pad(state["removed"].detach(), (0, late)).contiguous()
    if not late:
        removed = removed.clone()
    learnt = torch.stack([state[n].detach() for n in LEARNT], dim=1)
    at = torch.stack([torch.full_like(state["known"], late), state["known"]], dim=-1).detach()
    at = at[:, 0].clone()
    nepers = (amount_db.detach() * (math.log(10) / 20)).flatten().tolist()
    for i, factor in enumerate(louder.detach().flatten().tolist()):
        x, waiting, less, carried, where = (t[i].numpy() for t in (out, past, removed, learnt, at))
        reduce_noise(x, waiting, less, carried, where, c, factor, nepers[i])
    after = dict(zip(LEARNT, learnt.unbind(1), strict=True))
    late = int(at[0, 0]) if len(at) else late
    return out, after | {
        "past": past, "removed": removed[..., : size - late], "known": at[:, 1:],
    }  # fmt: skip


def _by_tensors(
    x: Tensor, amount_db: Tensor, louder: Tensor, state: State, c: NoiseConstants
) -> tuple[Tensor, State]:
    """The next frame begins ``hop - late`` samples into ``past``."""
    size = state["past"].shape[-1]
    hop, late = size // OVERLAP, size - state["removed"].shape[-1]
    count = (late + x.shape[-1]) // hop
    x = torch.cat([state["past"], x], dim=-1)
    length = x.shape[-1] - size
    removed = torch.nn.functional.pad(state["removed"], (0, count * hop))
    after = dict(state)
    if count:
        window = _window(size, x.device)
        frames = x[..., hop - late :].unfold(-1, size, hop)[..., :count, :]
        spectrum = torch.fft.rfft(frames * window)
        power = (spectrum.real.square() + spectrum.imag.square()).mean(1)
        gain, learnt = _gains(power, amount_db, louder, state, c)
        after |= learnt
        less = torch.fft.irfft((1 - gain)[:, None] * spectrum, size) * (2 / OVERLAP * window)
        parts = less.unflatten(-1, (OVERLAP, hop))
        whole = sum(
            torch.nn.functional.pad(
                parts[..., j, :].flatten(-2), (j * hop, (OVERLAP - 1 - j) * hop)
            )
            for j in range(OVERLAP)
        )
        begin = hop - late
        removed = torch.cat([removed[..., :begin], removed[..., begin:] + whole], dim=-1)
    after |= {"past": x[..., length:], "removed": removed[..., length:]}
    return x[..., :length] - removed[..., :length], after


def _gains(
    power: Tensor, amount_db: Tensor, louder: Tensor, state: State, c: NoiseConstants
) -> tuple[Tensor, State]:
    """Gains [B, F, K] for the powers of frames, and what is carried on."""
    noise, speech, before, known = (state[n] for n in (*LEARNT, "known"))
    gains = []
    for now in power.unbind(1):
        probability = torch.sigmoid(c.steep * now / (noise + c.floor) - c.bias)
        speech = speech + (1 - c.keep_speech) * (probability - speech)
        limited = torch.where(speech > c.sure, probability.clamp(max=c.sure), probability)
        noise = noise + (1 - c.keep_noise) * (1 - limited * known) * (now - noise)
        inverse = 1 / (louder * noise + c.floor)
        fresh = (now * inverse - 1).clamp(min=0)
        ratio = c.keep_ratio * before * inverse + (1 - c.keep_ratio) * fresh
        ratio = ratio.clamp(min=c.least_ratio)
        share = ratio / (1 + ratio)
        before = share.square() * now
        gains.append(share + (1 - share) * 10 ** (-known.square() * amount_db / 20))
        known = 1 - (1 - known) * c.keep_start
    return torch.stack(gains, dim=1), {
        "noise": noise, "speech": speech, "before": before, "known": known,
    }  # fmt: skip
