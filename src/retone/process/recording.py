"""Recordings in files and in memory: check and open them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from retone.audio.array_reader import ArrayReader
from retone.audio.clip import Clip, is_sound, not_sound
from retone.audio.reader import MAX_CHANNELS, MAX_RATE, MIN_RATE, AudioReader, open_reader
from retone.errors import ArgumentError, AudioError, is_number

DECODED_ONCE = 1 << 23
"""Recordings of at most this many samples, all channels together, are decoded once (32 MB)."""

Recording = Path | Clip
"""A recording in a file or in memory."""


def open_recording(recording: Recording, name: str = "input") -> AudioReader:
    """Open a recording for reading in blocks.

    Args:
        recording: a file's path, or audio in memory.
        name: name of audio in memory, for messages and settings files.

    Raises:
        AudioError: the file cannot be used.
    """
    if isinstance(recording, Clip):
        return ArrayReader(recording.samples, recording.sample_rate, name)
    return open_reader(recording, DECODED_ONCE)


def recording_of(audio: Any, sample_rate: int | None, who: str, name: str) -> Path | Clip:
    """A path, or a clip of an array or tensor.

    Raises:
        ArgumentError: neither, or an array without a sample rate, or a path with one.
    """
    if isinstance(audio, (str, Path)):
        if sample_rate is not None:
            raise ArgumentError(
                f"{who}: sample_rate is for arrays; a file has its own. Leave it out."
            )
        return Path(audio)
    if isinstance(audio, Clip):
        return audio
    if hasattr(audio, "detach"):  # a torch tensor
        audio = audio.detach().cpu().numpy()
    if not isinstance(audio, np.ndarray):
        raise ArgumentError(
            f"{who}: {name} is of type {type(audio).__name__}; expected a path, or a NumPy array "
            "or torch tensor of samples, [T] or [C, T]."
        )
    if sample_rate is None:
        raise ArgumentError(f"{who}: {name} is an array; give its sample_rate in Hz.")
    if not is_number(sample_rate) or sample_rate % 1 != 0:
        raise ArgumentError(f"{who}: sample_rate = {sample_rate!r}; expected a whole number of Hz.")
    if audio.dtype not in (np.float32, np.float64):
        raise ArgumentError(
            f"{who}: {name} holds {audio.dtype} samples; expected float32 or float64 with full "
            "scale 1. Divide integers by their full scale."
        )
    if audio.ndim not in (1, 2):
        raise ArgumentError(f"{who}: {name} has shape {list(audio.shape)}; expected [T] or [C, T].")
    samples = audio[None] if audio.ndim == 1 else audio
    _check_samples(samples, int(sample_rate), who, name)
    return Clip(samples, int(sample_rate))


def _check_samples(samples: np.ndarray, sample_rate: int, who: str, name: str) -> None:
    """Refuse the same rates, channel counts and samples as for files."""
    channels, frames = samples.shape
    if not MIN_RATE <= sample_rate <= MAX_RATE:
        raise AudioError(
            f"{who}: sample_rate = {sample_rate}; expected {MIN_RATE} to {MAX_RATE} Hz."
        )
    if not channels or not frames:
        raise AudioError(f"{who}: {name} has no samples.")
    if channels > MAX_CHANNELS:
        hint = " Transpose it: expected [C, T]." if channels > frames else ""
        raise AudioError(
            f"{who}: {name} has {channels} channels; expected at most {MAX_CHANNELS}.{hint}"
        )
    if not is_sound(samples):
        raise AudioError(
            f"{who}: {name} holds samples that are {not_sound(samples)}; expected finite numbers, "
            "full scale is 1."
        )
