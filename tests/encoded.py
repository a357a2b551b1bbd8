"""Encoded recordings for tests: made by the ``ffmpeg`` program, or by its libraries without it."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest
import soundfile as sf

RATE = 48000

needs_ffmpeg = pytest.mark.skipif(
    shutil.which("ffmpeg") is None, reason="the ffmpeg program is not installed"
)


def tone(frames: int = 3 * RATE + 17, channels: int = 2, seed: int = 1) -> np.ndarray:
    """Two tones and a little noise, [channels, frames], rounded to 16 bits."""
    t = np.arange(frames) / RATE
    rng = np.random.default_rng(seed)
    x = [
        0.3 * np.sin(2 * np.pi * (311 + 57 * c) * t) + 0.02 * rng.standard_normal(frames)
        for c in range(channels)
    ]
    return np.rint(np.array(x) * 32768) / 32768


def save(path: Path, x: np.ndarray, rate: int = RATE, **kw: object) -> Path:
    """Write [channels, frames] with libsndfile."""
    sf.write(path, x.T, rate, **kw)
    return path


def ffmpeg(*arguments: object) -> bytes:
    """Run ``ffmpeg`` quietly; its standard output."""
    done = subprocess.run(
        ["ffmpeg", "-y", "-v", "error", *map(str, arguments)], capture_output=True, check=False
    )
    assert done.returncode == 0, done.stderr.decode()
    return done.stdout


def decoded(path: Path, channels: int) -> np.ndarray:
    """A file's first sound as ffmpeg decodes it, [channels, frames] in float32."""
    raw = ffmpeg("-i", path, "-map", "0:a:0", "-f", "f32le", "-")
    return np.frombuffer(raw, "<f4").reshape(-1, channels).T


def lag_of(x: np.ndarray, y: np.ndarray) -> int:
    """Frames by which y comes after x, by cross-correlation of the first channels."""
    n = 1 << (len(x[0]) + len(y[0])).bit_length()
    product = np.conj(np.fft.rfft(x[0], n)) * np.fft.rfft(y[0], n)
    at = int(np.fft.irfft(product, n).argmax())
    return at if at < n // 2 else at - n
