"""The damaging effects against the program SoX, and against what they must do."""

from __future__ import annotations

import shutil
import subprocess

import numpy as np
import pytest

from retone.errors import SettingError
from retone.kernels import sox_effects as corrupt
from retone.kernels.sox_effects import Band, CompandSetting
from retone.training.data.processing import pitch

RATE = 24000
needs_sox = pytest.mark.skipif(shutil.which("sox") is None, reason="the program sox is not here")


def sox(audio: np.ndarray, *effects: str) -> np.ndarray:
    form = ["-t", "f64", "-r", str(RATE), "-c", "1", "-"]
    done = subprocess.run(
        ["sox", "-D", *form, *form[:2], "-", *effects],
        input=audio.astype("<f8").tobytes(),
        capture_output=True,
        check=True,
    )
    return np.frombuffer(done.stdout, "<f8")


def error_db(got: np.ndarray, wanted: np.ndarray) -> float:
    return 10 * np.log10(np.sum((got - wanted) ** 2) / np.sum(wanted**2) + 1e-30)


def speechlike(seed: int = 0, seconds: float = 2.0) -> np.ndarray:
    """Noise bursts of many levels with pauses: what a level detector has to follow."""
    rng = np.random.default_rng(seed)
    total = int(seconds * RATE)
    level = np.repeat(rng.uniform(-70, -6, total // 1200 + 1), 1200)[:total]
    return 0.2 * 10 ** (level / 20) * rng.standard_normal(total)


@needs_sox
@pytest.mark.parametrize(
    ("band", "effect"),
    [
        (Band("peak", 1234.0, -17.0, 4.2), ("equalizer", "1234", "4.2q", "-17")),
        (Band("peak", 9000.0, 20.0, 0.3), ("equalizer", "9000", "0.3q", "20")),
        (Band("bass", 90.0, 21.0), ("bass", "21", "90")),
        (Band("treble", 6000.0, -19.0), ("treble", "-19", "6000")),
    ],
)
def test_bands_equal_sox(band: Band, effect: tuple[str, ...]) -> None:
    audio = 0.02 * speechlike()
    assert error_db(corrupt.equalize(audio, RATE, [band]), sox(audio, *effect)) < -90


def as_sox(setting: CompandSetting) -> tuple[str, ...]:
    points = ",".join(f"{value!r}" for point in setting.points for value in point)
    return (
        "compand",
        f"{setting.attack_s!r},{setting.decay_s!r}",
        f"{setting.knee_db!r}:{points}",
        f"{setting.gain_db!r}",
        f"{setting.initial_db!r}",
        f"{setting.delay_s!r}",
    )


@needs_sox
@pytest.mark.parametrize(
    "setting",
    [
        CompandSetting(0.01, 0.15, ((-100.0, -100.0), (-40.0, -40.0), (0.0, -30.0)), 6.0, 3.0),
        CompandSetting(0.02, 0.2, ((-100.0, -100.0), (-12.0, -12.0), (0.0, -6.0)), 12.0, 0.0, 0.02),
        CompandSetting(0.0007, 0.05, ((-100.0, -100.0), (-60.0, -60.0), (0.0, -50.0)), 0.3, 6.0),
        CompandSetting(0.005, 0.1, ((-44.0, -100.0), (-30.0, -30.0), (0.0, 0.0)), 12.0, 4.0),
        CompandSetting(0.03, 0.03, ((-82.5, -100.0), (-10.0, -10.0), (0.0, 0.0)), 0.001, 0.0),
    ],
)
def test_compand_equals_sox(setting: CompandSetting) -> None:
    audio = 0.3 * speechlike(3)
    assert error_db(corrupt.compand(audio, RATE, setting), sox(audio, *as_sox(setting))) < -80


@needs_sox
@pytest.mark.parametrize("factor", [0.8, 0.93, 1.2])
def test_tempo_has_sox_length_and_spectrum(factor: float) -> None:
    audio = tune()
    ours, theirs = corrupt.tempo(audio, RATE, factor), sox(audio, "tempo", str(factor))
    assert ours.size == theirs.size
    assert np.abs(bands_db(ours) - bands_db(theirs)).max() < 1.5


@needs_sox
@pytest.mark.parametrize("cents", [-200.0, 150.0])
def test_pitch_has_sox_length_and_spectrum(cents: float) -> None:
    audio = tune()
    ours, theirs = pitch(audio, RATE, cents), sox(audio, "pitch", str(cents))
    assert ours.size == theirs.size
    assert np.abs(bands_db(ours) - bands_db(theirs)).max() < 1.5


def tune() -> np.ndarray:
    """Harmonic notes over noise: both WSOLA's search and its joints matter here."""
    rng = np.random.default_rng(5)
    t = np.arange(3 * RATE) / RATE
    notes = sum(
        np.sin(2 * np.pi * k * 140 * t + 3 * np.sin(2 * np.pi * 0.7 * t)) / k for k in range(1, 40)
    )
    return 0.05 * notes * (1 + 0.5 * np.sin(2 * np.pi * 3 * t)) + 0.01 * rng.standard_normal(t.size)


def bands_db(audio: np.ndarray) -> np.ndarray:
    power = np.abs(np.fft.rfft(audio * np.hanning(audio.size))) ** 2 / audio.size**2
    frequency = np.fft.rfftfreq(audio.size, 1 / RATE)
    edges = 100 * 2 ** np.arange(0, 6.6, 0.5)
    return np.array(
        [
            10 * np.log10(power[(frequency >= a) & (frequency < b)].sum())
            for a, b in zip(edges, edges[1:], strict=False)
        ]
    )


@pytest.mark.parametrize("cents", [-200.0, 200.0])
def test_pitch_moves_a_tone_by_the_cents_said(cents: float) -> None:
    t = np.arange(2 * RATE) / RATE
    shifted = pitch(0.3 * np.sin(2 * np.pi * 440 * t), RATE, cents)
    spectrum = np.abs(np.fft.rfft(shifted * np.hanning(shifted.size), 16 * shifted.size))
    peak = np.argmax(spectrum) * RATE / (16 * shifted.size)
    assert 1200 * np.log2(peak / 440) == pytest.approx(cents, abs=6)


def test_tempo_keeps_a_tone_and_changes_the_length() -> None:
    t = np.arange(2 * RATE) / RATE
    slow = corrupt.tempo(np.sin(2 * np.pi * 440 * t), RATE, 0.8)
    assert slow.size == 2.5 * RATE
    spectrum = np.abs(np.fft.rfft(slow * np.hanning(slow.size)))
    assert np.argmax(spectrum) * RATE / slow.size == pytest.approx(440, abs=2)


def test_bands_reach_their_gain() -> None:
    impulse = np.zeros(RATE)
    impulse[0] = 1.0
    cases = [(Band("peak", 1000.0, 9.0, 2.0), 1000), (Band("bass", 100.0, -12.0), 0)]
    cases.append((Band("treble", 6000.0, 15.0), RATE // 2))
    for band, bin_hz in cases:
        response = np.abs(np.fft.rfft(corrupt.equalize(impulse, RATE, [band])))
        assert 20 * np.log10(response[bin_hz]) == pytest.approx(band.gain_db, abs=0.01)


def test_compand_looks_ahead() -> None:
    audio = np.full(RATE, 1e-3)
    audio[RATE // 2 :] = 0.5
    points = ((-100.0, -100.0), (-40.0, -40.0), (0.0, -30.0))
    late = corrupt.compand(audio, RATE, CompandSetting(0.01, 0.1, points))
    ahead = corrupt.compand(audio, RATE, CompandSetting(0.01, 0.1, points, delay_s=0.01))
    assert np.abs(late).max() == pytest.approx(0.5, rel=0.05)
    assert np.abs(ahead).max() < 0.1
    assert late.size == ahead.size == audio.size


def test_same_result_in_float32() -> None:
    audio = 0.1 * speechlike(7)
    setting = CompandSetting(0.01, 0.1, ((-100.0, -100.0), (-40.0, -40.0), (0.0, -30.0)), 6.0)
    small = corrupt.compand(audio.astype(np.float32), RATE, setting)
    assert small.dtype == np.float32
    assert error_db(small, corrupt.compand(audio, RATE, setting)) < -110


def test_refusals() -> None:
    audio = np.zeros(100)
    with pytest.raises(SettingError, match="between 0 and half"):
        corrupt.equalize(audio, RATE, [Band("peak", 12000.0, 3.0)])
    with pytest.raises(SettingError, match="rising"):
        corrupt.compand(audio, RATE, CompandSetting(0.1, 0.1, ((-10.0, 0.0), (-20.0, 0.0))))
    with pytest.raises(SettingError, match="between 0.1 and 10"):
        corrupt.tempo(audio, RATE, 20.0)
