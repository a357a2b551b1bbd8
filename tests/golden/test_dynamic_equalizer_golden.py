"""Diff-DEQ's processor against scipy and against its own definition."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from scipy import signal
from torch import Tensor

from conftest import MakeAudio
from retone.dsp import biquad, crossover
from retone.dsp.param import Setting
from retone.effects import DynamicEqualizer
from retone.losses import MultiResolutionSTFT

RATE = 24000
STEPS = 110
CROSSOVERS_HZ = (150.0, 400.0, 1000.0, 2500.0, 6000.0)


def impulse(length: int) -> Tensor:
    x = torch.zeros(1, 1, length, dtype=torch.float64)
    x[..., 0] = 1.0
    return x


def spectrum_db(x: np.ndarray) -> np.ndarray:
    """Level of an impulse response in dB between 20 Hz and 11 kHz."""
    hz = np.fft.rfftfreq(x.size, 1 / RATE)
    audible = (hz >= 20) & (hz <= 11000)
    return 20 * np.log10(np.abs(np.fft.rfft(x))[audible] + 1e-30)


def split_by_scipy(x: np.ndarray, *, flip_low_pass: bool = False) -> np.ndarray:
    """The tree of fourth-order Linkwitz-Riley splits, compensated, [6, T]; in scipy.

    ``flip_low_pass`` takes the high-pass from the low-pass by the sign of b1 alone, as the paper
    prints it (its equation 4).
    """
    done: list[np.ndarray] = []
    rest = x
    for hz in CROSSOVERS_HZ:
        low = signal.butter(2, hz, "low", fs=RATE, output="sos")
        high = signal.butter(2, hz, "high", fs=RATE, output="sos")
        if flip_low_pass:
            high = low.copy()
            high[:, 1] *= -1
        around = low.copy()
        around[:, :3] = around[:, :2:-1]
        done = [signal.sosfilt(around, band) for band in done]
        done.append(signal.sosfilt(np.vstack([low, low]), rest))
        rest = signal.sosfilt(np.vstack([high, high]), rest)
    return np.stack([*done, rest])


def test_bands_are_scipys_and_sum_to_the_product_of_all_passes() -> None:
    x = np.random.default_rng(0).standard_normal(RATE)
    hz = torch.tensor([CROSSOVERS_HZ], dtype=torch.float64)
    bands = crossover.split(torch.from_numpy(x)[None, None], hz, RATE)[0][0, :, 0].numpy()
    wanted = split_by_scipy(x)
    np.testing.assert_allclose(bands, wanted, rtol=0, atol=1e-10)
    product = x
    for f in CROSSOVERS_HZ:
        around = signal.butter(2, f, "low", fs=RATE, output="sos")
        around[:, :3] = around[:, :2:-1]
        product = signal.sosfilt(around, product)
    np.testing.assert_allclose(bands.sum(0), product, rtol=0, atol=1e-10)
    effect = DynamicEqualizer()
    setting = {**effect.params.neutral(1)}
    for i, f in enumerate(CROSSOVERS_HZ, start=1):
        setting[f"crossover_{i}_hz"] = torch.tensor([f], dtype=torch.float64)
    for got in (effect.render, effect.static_path):
        out = got(torch.from_numpy(x)[None, None], RATE, setting)
        audio = getattr(out, "audio", out)
        np.testing.assert_allclose(audio[0, 0].numpy(), product, rtol=0, atol=1e-10)


def test_the_sum_is_flat_and_the_papers_printed_high_pass_is_not() -> None:
    x = np.zeros(RATE)
    x[0] = 1.0
    assert np.abs(spectrum_db(split_by_scipy(x).sum(0))).max() < 0.01
    assert np.abs(spectrum_db(split_by_scipy(x, flip_low_pass=True).sum(0))).max() > 30
    hz = torch.tensor([CROSSOVERS_HZ], dtype=torch.float64)
    ours = crossover.split(impulse(RATE), hz, RATE)[0].sum(1)[0, 0].numpy()
    assert np.abs(spectrum_db(ours)).max() < 0.01
    low, high, _ = biquad.butterworth(torch.tensor([1000.0]), RATE)
    flipped = torch.stack([low[0, 0], -low[0, 1], low[0, 2], low[0, 3], low[0, 4]])
    top = torch.tensor([11999.0], dtype=torch.float64)
    lost_db = [20 * math.log10(float(biquad.response(h[None], top, RATE).abs()))
               for h in (high[0], flipped)]  # fmt: skip
    assert lost_db[0] == pytest.approx(0, abs=1e-3)
    assert lost_db[1] == pytest.approx(-35, abs=1)


def test_frequency_sampling_agrees_with_the_recursion(make_audio: MakeAudio) -> None:
    """A segment of training, bands equalised, compressors at rest: the response times the FFT."""
    effect, length, size = DynamicEqualizer(), 70972, 1 << 18
    setting = effect.params.sample(1, torch.Generator().manual_seed(4))
    for name in setting:
        if name.endswith("ratio"):
            setting[name] = torch.ones(1, dtype=torch.float64)
    audio = make_audio(length, RATE)
    exact = effect.render(audio, RATE, setting).audio[0, 0]
    hz = torch.arange(size // 2 + 1, dtype=torch.float64) * (RATE / size)
    response = effect.response(hz, RATE, setting)[0]
    sampled = torch.fft.irfft(torch.fft.rfft(audio[0, 0], size) * response, size)[:length]
    error = (sampled - exact).square().sum() / exact.square().sum()
    assert 10 * math.log10(float(error)) < -100


def test_gradients_of_the_kinds_the_paper_learns(make_audio: MakeAudio) -> None:
    """Threshold, slope, attack, release, gain, Q and crossover over 200 samples, in double."""
    effect = DynamicEqualizer()
    table = effect.params
    audio = make_audio(200, RATE, seed=3)
    audio[..., 80:] *= 0.01  # so that compressors release
    fixed = table.to_unit(table.sample(1, torch.Generator().manual_seed(7)))
    for i, p in enumerate(table):  # every band at work
        if p.name.endswith("threshold_db"):
            fixed[0, i] = 0.3
        elif p.name.endswith("ratio"):
            fixed[0, i] = 0.6
        elif p.name.endswith("attack_ms"):
            fixed[0, i] = 0.1
    for kind in ("threshold_db", "ratio", "attack_ms", "release_ms", "gain_db", "_q", "crossover"):
        chosen = torch.tensor([kind in n for n in table.names])
        values = fixed[:, chosen].clone().requires_grad_()

        def run(values: Tensor, chosen: Tensor = chosen) -> Tensor:
            unit = fixed.clone()
            unit[:, chosen] = values
            return effect.render(audio, RATE, table.to_physical(unit)).audio

        assert torch.autograd.gradcheck(run, (values,), eps=1e-6, atol=1e-7, rtol=1e-3,
                                        fast_mode=True), kind  # fmt: skip
        (gradient,) = torch.autograd.grad(run(values).square().sum(), values)
        assert int((gradient != 0).sum()) >= 5, kind  # the lowest band is too slow to release


def test_gradients_recover_a_known_setting(make_audio: MakeAudio) -> None:
    """All 47 parameters from neutral to a known setting: the loss falls to a tenth."""
    effect = DynamicEqualizer()
    table = effect.params
    audio = make_audio(12000, RATE, seed=5, dtype=torch.float32)
    truth: Setting = table.neutral(1)
    for i, gain_db in enumerate((4.0, -6.0, 5.0, -4.0, 7.0, -5.0), start=1):
        truth[f"band_{i}_gain_db"] = torch.tensor([gain_db])
        truth[f"band_{i}_ratio"] = torch.tensor([2.5])
        truth[f"band_{i}_threshold_db"] = torch.tensor([-35.0])
    with torch.no_grad():
        wanted = effect.render(audio, RATE, truth).audio
    loss = MultiResolutionSTFT((256, 1024))
    start = table.to_unit(table.neutral(1)).clamp(0.05, 0.95)
    logits = torch.logit(start).requires_grad_()
    adam = torch.optim.Adam([logits], lr=0.1)
    seen = []
    for step in range(STEPS):
        adam.param_groups[0]["lr"] = 0.1 * math.cos(step / STEPS * math.pi / 2) ** 2
        setting = table.to_physical(torch.sigmoid(logits))
        distance = loss(effect.render(audio, RATE, setting).audio, wanted, RATE)
        adam.zero_grad()
        distance.backward()
        adam.step()
        seen.append(float(distance.detach()))
    assert min(seen) < 0.1 * seen[0], (seen[0], min(seen))
