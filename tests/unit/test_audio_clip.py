"""Clips: cutting, folding, resampling."""

from __future__ import annotations

import numpy as np
import pytest

from retone.audio.clip import Clip
from retone.errors import AudioError, ShapeError

RATE = 44100


def test_clip() -> None:
    x = np.random.default_rng(1).uniform(-0.9, 0.9, (2, RATE)).astype(np.float32)
    clip = Clip(x, RATE)
    assert (clip.channels, clip.frames, clip.duration_s) == (2, RATE, 1.0)
    assert clip.peak == np.abs(x).max()
    np.testing.assert_allclose(clip.mono().samples[0], (x[0] + x[1]) / 2, atol=1e-7)
    part = clip.slice(0.25, 0.5)
    np.testing.assert_array_equal(part.samples, x[:, 11025:22050])
    assert clip.slice(0.9, 5.0).frames == RATE - round(0.9 * RATE)
    with pytest.raises(AudioError):
        clip.slice(0.5, 0.2)
    with pytest.raises(ShapeError, match="samples"):
        Clip(x[0], RATE)
    with pytest.raises(ShapeError, match="int16"):
        Clip(np.zeros((1, 4), np.int16), RATE)


@pytest.mark.parametrize("rate", [8000, 48000, 96000])
def test_resampling_keeps_a_tone_in_place(rate: int) -> None:
    def tone(r: int) -> np.ndarray:
        return 0.5 * np.sin(2 * np.pi * 1000 * np.arange(r) / r)

    got = Clip(tone(RATE)[None].astype(np.float32), RATE).resample(rate)
    assert (got.sample_rate, got.frames, got.samples.dtype) == (rate, rate, np.float32)
    middle = slice(rate // 4, rate // 2)
    np.testing.assert_allclose(got.samples[0, middle], tone(rate)[middle], atol=1e-4)
