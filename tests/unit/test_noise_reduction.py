"""Noise reduction: steady noise falls by the set amount, and speech stays."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from retone.dsp.noise import programme_to_noise_db
from retone.effects import ENHANCE_CHAIN, NoiseReduction
from retone.estimators.base import Excerpt
from retone.estimators.noise import MOST_DB, reduction_db, without_noise
from retone.estimators.reference_free import AMOUNT, ReferenceFree

RATE = 24000
EFFECT = NoiseReduction()


def voice(seconds: float, rate: int = RATE, seed: int = 0) -> np.ndarray:
    """Syllables with harmonics and a formant that moves, four a second, and a pause each second."""
    t = np.arange(round(seconds * rate)) / rate
    pitch = 120 + 20 * np.sin(2 * np.pi * 0.7 * t)
    phase = 2 * np.pi * np.cumsum(pitch) / rate
    formant = 900 + 500 * np.sin(2 * np.pi * 1.3 * t + seed)
    x = sum(np.sin(k * phase) / (1 + ((k * pitch - formant) / 400) ** 2) for k in range(1, 30))
    said = (np.sin(2 * np.pi * 4 * t) > -0.6) & (t % 1.0 < 0.75)
    smooth = np.ones(rate // 50) / (rate // 50)
    return 0.05 * np.asarray(x) * np.convolve(said, smooth, "same")


def hiss(count: int, level_db: float, seed: int = 1) -> np.ndarray:
    return 10 ** (level_db / 20) * np.random.default_rng(seed).standard_normal(count)


def reduced(
    x: np.ndarray, amount_db: float = 12.0, rate: int = RATE, **values: float
) -> np.ndarray:
    """[T] or [C, T], aligned."""
    audio = torch.from_numpy(np.atleast_2d(x))[None]
    late = EFFECT.latency_samples(rate)
    audio = torch.nn.functional.pad(audio, (0, late))
    setting = EFFECT.params.setting({"reduction_db": amount_db, **values}, 1)
    return EFFECT.render(audio, rate, setting).audio[0, :, late:].numpy().reshape(x.shape)


def level_db(x: np.ndarray) -> float:
    return float(10 * np.log10(np.mean(x**2)))


@pytest.mark.parametrize("amount_db", [3.0, 12.0, 24.0])
@pytest.mark.parametrize("rate", [8000, 24000, 44100, 96000])
def test_steady_noise_falls_by_what_is_set(amount_db: float, rate: int) -> None:
    x = hiss(4 * rate, -40.0)
    out = reduced(x, amount_db, rate)
    fall = level_db(x[rate:]) - level_db(out[rate:])
    assert 0.65 * amount_db < fall <= amount_db + 0.1


@pytest.mark.parametrize("snr_db", [30.0, 20.0, 10.0])
def test_a_voice_comes_nearer_to_its_clean_self(snr_db: float) -> None:
    clean = voice(8.0)
    noisy = clean + hiss(len(clean), level_db(clean) - snr_db)
    out = reduced(noisy)
    settled = slice(RATE, None)
    before, after = (level_db((y - clean)[settled]) for y in (noisy, out))
    assert after < before - 3
    assert abs(level_db(out[settled]) - level_db(clean[settled])) < 1.0


def test_a_clean_voice_hardly_changes() -> None:
    clean = voice(6.0)
    assert level_db(reduced(clean)[RATE:] - clean[RATE:]) < level_db(clean) - 25


def test_noise_that_begins_later_is_learnt() -> None:
    clean = voice(10.0)
    noise = hiss(len(clean), level_db(clean) - 20)
    noise[: 4 * RATE] *= 0.01
    out = reduced(clean + noise)
    late = slice(8 * RATE, None)
    assert level_db((out - clean)[late]) < level_db(noise[late]) - 4


def test_a_recording_that_begins_in_mid_sound_is_not_faded_in() -> None:
    clean = voice(3.0)[round(0.3 * RATE) :]
    out = reduced(clean + hiss(len(clean), level_db(clean) - 20))
    first = slice(0, RATE // 10)
    assert abs(level_db(out[first]) - level_db(clean[first])) < 1.5


def test_gain_does_not_matter() -> None:
    x = voice(4.0) + hiss(4 * RATE, -45.0)
    for gain in (1e-3, 1e2):
        np.testing.assert_allclose(reduced(gain * x), gain * reduced(x), rtol=0, atol=1e-9 * gain)


def test_digital_silence_stays_and_is_not_learnt() -> None:
    x = voice(4.0) + hiss(4 * RATE, -45.0)
    gap = np.zeros(3 * RATE)
    out = reduced(np.concatenate([x, gap, x]))
    frame = EFFECT.latency_samples(RATE)
    assert not out[len(x) + frame : len(x) + len(gap) - frame].any()
    late = slice(RATE, None)
    again = out[len(x) + len(gap) :]
    assert abs(level_db(again[late]) - level_db(reduced(x)[late])) < 0.3


def test_both_channels_get_the_same_gains() -> None:
    left = voice(4.0) + hiss(4 * RATE, -45.0)
    right = np.roll(left, 1000)
    out = reduced(np.stack([left, 0.25 * left]))
    np.testing.assert_allclose(out[1], 0.25 * out[0], rtol=0, atol=1e-12)
    one = reduced(np.stack([left, right]))
    assert not np.allclose(one[0], reduced(left), rtol=0, atol=1e-6)


def test_more_sensitivity_takes_more_away() -> None:
    x = voice(4.0) + hiss(4 * RATE, -45.0)
    levels = [level_db(reduced(x, sensitivity_db=s) - x) for s in (-6.0, 0.0, 6.0, 12.0)]
    assert levels == sorted(levels)


@pytest.mark.parametrize("channels", [1, 2, 3])
@pytest.mark.parametrize("rate", [16000, 44100])
def test_the_loops_are_the_tensor_operations(channels: int, rate: int) -> None:
    """From a state in the middle of a frame; a gradient takes the other way."""
    x = torch.from_numpy(np.stack([voice(1.5, rate, c) + hiss(3 * rate // 2, -50.0, c)
                                   for c in range(channels)]))[None]  # fmt: skip
    x[..., rate // 2 : rate // 2 + 3000] = 0.0
    setting = EFFECT.params.setting({"reduction_db": 15.0, "sensitivity_db": 3.0}, 1)
    start = EFFECT.render(x[..., :1001], rate, setting).state
    one = EFFECT.render(x[..., 1001:], rate, setting, start)
    setting["reduction_db"].requires_grad_()
    two = EFFECT.render(x[..., 1001:], rate, setting, start)
    assert two.audio.requires_grad and not one.audio.requires_grad
    torch.testing.assert_close(one.audio, two.audio.detach(), rtol=0, atol=1e-11)
    for name, value in one.state.items():
        torch.testing.assert_close(value, two.state[name].detach(), rtol=1e-6, atol=1e-11)


# --- how much is reduced --------------------------------------------------------------------


def excerpt(x: np.ndarray, rate: int = RATE) -> Excerpt:
    return Excerpt(torch.from_numpy(x.astype(np.float32)), rate)


def noisy(snr_db: float, rate: int = RATE, seconds: float = 8.0) -> np.ndarray:
    clean = voice(seconds, rate)
    return clean + hiss(len(clean), level_db(clean) - snr_db)


def test_clean_recordings_are_left_and_noisy_ones_are_not() -> None:
    amounts = [reduction_db(excerpt(noisy(snr_db))) for snr_db in (50.0, 30.0, 20.0, 10.0, 0.0)]
    assert amounts[0] == 0.0 and amounts[-1] == MOST_DB
    assert amounts == sorted(amounts)


@pytest.mark.parametrize("gain", [1e-4, 10.0])
def test_the_amount_does_not_depend_on_the_level(gain: float) -> None:
    x = noisy(25.0)
    assert reduction_db(excerpt(gain * x)) == pytest.approx(reduction_db(excerpt(x)), abs=1e-3)


def test_the_amount_hardly_depends_on_the_sample_rate_and_on_silence() -> None:
    at_24 = programme_to_noise_db(torch.from_numpy(noisy(25.0)), 24000)
    at_48 = programme_to_noise_db(torch.from_numpy(noisy(22.0, 48000)), 48000)  # half lies above
    assert at_48 == pytest.approx(at_24, abs=1.0)
    gaps = np.concatenate([noisy(25.0), np.zeros(5 * RATE)])
    assert programme_to_noise_db(torch.from_numpy(gaps), 24000) == pytest.approx(at_24, abs=0.5)


@pytest.mark.parametrize("x", [np.zeros(RATE), np.zeros(10), np.zeros(0)])
def test_what_cannot_be_judged_is_left(x: np.ndarray) -> None:
    assert reduction_db(excerpt(x)) == 0.0


def test_an_excerpt_keeps_its_parts() -> None:
    x = noisy(15.0)
    pauses = torch.from_numpy(hiss(RATE, -40.0)).float()
    source = Excerpt(torch.from_numpy(x).float(), RATE, pauses=pauses)
    out = without_noise(source, 12.0)
    assert out.audio.shape == source.audio.shape and out.pauses.shape == source.pauses.shape
    assert level_db(out.pauses[RATE // 2 :].numpy()) < level_db(source.pauses.numpy()) - 8
    assert without_noise(source, 0.0) is source


def test_enhance_adds_it_where_there_is_noise() -> None:
    estimator = ReferenceFree()
    quiet = estimator.estimate(excerpt(noisy(50.0)), locks={})
    assert quiet.effect == ENHANCE_CHAIN and AMOUNT not in quiet.setting
    loud = estimator.estimate(excerpt(noisy(12.0)), locks={})
    assert loud.effect == estimator.effect and float(loud.setting[AMOUNT]) > 6
    assert any("Steady noise" in n for n in loud.notes)
    loud.effect.render(torch.zeros(1, 1, 100), RATE, loud.setting)


def test_its_parameters_can_be_locked() -> None:
    estimator = ReferenceFree()
    for value in (0.0, 5.0):
        out = estimator.estimate(excerpt(noisy(12.0)), locks={AMOUNT: value})
        assert float(out.setting[AMOUNT]) == value
        assert any("Steady noise" in n for n in out.notes) == bool(value)
