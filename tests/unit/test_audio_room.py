"""What inspect tells of hum, reverberation, phase and of a recording's past."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import soundfile as sf
import soxr
from scipy import signal

from retone.audio.inspect import inspect
from retone.audio.meters.room import CorrelationMeter, DecayMeter, HumMeter

RATE = 48000


def bursts(seconds: int = 8, decay_s: float = 0.2) -> np.ndarray:
    """Noise bursts that die away exponentially, [n]."""
    rng = np.random.default_rng(0)
    t = np.arange(RATE) / RATE
    envelope = np.where(t < 0.2, 1.0, 10.0 ** (-3.0 * (t - 0.2) / decay_s))
    return np.tile(envelope, seconds) * 0.2 * rng.standard_normal(seconds * RATE) + 1e-5


@pytest.mark.parametrize("mains", [50.0, 60.0])
@pytest.mark.parametrize("level_dbfs", [-40.0, -60.0])
def test_hum_is_found_under_sound(mains: float, level_dbfs: float) -> None:
    x = bursts()
    t = np.arange(len(x)) / RATE
    lines = sum(np.sin(2 * np.pi * k * mains * t + k) for k in (1, 2, 3, 4))
    hum = lines * 10 ** (level_dbfs / 20) / np.sqrt(np.mean(lines**2))
    meter = HumMeter(RATE)
    meter.update((x * 10 ** (level_dbfs / 40) * 0.02 + hum)[None])
    found = meter.result()
    assert found is not None and found[0] == mains
    assert found[1] == pytest.approx(level_dbfs, abs=1.5)


def test_music_and_noise_are_no_hum() -> None:
    rng = np.random.default_rng(1)
    meter = HumMeter(RATE)
    t = np.arange(12 * RATE) / RATE
    notes = sum(np.sin(2 * np.pi * f * t) * (t % 6 < 2) for f in (100.0, 150.0, 200.0, 250.0))
    meter.update(0.1 * notes[None] + 0.01 * rng.standard_normal(len(t))[None])
    assert meter.result() is None


@pytest.mark.parametrize("decay_s", [0.3, 0.6, 1.2])
def test_decay_follows_the_room(decay_s: float) -> None:
    meter = DecayMeter(RATE)
    meter.update(bursts(12, decay_s)[None])
    found = meter.result()
    assert found == pytest.approx(decay_s, rel=0.35)


def test_correlation_of_two_channels() -> None:
    rng = np.random.default_rng(0)
    a, b = rng.standard_normal((2, 48000))
    for pair, expected in (((a, a), 1.0), ((a, -a), -1.0), ((a, b), 0.0)):
        meter = CorrelationMeter(2)
        meter.update(np.stack(pair))
        assert meter.result() == pytest.approx(expected, abs=0.02)
    assert CorrelationMeter(1).result() is None


def test_a_recordings_past_is_told(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    x = 0.1 * rng.standard_normal(5 * 24000)
    sf.write(tmp_path / "up.wav", soxr.resample(x, 24000, RATE, quality="VHQ"), RATE)
    assert inspect(tmp_path / "up.wav").origin == "upsampled from about 24 kHz"
    wide = 0.1 * rng.standard_normal(5 * RATE)
    cut = signal.sosfiltfilt(signal.ellip(10, 0.1, 80, 16000, fs=RATE, output="sos"), wide)
    sf.write(tmp_path / "cut.wav", cut, RATE)
    assert "as by MP3" in str(inspect(tmp_path / "cut.wav").origin)
    sf.write(tmp_path / "wide.wav", wide, RATE)
    assert inspect(tmp_path / "wide.wav").origin is None
