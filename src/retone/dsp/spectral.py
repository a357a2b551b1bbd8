"""STFT, mel bands and spectral shape: one definition for losses, metrics and front ends.

Shapes: F frequencies, N frames. Frames are centred on multiples of the hop; at the edges the
signal is mirrored about its first and last sample, repeatedly if it is short.
"""

from __future__ import annotations

import math
from functools import lru_cache
from typing import Any

import torch
from torch import Tensor

from retone.audio.meters.k_weighting import k_weighting_response
from retone.dsp.no_double_backward import no_double_backward
from retone.errors import SettingError, ShapeError

MAGNITUDE_FLOOR = 1e-4  # of |X|; the square root of the power floor 1e-8
_MEL_BREAK_HZ = 1000.0  # linear below, logarithmic above
_MEL_PER_HZ = 3.0 / 200.0
_MEL_STEP = math.log(6.4) / 27.0


def mirror_pad(audio: Tensor, count: int) -> Tensor:
    """Continue a signal on both sides by mirroring it about its first and last sample.

    Args:
        audio: [..., T], T >= 1. A single sample is repeated.
        count: samples to add on each side, >= 0; may be larger than T.

    Returns:
        [..., T + 2 count].

    Raises:
        ShapeError: for an empty signal.
    """
    length = audio.shape[-1]
    if length == 0:
        raise ShapeError("mirror_pad: got an empty signal; give it at least one sample.")
    index = torch.arange(-count, length + count, device=audio.device)
    period = max(1, 2 * (length - 1))
    index = index.abs() % period
    return audio[..., torch.minimum(index, period - index) if length > 1 else index * 0]


def stft(audio: Tensor, fft_size: int, hop: int, window: int | None = None) -> Tensor:
    """Centred short-time Fourier transform with a periodic Hann window.

    Args:
        audio: [..., T], T >= 1.
        fft_size: samples per transform, even.
        hop: samples between frames, >= 1.
        window: samples of the window, centred in the transform; ``fft_size`` if None.

    Returns:
        Complex [..., F, N] with F = fft_size / 2 + 1 and N = 1 + T // hop. Equal to
        ``torch.stft(..., center=True)`` where that accepts the length.

    Raises:
        SettingError: if the sizes are inconsistent.
    """
    width = fft_size if window is None else window
    if fft_size < 2 or fft_size % 2 or hop < 1 or not 1 <= width <= fft_size:
        raise SettingError(
            f"stft: need an even fft_size >= 2, a hop >= 1 and a window of 1 to fft_size samples; "
            f"got fft_size {fft_size}, hop {hop}, window {width}."
        )
    shape = audio.shape[:-1]
    padded = mirror_pad(audio.reshape(-1, audio.shape[-1]), fft_size // 2)
    hann = torch.hann_window(width, dtype=audio.dtype, device=audio.device)
    spectrum = torch.stft(padded, fft_size, hop, width, hann, center=False, return_complex=True)
    return spectrum.reshape(*shape, *spectrum.shape[-2:])


def stft_magnitude(audio: Tensor, fft_size: int, hop: int, window: int | None = None) -> Tensor:
    """Floored STFT magnitude, ``sqrt(max(re^2 + im^2, 1e-8))``, whose gradient is 0 at the floor.

    Args and shapes: see ``stft``.
    """
    spectrum = stft(audio, fft_size, hop, window)
    power = spectrum.real.square() + spectrum.imag.square()
    return power.clamp_min(MAGNITUDE_FLOOR**2).sqrt()


def hz_to_mel(frequency_hz: Tensor) -> Tensor:
    """Hz to mel: 200/3 Hz per mel up to 1 kHz, then a factor of 6.4 in 27 mel (Slaney, 1998)."""
    high = (
        _MEL_BREAK_HZ * _MEL_PER_HZ
        + (frequency_hz.clamp_min(1e-9) / _MEL_BREAK_HZ).log() / _MEL_STEP
    )
    return torch.where(frequency_hz < _MEL_BREAK_HZ, frequency_hz * _MEL_PER_HZ, high)


def mel_to_hz(mel: Tensor) -> Tensor:
    """Inverse of ``hz_to_mel``."""
    corner = _MEL_BREAK_HZ * _MEL_PER_HZ
    high = _MEL_BREAK_HZ * ((mel - corner) * _MEL_STEP).exp()
    return torch.where(mel < corner, mel / _MEL_PER_HZ, high)


@lru_cache(maxsize=32)
def _mel_filterbank(
    bands: int, fft_size: int, sample_rate: float, low_hz: float, high_hz: float
) -> Tensor:
    limits = hz_to_mel(torch.tensor([low_hz, high_hz], dtype=torch.float64))
    steps = torch.linspace(0.0, 1.0, bands + 2, dtype=torch.float64)
    edges = mel_to_hz(limits[0] + (limits[1] - limits[0]) * steps)
    frequency = frequencies_hz(fft_size, sample_rate)
    rising = (frequency - edges[:-2, None]) / (edges[1:-1] - edges[:-2])[:, None]
    falling = (edges[2:, None] - frequency) / (edges[2:] - edges[1:-1])[:, None]
    area = 2.0 / (edges[2:] - edges[:-2])[:, None]
    return torch.minimum(rising, falling).clamp_min(0.0) * area


def mel_filterbank(
    bands: int,
    fft_size: int,
    sample_rate: float,
    low_hz: float = 0.0,
    high_hz: float | None = None,
) -> Tensor:
    """Triangles evenly spaced in mel, each with unit area in Hz (Slaney's normalisation).

    Args:
        bands: number of bands, >= 1. A band narrower than one bin may be empty.
        fft_size: samples per transform, even.
        sample_rate: in Hz.
        low_hz, high_hz: outer edges; ``high_hz`` is half the sample rate if None.

    Returns:
        [bands, F] in float64; multiply a magnitude or power [..., F, N] from the left.

    Raises:
        SettingError: if the edges are not 0 <= low < high <= sample_rate / 2.
    """
    top = sample_rate / 2 if high_hz is None else high_hz
    if bands < 1 or not 0 <= low_hz < top <= sample_rate / 2:
        raise SettingError(
            f"mel_filterbank: need at least one band and 0 <= low_hz < high_hz <= "
            f"{sample_rate / 2:g} Hz; got {bands} bands from {low_hz:g} to {top:g} Hz."
        )
    return _mel_filterbank(bands, fft_size, float(sample_rate), float(low_hz), float(top)).clone()


def frequencies_hz(fft_size: int, sample_rate: float) -> Tensor:
    """Frequencies [F] of an FFT's bins in Hz, float64."""
    return torch.arange(fft_size // 2 + 1, dtype=torch.float64) * (sample_rate / fft_size)


def centroid_hz(magnitude: Tensor, sample_rate: float) -> Tensor:
    """Magnitude-weighted mean frequency of each frame.

    Args:
        magnitude: [..., F, N], >= 0.
        sample_rate: in Hz.

    Returns:
        [..., N] in Hz; 0 for a frame that is all zero.
    """
    frequency = _column(magnitude, sample_rate)
    total = magnitude.sum(-2)
    return (magnitude * frequency).sum(-2) / total.clamp_min(torch.finfo(total.dtype).tiny)


def bandwidth_hz(magnitude: Tensor, sample_rate: float) -> Tensor:
    """Magnitude-weighted standard deviation about the centroid, of each frame.

    Args:
        magnitude: [..., F, N], >= 0.
        sample_rate: in Hz.

    Returns:
        [..., N] in Hz; 0 for a frame that is all zero.
    """
    distance = _column(magnitude, sample_rate) - centroid_hz(magnitude, sample_rate)[..., None, :]
    total = magnitude.sum(-2).clamp_min(torch.finfo(magnitude.dtype).tiny)
    return ((magnitude * distance.square()).sum(-2) / total).sqrt()


def flatness(magnitude: Tensor, power_floor: float = 1e-10) -> Tensor:
    """Geometric over arithmetic mean of the power of each frame (1 noise, 0 tone).

    Args:
        magnitude: [..., F, N], >= 0.
        power_floor: lower powers are raised to this, so silence gives 1.

    Returns:
        [..., N] in (0, 1].
    """
    power = magnitude.square().clamp_min(power_floor)
    return power.log().mean(-2).exp() / power.mean(-2)


def _column(magnitude: Tensor, sample_rate: float) -> Tensor:
    fft_size = 2 * (magnitude.shape[-2] - 1)
    return frequencies_hz(fft_size, sample_rate).to(magnitude)[:, None]


def k_weighting_gain(frequency_hz: Tensor) -> Tensor:
    """Magnitude of BS.1770's K weighting at each frequency, [F], a factor."""
    response = k_weighting_response(frequency_hz.double().cpu().numpy())
    return torch.from_numpy(response).to(frequency_hz)


def power_frames(audio: Tensor, window: Tensor, hop: int) -> Tensor:
    """Power |STFT|^2 of the frames of ``audio``, [B, T] -> [B, N, F], without padding.

    Same values as ``torch.stft``; the gradient costs one real inverse transform.

    Args:
        audio: [B, T], T >= the window's length W, which is even and a multiple of ``hop``.
        window: [W].
    """
    if audio.requires_grad and torch.is_grad_enabled():
        power: Tensor = _PowerFrames.apply(audio, window, hop)  # type: ignore[no-untyped-call]
        return power
    size = window.numel()
    spectrum = torch.stft(audio, size, hop, window=window, center=False, return_complex=True)
    re, im = spectrum.real, spectrum.imag
    return (re * re + im * im).transpose(1, 2)


class _PowerFrames(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, audio: Tensor, window: Tensor, hop: int) -> Tensor:
        frames = audio.unfold(-1, window.numel(), hop) * window
        spectrum = torch.fft.rfft(frames)
        ctx.save_for_backward(audio, spectrum, window)
        ctx.hop, ctx.length = hop, audio.shape[-1]
        parts = torch.view_as_real(spectrum)
        return torch.einsum("bnfc,bnfc->bnf", parts, parts)

    @staticmethod
    @no_double_backward
    def backward(ctx: Any, slope: Tensor) -> tuple[Tensor, None, None]:  # type: ignore[override]
        _, spectrum, window = ctx.saved_tensors
        size, hop = window.numel(), ctx.hop
        scaled = spectrum * slope
        scaled[..., 0] *= 2
        scaled[..., -1] *= 2
        frames = torch.fft.irfft(scaled, size) * (window * size)
        batch, count, _ = frames.shape
        out = slope.new_zeros(batch, ctx.length)
        blocks = out[:, : (count - 1 + size // hop) * hop].view(batch, -1, hop)
        for part in range(size // hop):
            blocks[:, part : part + count] += frames[..., part * hop : (part + 1) * hop]
        return out, None, None
