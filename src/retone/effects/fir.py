"""FIR filters: a fixed one as an effect without parameters, and what all of them share.

``filtered`` convolves by overlap-save: the signal is cut into frames that overlap by the filter's
length less one, each frame is multiplied with the filter's spectrum, and the samples that wrapped
around are dropped. It runs in float64, so blocks equal the whole to rounding.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar, Self

import torch
from torch import Tensor

from retone.dsp.effect import Effect, Rendered, State
from retone.dsp.param import ParamTable, Setting
from retone.dsp.stages import Fixed, Stage

_LEAST_FRAME = 16384
_SPLIT = 128
_FREQUENCIES = 8192
_MOST_PRODUCTS = 1 << 21
"""Most complex numbers that a response holds at once (32 MB)."""


@dataclass(frozen=True)
class Fir(Effect):
    """Convolution with ``taps``, causal, made for one sample rate.

    Block-wise rendering equals rendering in one go to rounding: the convolution runs in float64
    by FFT over segments.
    """

    kind: ClassVar[str] = "fir"
    noun: ClassVar[str] = "fixed filter"
    tied_to_rate: ClassVar[bool] = True
    exact_blocks: ClassVar[bool] = False
    name: str
    taps: tuple[float, ...]

    @classmethod
    def examples(cls) -> tuple[Self, ...]:
        return ()  # no parameters, so the contract tests have nothing to vary

    @property
    def params(self) -> ParamTable:
        return ParamTable(())

    def _taps(self) -> Tensor:
        return torch.tensor([self.taps], dtype=torch.float64)

    def _render(
        self, audio: Tensor, sample_rate: float, setting: Setting, state: State | None, curves: bool
    ) -> Rendered:
        past = state["past"] if state else None
        y, past = filtered(audio, self._taps().to(audio.device), past)
        return Rendered(y.to(audio.dtype), {"past": past}, {})

    def response(
        self, frequency_hz: Tensor, sample_rate: float, setting: Mapping[str, Tensor]
    ) -> Tensor:
        return response_of(self._taps(), frequency_hz, sample_rate)

    def stages(self, setting: Mapping[str, Tensor], sample_rate: float) -> tuple[Stage, ...]:
        return (Fixed("", self.taps),)

    def _about_response(self) -> str:
        return f"A fixed filter of {len(self.taps)} taps."


def filtered(audio: Tensor, taps: Tensor, past: Tensor | None) -> tuple[Tensor, Tensor]:
    """Convolve audio [B, C, T] with taps [B or 1, K], causally.

    Args:
        audio: float32 or float64.
        taps: float64 impulse responses, one an item or one for all.
        past: [B, C, K - 1] float64, the samples before; None for silence.

    Returns:
        float64 audio [B, C, T], and ``past`` for the next block.
    """
    batch, channels, length = audio.shape
    keep = taps.shape[-1] - 1
    if past is None:
        past = torch.zeros(batch, channels, keep, dtype=torch.float64, device=audio.device)
    x = torch.cat([past, audio.double()], dim=-1)
    after = x[..., x.shape[-1] - keep :]
    if not audio.numel():
        return audio.double(), after
    size = 1 << (min(max(4 * keep, _LEAST_FRAME), length + keep) - 1).bit_length()
    step = size - keep

    def run(rows: Tensor, spectrum: Tensor) -> Tensor:
        parts = []
        for i in range(0, length, step):
            frame = torch.fft.rfft(rows[..., i : i + size], size) * spectrum
            parts.append(torch.fft.irfft(frame, size)[..., keep:])
        return torch.cat(parts, dim=-1)[..., :length]

    if audio.device.type != "cpu":
        return run(x, torch.fft.rfft(taps, size)[:, None]), after
    # One by one: a transform of several rows at once may round differently.
    items = []
    for own, item in zip(taps.expand(batch, -1), x, strict=True):
        spectrum = torch.fft.rfft(own, size)
        items.append(torch.stack([run(row, spectrum) for row in item]))
    return torch.stack(items), after


def delayed(audio: Tensor, samples: int, past: Tensor | None) -> Tensor:
    """Audio [B, C, T] as float64, later by ``samples``, of which ``past`` holds as many or more."""
    x = audio.double()
    if not samples:
        return x
    if past is None:
        past = x.new_zeros(*x.shape[:2], samples)
    x = torch.cat([past[..., past.shape[-1] - samples :], x], dim=-1)
    return x[..., : audio.shape[-1]]


def response_of(taps: Tensor, frequency_hz: Tensor, sample_rate: float) -> Tensor:
    """Complex response [B, F] of impulse responses [B, K] at frequencies [F].

    The lag is split into whole and remaining multiples of a block, ``n = 128 i + j``, which makes
    two small sets of complex exponentials of one large one.
    """
    w = (2 * torch.pi / sample_rate * frequency_hz.double()).to(taps.device)
    count = -(-taps.shape[-1] // _SPLIT)
    padded = torch.nn.functional.pad(taps, (0, count * _SPLIT - taps.shape[-1]))
    blocks = padded.reshape(taps.shape[0], count, _SPLIT).to(torch.complex128)
    one = torch.ones(1, dtype=torch.float64, device=taps.device)
    within = torch.arange(_SPLIT, dtype=torch.float64, device=taps.device)
    start = _SPLIT * torch.arange(count, dtype=torch.float64, device=taps.device)
    found = []
    for part in w.split(max(16, min(_FREQUENCIES, _MOST_PRODUCTS // max(1, count)))):
        inner = blocks @ torch.polar(one, -within[:, None] * part)  # [B, count, F]
        found.append((inner * torch.polar(one, -start[:, None] * part)).sum(1))
    return torch.cat(found, dim=-1) if found else blocks.new_zeros(taps.shape[0], 0)
