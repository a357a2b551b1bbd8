"""Pairs for enhancement: what is damaged, how, and what is left alone."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from tiny import SAMPLE_RATE

from retone.effects import Compressor, DynamicEqualizer, MultibandEqualizer
from retone.errors import DataError, SettingError
from retone.training.data.corpora import full_band
from retone.training.data.degradations import play_at_speed
from retone.training.data.enhance_pairs import EnhanceMaker, draw_device, is_speech


def maker(**changes: Any) -> EnhanceMaker:
    made = EnhanceMaker(sample_rate=SAMPLE_RATE, corruption=MultibandEqualizer(), length=24000)
    return replace(made, **changes)


@pytest.mark.parametrize("corruption", [DynamicEqualizer(), MultibandEqualizer()])
def test_a_number_always_gives_the_same_pair(corpora: dict[str, Any], corruption: Any) -> None:
    make = maker(corruption=corruption, device_probability=0.5)
    first = [make.make(corpora["train"], i, 7) for i in range(4)]
    again = [make.make(corpora["train"], i, 7) for i in (3, 1)]
    for pair, same in zip((first[3], first[1]), again, strict=True):
        np.testing.assert_array_equal(pair.input, same.input)
        np.testing.assert_array_equal(pair.target, same.target)
        assert pair.setting == same.setting and pair.group == same.group
    assert not np.array_equal(first[0].input, make.make(corpora["train"], 0, 8).input)
    assert len({p.start for p in first}) > 1


def test_pairs_keep_their_levels_and_say_what_was_done(corpora: dict[str, Any]) -> None:
    """The input is the damage of the target at its drive; the gains lead back to it."""
    make = maker(expansion=True, peak_dbfs=-1.0)
    for index in range(6):
        pair = make.make(corpora["train"], index, 1)
        peak = 10 ** (-1 / 20)
        assert np.abs(pair.input).max() == pytest.approx(peak, rel=1e-5)
        assert np.abs(pair.target).max() == pytest.approx(peak, rel=1e-5)
        assert pair.input.dtype == pair.target.dtype == np.float32
        assert pair.reference is pair.input and abs(pair.drive_db) <= 24
        setting = make.corruption.params.setting(pair.setting)
        driven = torch.from_numpy(pair.target)[None, None] * 10 ** (pair.drive_db / 20)
        damaged = make.corruption.render(driven, SAMPLE_RATE, setting).audio[0, 0].numpy()
        np.testing.assert_allclose(damaged * 10 ** (pair.input_gain_db / 20), pair.input, atol=1e-4)
        track = next(t for t in corpora["train"].tracks if t.group == pair.group)
        recorded = track.read(pair.start, make.length)
        np.testing.assert_allclose(
            recorded * 10 ** (pair.target_gain_db / 20), pair.target, atol=1e-4
        )


def test_draws_stay_in_their_ranges_and_expand_only_when_asked(corpora: dict[str, Any]) -> None:
    def settings(**changes: Any) -> list[dict[str, float]]:
        make = maker(**changes)
        rng = np.random.default_rng(0)
        return [make._draw_setting(rng) for _ in range(200)]

    plain, both = settings(), settings(expansion=True)
    strong = settings(strength="paper_strong")
    for drawn in (plain, both, strong):
        for setting in drawn:
            MultibandEqualizer().params.setting(setting)  # refuses what is out of range
    ratios = {k: np.array([s["band_2_ratio"] for s in v]) for k, v in
              (("plain", plain), ("both", both))}  # fmt: skip
    steep = {k: np.array([s["band_2_expander_ratio"] for s in v]) for k, v in
             (("plain", plain), ("both", both))}  # fmt: skip
    assert ratios["plain"].min() == 1 and 4 < ratios["plain"].max() <= 6
    assert np.mean(ratios["plain"] > 1) == pytest.approx(0.7, abs=0.1)
    assert ratios["both"].min() < 0.6 and steep["plain"].max() == 1 < steep["both"].max() <= 3
    gains = np.array([s["band_4_gain_db"] for s in plain])
    assert np.mean(gains != 0) == pytest.approx(0.7, abs=0.1) and 10 < np.abs(gains).max() <= 12
    assert max(abs(s["band_4_gain_db"]) for s in strong) > 22


def test_clean_clips_are_left_clean_and_scores_are_of_full_damage(corpora: dict[str, Any]) -> None:
    make = maker(clean_probability=1.0, device_probability=1.0, drive_db=6.0)
    pair = make.make(corpora["train"], 1, 3)
    np.testing.assert_allclose(pair.input, pair.target, atol=1e-5)
    table = make.for_scoring()
    assert table.clean_probability == 0 and table.min_strength == 1 and table.speed == 1
    assert np.abs(table.make(corpora["train"], 1, 3).input - pair.target).max() > 0.01
    rng = np.random.default_rng(0)
    mild = [maker()._draw_setting(rng, 0.25) for _ in range(50)]
    assert 2 < max(abs(s["band_3_gain_db"]) for s in mild) <= 3
    assert 1.2 < max(s["band_3_ratio"] for s in mild) <= 6**0.25 + 1e-9


def test_noise_is_in_the_input_alone_and_a_low_band_in_both(corpora: dict[str, Any]) -> None:
    clean = maker(clean_probability=1.0)
    for index in range(4):
        pair = replace(clean, noise_probability=1.0).make(corpora["train"], index, 2)
        gain = float(pair.input @ pair.target) / float(pair.target @ pair.target)
        noise = pair.input - gain * pair.target
        ratio_db = 20 * math.log10(gain * np.std(pair.target) / np.std(noise))
        assert 11 < ratio_db < 46
        low = replace(clean, low_band_probability=1.0).make(corpora["train"], index, 2)
        for audio in (low.input, low.target):
            power = np.abs(np.fft.rfft(audio)) ** 2
            assert power[11000:].sum() < 1e-6 * power.sum()  # bins of 1 Hz


def test_a_faster_voice_is_higher() -> None:
    t = np.arange(26500) / SAMPLE_RATE
    tone = np.sin(2 * math.pi * 1000 * t).astype(np.float32)
    fast = play_at_speed(tone, 1.1, 24000)
    assert fast.size == 24000
    spectrum = np.abs(np.fft.rfft(fast[1000:-1000] * np.hanning(22000)))
    assert np.argmax(spectrum) * SAMPLE_RATE / 22000 == pytest.approx(1100, abs=2)
    assert maker(speed=1.1).clip_samples >= 26402 and maker().clip_samples == 24000


def test_a_target_at_rest_has_the_damages_phase(corpora: dict[str, Any]) -> None:
    """With bands left alone the input then is the target: both went through the all-passes."""
    plain = maker(corruption=DynamicEqualizer(), band_probability=0.0, drive_db=0.0)
    turned = replace(plain, allpass_target=True)
    a, b = (m.make(corpora["train"], 2, 5) for m in (plain, turned))
    np.testing.assert_array_equal(a.input, b.input)
    same = b.target * np.abs(b.input).max() / np.abs(b.target).max()
    np.testing.assert_allclose(same, b.input, atol=1e-4)
    assert np.abs(a.target - a.input).max() > 0.1
    spectra = [np.abs(np.fft.rfft(x)) for x in (a.target, b.target)]
    assert np.linalg.norm(spectra[0] - spectra[1]) < 0.05 * np.linalg.norm(spectra[0])
    np.testing.assert_array_equal(
        turned.for_scoring().make(corpora["train"], 2, 5).target, a.target
    )


def test_an_alternate_maker_makes_every_second_pair(corpora: dict[str, Any]) -> None:
    one, other = maker(), maker(corruption=DynamicEqualizer(), speed=1.1)
    both = replace(one, alternate=other)
    for index in range(4):
        alone = (one, other)[index % 2].make(corpora["train"], index, 7)
        pair = both.make(corpora["train"], index, 7)
        np.testing.assert_array_equal(pair.input, alone.input)
        np.testing.assert_array_equal(pair.target, alone.target)
    assert both.clip_samples == other.clip_samples > one.clip_samples
    checked = both.for_validation(corpora["val"])
    assert checked.alternate == replace(other, speed=1.0)
    assert both.for_scoring() == one.for_scoring()
    longer = replace(both, length=12000)
    assert longer.alternate and longer.alternate.length == 12000


def test_voices_without_a_top_are_drawn_less_often(corpora: dict[str, Any]) -> None:
    train = corpora["train"]
    low = {t.group for t, full in zip(train.tracks, full_band(train), strict=True) if not full}
    assert low == {t.group for t in train.tracks if "16khz" in t.group} != set()

    def drawn(weight: float) -> set[str]:
        make = maker(full_band_weight=weight)
        return {make.make(train, i, 1).group for i in range(30)}

    assert drawn(1.0) & low and not drawn(1e6) & low and drawn(1e-6) <= low


def test_silence_is_left_out() -> None:
    rng = np.random.default_rng(0)
    speech = (0.1 * rng.standard_normal(24000)).astype(np.float32)
    assert is_speech(speech, SAMPLE_RATE, -1.0)
    assert not is_speech(speech * 1e-4, SAMPLE_RATE, -1.0)  # below 1e-4 all over
    assert is_speech(speech * 1e-2, SAMPLE_RATE, -1.0)  # quiet, but judged at its peak level
    for share, kept in ((0.45, True), (0.55, False)):
        paused = speech.copy()
        paused[: int(share * paused.size)] *= 1e-3
        assert is_speech(paused, SAMPLE_RATE, -1.0) is kept


def test_devices_are_filters_that_can_be_built() -> None:
    rng = np.random.default_rng(1)
    drawn = [draw_device(rng, SAMPLE_RATE) for _ in range(50)]
    assert {len(d) for d in drawn} == {2, 3, 4, 5}
    assert all(0 < b.frequency_hz < SAMPLE_RATE / 2 for d in drawn for b in d)


def test_what_cannot_be_is_refused(corpora: dict[str, Any]) -> None:
    with pytest.raises(SettingError, match="moderate, paper_strong"):
        maker(strength="gentle")
    with pytest.raises(SettingError, match=r"not in 0\.\.1"):
        maker(device_probability=2.0)
    with pytest.raises(SettingError, match="full_band_weight 0.0 must be above 0"):
        maker(full_band_weight=0.0)
    with pytest.raises(SettingError, match="multiband"):
        maker(corruption=Compressor())
    with pytest.raises(DataError, match="length shorter"):
        maker(length=SAMPLE_RATE * 600).make(corpora["train"], 0, 0)
    with pytest.raises(SettingError, match="open the corpus at that rate"):
        maker(sample_rate=16000).make(corpora["train"], 0, 0)
