"""Audio in memory."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from retone.errors import AudioError, ShapeError

LOUDEST = 1e10
"""Largest sample that is taken for sound, 200 dB above full scale: powers and sums of such samples
are far from the largest number of 32 bits."""


def is_sound(samples: np.ndarray) -> bool:
    """Whether every sample is a number between -``LOUDEST`` and ``LOUDEST``."""
    return not samples.size or bool(samples.max() <= LOUDEST and samples.min() >= -LOUDEST)


def not_sound(samples: np.ndarray) -> str:
    """What is wrong with samples that are not sound, as the end of a sentence."""
    return "NaN or infinite" if not np.isfinite(samples).all() else f"beyond {LOUDEST:g}"


@dataclass(frozen=True, eq=False)
class Clip:
    """Audio in memory.

    Args:
        samples: [channels, time], float32 or float64, full scale is 1.
        sample_rate: in Hz.

    Raises:
        ShapeError: the samples are not a two-dimensional float array.
        AudioError: the sample rate is not positive.
    """

    samples: np.ndarray
    sample_rate: int

    def __post_init__(self) -> None:
        x = self.samples
        if not isinstance(x, np.ndarray) or x.ndim != 2 or x.shape[0] < 1:
            shape = list(getattr(x, "shape", [])) or type(x).__name__
            raise ShapeError(
                f"Clip: expected [channels, time], got {shape}. A mono array needs samples[None]."
            )
        if x.dtype not in (np.float32, np.float64):
            raise ShapeError(
                f"Clip: expected float32 or float64 samples, got {x.dtype}. "
                "Divide integer samples by their full scale."
            )
        if self.sample_rate <= 0:
            raise AudioError(f"Clip: the sample rate is {self.sample_rate}; expected Hz above 0.")

    @property
    def channels(self) -> int:
        """Number of channels."""
        return int(self.samples.shape[0])

    @property
    def frames(self) -> int:
        """Number of samples in each channel."""
        return int(self.samples.shape[1])

    @property
    def duration_s(self) -> float:
        """Length in seconds."""
        return self.frames / self.sample_rate

    @property
    def peak(self) -> float:
        """Largest absolute sample; 0 when there is none."""
        x = self.samples
        return float(max(x.max(), -x.min())) if x.size else 0.0

    def mono(self) -> Clip:
        """The mean of the channels, as one channel."""
        if self.channels == 1:
            return self
        return Clip(self.samples.mean(axis=0, keepdims=True), self.sample_rate)

    def resample(self, sample_rate: int) -> Clip:
        """Resample (soxr, high quality, linear phase).

        Args:
            sample_rate: the new rate in Hz.
        """
        if sample_rate == self.sample_rate:
            return self
        if sample_rate <= 0:
            raise AudioError(f"Clip: cannot resample to {sample_rate} Hz; expected a rate above 0.")
        from retone.audio.resampling import resampled

        out = resampled(self.samples.T, self.sample_rate, sample_rate)
        return Clip(np.ascontiguousarray(out.T), sample_rate)

    def slice(self, start_s: float, stop_s: float | None = None) -> Clip:
        """The part from ``start_s`` up to ``stop_s`` seconds (a view, limited to the clip).

        Args:
            start_s: first second, 0 or more.
            stop_s: last second, not included; None for the end.
        """
        if start_s < 0 or (stop_s is not None and stop_s < start_s):
            raise AudioError(
                f"Clip: cannot cut from {start_s} s to {stop_s} s; expected 0 <= start <= stop."
            )
        first = min(round(start_s * self.sample_rate), self.frames)
        last = self.frames if stop_s is None else round(stop_s * self.sample_rate)
        return Clip(self.samples[:, first:last], self.sample_rate)
