"""What is read from files of strangers is bounded before it is used."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from retone.effects import MATCH_CHAIN, Fir, chain
from retone.effects.spec import MAX_EFFECTS, MAX_ITEMS, effect_from_spec, effect_to_spec
from retone.errors import DataError, RetoneError
from retone.files.fields import MOST_BYTES, MOST_DEPTH, parse, read_text, unicode_text, write
from retone.process.settings_file import LevelPlan, SettingsFile, Source

RATE = 16000


def settings() -> dict[str, Any]:
    values = {n: float(v[0]) for n, v in MATCH_CHAIN.params.defaults(1).items()}
    plan = LevelPlan(1.0, -20.0, -1.0)
    sources = (Source("input", "a.wav", RATE, 1, 1.0),)
    found: dict[str, Any] = json.loads(
        SettingsFile(MATCH_CHAIN, values, RATE, "match", level_plan=plan, sources=sources).to_json()
    )
    return found


def chained(count: int) -> dict[str, Any]:
    gain = {"type": "gain"}
    members = [{**gain, "name": f"g{i}"} for i in range(count)]
    return {"type": "chain", "name": "c", "members": members}


def nested(depth: int) -> Any:
    found: Any = {"type": "gain", "name": "g"}
    for i in range(depth):
        found = {"type": "chain", "name": f"c{i}", "members": [found]}
    return found


@pytest.mark.parametrize(
    "text",
    ["[" * 200 + "]" * 200, "[" * 100000, '{"a":' * 5000, "9" * 401, "[" + "9" * 5000 + "]",
     '"\\ud800"', '{"\\udfff": 1}', '{"a\\nb": 1}', '{"' + "k" * 300 + '": 1}', "NaN", "[1e999"],
)  # fmt: skip
def test_text_that_is_no_settings_is_refused(text: str) -> None:
    with pytest.raises(DataError) as caught:
        parse(text, "file")
    assert "\n" not in str(caught.value) and len(str(caught.value)) < 400


def test_the_limits_themselves_are_read() -> None:
    parse("[" * MOST_DEPTH + "]" * MOST_DEPTH, "file")
    assert parse("9" * 400, "file") == 10**400 - 1


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("effect", chained(MAX_EFFECTS + 1)),
        ("effect", nested(20)),
        ("effect", {"type": "fir", "name": "f", "sample_rate_hz": RATE,
                    "taps": [0.0] * (MAX_ITEMS + 1)}),
        ("sample_rate_hz", 10**9),
        ("notes", ["x"] * 300),
        ("notes", ["x" * 5000]),
        ("estimator", "a\nb"),
        ("estimator", "x" * 200),
        ("level_plan", {"gain_db": 0, "target_lufs": 1e5}),
        ("level_plan", {"gain_db": 0, "target_lufs": -1e5}),
        ("sources", [{"role": "input", "file": "a", "sample_rate_hz": RATE, "channels": 10**9,
                      "duration_s": 1}]),
        ("versions", {"retone": "x" * 1000}),
    ],
)  # fmt: skip
def test_what_is_too_large_is_refused(field: str, value: Any) -> None:
    with pytest.raises(RetoneError):
        SettingsFile.from_json(json.dumps({**settings(), field: value}))


def test_a_file_that_is_too_large_is_not_read(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    with path.open("wb") as file:
        file.truncate(MOST_BYTES + 1)
    with pytest.raises(DataError, match="larger than 8 MB"):
        read_text(path, "a settings file")
    for odd, words in ((tmp_path, "not a file"), (tmp_path / "none", "cannot be read")):
        with pytest.raises(DataError, match=words):
            read_text(odd, "a settings file")


def test_names_of_any_bytes_can_be_written() -> None:
    source = Source("input", "caf\udce9\n\x1b[2J.wav", RATE, 1, 1.0)
    assert source.file == "caf\ufffd  [2J.wav"
    write({"a": "\ud800"}).encode("utf-8")
    assert unicode_text("\udce9x") == "\ufffdx"
    with pytest.raises(ValueError, match="JSON"):
        write({"a": float("inf")})


def test_what_retone_writes_is_within_its_limits() -> None:
    effect = chain("c", *(Fir(f"f{i}", (0.5, 0.1)) for i in range(MAX_EFFECTS - 1)))
    effect_from_spec(effect_to_spec(effect, RATE), RATE)
