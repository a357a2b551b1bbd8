"""What every effect's parameter table and its refusals must hold."""

from __future__ import annotations

import json
import math

import pytest
import torch

from retone.dsp.effect import Effect
from retone.dsp.param import to_numbers
from retone.effects import EFFECTS

each_effect = pytest.mark.parametrize("effect", EFFECTS, ids=lambda e: e.name)


@each_effect
def test_names_carry_units_and_text(effect: Effect) -> None:
    endings = {"dB": "_db", "Hz": "_hz", "ms": "_ms", ":1": "ratio", "": "q"}
    for p in effect.params:
        assert p.name.endswith(endings[p.unit]), p.name
        assert p.help.endswith("."), f"{p.name}: help is a sentence"
        assert p.low <= p.default <= p.high
        assert p.neutral is None or p.low <= p.neutral <= p.high
        if p.audible_when is not None:
            assert effect.params[p.audible_when].neutral is not None


@each_effect
def test_samples_stay_in_range_and_units_round_trip(effect: Effect) -> None:
    table = effect.params
    setting = table.sample(200, torch.Generator().manual_seed(0))
    for p in table:
        slack = 1e-9 * (p.high - p.low)
        assert setting[p.name].min() >= p.low - slack
        assert setting[p.name].max() <= p.high + slack
        assert setting[p.name].std() > 0
    unit = table.to_unit(setting)
    assert unit.min() >= -1e-9 and unit.max() <= 1 + 1e-9
    again = table.to_physical(unit)
    for name in table.names:
        torch.testing.assert_close(again[name], setting[name], rtol=1e-9, atol=1e-9)
    for end, pick in ((0.0, "low"), (1.0, "high")):
        edge = table.to_physical(torch.full((1, len(table)), end, dtype=torch.float64))
        for p in table:
            assert float(edge[p.name]) == pytest.approx(getattr(p, pick), rel=1e-12, abs=1e-12)


@each_effect
def test_settings_survive_json(effect: Effect) -> None:
    setting = effect.params.sample(3, torch.Generator().manual_seed(2))
    numbers = json.loads(json.dumps(to_numbers(setting, item=1)))
    again = effect.params.setting(numbers, batch=2)
    for name in effect.params.names:
        assert torch.equal(again[name], setting[name][1].expand(2)), name


@each_effect
def test_wrong_calls_are_refused_with_a_sentence(effect: Effect) -> None:
    audio = torch.zeros(2, 1, 8)
    good = effect.params.defaults(2)
    name = effect.params.names[-1]
    lacking = {n: v for n, v in good.items() if n != name}
    wrong = [
        (audio[0, 0], 24000, good, r"audio\[None, None\]"),
        (audio[0], 24000, good, r"audio\[None\]"),
        (audio.short(), 24000, good, "full scale"),
        (audio.half(), 24000, good, "float32 or float64"),
        (audio, 0, good, "sample_rate must be positive"),
        (audio, -1.0, good, "sample_rate must be positive"),
        (audio, math.nan, good, "sample_rate must be positive"),
        (audio, 24000, lacking, f"lacks '{name}'"),
        (audio, 24000, {**good, name + "x": good[name]}, f"Did you mean.*{name}"),
        (audio, 24000, {**good, name: torch.zeros(3)}, r"must be \[2\]"),
    ]
    for bad_audio, rate, setting, text in wrong:
        for call in (effect.render, effect.relax):
            with pytest.raises(ValueError, match=text) as caught:
                call(bad_audio, rate, setting)
            assert type(caught.value).__name__ in ("ShapeError", "SettingError")
            assert effect.name in str(caught.value) or "called" in str(caught.value)
