"""Enhancement and presets lift no band in which the recording holds nothing."""

from __future__ import annotations

import functools

import numpy as np
import pytest
import torch
from scipy import signal

from retone.effects import MATCH_CHAIN, Chain, Equalizer
from retone.effects.multiband_equalizer import MultibandEqualizer
from retone.estimators.base import Excerpt
from retone.estimators.expansion import expanded
from retone.estimators.guard import TOLERATED_DB, Guard
from retone.estimators.no_lift import without_lift
from retone.estimators.reference_free import with_expanders
from retone.estimators.sound import sound_of
from retone.estimators.trial import Trial

RATE = 24000


@functools.cache
def telephone() -> Excerpt:
    """Noise that a telephone line passes, louder and quieter in turn."""
    rng = np.random.default_rng(3)
    sections = signal.butter(10, (300, 3400), "bandpass", fs=RATE, output="sos")
    swell = 1.2 + np.sin(np.arange(6 * RATE) / 900)
    x = signal.sosfilt(sections, rng.normal(size=len(swell))) * swell
    return Excerpt(torch.from_numpy((0.2 * x / np.abs(x).max()).astype(np.float32)), RATE)


@pytest.mark.parametrize("gain_db", [0.0, *np.linspace(0.5, 2.0, 31), 3.0, 12.0])
def test_an_empty_band_is_lifted_by_no_gain_and_a_change_is_said(gain_db: float) -> None:
    setting = MATCH_CHAIN.params.neutral(1)
    name = next(n for n in setting if n.endswith("low_shelf_gain_db"))
    setting[name] = torch.tensor([gain_db], dtype=torch.float64)
    found, notes = without_lift(MATCH_CHAIN, telephone(), setting, {})
    guard = Guard.of(*(sound_of(telephone()),) * 2)
    trial = Trial(MATCH_CHAIN, telephone().audio.numpy(), RATE, guard)
    assert guard.empty.any()
    assert guard.excess_db(trial.look(found).gain_db) <= TOLERATED_DB
    changed = any(not torch.equal(found[n], setting[n]) for n in setting)
    broken = guard.excess_db(trial.look(setting).gain_db) > TOLERATED_DB
    assert changed == bool(notes) == broken
    assert all("that range is not lifted" in note for note in notes)


ENHANCE = Chain("enhance", (Equalizer(), MultibandEqualizer()))


@functools.cache
def words_on_a_line() -> Excerpt:
    """Bursts of noise and faint pauses in the band of a telephone, with next to nothing outside."""
    rng = np.random.default_rng(4)
    x = rng.normal(size=6 * RATE) * np.where(np.arange(6 * RATE) // (RATE // 5) % 2, 0.003, 1.0)
    sections = signal.butter(10, (300, 3400), "bandpass", fs=RATE, output="sos")
    x = signal.sosfiltfilt(sections, x)
    return Excerpt(torch.from_numpy((0.3 * x / np.abs(x).max()).astype(np.float32)), RATE)


def test_expanders_that_would_lift_silent_bands_give_way_and_not_the_tone() -> None:
    source, start = words_on_a_line(), ENHANCE.params.neutral(1)
    guard = Guard.of(*(sound_of(source),) * 2)
    trial = Trial(ENHANCE, source.audio.numpy(), RATE, guard)
    whole, said = expanded(ENHANCE, source, start, {})
    assert said and guard.excess_db(trial.look(whole).gain_db) > 3
    found, said = with_expanders(ENHANCE, source, start, {}, 1.0)
    gain_db = trial.look(found).gain_db
    assert guard.excess_db(gain_db) <= TOLERATED_DB
    assert np.ptp(gain_db[guard.known & ~guard.empty]) < 1
    ratios = [float(v[0]) for n, v in found.items() if n.endswith("expander_ratio")]
    assert not said or max(ratios) > 1.05
    assert not any("12 dB" in note for note in said)


def test_no_equaliser_is_worse_than_no_change() -> None:
    """What dynamics lift in silent bands is not taken back at the price of the others."""
    source, start = words_on_a_line(), ENHANCE.params.neutral(1)
    setting, _ = expanded(ENHANCE, source, start, {})
    found, notes = without_lift(ENHANCE, source, setting, {})
    guard = Guard.of(*(sound_of(source),) * 2)
    gain_db = Trial(ENHANCE, source.audio.numpy(), RATE, guard).look(found).gain_db
    assert notes and np.ptp(gain_db[guard.known & ~guard.empty]) < 1
