"""The subtractive multiband equaliser: bands that add up, steps without ripple, both ways."""

from __future__ import annotations

import math

import pytest
import torch

from conftest import MakeAudio
from retone.dsp.param import Setting
from retone.effects import EXPANDER_TABLE, Compressor, MultibandEqualizer
from retone.effects.spec import effect_from_spec, effect_to_spec
from retone.errors import SettingError

RATE = 48000
EFFECT = MultibandEqualizer()
HZ = torch.logspace(math.log10(20), math.log10(20000), 400, dtype=torch.float64)


def every_band(**values: float) -> Setting:
    """Neutral, with the same values in all bands."""
    setting = EFFECT.params.neutral(1)
    for name, value in values.items():
        for i in range(1, 7):
            setting[f"band_{i}_{name}"] = torch.tensor([value], dtype=torch.float64)
    return setting


def test_bands_add_up_to_the_input_at_any_crossover() -> None:
    setting = {**EFFECT.params.sample(5, torch.Generator().manual_seed(0))}
    for i in range(1, 7):
        setting[f"band_{i}_gain_db"] = torch.zeros(5, dtype=torch.float64)
    each = EFFECT.band_responses(HZ, RATE, setting)
    assert (each.sum(1) - 1).abs().max() < 1e-12
    middle = [math.sqrt(a * b) for a, b in ((20, 60), (5000, 9500))]
    assert each[:, 0, HZ < middle[0]].abs().min() > 0.8  # a band is most of what lies in it
    assert each[:, 5, HZ > 15000].abs().min() > 0.8


@pytest.mark.parametrize("gain_db", [-24.0, -12.0, 12.0, 24.0])
def test_a_step_between_bands_is_monotone_and_turns_little_phase(gain_db: float) -> None:
    """First-order shelves; a step of subtracted second-order filters would dip or swing over."""
    setting = EFFECT.params.neutral(1)
    for i in (1, 2, 3):
        setting[f"band_{i}_gain_db"] = torch.tensor([gain_db], dtype=torch.float64)
    response = EFFECT.response(HZ, RATE, setting)[0]
    level = 20 * response.abs().log10()
    steps = level.diff() * math.copysign(1, -gain_db)
    assert steps.min() > -1e-9
    assert float(level[0]) == pytest.approx(gain_db, abs=0.4)
    assert float(level[-1]) == pytest.approx(0, abs=abs(gain_db) / 8)
    # asin((g - 1) / (g + 1)), the most a first-order shelf turns
    ratio = 10 ** (abs(gain_db) / 20)
    assert response.angle().abs().max() < math.asin((ratio - 1) / (ratio + 1)) + 1e-6


def test_gain_alone_is_gain(make_audio: MakeAudio) -> None:
    audio = make_audio(2000, RATE, channels=2)
    out = EFFECT.render(audio, RATE, every_band(gain_db=-6.0)).audio
    torch.testing.assert_close(out, audio * 10 ** (-6 / 20), rtol=0, atol=1e-12)


@pytest.mark.parametrize(("ratio", "change_db"), [(2.0, -10.0), (0.5, 20.0), (1.0, 0.0)])
def test_ratios_work_both_ways(ratio: float, change_db: float) -> None:
    """A tone 20 dB over the threshold: ratio 2 takes 10 dB, ratio 0.5 gives 20."""
    t = torch.arange(RATE, dtype=torch.float64) / RATE
    setting = every_band(threshold_db=-60.0, ratio=1.0, attack_ms=1.0, release_ms=500.0)
    setting["band_1_ratio"] = torch.tensor([ratio], dtype=torch.float64)
    tone = torch.sin(2 * math.pi * 30 * t)[None, None] * math.sqrt(2) * 10 ** (-40 / 20)
    out = EFFECT.render(tone, RATE, setting).audio[0, 0, RATE // 2 :]
    before = tone[0, 0, RATE // 2 :]
    got = 10 * math.log10(float(out.square().mean() / before.square().mean()))
    assert got == pytest.approx(change_db, abs=2.0)  # the tone lies a little in band 2 as well


def test_upward_expansion_undoes_compression(make_audio: MakeAudio) -> None:
    """What the papers' compressors cannot: the range of levels comes back."""
    audio = make_audio(RATE, RATE)
    squeezed = EFFECT.render(audio, RATE, every_band(threshold_db=-50.0, ratio=2.0)).audio
    again = EFFECT.render(squeezed, RATE, every_band(threshold_db=-50.0, ratio=0.5)).audio

    def spread_db(x: torch.Tensor) -> float:
        level = x[0, 0].reshape(-1, 960).square().mean(1).log10() * 10
        return float(level.quantile(0.95) - level.quantile(0.3))

    wanted, less, back = (spread_db(x) for x in (audio, squeezed, again))
    assert less < wanted - 3
    assert abs(back - wanted) < 0.35 * (wanted - less)


def test_an_expander_lowers_what_is_quiet_and_only_that() -> None:
    t = torch.arange(2 * RATE, dtype=torch.float64) / RATE
    tone = torch.sin(2 * math.pi * 1000 * t) * 0.3
    tone[RATE:] *= 1e-3
    setting = every_band(expander_threshold_db=-40.0, expander_ratio=2.0, release_ms=20.0)
    out = EFFECT.render(tone[None, None], RATE, setting).audio[0, 0]
    parts = [slice(RATE // 2, RATE), slice(3 * RATE // 2, 2 * RATE)]
    loud, quiet = (10 * math.log10(float(out[p].square().mean() / tone[p].square().mean()))
                   for p in parts)  # fmt: skip
    assert loud == pytest.approx(0, abs=0.3)
    assert quiet < -25


def test_specs_keep_the_detector() -> None:
    other = MultibandEqualizer("voice", Compressor(table=EXPANDER_TABLE, rms_ms=25.0))
    assert effect_from_spec(effect_to_spec(other, RATE), RATE) == other
    with pytest.raises(SettingError, match="rms_ms only"):
        effect_to_spec(MultibandEqualizer("voice", Compressor()), RATE)
