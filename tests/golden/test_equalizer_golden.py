"""The biquads, the cascade and the crossover against scipy and against physics."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from scipy import signal
from torch import Tensor

from conftest import Backend, MakeAudio
from retone.dsp import biquad, crossover
from retone.effects import Equalizer

RATES = (16000, 24000, 44100, 48000, 96000)
CROSSOVERS = ((60, 250, 700, 2000, 5000), (122, 418, 1183, 3162, 6892), (250, 700, 2e3, 5e3, 9500))


def one(value: float) -> Tensor:
    return torch.tensor([value], dtype=torch.float64)


def scipy_sections(sections: Tensor) -> np.ndarray:
    """[S, 5] as scipy's [S, 6]."""
    b, a = sections[:, :3], sections[:, 3:]
    return torch.cat([b, torch.ones_like(b[:, :1]), a], dim=1).numpy()


def level_db(section: Tensor, hz: float, sample_rate: float) -> float:
    h = biquad.response(section[:, None], one(hz), sample_rate)
    return 20 * math.log10(float(h.abs()))


@pytest.mark.parametrize("sample_rate", RATES)
def test_cascade_equals_scipy(sample_rate: int, backend: Backend, make_audio: MakeAudio) -> None:
    effect = Equalizer()
    setting = effect.params.sample(3, torch.Generator().manual_seed(sample_rate))
    sections = effect.sections(sample_rate, setting)
    audio = make_audio(4000, sample_rate, batch=3, channels=2)
    on_device = {n: v.to(backend.device) for n, v in setting.items()}
    out = effect.render(audio.to(backend.device), sample_rate, on_device)
    got, state = out.audio.cpu(), out.state["sections"].cpu().reshape(3, 2, 6, 2)
    near = 1e-10 if backend.exact else 1e-8
    for b in range(3):
        sos = scipy_sections(sections[b])
        for c in range(2):
            wanted, zf = signal.sosfilt(sos, audio[b, c].numpy(), zi=np.zeros((6, 2)))
            scale = max(1.0, np.abs(wanted).max())
            np.testing.assert_allclose(got[b, c].numpy(), wanted, rtol=0, atol=near * scale)
            np.testing.assert_allclose(state[b, c].numpy(), zf, rtol=0, atol=10 * near * scale)


def test_a_ringing_filter_stays_exact_over_a_long_window(
    backend: Backend, make_audio: MakeAudio
) -> None:
    """30 Hz, Q 5, +12 dB low shelf in single precision: below -120 dB from double precision."""
    seconds = 20 if backend.exact else 4
    audio = make_audio(seconds * 44100, 44100, dtype=torch.float32)
    effect = Equalizer()
    setting = effect.params.defaults(1)
    setting |= {
        "low_shelf_gain_db": one(12.0),
        "low_shelf_frequency_hz": one(30.0),
        "low_shelf_q": one(5.0),
    }
    sos = scipy_sections(biquad.low_shelf(one(30.0), one(12.0), one(5.0), 44100))
    wanted = signal.sosfilt(sos, audio[0, 0].double().numpy())
    setting = {n: v.to(backend.device) for n, v in setting.items()}
    got = (
        effect.render(audio.to(backend.device), 44100, setting, checked=False)
        .audio[0, 0]
        .cpu()
        .numpy()
    )
    assert got.dtype == np.float32
    error_db = 10 * np.log10(np.mean((got - wanted) ** 2) / np.mean(wanted**2))
    assert error_db < -120


@pytest.mark.parametrize("sample_rate", RATES)
@pytest.mark.parametrize("gain_db", [-18.0, 3.0, 12.0])
def test_gain_at_centre_and_corner(sample_rate: int, gain_db: float) -> None:
    f, g, q = one(1000.0), one(gain_db), one(0.9)
    assert level_db(biquad.peak(f, g, q, sample_rate), 1000, sample_rate) == pytest.approx(gain_db)
    low = biquad.low_shelf(f, g, q, sample_rate)
    high = biquad.high_shelf(f, g, q, sample_rate)
    nyquist = sample_rate / 2
    for section in (low, high):  # half the gain at the corner, whatever the Q
        assert level_db(section, 1000, sample_rate) == pytest.approx(gain_db / 2, abs=1e-9)
    assert level_db(low, 1e-6, sample_rate) == pytest.approx(gain_db, abs=1e-6)
    assert level_db(low, nyquist, sample_rate) == pytest.approx(0, abs=1e-6)
    assert level_db(high, nyquist, sample_rate) == pytest.approx(gain_db, abs=1e-6)
    assert level_db(high, 1e-6, sample_rate) == pytest.approx(0, abs=1e-6)


def summed(borders: Tensor, hz: Tensor, sample_rate: int) -> Tensor:
    """Measured response of the sum of the bands at whole frequencies in Hz, [B, F]."""
    impulse = torch.zeros(len(borders), 1, sample_rate, dtype=torch.float64)
    impulse[..., 0] = 1.0
    bands, _ = crossover.split(impulse, borders, sample_rate)
    return torch.fft.rfft(bands.sum(dim=1)[:, 0])[:, hz.long()]


def ripple_db(response: Tensor) -> float:
    return float((20 * torch.log10(response.abs())).abs().max())


@pytest.mark.parametrize("sample_rate", RATES)
def test_bands_sum_to_an_all_pass(sample_rate: int) -> None:
    hz = torch.arange(20, int(0.45 * sample_rate), dtype=torch.float64)
    borders = torch.tensor(CROSSOVERS, dtype=torch.float64)
    got = summed(borders, hz, sample_rate)
    assert ripple_db(got) < 0.01
    around = biquad.butterworth(borders, sample_rate)[2]  # the product of the all-passes
    torch.testing.assert_close(got, biquad.response(around, hz, sample_rate), rtol=0, atol=1e-9)


@pytest.mark.parametrize("sample_rate", RATES)
def test_flipping_one_sign_of_the_low_pass_is_no_high_pass(
    sample_rate: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Diff-DEQ's equation 4 as printed: zeros in the right place, gain lost. It must fail."""
    true = biquad.butterworth

    def printed(frequency_hz: Tensor, sample_rate: float) -> tuple[Tensor, Tensor, Tensor]:
        low, _, around = true(frequency_hz, sample_rate)
        return low, low * torch.tensor([1.0, -1.0, 1.0, 1.0, 1.0]), around

    hz = torch.arange(20, int(0.45 * sample_rate), dtype=torch.float64)
    monkeypatch.setattr(biquad, "butterworth", printed)
    borders = torch.tensor(CROSSOVERS, dtype=torch.float64)
    assert ripple_db(summed(borders, hz, sample_rate)) > 3


@pytest.mark.parametrize("sample_rate", RATES)
def test_each_branch_is_six_db_down_at_its_crossover(sample_rate: int) -> None:
    """Linkwitz-Riley of 4th order: -6.02 dB, in phase, 24 dB per octave."""
    low, high, _ = biquad.butterworth(one(1000.0), sample_rate)
    at = torch.tensor([1000.0], dtype=torch.float64)
    h_low = biquad.response(low[:, None], at, sample_rate) ** 2
    h_high = biquad.response(high[:, None], at, sample_rate) ** 2
    for h in (h_low, h_high):
        assert 20 * math.log10(float(h.abs())) == pytest.approx(-6.0206, abs=1e-4)
    torch.testing.assert_close(h_low, h_high)
    slope = level_db(high, 50, sample_rate) - level_db(high, 25, sample_rate)
    assert 2 * slope == pytest.approx(24.08, abs=0.05)


def test_butterworth_equals_scipy() -> None:
    low, high, _ = biquad.butterworth(one(700.0), 24000)
    for section, kind in ((low, "low"), (high, "high")):
        wanted = signal.butter(2, 700, kind, fs=24000, output="sos")
        np.testing.assert_allclose(scipy_sections(section), wanted, rtol=1e-12, atol=1e-14)


def test_frequencies_above_the_band_are_held_and_stable() -> None:
    for design in (biquad.peak, biquad.low_shelf, biquad.high_shelf):
        held = design(one(18000.0), one(6.0), one(0.7), 16000)
        torch.testing.assert_close(held, design(one(0.49 * 16000), one(6.0), one(0.7), 16000))
        roots = np.roots([1.0, float(held[0, 3]), float(held[0, 4])])
        assert np.abs(roots).max() < 1
