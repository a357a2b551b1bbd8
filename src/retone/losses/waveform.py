"""Waveform losses: multi-resolution STFT, L1, and weighted sums.

Every loss is a frozen dataclass called as ``loss(estimate, target, sample_rate)`` with waveforms
[B, C, T]. It returns the mean over the batch; ``per_item`` returns one number per item [B].
``prepare(target)`` computes what depends on the target alone, for targets that are used repeatedly.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Protocol, runtime_checkable

import numpy as np
import torch
from scipy.fft import next_fast_len
from torch import Tensor

from retone.dsp.measure import k_weight
from retone.dsp.spectral import stft_magnitude
from retone.errors import SettingError, ShapeError, expect
from retone.kernels.stft_distance import Resolution, Terms, stft_distance, target_powers


@dataclass(frozen=True)
class PreparedTarget:
    """A target [B, C, T] and its power spectrograms for losses."""

    audio: Tensor
    powers: dict[tuple[Resolution, ...], list[Any]] = field(default_factory=dict, repr=False)


@runtime_checkable
class Loss(Protocol):
    """The interface of a training loss."""

    def __call__(
        self, estimate: Tensor, target: Tensor | PreparedTarget, sample_rate: float
    ) -> Tensor:
        """Mean over the batch, a scalar."""

    def per_item(
        self, estimate: Tensor, target: Tensor | PreparedTarget, sample_rate: float
    ) -> Tensor:
        """One number per item, [B]."""

    def prepare(self, target: Tensor) -> PreparedTarget:
        """What depends on the target alone, computed once."""


class PerItem:
    """What losses share that are defined by ``per_item``."""

    def per_item(
        self, estimate: Tensor, target: Tensor | PreparedTarget, sample_rate: float
    ) -> Tensor:
        """One number per item, [B]."""
        raise NotImplementedError

    def __call__(
        self, estimate: Tensor, target: Tensor | PreparedTarget, sample_rate: float
    ) -> Tensor:
        """Mean over the batch, a scalar. See ``per_item``."""
        return self.per_item(estimate, target, sample_rate).mean()

    def prepare(self, target: Tensor) -> PreparedTarget:
        """The target as it is, unless a loss computes something of it beforehand."""
        return PreparedTarget(target)


def _pair(estimate: Tensor, target: Tensor | PreparedTarget, where: str) -> tuple[Tensor, Tensor]:
    audio = target.audio if isinstance(target, PreparedTarget) else target
    sizes = expect(estimate, "B C T", where)
    expect(audio, "B C T", f"{where}: target", **sizes)
    if 0 in sizes.values():
        raise ShapeError(f"{where}: got an empty batch {list(estimate.shape)}.")
    return estimate, audio


@dataclass(frozen=True)
class MultiResolutionSTFT(PerItem):
    """Mean over several STFTs of the distance between magnitudes.

    Per resolution, with M the estimate's and M' the target's magnitude, floored at 1e-4::

        log_weight * mean|ln M - ln M'| + linear_weight * mean|M - M'|
            + convergence_weight * ||M - M'|| / ||M'||

    The defaults are DeepAFx-ST's loss. The norms of the last term (spectral convergence) run
    over the frames of one channel, so an item's loss does not depend on its batch.

    Float32 on the CPU takes a fused path without a graph whose gradient is computed in the
    forward pass; it can be differentiated once. Everything else takes plain autograd, as does a
    target that needs a gradient.

    Args:
        windows: window lengths in samples.
        hops: samples between frames; half of each window if empty.
        fft_sizes: even transform sizes, >= window; the windows if empty.
        log_weight, linear_weight, convergence_weight: weights of the terms, >= 0.

    References:
        C. J. Steinmetz, N. J. Bryan, J. D. Reiss, "Style transfer of audio effects with
        differentiable signal processing", JAES 70(9), 2022.
        R. Yamamoto, E. Song, J.-M. Kim, "Parallel WaveGAN", 2020.
    """

    windows: tuple[int, ...] = (32, 128, 512, 2048, 8192, 32768)
    hops: tuple[int, ...] = ()
    fft_sizes: tuple[int, ...] = ()
    log_weight: float = 1.0
    linear_weight: float = 1.0
    convergence_weight: float = 0.0

    def __post_init__(self) -> None:
        count = len(self.windows)
        if not count or len(self.hops) not in (0, count) or len(self.fft_sizes) not in (0, count):
            raise SettingError(
                f"MultiResolutionSTFT: windows, hops and fft_sizes must be of one length >= 1 "
                f"(or the last two empty); got {count}, {len(self.hops)}, {len(self.fft_sizes)}."
            )
        for r in self.plan:
            if r.hop < 1 or r.fft_size % 2 or not 1 <= r.window <= r.fft_size:
                raise SettingError(
                    f"MultiResolutionSTFT: need a hop >= 1 and an even fft_size >= window >= 1; "
                    f"got fft_size {r.fft_size}, hop {r.hop}, window {r.window}."
                )
        if min(self.log_weight, self.linear_weight, self.convergence_weight) < 0:
            raise SettingError("MultiResolutionSTFT: weights must be >= 0.")

    @property
    def plan(self) -> tuple[Resolution, ...]:
        """The resolutions."""
        hops = self.hops or tuple(max(1, w // 2) for w in self.windows)
        sizes = self.fft_sizes or self.windows
        return tuple(
            Resolution(size, hop, window)
            for size, hop, window in zip(sizes, hops, self.windows, strict=True)
        )

    @property
    def terms(self) -> Terms:
        """The weights."""
        return Terms(self.log_weight, self.linear_weight, self.convergence_weight)

    def per_item(
        self, estimate: Tensor, target: Tensor | PreparedTarget, sample_rate: float
    ) -> Tensor:
        """Distance of each item, mean over its channels.

        Args:
            estimate: [B, C, T], T >= 1.
            target: [B, C, T] or what ``prepare`` made of it.
            sample_rate: in Hz; the sizes are in samples, so it is not used.

        Returns:
            [B].

        Raises:
            ShapeError: if the shapes differ or are empty.
        """
        estimate, audio = _pair(estimate, target, "MultiResolutionSTFT")
        batch, channels, length = estimate.shape
        rows = estimate.reshape(batch * channels, length)
        if _fusable(estimate, audio) and not audio.requires_grad:
            known = target.powers.get(self.plan) if isinstance(target, PreparedTarget) else None
            goal = audio.reshape(batch * channels, length) if known is None else known
            distance: Tensor = _Fused.apply(rows, goal, self.plan, self.terms)  # type: ignore[no-untyped-call]
        else:
            distance = self._plain(rows, audio.reshape(batch * channels, length))
        return distance.reshape(batch, channels).mean(1)

    def prepare(self, target: Tensor) -> PreparedTarget:
        """The target's power spectrograms, about four bytes per sample and resolution."""
        sizes = expect(target, "B C T", "MultiResolutionSTFT: target")
        batch, channels, length = sizes.values()
        powers = {}
        if _fusable(target) and not target.requires_grad:
            rows = target.reshape(batch * channels, length).contiguous()
            powers[self.plan] = target_powers(rows.numpy(), self.plan)
        return PreparedTarget(target, powers)

    def _plain(self, estimate: Tensor, target: Tensor) -> Tensor:
        """The definition, in autograd."""
        total = estimate.new_zeros(estimate.shape[0])
        for r in self.plan:
            m = stft_magnitude(estimate, r.fft_size, r.hop, r.window)
            goal = stft_magnitude(target, r.fft_size, r.hop, r.window)
            if self.log_weight:
                total = total + self.log_weight * (m.log() - goal.log()).abs().mean((1, 2))
            if self.linear_weight:
                total = total + self.linear_weight * (m - goal).abs().mean((1, 2))
            if self.convergence_weight:
                norm = torch.linalg.vector_norm
                ratio = norm(m - goal, dim=(1, 2)) / norm(goal, dim=(1, 2))
                total = total + self.convergence_weight * ratio
        return total / len(self.plan)


def auraloss_default() -> MultiResolutionSTFT:
    """The three short resolutions with spectral convergence and log magnitude (auraloss's default).

    Diff-DEQ cites auraloss without settings, so its recipes use these.
    """
    return MultiResolutionSTFT(
        windows=(600, 1200, 240),
        hops=(120, 240, 50),
        fft_sizes=(1024, 2048, 512),
        log_weight=1.0,
        linear_weight=0.0,
        convergence_weight=1.0,
    )


@dataclass(frozen=True)
class L1(PerItem):
    """Mean absolute difference of the samples."""

    def per_item(
        self, estimate: Tensor, target: Tensor | PreparedTarget, sample_rate: float
    ) -> Tensor:
        """Mean over channels and samples of each item, [B]."""
        estimate, audio = _pair(estimate, target, "L1")
        return (estimate - audio).abs().mean((1, 2))


@dataclass(frozen=True)
class WeightedSum(PerItem):
    """Sum of losses, each times its weight.

    Args:
        losses: the losses, at least one.
        weights: one per loss.
    """

    losses: tuple[Loss, ...]
    weights: tuple[float, ...]

    def __post_init__(self) -> None:
        if not self.losses or len(self.losses) != len(self.weights):
            raise SettingError(
                f"WeightedSum: need one weight per loss and at least one loss; "
                f"got {len(self.losses)} losses and {len(self.weights)} weights."
            )

    def per_item(
        self, estimate: Tensor, target: Tensor | PreparedTarget, sample_rate: float
    ) -> Tensor:
        """Weighted sum of each item, [B]."""
        total = estimate.new_zeros(estimate.shape[0])
        for loss, weight in zip(self.losses, self.weights, strict=True):
            total = total + weight * loss.per_item(estimate, target, sample_rate)
        return total

    def prepare(self, target: Tensor) -> PreparedTarget:
        """Prepare the target for all losses."""
        prepared = PreparedTarget(target)
        for loss in self.losses:
            prepared.powers.update(loss.prepare(target).powers)
        return prepared


@dataclass(frozen=True)
class AtEqualLoudness(PerItem):
    """A loss after the estimate is matched to the target's K-weighted level, with a noise floor.

    The level cannot be predicted from one signal, so it should not count. The same white noise is
    added to both signals: otherwise a digitally silent pause of the target would count like speech.

    Args:
        loss: the loss to compute after matching the level.
        floor_dbfs: RMS of the noise, dB of full scale.
    """

    loss: Loss
    floor_dbfs: float = -75.0

    def per_item(
        self, estimate: Tensor, target: Tensor | PreparedTarget, sample_rate: float
    ) -> Tensor:
        """The loss of each item at the target's level, [B]."""
        estimate, audio = _pair(estimate, target, "AtEqualLoudness")
        own, goal = (_k_power(x, sample_rate) for x in (estimate, audio))
        gain = ((goal + LEVEL_FLOOR) / (own + LEVEL_FLOOR)).sqrt()
        floor = self._floor(audio)
        return self.loss.per_item(estimate * gain + floor, audio + floor, sample_rate)

    def _floor(self, like: Tensor) -> Tensor:
        generator = torch.Generator().manual_seed(0)
        noise = torch.randn(like.shape[-1], generator=generator) * 10 ** (self.floor_dbfs / 20)
        return noise.to(like)


LEVEL_FLOOR = 1e-8


def _k_power(audio: Tensor, sample_rate: float) -> Tensor:
    """K-weighted mean square over channels and time, ungated, [B, 1, 1]."""
    length = audio.shape[-1]
    size = next_fast_len(length, real=True)
    spectrum = torch.fft.rfft(audio, size)
    weight = k_weight(np.fft.rfftfreq(size, 1.0 / sample_rate).astype(np.float64))
    power = spectrum.real.square() + spectrum.imag.square()
    k = torch.from_numpy(weight).to(power)
    return 2.0 / (size * length) * (power * k).sum(-1, keepdim=True).mean(1, keepdim=True)


def _fusable(*audio: Tensor) -> bool:
    return all(a.device.type == "cpu" and a.dtype == torch.float32 for a in audio)


class _Fused(torch.autograd.Function):
    """Distances per row; the gradient is computed in the forward pass."""

    @staticmethod
    def forward(  # type: ignore[override]
        ctx: Any,
        estimate: Tensor,
        target: Tensor | list[Any],
        plan: tuple[Resolution, ...],
        terms: Terms,
    ) -> Tensor:
        goal = target if isinstance(target, list) else target.detach().contiguous().numpy()
        distances, slopes = stft_distance(
            estimate.detach().contiguous().numpy(), goal, plan, terms, ctx.needs_input_grad[0]
        )
        ctx.slopes = None if slopes is None else torch.from_numpy(slopes)
        return torch.from_numpy(distances).float()

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, slope: Tensor) -> tuple[Tensor | None, None, None, None]:  # type: ignore[override]
        if ctx.slopes is None:
            return None, None, None, None
        return ctx.slopes * slope[:, None], None, None, None
