"""Multiband dynamics that follow a reference octave by octave."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy import signal

from retone.audio import Clip
from retone.dsp.short_levels import OCTAVES_HZ, octave_dynamics_db
from retone.effects import MultibandEqualizer
from retone.estimators import octave_fit
from retone.estimators.matching import Matching
from retone.presets.library import open_preset
from retone.process.decide import decide
from retone.process.result import Options

RATE = 24000
EFFECT = MultibandEqualizer()


def pulsing(depths_db: np.ndarray, seconds: float = 12.0, seed: int = 0) -> np.ndarray:
    """Noise whose octaves pulse, each by its own depth: those above 1.4 kHz together."""
    rng = np.random.default_rng(seed)
    t = np.arange(round(seconds * RATE)) / RATE
    out = np.zeros(len(t))
    for k, centre_hz in enumerate(OCTAVES_HZ):
        edges = centre_hz / 2**0.5, min(centre_hz * 2**0.5, 0.49 * RATE)
        sos = signal.butter(4, edges, "bandpass", fs=RATE, output="sos")
        wave = np.sin(2 * np.pi * (1.1 + 0.13 * min(k, 4)) * t + min(k, 4))
        band = signal.sosfilt(sos, rng.standard_normal(len(t)))
        out += 10 ** (0.5 * depths_db[k] * (wave - 1) / 20) * band / band.std()
    return (0.2 * out / np.abs(out).max()).astype(np.float32)


def test_octaves_come_nearer_by_themselves() -> None:
    x = torch.from_numpy(pulsing(np.array([4.0, 4, 4, 4, 16, 16, 16])))
    before = octave_dynamics_db(x.numpy(), RATE)
    change = np.where(np.arange(7) < 4, 0.0, -6.0)
    setting = octave_fit.fit(EFFECT, x, RATE, change, {})
    after = octave_dynamics_db(
        EFFECT.render(x[None, None], RATE, setting).audio[0, 0].numpy(), RATE
    )
    wanted = before + change
    known = np.isfinite(wanted)
    assert np.abs(after - wanted)[known].mean() < 0.5 * np.abs(change)[known].mean()
    assert np.abs(after - before)[:3].max() < 1.5
    gains = [float(setting[f"band_{k}_gain_db"][0]) for k in range(1, 7)]
    assert gains == [0.0] * 6


def test_nothing_to_change_is_exactly_neutral() -> None:
    x = torch.from_numpy(pulsing(np.full(7, 8.0)))
    setting = octave_fit.fit(EFFECT, x, RATE, np.full(7, np.nan), {})
    assert torch.equal(EFFECT.render(x[None, None], RATE, setting).audio[0, 0], x)


def test_locks_and_ranges_hold() -> None:
    x = torch.from_numpy(pulsing(np.full(7, 20.0)))
    setting = octave_fit.fit(EFFECT, x, RATE, np.full(7, -12.0), {"band_4_ratio": 1.5})
    assert float(setting["band_4_ratio"][0]) == 1.5
    for p in EFFECT.params:
        assert p.low <= float(setting[p.name][0]) <= p.high


def test_a_profile_is_told_of() -> None:
    x = pulsing(np.full(7, 8.0))
    profile = open_preset("broadcast").profile
    decision = decide(
        Clip(x[None], RATE), [profile], Options(), estimator=Matching(dynamics="multiband")
    )
    assert any("single bands" in note for note in decision.notes)


@pytest.mark.parametrize("name", ["eq", "dynamics", "stereo"])
def test_an_unknown_kind_is_refused_by_name(name: str) -> None:
    with pytest.raises(Exception, match=f"{name} = 'both'.*expected one of"):
        Matching(**{name: "both"})
