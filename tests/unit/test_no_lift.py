"""Enhancement and presets lift no band in which the recording holds nothing."""

from __future__ import annotations

import functools

import numpy as np
import pytest
import torch
from scipy import signal

from retone.effects import MATCH_CHAIN
from retone.estimators.base import Excerpt
from retone.estimators.guard import TOLERATED_DB, Guard
from retone.estimators.no_lift import without_lift
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
