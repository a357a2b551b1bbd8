"""Parameter scales, settings from numbers, and how strongly a setting acts."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from retone.dsp.param import Param, ParamTable, to_numbers
from retone.errors import SettingError

unit = st.floats(0, 1)
numbers = st.floats(-200, 200, allow_subnormal=False)


def tensor(value: float) -> torch.Tensor:
    return torch.tensor([value], dtype=torch.float64)


@st.composite
def params(draw: st.DrawFn) -> Param:
    """Any parameter a table could hold, with a neutral value somewhere in its range."""
    scale = draw(st.sampled_from(["linear", "log", "slope"]))
    if scale == "linear":
        low, width = draw(numbers), draw(st.floats(0.1, 200))
        high = low + width
    else:
        low = draw(st.floats(0.05, 100))
        high = low * draw(st.floats(1.5, 1000))
    where = draw(unit)
    default = min(max(low + where * (high - low), low), high)
    neutral = low if scale == "slope" else default
    return Param("x", "", low, high, default, scale, "Anything.", neutral=neutral)  # type: ignore[arg-type]


def table() -> ParamTable:
    return ParamTable(
        (
            Param("gain_db", "dB", -24, 24, 0, "linear", "Gain.", neutral=0),
            Param("frequency_hz", "Hz", 20, 20000, 1000, "log", "Where.", audible_when="gain_db"),
            Param("ratio", ":1", 1, 20, 2, "slope", "How much.", neutral=1),
        )
    )


@given(params(), unit)
def test_unit_to_physical_and_back(param: Param, u: float) -> None:
    value = param.to_physical(tensor(u))
    slack = 1e-9 * max(abs(param.low), abs(param.high))
    assert param.low - slack <= float(value) <= param.high + slack
    assert float(param.to_unit(value)) == pytest.approx(u, abs=1e-7)


@given(params(), unit, unit)
def test_physical_values_rise_with_the_unit(param: Param, a: float, b: float) -> None:
    low, high = sorted((a, b))
    slack = 1e-9 * max(abs(param.low), abs(param.high))
    assert float(param.to_physical(tensor(low))) <= float(param.to_physical(tensor(high))) + slack


@given(params(), unit)
def test_amount_0_is_neutral_and_1_is_unchanged(param: Param, u: float) -> None:
    value = param.to_physical(tensor(u))
    assert param.neutral is not None
    size = max(abs(param.low), abs(param.high))
    assert float(param.blend(value, 0.0)) == pytest.approx(param.neutral, abs=1e-9 * size)
    assert float(param.blend(value, 1.0)) == pytest.approx(float(value), abs=1e-9 * size)


@given(params(), unit, unit, unit)
def test_amount_moves_one_way_and_stays_between(param: Param, u: float, a: float, b: float) -> None:
    value = param.to_physical(tensor(u))
    assert param.neutral is not None
    less, more = sorted((a, b))
    slack = 1e-9 * max(abs(param.low), abs(param.high))
    near = abs(float(param.blend(value, less)) - param.neutral)
    far = abs(float(param.blend(value, more)) - param.neutral)
    assert near <= far + slack
    assert far <= abs(float(value) - param.neutral) + slack


def test_amount_leaves_what_has_no_neutral() -> None:
    t = table()
    setting = t.setting({"gain_db": 8, "frequency_hz": 300, "ratio": 4})
    half = to_numbers(t.blend(setting, 0.5))
    assert half["gain_db"] == pytest.approx(4)
    assert half["frequency_hz"] == pytest.approx(300)
    # Half of the slope 1 - 1/4 is 3/8: a ratio of 1.6, which takes off half as many dB.
    assert half["ratio"] == pytest.approx(1.6)


@pytest.mark.parametrize(
    ("scale", "middle"),
    [("linear", 10.5), ("log", math.sqrt(20)), ("slope", 1 / (1 - 0.95 / 2))],
)
def test_the_middle_of_each_scale(scale: str, middle: float) -> None:
    p = Param("ratio", ":1", 1, 20, 2, scale, "Ratio.")  # type: ignore[arg-type]
    assert float(p.to_physical(tensor(0.5))) == pytest.approx(middle)


@given(st.integers(1, 5), st.integers(0, 2**31))
@settings(max_examples=30)
def test_whole_tables_round_trip(batch: int, seed: int) -> None:
    t = table()
    setting = t.sample(batch, torch.Generator().manual_seed(seed))
    u = t.to_unit(setting)
    assert u.shape == (batch, len(t))
    for name, value in t.to_physical(u).items():
        torch.testing.assert_close(value, setting[name])
    last = to_numbers(setting, item=batch - 1)
    assert list(last) == list(t.names)
    for name, value in t.setting(last, batch=2).items():
        assert torch.equal(value, setting[name][-1].expand(2))


def test_uniform_draws_are_uniform_on_each_scale() -> None:
    t = table()
    u = t.to_unit(t.sample(4000, torch.Generator().manual_seed(0)))
    assert (u.mean(dim=0) - 0.5).abs().max() < 0.03
    assert (u.var(dim=0) - 1 / 12).abs().max() < 0.01


def test_gradient_passes_through_every_scale() -> None:
    t = table()
    u = torch.full((1, 3), 0.4, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda v: tuple(t.to_physical(v).values()), (u,))


def test_prefixed_tables_keep_their_partners() -> None:
    dotted = table().prefixed("eq")
    assert dotted.names == ("eq.gain_db", "eq.frequency_hz", "eq.ratio")
    assert dotted["eq.frequency_hz"].gates == ("eq.gain_db",)


def test_defaults_and_neutral() -> None:
    t = table()
    assert to_numbers(t.defaults(2), 1) == {"gain_db": 0, "frequency_hz": 1000, "ratio": 2}
    assert to_numbers(t.neutral(1)) == {"gain_db": 0, "frequency_hz": 1000, "ratio": 1}


@pytest.mark.parametrize(
    ("values", "text"),
    [
        ({"gain": 3}, "Did you mean gain_db"),
        ({"zzz": 3}, "Known: gain_db, frequency_hz, ratio"),
        ({"gain_db": 25}, r"gain_db = 25 is outside its range -24..24 dB\."),
        ({"ratio": 0.5}, r"outside its range 1..20 :1\."),
        ({"gain_db": math.nan}, "outside its range"),
        ({"gain_db": math.inf}, "outside its range"),
        ({"gain_db": "loud"}, "expected a number, got 'loud'"),
        ({"gain_db": None}, "expected a number, got None"),
    ],
)
def test_bad_settings_are_refused(values: dict[str, float], text: str) -> None:
    with pytest.raises(SettingError, match=text):
        table().setting(values)


def test_bad_tables_are_refused() -> None:
    p = Param("q", "", 0.1, 10, 1, "log", "Q.")
    with pytest.raises(SettingError, match="appear twice"):
        ParamTable((p, p))
    with pytest.raises(SettingError, match="low <= default <= high"):
        Param("q", "", 0.1, 10, 11, "log", "Q.")
    with pytest.raises(SettingError, match="low <= default <= high"):
        Param("q", "", 1, 1, 1, "linear", "Q.")
    with pytest.raises(SettingError, match="log scale needs low > 0"):
        Param("q", "", 0, 10, 1, "log", "Q.")
    with pytest.raises(SettingError, match=r"expected unit parameters \[B, 3\], got \[2, 4\]"):
        table().to_physical(torch.zeros(2, 4))
