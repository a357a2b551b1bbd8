"""A report's first paragraph says what was measured, in words for everybody."""

from __future__ import annotations

import re

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from test_report_summary import PINK, RATE, F, bell, data, shelf

from retone.effects import MATCH_CHAIN, Gain, chain
from retone.process.settings_file import SettingsFile, Source
from retone.report.data import ReportData
from retone.report.lead import lead
from retone.report.summary import noticed

QUESTIONS = ["What changed", "Why", "What was left alone", "If it is too much"]


def answers(
    change_db: np.ndarray | float = 0.0,
    *,
    reference_db: np.ndarray | float | None = None,
    louder_db: float = 0.0,
    amount: float = 1.0,
    strength: float | None = 0.9,
    before: np.ndarray = PINK,
) -> dict[str, str]:
    """The lead of a match that changed the spectrum and the loudness."""
    spectra = {"before": before, "after": before + change_db}
    levels = {"before": {"integrated_lufs": -23.0}, "after": {"integrated_lufs": -23.0 + louder_db}}
    sources = [Source("input", "mine.wav", RATE, 1, 12)]
    if reference_db is not None:
        spectra["reference"] = before + reference_db
        levels["reference"] = {"integrated_lufs": -23.0 + 1.2 * louder_db}
        sources.append(Source("reference", "theirs.wav", RATE, 1, 12))
    made = SettingsFile(
        MATCH_CHAIN, {p.name: p.default for p in MATCH_CHAIN.params}, RATE, "match",
        amount=amount, strength=strength, levels=levels, sources=tuple(sources),
    )  # fmt: skip
    return dict(lead(ReportData(made, F, spectra=spectra)))


@pytest.mark.parametrize(
    ("changes", "first", "words"),
    [
        ({"pauses_db": -6.0}, "Pauses quieter by 6 dB", "Pauses are much quieter (by about 6 dB)"),
        ({"spread": 1.6}, "Livelier by", "Loud and quiet moments are further apart"),
        ({"spread": 0.6}, "More even by", "Loud and quiet moments are closer together"),
        ({"pauses_db": -12.0, "words_db": -4.0}, "Pauses quieter by", "Pauses are much quieter"),
        ({"spread": 1.0}, "No audible change", "Nothing that you would notice"),
    ],
)
def test_dynamics_are_said_as_in_the_summary(
    changes: dict[str, float], first: str, words: str
) -> None:
    made = data(**changes)
    found = dict(lead(made))
    assert noticed(made).startswith(first) and found["What changed"].startswith(words)
    assert ("further apart" in found["What changed"]) == ("Livelier" in noticed(made))
    assert ("closer together" in found["What changed"]) == ("more even" in noticed(made).lower())


@settings(max_examples=30, deadline=None)
@given(st.floats(3, 15), st.booleans(), st.floats(1500, 6000), st.floats(-12, 12))
def test_each_change_is_said_with_its_direction_size_and_reason(
    gain_db: float, down: bool, corner_hz: float, louder_db: float
) -> None:
    change = shelf(corner_hz, -gain_db if down else gain_db)
    found = answers(change, reference_db=1.3 * change, louder_db=louder_db)
    assert list(found) == QUESTIONS
    pattern = r"The treble, everything above ([\d.]+) (k?)Hz, is (\w+) (\w+) \(by about (\d+)"
    said = re.match(pattern, found["What changed"])
    assert said, found
    assert said[4] == ("weaker" if down else "stronger")
    assert abs(int(said[5]) - gain_db) <= 0.4 * gain_db
    assert said[4] in found["Why"] and "theirs.wav" in found["Why"]
    if abs(louder_db) >= 1:
        word = "louder" if louder_db > 0 else "quieter"
        assert f"{word} overall (by {round(abs(louder_db))} dB)" in found["What changed"]
        assert f"dB {word} overall" in found["Why"]
        assert "loudness" not in found["What was left alone"]
    elif abs(louder_db) < 0.4:
        assert "overall" not in found["What changed"]


@given(st.floats(0.52, 1.0), st.floats(0.4, 1.0))
def test_what_to_try_is_less_of_the_same(amount: float, strength: float) -> None:
    text = answers(shelf(3000, 8), reference_db=9.0, amount=amount, strength=strength)[
        "If it is too much"
    ]
    half, lower = (int(x) for x in re.findall(r"(\d+) %", text))
    assert half < 100 * amount and lower < 100 * strength


def test_nothing_is_said_that_was_not_measured() -> None:
    bare = SettingsFile(MATCH_CHAIN, {p.name: p.default for p in MATCH_CHAIN.params}, RATE, "test")
    assert lead(ReportData(bare, F)) == []
    same = answers(0.0, reference_db=0.0)
    assert same["What changed"] == "Nothing that you would notice."
    assert "did not change" not in same["What was left alone"]
    alone = answers(shelf(3000, 8))
    assert "theirs" not in alone["Why"] and "reference" not in alone["Why"]


def test_a_region_in_the_middle_is_named() -> None:
    text = answers(bell(1000, 8.0), reference_db=bell(1000, 9.0))
    assert re.match(r"The middle range, .* is (clearly|much) stronger", text["What changed"])
    assert re.search(r"stronger (from|around) ", text["Why"])


def test_only_an_effect_of_retone_s_own_is_said_to_add_nothing() -> None:
    class Echo(Gain):
        """From another package."""

    spectra = {"before": PINK, "after": PINK + shelf(3000, 8)}
    for member, sure in ((Gain("g"), True), (Echo("g"), False)):
        effect = chain("c", member)
        made = SettingsFile(effect, {"g.gain_db": 3.0}, RATE, "test",
                            levels={"before": {"integrated_lufs": -20.0}})  # fmt: skip
        text = dict(lead(ReportData(made, F, spectra=spectra))).get("What was left alone", "")
        assert ("Nothing was cut" in text) == sure


@pytest.mark.parametrize("top_hz", [5000.0, 9000.0])
def test_an_empty_top_is_said(top_hz: float) -> None:
    before = np.where(top_hz > F, PINK, -150.0)
    text = answers(bell(1000, 8.0), before=before)["What was left alone"]
    said = re.search(r"Above ([\d.]+) kHz your recording holds next to nothing", text)
    assert said and abs(float(said[1]) * 1000 / top_hz - 1) < 0.1
