"""The compressor that gives a recording a wanted spread, on recordings whose answer is known."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from retone.dsp.short_levels import Floor, dynamics_db, noise_floor_change_db, short_levels_db
from retone.effects import EXPANDER_TABLE, Compressor
from retone.estimators import spread_fit

COMPRESSOR = Compressor(table=EXPANDER_TABLE)
MOST_LIFT_DB = 2.5


def beats(
    rate: int, depth_db: float, noise_db: float = -75.0, seed: int = 0, every: int = 10
) -> np.ndarray:
    """A 150 Hz tone with harmonics and a new random level, within ``depth_db``, every 0.2 s. The
    first of every ``every`` such steps is a pause."""
    rng = np.random.default_rng(seed)
    levels = np.repeat(rng.uniform(-depth_db, 0.0, 60), rate // 5)
    t = 2 * np.pi * 150 * np.arange(levels.size) / rate
    tone = sum(np.sin(k * t + rng.uniform(0, 6)) / k for k in range(1, 12))
    x = 0.1 * tone * 10 ** (levels / 20)
    pause = (np.arange(levels.size) // (rate // 5)) % every == 0
    noise = 10 ** (noise_db / 20) * rng.standard_normal(levels.size)
    return np.asarray(np.where(pause, 0.0, x) + noise, np.float32)


def signal_of(x: np.ndarray, rate: int) -> spread_fit.Signal:
    return spread_fit.Signal(torch.from_numpy(x), x, rate, COMPRESSOR, None)


def rendered(x: np.ndarray, rate: int, values: dict[str, float]) -> np.ndarray:
    setting = {n: torch.tensor([v], dtype=torch.float64) for n, v in values.items()}
    return COMPRESSOR.render(torch.from_numpy(x)[None, None], rate, setting).audio[0, 0].numpy()


@pytest.mark.parametrize("rate", [16000, 44100])
@pytest.mark.parametrize("change_db", [-8.0, -4.0, 4.0, 8.0])
def test_the_wanted_spread_is_reached(rate: int, change_db: float) -> None:
    x = beats(rate, 20.0)
    wanted_db = dynamics_db(x, rate) + change_db
    found = spread_fit.fit(signal_of(x, rate), wanted_db, {}, most_lift_db=60.0)
    assert dynamics_db(rendered(x, rate, found), rate) == pytest.approx(wanted_db, abs=1.5)


@pytest.mark.parametrize("seed", range(4))
def test_pauses_that_leave_what_counts_do_not_make_the_rest_livelier(seed: int) -> None:
    """The tone has moved the pauses beyond 50 dB below the programme. The spread is smaller for
    that, and quiet passages are not turned down to make it as large as it was."""
    x, toned = (beats(16000, 10.0, noise_db, seed, 3) for noise_db in (-56.0, -85.0))
    signal = spread_fit.Signal(torch.from_numpy(toned), x, 16000, COMPRESSOR, None)
    wanted_db = dynamics_db(x, 16000)
    assert wanted_db > 2 * signal.spread_db
    found = spread_fit.fit(signal, wanted_db, {}, most_lift_db=60.0, change_db=0.0)
    levels = (short_levels_db(y, 16000) for y in (x, rendered(toned, 16000, found)))
    before, after = (level[level > level.max() - 30] for level in levels)
    assert np.ptp(np.percentile(after, [20, 95])) < np.ptp(np.percentile(before, [20, 95])) + 2


@pytest.mark.parametrize("noise_db", [-75.0, -60.0, -50.0])
def test_compression_does_not_bring_up_the_noise(noise_db: float) -> None:
    x = beats(16000, 20.0, noise_db)
    wanted_db = dynamics_db(x, 16000) - 8.0
    found = spread_fit.fit(signal_of(x, 16000), wanted_db, {}, most_lift_db=MOST_LIFT_DB)
    lift_db = noise_floor_change_db(x, rendered(x, 16000, found), 16000)
    assert lift_db <= MOST_LIFT_DB + 0.5


def test_the_envelope_tells_what_the_recording_would() -> None:
    signal = signal_of(beats(44100, 20.0, -60.0), 44100)
    tries = [
        t.values
        for evener in (True, False)
        for t in spread_fit._tries(signal, evener, {}, spread_fit.USUAL)
    ]
    some = tries[::9]
    apart = [
        abs(one.spread_db - signal.exact(values).spread_db)
        for one, values in zip(signal.coarse(some), some, strict=True)
    ]
    assert np.median(apart) < 1.5


def test_locked_values_stay() -> None:
    signal = signal_of(beats(16000, 20.0), 16000)
    locks = {"ratio": 2.0, "threshold_db": -30.0}
    found = spread_fit.fit(signal, signal.spread_db - 8.0, locks, most_lift_db=60.0)
    assert locks.items() <= found.items()


def test_even_sound_with_a_tenth_of_quiet_moments_sounds() -> None:
    """The quietest tenth reaches into the sound, and nothing lies 6 dB above that."""
    own = np.concatenate([np.full(100, -60.0), np.linspace(-3.0, 0.0, 901)])
    sounding = spread_fit.Sounding(own, Floor(own))
    assert len(sounding.frames) == 901
    assert 0 < sounding.before_db < 3
