"""Fixtures every test may use: back ends, deterministic audio, and the folder of recordings."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import settings
from torch import Tensor

from marks import marks_of
from retone.dsp import scan

if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:  # started in the background by a shell
    signal.signal(signal.SIGINT, signal.default_int_handler)
torch.set_num_threads(1)  # the tensors here are small, and tests may run side by side
settings.register_profile("retone", deadline=None, derandomize=True)  # the same on every machine
settings.load_profile("retone")
REPOSITORY = Path(__file__).resolve().parents[1]
MakeAudio = Callable[..., Tensor]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark what is slow or needs a GPU or a browser; ``marks.py`` has the list."""
    for item in items:
        for name in marks_of(item.nodeid):
            item.add_marker(name)


@pytest.fixture(scope="session")
def repository() -> Path:
    """The repository's root."""
    return REPOSITORY


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder of real recordings; RETONE_SHARED names it, or it lies beside the repository."""
    folder = Path(os.environ.get("RETONE_SHARED", REPOSITORY.parent / "shared"))
    if not (folder / "audio" / "manifest.csv").is_file():
        pytest.skip("no folder of recordings: set RETONE_SHARED to one with audio/manifest.csv")
    return folder


@dataclass(frozen=True)
class Backend:
    """Where and how the recursions run; ``exact`` means blocks equal the whole bit for bit."""

    name: str
    device: str
    exact: bool


def _backend(name: str) -> Iterator[Backend]:
    if name == "compiled":
        yield Backend(name, "cpu", exact=True)
    elif name == "scan":
        with scan.forced():
            yield Backend(name, "cpu", exact=False)
    else:
        if not torch.cuda.is_available():
            pytest.skip("no CUDA device on this machine")
        yield Backend(name, "cuda", exact=False)


@pytest.fixture(params=["compiled", "scan", "cuda"])
def backend(request: pytest.FixtureRequest) -> Iterator[Backend]:
    """The compiled loops, the parallel formulation on the CPU, and the same on a GPU."""
    yield from _backend(request.param)


def speech_like(
    length: int,
    sample_rate: float,
    *,
    batch: int = 1,
    channels: int = 1,
    dtype: torch.dtype = torch.float64,
    seed: int = 0,
) -> Tensor:
    """Voiced and noisy bursts with pauses, [B, C, T], every item and channel different.

    Harmonics of a gliding pitch, fading at 6 dB per octave, in syllables of four a second, over
    broadband breath noise; the peak of each item is 0.8 and pauses reach about -70 dB.
    """
    rng = np.random.default_rng([seed, length, batch, channels])
    t = np.arange(length) / sample_rate
    x = np.empty((batch, channels, length))
    for b in range(batch):
        pitch = rng.uniform(90, 220) * (1 + 0.1 * np.sin(2 * np.pi * 1.3 * t + rng.uniform(0, 6)))
        phase = 2 * np.pi * np.cumsum(pitch) / sample_rate
        count = max(1, int(0.4 * sample_rate / 250))
        voice = sum(np.sin(k * phase + rng.uniform(0, 6)) / k for k in range(1, min(count, 40) + 1))
        syllable = 0.5 + 0.5 * np.sin(2 * np.pi * 4 * t + rng.uniform(0, 6))
        envelope = 10 ** (-3.5 * (1 - syllable) ** 2)
        for c in range(channels):
            noise = rng.standard_normal(length)
            x[b, c] = envelope * (rng.uniform(0.6, 1) * voice + 0.3 * noise)
        x[b] *= 0.8 / max(np.abs(x[b]).max(initial=0), 1e-9)
    return torch.from_numpy(x).to(dtype)


@pytest.fixture(scope="session")
def make_audio() -> MakeAudio:
    """``make_audio(length, sample_rate, batch=, channels=, dtype=, seed=)``, as ``speech_like``."""
    return speech_like
