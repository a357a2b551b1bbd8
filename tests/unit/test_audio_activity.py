"""The power of every 20 ms, and the level of what is active."""

from __future__ import annotations

import numpy as np
import pytest

from retone.audio.meters.activity import HOP_S, ActivityMeter
from retone.process.activity import active_level, activity, runs


def measured(x: np.ndarray, rate: int, sizes: list[int]) -> np.ndarray:
    meter, at = ActivityMeter(rate, len(x)), 0
    for size in sizes:
        meter.update(x[:, at : at + size])
        at += size
    meter.update(x[:, at:])
    return meter.result()


@pytest.mark.parametrize("rate", [8000, 11025, 44100, 48000])
def test_blocks_equal_the_whole(rate: int) -> None:
    x = np.random.default_rng(0).standard_normal((2, 3 * rate + 17)).astype(np.float32)
    whole = measured(x, rate, [])
    assert len(whole) == pytest.approx(3 / HOP_S, abs=2)
    np.testing.assert_allclose(measured(x, rate, [1, 7, rate, 0, 333]), whole, rtol=1e-12)
    assert whole.mean() == pytest.approx(1.0, rel=0.05)


def test_opposite_channels_do_not_cancel_and_dc_is_no_sound() -> None:
    x = np.random.default_rng(0).standard_normal((1, 8000)).astype(np.float32)
    opposite = np.concatenate([x, -x])
    np.testing.assert_allclose(measured(opposite, 8000, []), measured(x, 8000, []))
    assert not measured(np.full((1, 8000), 0.3, np.float32), 8000, []).any()
    rumble = np.sin(2 * np.pi * 20 * np.arange(8000) / 8000).astype(np.float32)[None]
    assert measured(rumble, 8000, []).mean() < 0.02


def test_the_active_level_ignores_silence_noise_and_clicks() -> None:
    rng = np.random.default_rng(1)
    speech = 10 ** (rng.uniform(-6, -2, 500))
    level, top = active_level(speech)
    for more in (np.zeros(50000), np.full(50000, 1e-9), np.full(1, 1.0)):
        found, _ = active_level(np.concatenate([more, speech]))
        assert 10 * np.log10(found / level) == pytest.approx(0, abs=0.3)
    assert level < top and active_level(np.zeros(10)) == (0.0, 0.0)


def test_a_lone_click_in_silence_is_not_kept() -> None:
    power = np.full(2000, 1e-10)
    power[:400] = 1e-3
    power[1500] = 1e-2
    found = activity(power, noise=True)
    assert runs(found.keep) == [(0, 400)]
