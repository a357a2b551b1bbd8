"""Arguments of a wrong kind, in every public function: retone's own error, which names them."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import retone
from retone.effects import MATCH_CHAIN
from retone.errors import ArgumentError, RetoneError, expect_number, wrong_kind
from retone.estimators.base import Estimate
from retone.estimators.matching import Matching
from retone.process.arguments import KINDS, check_kinds
from retone.process.result import Options
from retone.process.settings_file import SettingsFile

RATE = 16000
SOUND = 0.1 * np.random.default_rng(0).standard_normal(RATE).astype(np.float32)
SETTINGS = SettingsFile(MATCH_CHAIN, {p.name: p.default for p in MATCH_CHAIN.params}, RATE, "test")


class Fixed:
    """An estimator that takes no time."""

    name = "fixed"

    def estimate(self, source, references, *, locks, progress=None) -> Estimate:
        return Estimate(MATCH_CHAIN, MATCH_CHAIN.params.neutral(1))


CALLS: dict[str, tuple[Callable[..., Any], dict[str, Any]]] = {
    "match": (retone.match, {"input": SOUND, "to": SOUND, "sample_rate": RATE}),
    "enhance": (retone.enhance, {"input": SOUND, "sample_rate": RATE}),
    "apply": (retone.apply, {"input": SOUND, "settings": SETTINGS, "sample_rate": RATE}),
    "decide": (retone.decide, {"input": SOUND, "to": SOUND, "sample_rate": RATE}),
    "export": (retone.export, {"settings": SETTINGS, "target": "ffmpeg"}),
    "open_settings": (retone.open_settings, {"path": "no such file"}),
    "process_many": (retone.process_many, {"items": ["no such file"], "output": "out"}),
}
ARGUMENTS = [
    (call, name)
    for call, (function, _) in CALLS.items()
    for name, p in inspect.signature(function).parameters.items()
    if p.kind is not p.VAR_KEYWORD
]
WRONG = [
    object(), 1j, b"x", (), [None], {"a": "b"}, {1: 2}, float("nan"), np.zeros(3), type,
    {"compressor.ratio": None}, "0.5", 300, -1, ["a"], Path("x"), 1.5, np.float32(7), True, None,
]  # fmt: skip


def is_plain(name: str, value: Any) -> bool:
    """Whether a value is of the right kind, whatever its meaning."""
    if name in ("input", "to", "source"):
        listed = name == "to" and isinstance(value, (list, tuple)) and value != [None]
        return isinstance(value, (str, Path, np.ndarray)) or listed
    if name == "sample_rate":
        return type(value) is int or isinstance(value, np.float32)
    if name == "items" and isinstance(value, (str, Path)):
        return True  # one recording
    return KINDS[name][0](value)


@pytest.mark.parametrize(("call", "name"), ARGUMENTS, ids=str)
def test_what_is_of_a_wrong_kind_is_named(
    call: str, name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    function, usual = CALLS[call]
    optional = inspect.signature(function).parameters[name].default is None
    optional |= name == "true_peak_dbtp"
    refused = 0
    for value in WRONG:
        if is_plain(name, value) or (value is None and optional and name != "sample_rate"):
            continue
        given = {**usual, name: value}
        for other, instead in (("source", "input"), ("preset", "to")):
            if name == other:
                del given[instead]
        with pytest.raises(ArgumentError) as error:
            function(**given)
        text = str(error.value)
        assert isinstance(error.value, (RetoneError, TypeError, ValueError))
        assert ("input" if name == "source" else name) in text, text
        assert "expected" in text or "give" in text, text
        refused += 1
    assert refused >= 8 and not list(tmp_path.iterdir())


def test_every_argument_has_a_kind() -> None:
    own = {"input", "to", "source", "sample_rate"}
    assert {name for _, name in ARGUMENTS} <= own | set(KINDS)


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"amount": 1.5}, "amount = 1.5 is outside 0..1"),
        ({"amount": "0.5"}, "amount = '0.5': expected a number"),
        ({"locks": ["compressor.ratio"]}, "locks = .*: expected a mapping of names"),
        ({"true_peak_dbtp": 3.0}, r"true_peak_dbtp = 3.0 dBTP is outside -60..0"),
        ({"eq": "curve", "eq_range_hz": 300}, "eq_range_hz = 300: expected two numbers in Hz"),
        ({"eq": "curve", "eq_range_hz": (300, 20)}, "eq_range_hz = 300 to 20 Hz"),
        ({"eq": "curve", "eq_range_hz": ()}, "eq_range_hz"),
        ({"eq": "curve", "eq_range_hz": {20, 300}}, "eq_range_hz"),
        ({"eq": "curve", "eq_range_hz": {20: 1, 300: 2}}, "eq_range_hz"),
        ({"eq": "curve", "eq_smooth_octaves": 4}, "eq_smooth_octaves = 4 is outside 0..3"),
        ({"eq": "curve", "eq_phase": "late"}, "eq_phase = 'late': expected one of minimum, linear"),
        ({"strength": 2}, "strength = 2 is outside 0..1"),
        ({"estimator": Matching}, "estimator is of type type: expected a name, or an estimator"),
    ],
    ids=str,
)
def test_what_match_says(given: dict[str, Any], words: str) -> None:
    with pytest.raises(RetoneError, match=words):
        retone.match(SOUND, SOUND, sample_rate=RATE, **given)


@pytest.mark.parametrize("loudness", ["loud", "match", "-20"])
def test_apply_knows_one_word_for_the_loudness(loudness: str) -> None:
    with pytest.raises(RetoneError, match="loudness = "):
        retone.apply(SOUND, SETTINGS, sample_rate=RATE, loudness=loudness)


def test_numbers_of_numpy_are_numbers() -> None:
    found = retone.match(
        SOUND, SOUND, sample_rate=np.int64(RATE), amount=np.float32(0.5),
        loudness=np.float32(-30.0), estimator=Fixed(),
    )  # fmt: skip
    assert found.target_lufs == -30.0
    again = retone.apply(SOUND, found.settings, sample_rate=RATE, loudness=np.int64(-33))
    assert again.target_lufs == -33.0
    assert Options(amount=np.float64(0.5)).amount == 0.5
    expect_number(np.float32(0.5), "x", 0, 1)


def test_options_that_are_made_by_hand_are_checked_too() -> None:
    for given in ({"amount": None}, {"locks": None}, {"loudness": []}, {"mono_as": 2}):
        with pytest.raises(ArgumentError, match=f"{next(iter(given))} "):
            Options(**given)  # type: ignore[arg-type]
    with pytest.raises(ArgumentError, match="strength = '0.5': expected a number"):
        Matching(strength="0.5")  # type: ignore[arg-type]


def test_a_long_value_is_shown_in_short() -> None:
    assert len(str(wrong_kind("to", "x" * 10_000, "a path"))) < 100
    check_kinds({"unknown": object(), "amount": None}, ("amount",))
