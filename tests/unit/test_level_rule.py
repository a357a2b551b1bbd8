"""The level of a network's result: towards the reference of one voice, not of another."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from conftest import MakeAudio
from retone.estimators.base import Excerpt
from retone.estimators.level_rule import LevelRule, Levels, levels_of
from retone.estimators.network import Network

RATE = 24000


def test_levels_are_those_of_a_sine():
    time = np.arange(RATE) / RATE
    sine = (0.25 * np.sin(2 * np.pi * 997 * time)).astype(np.float32)
    levels = levels_of(torch.from_numpy(sine)[None], RATE)
    assert levels is not None
    assert levels.rms_dbfs == pytest.approx(20 * np.log10(0.25) - 3.01, abs=0.01)
    assert levels.loudness_lufs == pytest.approx(levels.rms_dbfs, abs=0.1)
    assert levels.peak_dbfs == pytest.approx(20 * np.log10(0.25), abs=0.01)
    assert levels_of(np.zeros((1, RATE)), RATE) is None


def test_the_same_source_goes_to_the_references_level_and_another_one_hardly():
    source, result = Levels(-28.0, -27.0, -12.0), Levels(-30.0, -29.0, -15.0)
    reference = [Levels(-20.0, -19.0, -12.0)]
    rule = LevelRule(same=0.5, peak=0.25, own=0.2, sharpness=200.0)
    assert rule.gain_db(result, source, reference, [1.0]) == pytest.approx(5.0)
    # the peak lies 3 dB lower than the reference's, and the input's level there 2 dB higher
    assert rule.gain_db(result, source, reference, [0.0]) == pytest.approx(0.25 * 3 + 0.2 * 2)
    both = rule.gain_db(result, source, reference * 2, [0.0, 1.0])
    assert both == pytest.approx((5.0 + 1.15) / 2)


def test_nothing_is_added_to_a_result_at_its_references_level():
    levels = Levels(-20.0, -19.0, -12.0)
    assert LevelRule().gain_db(levels, levels, [levels], [0.3]) == 0.0


def _excerpts(make_audio: MakeAudio) -> tuple[Excerpt, Excerpt]:
    audio = make_audio(6 * RATE, RATE, seed=3)
    first, second = np.split(np.asarray(audio, np.float32).reshape(-1), 2)
    loud = np.tanh(6 * second)
    return tuple(Excerpt(torch.from_numpy(0.25 * x / np.abs(x).max()), RATE) for x in (first, loud))  # type: ignore[return-value]


def test_only_makeup_moves_and_a_lock_holds_it(make_audio: MakeAudio):
    source, reference = _excerpts(make_audio)
    plain = Network(weights="speech", fit_steps=0, level=None)
    ruled = replace(plain, level=LevelRule(peak=1.0, own=0.0, same=1.0))
    without, with_rule = (n.estimate(source, [reference], locks={}).setting for n in (plain, ruled))
    moved = {n for n, v in without.items() if abs(float(v - with_rule[n])) > 1e-4}
    assert moved == {"compressor.makeup_db"}
    held = ruled.estimate(source, [reference], locks={"compressor.makeup_db": 0.0}).setting
    assert float(held["compressor.makeup_db"]) == pytest.approx(
        float(without["compressor.makeup_db"]), abs=1e-5
    )
