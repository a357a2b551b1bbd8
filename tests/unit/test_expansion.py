"""What ``enhance`` does between the words: room and hiss fall, words stay, nothing is gated."""

from __future__ import annotations

import re

import numpy as np
import pytest
import torch

from retone.dsp.param import Setting
from retone.effects import Chain, Equalizer
from retone.effects.compressor import EXPANDER_TABLE, Compressor
from retone.effects.multiband_equalizer import MultibandEqualizer
from retone.errors import SettingError
from retone.estimators.base import HELD_NOTE, Excerpt, off_note, shift_thresholds
from retone.estimators.expansion import ATTACK_MS, FALL_DB, expanded
from retone.estimators.reference_free import ReferenceFree

RATE = 24000
CHAIN = Chain("enhance", (Equalizer(), MultibandEqualizer()))


def neutral(effect: Chain = CHAIN) -> Setting:
    return {
        p.name: torch.tensor(
            [p.neutral if p.neutral is not None else p.default], dtype=torch.float64
        )
        for p in effect.params
    }


def bursts(noise_db: float, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Half a second of loud noise, half a second of pause, and where it is loud."""
    rng = np.random.default_rng(seed)
    loud = (np.arange(8 * RATE) // (RATE // 2)) % 2 == 0
    x = 0.1 * rng.standard_normal(len(loud)) * loud
    x = x + 0.1 * 10 ** (noise_db / 20) * rng.standard_normal(len(loud))
    return x.astype(np.float32), loud


def after(x: np.ndarray, **options: object) -> tuple[np.ndarray, Setting, tuple[str, ...]]:
    found, notes = expanded(CHAIN, Excerpt(torch.from_numpy(x), RATE), neutral(), **options)  # type: ignore[arg-type]
    with torch.no_grad():
        out = CHAIN.render(torch.from_numpy(x)[None, None], RATE, found).audio[0, 0].numpy()
    return out, found, notes


def change_db(out: np.ndarray, x: np.ndarray, where: np.ndarray) -> float:
    return float(10 * np.log10(np.mean(out[where] ** 2) / np.mean(x[where] ** 2)))


@pytest.mark.parametrize("noise_db", [-50.0, -35.0, -20.0])
def test_pauses_fall_and_words_stay(noise_db: float) -> None:
    x, loud = bursts(noise_db)
    out, _, notes = after(x, locks={})
    settled = np.roll(loud, RATE // 4) & loud, np.roll(~loud, RATE // 4) & ~loud
    words, pauses = (change_db(out, x, where) for where in settled)
    assert abs(words) < 0.5
    assert -FALL_DB - 2 < pauses < -FALL_DB + 2
    assert any("turned down" in n for n in notes)


@pytest.mark.parametrize(("hum", "fall_db"), [(0.003, 8.2), (0.01, 2.9), (0.03, 1.1)])
def test_the_note_says_how_far_pauses_fall_that_are_full_of_hum(hum: float, fall_db: float) -> None:
    """Every other band falls by 12 dB, but what sounds in the pauses is the hum."""
    x, loud = bursts(-60.0)
    time_s = np.arange(len(x)) / RATE
    lines = [np.sin(2 * np.pi * hz * time_s) for hz in (50, 100, 150)]
    x = (x + hum * np.sum(lines, axis=0)).astype(np.float32)
    out, _, notes = after(x, locks={})
    assert change_db(out, x, np.roll(~loud, RATE // 4) & ~loud) == pytest.approx(-fall_db, abs=0.1)
    said = [float(word) for note in notes for word in re.findall(r"(\d+) dB", note)]
    assert said == ([pytest.approx(fall_db, abs=1.5)] if fall_db > 2 else [])


def test_steady_noise_stays() -> None:
    x = 0.1 * np.random.default_rng(1).standard_normal(6 * RATE).astype(np.float32)
    out, _, notes = after(x, locks={})
    assert abs(change_db(out, x, np.ones(len(x), bool))) < 1 and not notes


def test_silence_and_short_clips_change_nothing() -> None:
    for x in (np.zeros(RATE, np.float32), np.zeros(100, np.float32)):
        _, found, notes = after(x, locks={})
        assert found == neutral() and not notes


def test_digital_silence_between_words_does_not_move_the_thresholds() -> None:
    x, _ = bursts(-35.0)
    gap = np.zeros(3 * RATE, np.float32)
    half = len(x) // 2
    _, one, _ = after(x, locks={})
    _, two, _ = after(np.concatenate([x[:half], gap, x[half:]]), locks={})
    for name in one:
        if "expander_threshold" in name:
            assert float(two[name]) == pytest.approx(float(one[name]), abs=1.0)


def test_a_louder_copy_moves_the_thresholds_as_far() -> None:
    x, _ = bursts(-30.0)
    _, one, _ = after(x, locks={})
    _, two, _ = after(0.5 * x, locks={})
    for name in one:
        if "expander_threshold" in name:
            assert float(one[name]) - float(two[name]) == pytest.approx(6.02, abs=0.05)


def test_locks_and_shares_are_kept() -> None:
    x, _ = bursts(-35.0)
    _, found, _ = after(x, locks={"multiband.band_2_expander_ratio": 1.0}, share=0.5)
    assert float(found["multiband.band_2_expander_ratio"]) == 1.0
    assert after(x, locks={}, share=0.0)[1] == neutral()
    whole = float(after(x, locks={})[1]["multiband.band_3_expander_ratio"])
    half = float(found["multiband.band_3_expander_ratio"])
    assert half - 1 == pytest.approx(0.5 * (whole - 1))


def test_a_locked_threshold_or_gain_is_what_the_expanders_see() -> None:
    x, _ = bursts(-35.0)
    name = "multiband.band_3_expander_threshold_db"
    _, found, _ = after(x, locks={name: -20.0})
    assert float(found[name]) == -20.0
    assert float(found["multiband.band_3_expander_ratio"]) == 1.0
    quieter = {f"equalizer.{n}_gain_db": -18.0 for n in ("low_shelf", "high_shelf")}
    _, plain, _ = after(x, locks={})
    _, locked, _ = after(x, locks=quieter)
    for band in (1, 6):
        name = f"multiband.band_{band}_expander_threshold_db"
        assert float(locked[name]) < float(plain[name]) - 3
    ratios = {f"multiband.band_{i}_expander_ratio": 1.0 for i in range(1, 7)}
    out, _, notes = after(x, locks=ratios)
    assert not notes and np.array_equal(out, x)


def test_a_band_that_compresses_keeps_its_times() -> None:
    x, _ = bursts(-35.0)
    setting = neutral()
    for name, value in (("ratio", 2.0), ("attack_ms", 33.0), ("release_ms", 444.0)):
        setting[f"multiband.band_2_{name}"] = torch.tensor([value], dtype=torch.float64)
    found, _ = expanded(CHAIN, Excerpt(torch.from_numpy(x), RATE), setting, {})
    assert float(found["multiband.band_2_attack_ms"]) == 33.0
    assert float(found["multiband.band_3_attack_ms"]) == ATTACK_MS


@pytest.mark.parametrize("gain_db", [-40.0, -60.0, -80.0])
def test_words_of_quiet_recordings_stay(gain_db: float) -> None:
    """Thresholds that a quiet recording would need lie below their range: no expander then."""
    x, loud = bursts(-35.0)
    setting, _ = expanded(CHAIN, Excerpt(torch.from_numpy(x), RATE), neutral(), {})
    moved, _ = shift_thresholds(CHAIN.params, setting, gain_db)
    quiet = (x * 10 ** (gain_db / 20)).astype(np.float32)
    with torch.no_grad():
        out = CHAIN.render(torch.from_numpy(quiet)[None, None], RATE, moved).audio[0, 0].numpy()
    words = np.roll(loud, RATE // 4) & loud
    assert abs(change_db(out, quiet, words)) < 0.5


@pytest.mark.parametrize("level_db", [0.0, -50.0, -60.0, -80.0])
def test_the_note_counts_what_a_quiet_recording_leaves_at_work(level_db: float) -> None:
    x, _ = bursts(-35.0)
    source = Excerpt(torch.from_numpy(x), RATE, level_db=level_db)
    setting, said = expanded(CHAIN, source, neutral(), {})
    moved, off = shift_thresholds(CHAIN.params, setting, level_db)
    ratios = [float(moved[f"multiband.band_{i + 1}_expander_ratio"]) for i in range(6)]
    at_work = sum(r > 1.0 for r in ratios)
    assert at_work == {0.0: 6, -80.0: 0}.get(level_db, at_work)
    if at_work == 0:
        assert not said and off == (off_note(6, 6),)
    elif at_work == 6:
        assert "bands" not in said[0] and not off
    else:
        assert said[0].endswith(f" in {at_work} of 6 bands.") and off == (off_note(6 - at_work, 6),)


def test_how_many_expanders_are_off() -> None:
    assert "an expander, whose threshold would be too low, is off" in off_note(1, 1)
    assert "1 of 6 expanders, whose threshold would be too low, is off" in off_note(1, 6)
    assert "3 of 6 expanders, whose thresholds would be too low, are off" in off_note(3, 6)
    assert "all 6 expanders, whose thresholds would be too low, are off" in off_note(6, 6)


@pytest.mark.parametrize(
    ("numbers", "notes"),
    [
        ({"threshold_db": -40.0, "expander_threshold_db": -100.0}, ()),
        ({"threshold_db": -90.0, "expander_threshold_db": -100.0}, ()),
        ({"threshold_db": -90.0, "ratio": 2.0}, (HELD_NOTE,)),
        ({"expander_threshold_db": -90.0, "expander_ratio": 2.0}, (off_note(1, 1),)),
        ({"threshold_db": -60.0, "ratio": 2.0, "expander_threshold_db": -100.0}, ()),
    ],
)
def test_only_what_is_at_work_is_noted(numbers: dict[str, float], notes: tuple[str, ...]) -> None:
    table = Compressor(table=EXPANDER_TABLE).params
    setting = table.neutral(1)
    setting |= {n: torch.tensor([v], dtype=torch.float64) for n, v in numbers.items()}
    moved, said = shift_thresholds(table, setting, -20.0)
    assert said == notes
    assert float(moved["expander_ratio"]) == 1.0


def test_the_share_lies_between_0_and_1() -> None:
    with pytest.raises(SettingError, match="expansion = 1.5"):
        ReferenceFree(expansion=1.5)


def test_an_effect_without_expanders_is_left_alone() -> None:
    effect = Chain("two", (Equalizer(), Compressor()))
    setting = neutral(effect)
    x, _ = bursts(-35.0)
    found, notes = expanded(effect, Excerpt(torch.from_numpy(x), RATE), setting, {})
    assert found == setting and not notes
