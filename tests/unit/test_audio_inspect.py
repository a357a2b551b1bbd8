"""The inspection: each figure on a signal whose value is known, and on real recordings."""

from __future__ import annotations

import json
import os
from pathlib import Path

import numpy as np
import pytest
import soundfile as sf

from retone.audio.files import load
from retone.audio.inspect import inspect
from retone.audio.meters.bandwidth import BandwidthMeter
from retone.audio.meters.defects import ActivityMeter, BitsMeter, ClipMeter, percent
from retone.audio.meters.loudness import loudness_lufs
from retone.errors import AudioError

SHARED = Path(os.environ.get("RETONE_SHARED") or Path(__file__).parents[3] / "shared")
RATE = 44100


def noise(seconds: float = 3.0, channels: int = 1, rate: int = RATE) -> np.ndarray:
    return 0.1 * np.random.default_rng(1).standard_normal((channels, round(seconds * rate)))


def edge_of(x: np.ndarray, rate: int) -> tuple[float, bool]:
    meter = BandwidthMeter(rate, len(x))
    meter.update(x)
    return meter.result()


def clipped(x: np.ndarray, bits: int | None = 16) -> int:
    meter = ClipMeter(len(x), bits)
    if bits:
        x = np.rint(x * 2 ** (bits - 1)) / 2 ** (bits - 1)
    for first in range(0, x.shape[1], 997):
        meter.update(x[:, first : first + 997].astype(np.float32))
    return meter.count()


# --- bandwidth ------------------------------------------------------------------------------


@pytest.mark.parametrize("rate", [24000, 44100, 48000, 96000])
@pytest.mark.parametrize("edge_hz", [4000, 8000, 11025])
def test_resampled_noise_ends_at_half_its_first_rate(rate: int, edge_hz: int) -> None:
    soxr = pytest.importorskip("soxr")
    narrow = noise(4, 2, 2 * edge_hz)
    x = soxr.resample(narrow.T, 2 * edge_hz, rate).T
    hz, edge = edge_of(x, rate)
    assert edge
    assert 0.9 * edge_hz < hz < 1.03 * edge_hz


@pytest.mark.parametrize("rate", [8000, 44100, 192000])
def test_full_band_and_silence(rate: int) -> None:
    assert edge_of(noise(2, 1, rate), rate) == (pytest.approx(rate / 2, rel=0.01), False)
    assert edge_of(np.zeros((1, rate)), rate) == (0.0, False)
    assert edge_of(noise(0.01, 1, rate), rate)[0] > 0.4 * rate  # shorter than one frame


@pytest.mark.parametrize("floor_db", [None, -150.0, -120.0, -95.0])
@pytest.mark.parametrize("fall_db", [0.0, 6.0, 12.0])
def test_an_edge_is_found_however_deep_it_falls(fall_db: float, floor_db: float | None) -> None:
    """Resampling leaves nothing above it; rounding and dither leave a little.

    The spectrum falls by 6 dB an octave, and by ``fall_db`` per 100 Hz above 11.3 kHz.
    """
    soxr = pytest.importorskip("soxr")
    spectrum = np.fft.rfft(noise(8, 1, 24000)[0])
    hz = np.maximum(np.fft.rfftfreq(8 * 24000, 1 / 24000), 200.0)
    below_db = 20 * np.log10(hz / 200) + fall_db * np.maximum(hz - 11300, 0) / 100
    falling = np.fft.irfft(spectrum * 10 ** (-below_db / 20))
    x = soxr.resample(0.5 * falling / np.abs(falling).max(), 24000, 48000)[None]
    if floor_db is not None:
        x = x + 10 ** (floor_db / 20) * np.random.default_rng(2).standard_normal(x.shape)
    hz_found, edge = edge_of(x, 48000)
    assert edge and 11000 < hz_found < 12100


def test_a_gentle_fall_is_no_edge() -> None:
    """Noise that falls by 12 dB an octave: within 70 dB as far as the formula says."""
    x = np.cumsum(np.cumsum(noise(4), axis=1) * 0.01, axis=1)
    spectrum = np.fft.rfft(noise(6)[0])
    hz = np.fft.rfftfreq(round(6 * RATE), 1 / RATE)
    spectrum *= 1 / (1 + (hz / 250) ** 2)
    x = np.fft.irfft(spectrum)[None]
    got, edge = edge_of(x, RATE)
    assert not edge
    assert got == pytest.approx(250 * 10 ** (70 / 40), rel=0.1)


def test_lowband_recordings_stop_and_full_ones_do_not() -> None:
    """What a 16 kHz source leaves in a 24 kHz file, against speech with all of its band."""
    low = sorted((SHARED / "audio" / "lowband").glob("*.flac"))[::5]
    full = sorted((SHARED / "audio" / "speech").glob("vctk__p2*.flac"))[:3]
    if not low or not full:
        pytest.skip("the recordings are not here; set RETONE_SHARED")
    for path in low:
        clip = load(path)
        hz, edge = edge_of(clip.samples, clip.sample_rate)
        assert edge and 6900 < hz < 8200
    for path in full:
        clip = load(path)
        assert edge_of(clip.samples, clip.sample_rate)[0] > 10000


# --- clipping -------------------------------------------------------------------------------


@pytest.mark.parametrize("ceiling", [1.0, 0.7])
@pytest.mark.parametrize("bits", [16, 24, None])
def test_clipped_samples_are_counted(ceiling: float, bits: int | None) -> None:
    """A tone 6 dB over its ceiling: two thirds of the samples stand in flat tops."""
    n = np.arange(RATE)
    x = np.clip(2 * ceiling * np.sin(2 * np.pi * 441 / RATE * n), -ceiling, ceiling)[None]
    assert clipped(x, bits) == pytest.approx(np.sum(np.abs(x) >= ceiling), rel=0.02)


@pytest.mark.parametrize("hz", [20, 100, 1000, 5000, 11025])
@pytest.mark.parametrize("level", [1.0, 0.5, 0.05])
def test_a_clean_tone_is_not_clipped(hz: float, level: float) -> None:
    x = level * (1 - 2**-15) * np.sin(2 * np.pi * hz / RATE * np.arange(RATE))[None]
    assert clipped(x) == 0


def test_one_polarity_and_one_channel() -> None:
    x = noise(1, 2) * 0.05 + 0.8 * np.sin(np.arange(RATE) * 0.05)
    x[1] = np.minimum(x[1], 0.4)
    assert clipped(x) == pytest.approx(np.sum(x[1] == 0.4), rel=0.05)
    assert clipped(x[:1]) == 0


# --- other meters ---------------------------------------------------------------------------


@pytest.mark.parametrize(("stored", "used"), [(16, 16), (24, 16), (24, 24), (16, 8), (32, 24)])
def test_used_bits(stored: int, used: int) -> None:
    x = np.rint(noise(0.1) * 2 ** (used - 1)) / 2 ** (used - 1)
    meter = BitsMeter(stored)
    meter.update(x)
    assert meter.result() == used
    off = BitsMeter(16)
    off.update(noise(0.1))  # between the steps
    assert off.result() is None


def test_noise_floor_and_silence_share() -> None:
    """Half tone, half noise of -55 dBFS, then 2 of 10 seconds of nothing at all."""
    floor = noise(8) / noise(8).std() * 10 ** (-55 / 20)
    x = floor.copy()
    x[0, : 4 * RATE] += 0.3 * np.sin(np.arange(4 * RATE) * 0.1)
    x = np.concatenate([x, np.zeros((1, 2 * RATE))], axis=1)
    meter = ActivityMeter(RATE, 1)
    for first in range(0, x.shape[1], 5003):
        meter.update(x[:, first : first + 5003])
    assert meter.noise_floor_dbfs() == pytest.approx(-55, abs=0.6)
    assert meter.silence_share() == pytest.approx(0.2, abs=0.01)


@pytest.mark.parametrize(
    ("share", "text"),
    [(0, "0 %"), (2e-6, "less than 0.001 %"), (1e-5, "0.001 %"), (0.0123, "1.2 %"),
     (0.0996, "10 %"), (0.123, "12 %"), (0.996, "100 %"), (1, "100 %")],
)  # fmt: skip
def test_shares_are_written_without_an_exponent(share: float, text: str) -> None:
    assert percent(share) == text


def test_channel_faults() -> None:
    x = noise(1)
    for pair, dual, silent in (
        (np.concatenate([x, x]), True, []),
        (np.concatenate([x, 0 * x]), False, [2]),
        (np.concatenate([x, x[:, ::-1]]), False, []),
        (np.concatenate([0 * x, 0 * x]), False, []),
    ):
        meter = ActivityMeter(RATE, 2)
        meter.update(pair)
        assert (meter.dual_mono(), meter.silent_channels()) == (dual, silent)


# --- the whole ------------------------------------------------------------------------------


def test_inspection_of_a_faulty_file(tmp_path: Path) -> None:
    soxr = pytest.importorskip("soxr")
    x = soxr.resample(noise(4, 1, 16000)[0] * 8, 16000, 48000)
    x = np.clip(x + 0.02, -0.9, 0.9)
    path = tmp_path / "a.wav"
    sf.write(path, np.stack([x, x], axis=1), 48000, subtype="PCM_24")
    seen: list[float] = []
    got = inspect(path, lambda phase, done, total: seen.append(done / total))
    assert seen == sorted(seen) and seen[-1] == 1.0
    assert (got.sample_rate, got.channels, got.bit_depth, got.subtype) == (48000, 2, 24, "PCM_24")
    assert got.duration_s == pytest.approx(4.0, abs=0.01)
    assert got.integrated_lufs == loudness_lufs(load(path).samples, 48000)
    assert got.dual_mono and got.clipped_samples > 1000
    text = " ".join(got.warnings)
    for words in ("clipped:", "mono stored as stereo"):
        assert words in text
    assert json.loads(json.dumps(got.to_dict()))["channels"] == 2
    assert all("\n" not in line for line in got.warnings)


def test_inspection_of_a_clean_file_has_no_warnings(tmp_path: Path) -> None:
    path = tmp_path / "a.wav"
    sf.write(path, noise(3, 2).T, RATE, subtype="PCM_16")
    got = inspect(path)
    assert got.warnings == ()
    assert got.used_bits == 16 and got.clipped_samples == 0 and not got.dual_mono
    assert got.rms_dbfs == pytest.approx(-20, abs=0.1)
    got.require_analysable()


def test_inspection_of_silence_and_of_one_sample(tmp_path: Path) -> None:
    path = tmp_path / "a.wav"
    sf.write(path, np.zeros(RATE), RATE)
    got = inspect(path)
    assert got.warnings == ("silent: no sample above -90 dBFS.",)
    assert got.to_dict()["integrated_lufs"] is None
    with pytest.raises(AudioError, match="silent"):
        got.require_analysable()
    sf.write(path, np.array([0.5]), RATE)
    assert "shorter than 0.4 s" in inspect(path).warnings[0]
    with pytest.raises(AudioError, match="at least"):
        inspect(path).require_analysable()


def test_band_limited_recording_is_named(tmp_path: Path) -> None:
    soxr = pytest.importorskip("soxr")
    path = tmp_path / "a.wav"
    x = soxr.resample(noise(4, 1, 16000)[0], 16000, 48000)
    sf.write(path, x, 48000, subtype="PCM_24")
    got = inspect(path)
    assert got.band_limited
    assert any(line.startswith("band-limited: the content stops at") for line in got.warnings)


@pytest.mark.parametrize("offset", [0.05, -0.2])
def test_an_offset_is_neither_noise_nor_sound(offset: float) -> None:
    rng = np.random.default_rng(3)
    bursts = np.where(np.arange(4 * RATE) // (RATE // 2) % 2, 0.1, 0.0003)
    x = np.stack([bursts * rng.standard_normal(4 * RATE), np.zeros(4 * RATE)])
    plain, shifted = ActivityMeter(RATE, 2), ActivityMeter(RATE, 2)
    plain.update(x)
    shifted.update(x + offset)
    assert shifted.noise_floor_dbfs() == pytest.approx(plain.noise_floor_dbfs(), abs=0.5)
    assert shifted.silence_share() == plain.silence_share()
    assert shifted.silent_channels() == plain.silent_channels() == [2]
