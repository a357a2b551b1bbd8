"""Samples at another sample rate, and what happens where memory is short."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import soundfile as sf

from retone.audio import Clip, resampling
from retone.audio.encoders.ogg_opus import ogg_opus
from retone.audio.reader import open_reader
from retone.audio.resampled import ResampledReader
from retone.audio.resampling import resampled
from retone.training.data.degradations import play_at_speed
from retone.training.data.processing import pitch


@pytest.mark.parametrize("channels", [(), (1,), (2,)])
def test_length_channels_and_level_stay(channels: tuple[int, ...]) -> None:
    t = np.arange(4800) / 48000
    tone = np.sin(2 * np.pi * 440 * t).reshape(-1, *[1] * len(channels)) * np.ones(channels)
    half = resampled(tone, 48000, 24000)
    assert half.shape == (2400, *channels)
    assert np.abs(half - tone[::2])[200:-200].max() < 1e-4


def test_too_little_memory_is_said_and_does_not_crash(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(resampling, "_LEAST_FREE_BYTES", 1 << 60)
    sound = np.zeros((1, 16000), np.float32)
    for convert in (
        lambda: resampled(sound.T, 16000, 48000),
        lambda: Clip(sound, 16000).resample(48000),
        lambda: ogg_opus(sound, 16000, 64000),
        lambda: pitch(sound[0], 16000, 50.0),
        lambda: play_at_speed(sound[0], 1.1, 100),
    ):
        with pytest.raises(MemoryError):
            convert()


def test_too_little_memory_for_a_recording_at_another_rate(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sf.write(tmp_path / "a.wav", np.zeros(16000, np.float32), 16000)
    with open_reader(tmp_path / "a.wav") as one, open_reader(tmp_path / "a.wav") as two:
        before = ResampledReader(one, 48000)
        monkeypatch.setattr(resampling, "_LEAST_FREE_BYTES", 1 << 60)
        with pytest.raises(MemoryError):
            before.read(100)
        with pytest.raises(MemoryError):
            ResampledReader(two, 48000)
