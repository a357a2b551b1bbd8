"""The curve equaliser meets its curve at every rate, and its latency never reaches a file."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from conftest import MakeAudio
from retone.effects import Compressor, CurveEqualizer, chain
from retone.effects.curve_equalizer import (
    CENTRES_HZ,
    CURVE_TABLE,
    NOMINAL_HZ,
    curve_matrix,
)
from retone.process.stream import Renderer

MINIMUM, LINEAR = CurveEqualizer.examples()
each_phase = pytest.mark.parametrize("effect", (MINIMUM, LINEAR), ids=lambda e: e.phase)


def smooth(seed: int, size_db: float = 12.0) -> np.ndarray:
    """A random curve without detail finer than an octave; its largest gain is ``size_db``."""
    noise = np.random.default_rng(seed).standard_normal(37)
    curve = np.convolve(noise, np.hanning(9)[1:-1], "valid")
    return curve * size_db / np.abs(curve).max()


def settings(gains: np.ndarray) -> dict[str, torch.Tensor]:
    return CURVE_TABLE.setting(dict(zip(CURVE_TABLE.names, gains, strict=True)))


def error_db(effect: CurveEqualizer, rate: int, gains: np.ndarray) -> np.ndarray:
    """How far the response is from the curve at the third octaves and half way between."""
    hz = np.array([f for f in CENTRES_HZ if f < 0.45 * rate])
    hz = np.concatenate([hz, np.sqrt(hz[1:] * hz[:-1])])
    response = effect.response(torch.from_numpy(hz), rate, settings(gains))[0]
    got = 20 * np.log10(response.abs().numpy())
    return np.asarray(np.abs(got - curve_matrix(hz) @ gains))


@each_phase
@pytest.mark.parametrize("rate", [8000, 16000, 44100, 48000, 96000, 192000])
def test_a_smooth_curve_is_met_at_every_rate(effect: CurveEqualizer, rate: int) -> None:
    for seed in range(6):
        assert error_db(effect, rate, smooth(seed)).max() < 0.5


@each_phase
@pytest.mark.parametrize("rate", [44100, 48000])
@pytest.mark.parametrize("centre", [0, 1, 2, 8, 17, 29])
def test_a_single_third_octave_is_met(effect: CurveEqualizer, rate: int, centre: int) -> None:
    gains = np.zeros(31)
    gains[centre] = 12.0
    assert error_db(effect, rate, gains).max() < 0.5


def test_centres_are_the_nominal_frequencies() -> None:
    assert np.abs(np.log2(np.array(CENTRES_HZ) / NOMINAL_HZ)).max() < 0.04
    assert CURVE_TABLE.names[17] == "gain_1000_hz_db"
    assert CURVE_TABLE.names[2] == "gain_31_hz_db"


def test_the_curve_passes_its_gains_and_is_constant_beyond_the_ends() -> None:
    gains = smooth(3)
    np.testing.assert_allclose(curve_matrix(np.array(CENTRES_HZ)) @ gains, gains, atol=1e-9)
    ends = curve_matrix(np.array([0.0, 5.0, 25000.0, 90000.0])) @ gains
    np.testing.assert_allclose(ends, gains[[0, 0, -1, -1]], atol=1e-9)
    level = curve_matrix(np.geomspace(10, 30000, 500)) @ np.ones(31)
    np.testing.assert_allclose(level, 1, atol=1e-12)  # a flat curve is flat between its points too


def test_gains_above_the_band_change_nothing_below_it(make_audio: MakeAudio) -> None:
    audio, gains = make_audio(2000, 16000), np.zeros(31)
    gains[-3:] = -24.0  # 12.5 kHz and above
    y = MINIMUM.render(audio, 16000, settings(gains)).audio
    torch.testing.assert_close(y, audio, rtol=0, atol=1e-12)


def test_minimum_phase_packs_its_energy_at_the_front() -> None:
    """No filter of the same magnitude has more energy in its first samples."""
    setting = settings(smooth(4))
    first, second = MINIMUM.taps(48000, setting)[0], LINEAR.taps(48000, setting)[0]
    energy = [torch.cumsum(h**2, 0) for h in (first, second)]
    assert bool((energy[0] + 1e-9 >= energy[1][: len(first)]).all())
    assert torch.equal(second, second.flip(0))


@pytest.mark.parametrize("seconds", [0.01, 0.5, 1.3])
@pytest.mark.parametrize("frames", [100, 4096, 1 << 20])
def test_what_is_written_is_aligned(make_audio: MakeAudio, seconds: float, frames: int) -> None:
    """Linear phase is symmetrical about each sample of the file, whatever the blocks."""
    rate = 16000
    effect = chain("both", LINEAR, Compressor())
    audio = make_audio(round(seconds * rate), rate, channels=2).float()[0].numpy()
    neutral = effect.params.neutral(1)
    blocks = [audio[:, i : i + frames] for i in range(0, audio.shape[1], frames)]
    done = list(Renderer(effect, neutral, rate).aligned(blocks))
    assert all(np.array_equal(block, out) for block, out, _ in done)
    assert [c["compressor.gain_reduction_db"].shape[-1] for _, _, c in done] == [
        b.shape[1] for b in blocks
    ]
    setting = neutral | {f"linear_curve.{n}": v for n, v in settings(smooth(5)).items()}
    pieces = Renderer(effect, setting, rate).aligned(blocks)
    joined = np.concatenate([out for _, out, _ in pieces], axis=1)
    backwards = Renderer(effect, setting, rate).whole(audio[:, ::-1])[:, ::-1]
    np.testing.assert_allclose(joined, backwards, atol=1e-6)


def test_gains_keep_their_gradient_through_the_cepstrum(make_audio: MakeAudio) -> None:
    """Gradient descent on the gains finds the curve that another one was rendered with."""
    audio, wanted = make_audio(8000, 16000, seed=1), settings(smooth(6, 6.0))
    target = MINIMUM.render(audio, 16000, wanted).audio
    gains = {n: v.clone().requires_grad_() for n, v in CURVE_TABLE.neutral(1).items()}
    optimiser = torch.optim.Adam(gains.values(), lr=0.5)
    losses = []
    for _ in range(60):
        optimiser.zero_grad()
        loss = (MINIMUM.render(audio, 16000, gains).audio - target).square().mean()
        loss.backward()
        optimiser.step()
        losses.append(float(loss.detach()))
    assert losses[-1] < 1e-2 * losses[0]
