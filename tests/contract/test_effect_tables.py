"""What every effect's parameter table and its refusals must hold."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest
import torch
from under_test import each_effect

from conftest import MakeAudio
from retone.dsp.effect import Effect
from retone.dsp.param import to_numbers
from retone.dsp.views import ResponseView
from retone.effects import leaves
from retone.effects.spec import effect_from_spec, effect_to_spec


@each_effect
def test_names_carry_units_and_text(effect: Effect) -> None:
    endings = {"dB": "_db", "Hz": "_hz", "ms": "_ms", ":1": "ratio"}
    for p in effect.params:
        others = tuple(e for unit, e in endings.items() if unit != p.unit)
        assert p.name.endswith(endings.get(p.unit, "")), p.name
        assert not p.name.endswith(others), f"{p.name}: its name ends with another unit"
        assert p.help.endswith("."), f"{p.name}: help is a sentence"
        assert p.low <= p.default <= p.high
        assert p.neutral is None or p.low <= p.neutral <= p.high
        assert all(effect.params[gate].neutral is not None for gate in p.gates)


@each_effect
def test_a_parameter_is_audible_exactly_when_one_of_its_gates_is_open(
    effect: Effect, make_audio: MakeAudio
) -> None:
    """Sliders without effect are dimmed: all of those, and no others."""
    table, rate = effect.params, 48000
    audio = 10 * make_audio(14400, rate, channels=2, seed=8)
    audio[..., 3200:] *= 1e-4
    cases = [(p, gate) for p in table for gate in (p.gates and (None, *p.gates))]
    setting = table.neutral(2 * len(cases))
    for i, (p, gate) in enumerate(cases):
        pair = slice(2 * i, 2 * i + 2)
        if gate is not None:
            setting[gate][pair] = float(table[gate].to_physical(torch.tensor(0.8)))
        setting[p.name][pair] = p.to_physical(torch.tensor([0.2, 0.9], dtype=torch.float64))
    if not cases:
        return
    y = effect.render(audio.expand(2 * len(cases), -1, -1).contiguous(), rate, setting).audio
    for i, (p, gate) in enumerate(cases):
        same = bool(torch.equal(y[2 * i], y[2 * i + 1]))
        alone = gate is None and "crossover" not in p.name  # whose other band may be active
        assert not same if gate is not None else same or not alone, (p.name, gate)


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


@each_effect
def test_roles_and_units_agree(effect: Effect) -> None:
    """What the rest of the code knows of a parameter is its role."""
    units = {
        "threshold": "dB", "ratio": ":1", "knee": "dB", "makeup": "dB", "gain": "dB",
        "frequency": "Hz", "q": "", "time": "ms", "mix": "",
    }  # fmt: skip
    for p in effect.params:
        assert not p.role or p.unit == units[p.role], p.name
        assert p.level_relative == (p.role == "threshold"), p.name
        if p.role in ("makeup", "gain", "ratio", "mix"):
            assert p.neutral is not None, f"{p.name}: this role needs a neutral value"


@each_effect
def test_a_spec_is_the_effect_again(effect: Effect) -> None:
    spec = json.loads(json.dumps(effect_to_spec(effect, 44100)))
    assert spec["type"] == effect.kind and effect_from_spec(spec, 44100) == effect


@each_effect
def test_stages_and_views_follow_the_setting(effect: Effect) -> None:
    setting = effect.params.sample(1, torch.Generator().manual_seed(4))
    frequency = np.geomspace(20, 20000, 50)
    for _, member, own in leaves(effect, setting):
        stages = member.stages(own, 48000)
        assert stages is None or len({s.name for s in stages}) == len(stages)
        for view in member.views(own, 48000, frequency):
            if isinstance(view, ResponseView):
                assert view.total_db.shape == (50,) and np.isfinite(view.total_db).all()
                names = {n for b in view.bands for n in b.moves.values()} | set(view.edges)
                assert names <= set(member.params.names)
                assert all(0 < b.low_hz < b.high_hz <= 24000 for b in view.bands)
            else:
                assert view.input_db.shape == view.output_db.shape
                assert np.isfinite(view.output_db).all()
