"""The error tree, the shape check and the unit conversions every part relies on."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from retone import errors, units
from retone.errors import (
    AudioError,
    DataError,
    MissingExtraError,
    RetoneError,
    SettingError,
    ShapeError,
    expect,
)


def test_one_base_class_catches_everything() -> None:
    own = [e for e in vars(errors).values() if isinstance(e, type) and issubclass(e, Exception)]
    assert len(own) >= 6
    for error in own:
        assert issubclass(error, RetoneError)
        assert error.__name__ in (errors.__doc__ or ""), "the tree in the docstring is complete"


def test_shape_and_setting_errors_are_value_errors() -> None:
    assert issubclass(ShapeError, ValueError)
    assert issubclass(errors.SettingError, ValueError)
    assert issubclass(MissingExtraError, ImportError)


def test_missing_extra_names_the_pip_line() -> None:
    text = str(MissingExtraError("PESQ", "pesq", "metrics"))
    assert text == "PESQ needs the package 'pesq': pip install 'retone[metrics]'."


@given(st.lists(st.integers(0, 5), min_size=1, max_size=4))
def test_expect_returns_the_sizes(shape: list[int]) -> None:
    names = "ABCD"[: len(shape)]
    assert expect(np.zeros(shape), " ".join(names), "x") == dict(zip(names, shape, strict=True))


def test_expect_binds_repeated_letters_and_known_sizes() -> None:
    assert expect(torch.zeros(2, 3, 3), "B N N", "matrix", B=2) == {"B": 2, "N": 3}
    with pytest.raises(ShapeError, match=r"matrix: expected \[N, N\] with N = 2, got \[2, 3\]"):
        expect(torch.zeros(2, 3), "N N", "matrix")
    with pytest.raises(ShapeError, match="with B = 4"):
        expect(torch.zeros(2, 3), "B T", "gain", B=4)


@pytest.mark.parametrize(
    ("shape", "fix"), [((8,), "audio[None, None]."), ((1, 8), "audio[None]."), ((1, 1, 1, 8), "")]
)
def test_expect_names_the_usual_fix(shape: tuple[int, ...], fix: str) -> None:
    with pytest.raises(ShapeError) as caught:
        expect(torch.zeros(shape), "B C T", "equalizer: audio")
    text = str(caught.value)
    assert text.startswith(f"equalizer: audio: expected [B, C, T], got {list(shape)}.")
    assert text.endswith(fix or "].") or not fix
    assert ("Add the missing dimensions" in text) == bool(fix)


@given(st.floats(-120, 60))
def test_decibels_round_trip(db: float) -> None:
    assert units.gain_to_db(units.db_to_gain(db)) == pytest.approx(db, abs=1e-9)
    assert units.db_to_gain(db) == pytest.approx(math.exp(db / units.DB_PER_NEPER), rel=1e-12)


def test_decibels_at_known_points() -> None:
    assert units.db_to_gain(20.0) == pytest.approx(10)
    assert units.gain_to_db(2.0) == pytest.approx(6.0206, abs=1e-4)
    assert units.gain_to_db(0.0) == -math.inf


@given(st.floats(0.05, 5000), st.sampled_from([8000.0, 24000.0, 44100.0, 192000.0]))
def test_a_smoother_rises_from_10_to_90_percent_in_its_time(time_ms: float, rate: float) -> None:
    k = units.smoothing(time_ms, rate)
    assert 0 < k <= 1
    if k > 0.999999:
        return  # the whole rise happens within one sample
    # y[n] = 1 - (1 - k)^n: the time between 10 % and 90 % in samples
    samples = (math.log(0.1) - math.log(0.9)) / math.log1p(-k)
    assert samples / rate * 1000 == pytest.approx(time_ms, rel=1e-6)


def test_smoothing_is_the_same_for_floats_arrays_and_tensors() -> None:
    times = [0.1, 3.0, 250.0]
    wanted = [units.smoothing(t, 44100.0) for t in times]
    np.testing.assert_allclose(units.smoothing(np.array(times), 44100.0), wanted, rtol=1e-14)
    got = units.smoothing(torch.tensor(times, dtype=torch.float64), 44100.0)
    np.testing.assert_allclose(got.numpy(), wanted, rtol=1e-14)
    assert units.smoothing(0, 44100.0) == 1
    assert units.smoothing(np.array([0.0]), 44100.0)[0] == 1
    assert units.smoothing(torch.zeros(1), 44100.0)[0] == 1


@pytest.mark.parametrize(
    "text", ["a\nb", "a\r\n\tb", "a\x1b[2Jb", "a\u2028b", "a\udce9b"], ids=ascii
)
def test_an_error_is_one_printable_line_whatever_it_quotes(text: str) -> None:
    for kind in (AudioError, DataError, SettingError):
        shown = str(kind(f"'{text}' is unknown."))
        assert len(shown.splitlines()) == 1 and "\x1b" not in shown and "\t" not in shown
        shown.encode("utf-8")
