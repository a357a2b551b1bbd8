"""Loudness and peak meters against the standards' own cases, other programs and physics."""

from __future__ import annotations

import math
import os
import re
import subprocess
from pathlib import Path

import numpy as np
import pytest
import soundfile as sf
from hypothesis import given, settings
from hypothesis import strategies as st

from encoded import ffmpeg, needs_ffmpeg, save
from retone.audio.files import open_reader
from retone.audio.meters.k_weighting import k_weighting_filters, k_weighting_response
from retone.audio.meters.loudness import LevelMeter, LoudnessMeter, channel_weights, loudness_lufs
from retone.audio.meters.true_peak import TruePeakMeter, oversampling, true_peak_dbtp
from retone.errors import AudioError, ShapeError

SHARED = Path(os.environ.get("RETONE_SHARED") or Path(__file__).parents[3] / "shared")


def tone(level_dbfs: float, seconds: float, rate: int, hz: float = 997.0) -> np.ndarray:
    """A sine whose peak is at ``level_dbfs``."""
    t = np.arange(round(seconds * rate)) / rate
    return (10 ** (level_dbfs / 20) * np.sin(2 * np.pi * hz * t)).astype(np.float32)


def steps(parts: list[tuple[float, float]], rate: int, channels: int = 2) -> np.ndarray:
    x = np.concatenate([tone(level, seconds, rate) for level, seconds in parts])
    return np.tile(x, (channels, 1))


def recordings() -> list[Path]:
    found = [sorted((SHARED / "audio" / d).glob("*.flac"))[:2] for d in ("music", "speech")]
    return [path for group in found for path in group]


# --- loudness -------------------------------------------------------------------------------


def test_k_weighting_has_the_coefficients_of_the_standard_at_48_khz() -> None:
    """ITU-R BS.1770-4, tables 1 and 2."""
    shelf, highpass = k_weighting_filters(48000)
    table = (1.53512485958697, -2.69169618940638, 1.19839281085285)
    np.testing.assert_allclose(shelf[:3], table, rtol=1e-9)
    np.testing.assert_allclose(shelf[3:], (-1.69065929318241, 0.73248077421585), rtol=1e-9)
    np.testing.assert_allclose(highpass[3:], (-1.99004745483398, 0.99007225036621), rtol=1e-9)


@pytest.mark.parametrize("rate", [8000, 11025, 24000, 44100, 48000, 96000, 192000])
def test_a_stereo_tone_at_minus_23_dbfs_reads_minus_23_lufs(rate: int) -> None:
    """EBU Tech 3341, case 1."""
    assert loudness_lufs(steps([(-23, 3)], rate), rate) == pytest.approx(-23.0, abs=0.1)


@pytest.mark.parametrize(
    "parts",
    [
        [(-36, 10), (-23, 60), (-36, 10)],
        [(-72, 10), (-36, 10), (-23, 60), (-36, 10), (-72, 10)],
        [(-26, 20), (-20, 20.1), (-26, 20)],
    ],
)
def test_gates(parts: list[tuple[float, float]]) -> None:
    """EBU Tech 3341, cases 3 to 5: all read -23 LUFS."""
    assert loudness_lufs(steps(parts, 24000), 24000) == pytest.approx(-23.0, abs=0.1)


def test_surround_weights() -> None:
    """EBU Tech 3341, case 6; the LFE channel may hold anything."""
    levels = (-28, -28, -24, 0, -30, -30)
    x = np.stack([tone(level, 5, 48000, 1000) for level in levels])
    assert loudness_lufs(x, 48000) == pytest.approx(-23.0, abs=0.1)


@pytest.mark.parametrize(
    ("levels", "expected"),
    [((-20, -30), 10), ((-20, -15), 5), ((-40, -20), 20), ((-50, -35, -20, -35, -50), 15)],
)
def test_loudness_range(levels: tuple[float, ...], expected: float) -> None:
    """EBU Tech 3342, cases 1 to 4."""
    meter = LoudnessMeter(16000, 2)
    meter.update(steps([(level, 20) for level in levels], 16000))
    assert meter.result().range_lu == pytest.approx(expected, abs=1.0)


def test_short_term_and_momentary_maxima() -> None:
    meter = LoudnessMeter(24000, 2)
    meter.update(steps([(-40, 5), (-20, 1), (-40, 5)], 24000))
    got = meter.result()
    assert got.momentary_max_lufs == pytest.approx(-20.0, abs=0.1)
    loud = 10 * math.log10(10**-2 / 3 + 2 / 3 * 10**-4)  # one second of three
    assert got.short_term_max_lufs == pytest.approx(loud, abs=0.1)


@pytest.mark.parametrize("rate", [24000, 44100, 48000, 96000])
def test_agrees_with_pyloudnorm_on_real_recordings(rate: int) -> None:
    pyloudnorm = pytest.importorskip("pyloudnorm")
    soxr = pytest.importorskip("soxr")
    files = recordings()
    if not files:
        pytest.skip("the recordings are not here; set RETONE_SHARED")
    for path in files:
        x, own = sf.read(path, always_2d=True, frames=15 * 44100)
        x = soxr.resample(x, own, rate)
        peer = pyloudnorm.Meter(rate, filter_class="DeMan").integrated_loudness(x)
        assert loudness_lufs(x.T, rate) == pytest.approx(peer, abs=0.01)
        if rate >= 44100:  # its default filter is itself an approximation, worse at low rates
            peer = pyloudnorm.Meter(rate).integrated_loudness(x)
            assert loudness_lufs(x.T, rate) == pytest.approx(peer, abs=0.1)


def test_short_and_silent_streams() -> None:
    meter = LoudnessMeter(48000, 2)
    assert meter.result().integrated_lufs == -math.inf
    meter.update(steps([(-23, 0.3)], 48000))
    got = meter.result()
    assert not got.gated and got.range_lu is None
    assert got.integrated_lufs == pytest.approx(-23, abs=0.2)
    assert loudness_lufs(np.zeros((2, 48000)), 48000) == -math.inf
    assert loudness_lufs(steps([(-75, 1)], 48000), 48000) == -math.inf


# --- true peak ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("divisor", "phase", "below"),
    [(4, 45, 3.01), (6, 60, 1.25), (8, 67.5, 0.69), (4, 0, 0.0)],
)
def test_true_peak_between_the_samples(divisor: int, phase: float, below: float) -> None:
    """EBU Tech 3341, cases 15 to 18: tones of -6 dBFS read -6 dBTP, +0.2 / -0.4."""
    n = np.arange(48000)
    x = 0.5 * np.sin(2 * np.pi * n / divisor + math.radians(phase))
    x[:480] *= np.linspace(0, 1, 480)
    x[-480:] *= np.linspace(1, 0, 480)
    meter = TruePeakMeter(48000, 1)
    meter.update(x[None].astype(np.float32))
    assert -6.42 < meter.result() < -5.82
    sample_peak = 20 * math.log10(meter.sample_peak)
    assert sample_peak == pytest.approx(-6.02 - below, abs=0.02)


def test_oversampling_follows_the_rate() -> None:
    assert [oversampling(r) for r in (8000, 48000, 96000, 192000)] == [4, 4, 2, 1]


def test_true_peak_agrees_with_an_fft_interpolation() -> None:
    """Band-limited noise (below 0.42 fs), against the spectrum padded to 16 times the rate."""
    rng = np.random.default_rng(5)
    n = 4096
    spectrum = np.fft.rfft(rng.standard_normal(n) * np.hanning(n))
    spectrum[int(0.42 * n) :] = 0
    x = np.fft.irfft(spectrum)
    fine = np.fft.irfft(spectrum, 16 * n) * 16
    expected = 20 * math.log10(np.abs(fine).max())
    assert expected - 0.4 < true_peak_dbtp(x[None], 44100) < expected + 0.05


def test_ringing_at_the_cut_edges_counts() -> None:
    """A block of ones overshoots at its ends; zeros around it change nothing."""
    x = np.ones((1, 50))
    padded = np.pad(x, ((0, 0), (40, 40)))
    assert true_peak_dbtp(x, 48000) == true_peak_dbtp(padded, 48000) > 0.5


# --- both -----------------------------------------------------------------------------------

FIGURES = ("integrated_lufs", "true_peak_dbtp", "sample_peak_dbfs", "rms_dbfs")


def test_gain_moves_every_level_by_as_much() -> None:
    x = np.random.default_rng(2).standard_normal((2, 48000)) * 0.05
    results = []
    for gain in (1.0, 2.0):
        meter = LevelMeter(48000, 2)
        meter.update(gain * x)
        results.append(meter.result())
    for name in FIGURES:
        difference = getattr(results[1], name) - getattr(results[0], name)
        assert difference == pytest.approx(6.0206, abs=1e-4)
    assert results[0].crest_db == pytest.approx(results[1].crest_db)


def test_rms_crest_and_dc_of_known_signals() -> None:
    meter = LevelMeter(48000, 1)
    meter.update(tone(-6.0206, 1, 48000, 1000)[None] + np.float32(0.25))
    got = meter.result()
    assert got.dc_offset == pytest.approx(0.25, abs=1e-6)
    assert got.sample_peak_dbfs == pytest.approx(20 * math.log10(0.75), abs=1e-3)
    assert got.rms_dbfs == pytest.approx(10 * math.log10(0.125 + 0.0625), abs=1e-3)
    assert got.crest_db == pytest.approx(got.sample_peak_dbfs - got.rms_dbfs)
    silent = LevelMeter(48000, 1)
    silent.update(np.zeros((1, 48000)))
    row = silent.result().to_dict()
    assert row["true_peak_dbtp"] is None and row["crest_db"] == 0.0


@settings(max_examples=25, deadline=None)
@given(
    cuts=st.lists(st.integers(0, 30000), max_size=6),
    rate=st.sampled_from([8000, 11025, 44100, 96000]),
    dtype=st.sampled_from([np.float32, np.float64]),
)
def test_figures_do_not_depend_on_the_blocks(cuts: list[int], rate: int, dtype: type) -> None:
    x = np.random.default_rng(3).standard_normal((2, 30000)).astype(dtype)
    results = []
    for edges in ([0, 30000], [0, *sorted(cuts), 30000]):
        meter = LevelMeter(rate, 2)
        for first, last in zip(edges[:-1], edges[1:], strict=True):
            meter.update(x[:, first:last])
        results.append(meter.result())
    assert results[0] == results[1]


def test_wrong_blocks_are_refused() -> None:
    meter = LevelMeter(48000, 2)
    with pytest.raises(ShapeError, match=r"\[2, time\]"):
        meter.update(np.zeros((1, 10)))
    with pytest.raises(ShapeError, match="int16"):
        meter.update(np.zeros((2, 10), np.int16))
    with pytest.raises(AudioError, match="8000 Hz or more"):
        LoudnessMeter(4000, 1)


def test_the_analogue_response_is_the_digital_filters() -> None:
    """Up to the bilinear transform's warping, which is small far below half a high rate."""
    from scipy.signal import freqz

    rate, f = 3_000_000, np.geomspace(10, 20000, 50)
    digital = np.ones(len(f))
    for b0, b1, b2, a1, a2 in k_weighting_filters(rate):
        digital *= np.abs(freqz([b0, b1, b2], [1, a1, a2], f, fs=rate)[1])
    np.testing.assert_allclose(k_weighting_response(f), digital, rtol=1e-4)


# --- channel layouts --------------------------------------------------------------------------

LAYOUTS = ["mono", "stereo", "2.1", "3.0", "4.0", "5.0", "5.1", "5.1(side)", "6.1", "7.1"]


@needs_ffmpeg
@pytest.mark.parametrize("layout", LAYOUTS)
def test_loudness_by_layout_agrees_with_ffmpeg(tmp_path: Path, layout: str) -> None:
    """The low-frequency channel is left out and surrounds weigh 1.41, whatever the layout."""
    count = {"mono": 1, "stereo": 2}.get(layout) or round(sum(map(int, layout[:3].split("."))))
    rng = np.random.default_rng(3)
    x = rng.standard_normal((count, 5 * 48000)) * 10 ** rng.uniform(-2, -0.8, (count, 1))
    raw, path = save(tmp_path / "raw.wav", x, subtype="FLOAT"), tmp_path / "a.wav"
    ffmpeg("-i", raw, "-af", f"channelmap=channel_layout={layout}", "-c:a", "pcm_f32le", path)
    command = ["ffmpeg", "-nostats", "-i", path, "-af", "ebur128", "-f", "null", "-"]
    text = subprocess.run(command, capture_output=True, text=True).stderr
    expected = float(re.findall(r"I: +(-?[0-9.]+) LUFS", text)[-1])
    with open_reader(path) as reader:
        meter = LoudnessMeter(48000, count, reader.info.layout)
        for block in reader.blocks():
            meter.update(block)
    assert meter.result().integrated_lufs == pytest.approx(expected, abs=0.11)


def test_weights_without_a_layout() -> None:
    assert channel_weights(2).tolist() == [1, 1]
    assert channel_weights(6).tolist() == [1, 1, 1, 0, 1.41, 1.41]
    assert channel_weights(8).tolist() == [1, 1, 1, 0, 1.41, 1.41, 1.41, 1.41]
    assert channel_weights(16).tolist() == [1.0] * 16
    assert channel_weights(3, ("FL", "FR", "LFE")).tolist() == [1, 1, 0]
    assert channel_weights(3, ("FL", "FR")).tolist() == [1, 1, 1]  # not this recording's layout
