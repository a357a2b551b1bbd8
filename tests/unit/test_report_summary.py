"""The report's first sentence names what one hears: kinds of changes, not certain files."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import retone
from retone.audio import loudness_lufs
from retone.audio.files import load
from retone.audio.meters.envelope import Envelope
from retone.audio.meters.spectrum import log_frequencies
from retone.dsp.short_levels import ShortLevelMeter, dynamics_db, short_levels_db, spread_db
from retone.effects import MATCH_CHAIN, Compressor, Equalizer
from retone.process.settings_file import SettingsFile
from retone.report.collect import measured_of
from retone.report.data import ReductionView, ReportData
from retone.report.summary import a_weighting_db, audible, noticed, tone_changes

RATE = 44100
EXAMPLES = Path(__file__).parents[2] / "examples"
F = log_frequencies(RATE)
PINK = -40 - 3 * np.log2(np.maximum(F, 100) / 100)  # even in each octave, less above
VOICE = np.where((F > 90) & (F < 9000), -40 - 5 * np.abs(np.log2(F / 400)), -130)


def data(
    change_db: np.ndarray | float = 0.0,
    *,
    before: np.ndarray = PINK,
    louder_db: float = 0.0,
    spread: float = 1.0,
    pauses_db: float = 0.0,
    words_db: float = 0.0,
    reduction_db: float = -6.0,
) -> ReportData:
    """A report's data for a change of tone [F], of loudness and of dynamics.

    ``spread`` multiplies the spread of the levels; ``pauses_db`` and ``words_db`` are added to
    quiet and to loud moments.
    """
    time_s = np.arange(1200) / 20
    level_db = -20 + 10 * np.sin(time_s) - 3
    short_db = {r: (level_db + 20) * k - 20 for r, k in (("before", 1.0), ("after", spread))}
    short_db["after"] += pauses_db * (level_db < -24) + words_db * (level_db > -18)
    settings = SettingsFile(
        MATCH_CHAIN,
        {p.name: p.default for p in MATCH_CHAIN.params},
        RATE,
        "test",
        levels={
            "before": {"integrated_lufs": -23.0},
            "after": {"integrated_lufs": -23.0 + louder_db},
        },
    )
    gain = Envelope(time_s, np.full((1, 1200), reduction_db), np.zeros((1, 1200)))
    return ReportData(
        settings,
        F,
        spectra={"before": before, "after": before + change_db},
        reductions=(ReductionView("compressor", "Compressor", gain),),
        short_db=short_db,
    )


def sentence(change_db: np.ndarray | float = 0.0, **changes: Any) -> str:
    """The report's first sentence for these changes."""
    return noticed(data(change_db, **changes))


def shelf(corner_hz: float, gain_db: float) -> np.ndarray:
    """A high shelf of about an octave's width; a negative corner makes it a low one."""
    way = np.log2(F / abs(corner_hz)) * np.sign(corner_hz)
    return gain_db / (1 + np.exp(-4 * way))


def bell(centre_hz: float, gain_db: float, octaves: float = 1.5) -> np.ndarray:
    return gain_db * np.exp(-0.5 * (np.log2(F / centre_hz) / (octaves / 2.355)) ** 2)


@pytest.mark.parametrize("gain_db", [-12.0, -6.0, -3.0, 3.0, 6.0, 12.0])
@pytest.mark.parametrize(
    ("corner_hz", "up", "down", "place"),
    [
        (3000, "Brighter", "Darker", r"above ([23456](\.\d)?) kHz"),
        (6000, "Brighter", "Darker", r"above ([45678](\.\d)?) kHz"),
        (-200, "Fuller", "Thinner", r"below (150|100|200|300) Hz"),
    ],
)
@pytest.mark.parametrize("before", [PINK, VOICE], ids=["pink", "voice"])
def test_shelves(
    before: np.ndarray, corner_hz: float, up: str, down: str, place: str, gain_db: float
) -> None:
    if corner_hz == 6000 and before is VOICE:
        pytest.skip("only half an octave of the voice is above it")
    text = sentence(shelf(corner_hz, gain_db), before=before)
    assert text.startswith(up if gain_db > 0 else down)
    assert re.search(place, text), text
    said = int(re.findall(r"by (\d+) dB", text)[0])
    assert abs(said - abs(gain_db)) <= max(1, 0.25 * abs(gain_db)), text


@pytest.mark.parametrize("gain_db", [-8.0, 8.0])
@pytest.mark.parametrize(
    ("centre_hz", "up", "down"),
    [(400, "Warmer", "Leaner"), (2000, "More present", "Less present")],
)
def test_bells(centre_hz: float, up: str, down: str, gain_db: float) -> None:
    text = sentence(bell(centre_hz, gain_db), before=VOICE)
    assert text.startswith(up if gain_db > 0 else down) and "between" in text, text


def test_a_tilt_has_two_ends_and_the_stronger_comes_first() -> None:
    text = sentence(shelf(3000, 9.0) + shelf(-300, -4.0))
    assert re.fullmatch(
        r"Brighter above [\d.]+ kHz by \d dB, thinner below \d+ Hz by \d dB\.", text
    )


@given(st.floats(-30, 30), st.sampled_from([16500.0, 18000.0, 21000.0]))
def test_never_a_change_at_the_top_or_the_bottom_of_the_band(gain_db: float, hz: float) -> None:
    assert sentence(np.where(F > hz, gain_db, 0.0)) == "No audible change."
    assert sentence(np.where(F < 28, gain_db, 0.0)) == "No audible change."


@given(st.floats(3, 40), st.booleans())
def test_never_a_change_in_an_empty_band(gain_db: float, down: bool) -> None:
    """A boost of what is not there is not heard, however large."""
    empty = VOICE < -100
    assert sentence(np.where(empty, -gain_db if down else gain_db, 0.0), before=VOICE) == (
        "No audible change."
    )


def test_a_narrow_change_is_not_the_tone() -> None:
    assert sentence(bell(3000, 6.0, 0.15)) == "No audible change."


@pytest.mark.parametrize(
    ("db", "words"), [(4.2, "4 dB louder"), (-8, "8 dB quieter"), (0.3, None), (-0.4, None)]
)
def test_loudness(db: float, words: str | None) -> None:
    assert sentence(louder_db=db) == (f"{words}." if words else "No audible change.")


@pytest.mark.parametrize(
    ("spread", "words"),
    [(0.5, "More even"), (0.7, "More even"), (1.0, None), (1.3, "Livelier"), (1.8, "Livelier")],
)
def test_dynamics(spread: float, words: str | None) -> None:
    text = sentence(spread=spread)
    assert text.startswith(words) if words else text == "No audible change."


def test_dynamics_are_said_only_where_they_were_at_work() -> None:
    assert sentence(spread=0.5, reduction_db=-0.1) == "No audible change."


@pytest.mark.parametrize("fall_db", [3.0, 9.0, 15.0])
def test_quieter_pauses_are_not_livelier_words(fall_db: float) -> None:
    assert sentence(pauses_db=-fall_db) == f"Pauses quieter by {fall_db:.0f} dB."


def test_pauses_and_words_are_told_apart() -> None:
    """Quieter words do not make a recording more even whose pauses fell further."""
    text = sentence(pauses_db=-12.0, words_db=-4.0)
    assert re.fullmatch(r"Pauses quieter by 1[123] dB\.", text), text
    text = sentence(pauses_db=-4.0, words_db=-8.0)
    assert re.fullmatch(r"Pauses quieter by \d dB, more even by \d dB\.", text), text


@pytest.mark.parametrize(
    ("pause_db", "change_db", "told"),
    [
        (-45.0, -12.0, "Pauses quieter by 12 dB."),
        (-55.0, 12.0, "Pauses louder by 12 dB."),
        (-45.0, -3.0, "Pauses quieter by 3 dB."),
    ],
)
def test_pauses_that_leave_the_counted_levels_make_nothing_more_even(
    pause_db: float, change_db: float, told: str
) -> None:
    """They are no longer counted, so the spread of what is counted shrinks: no word got quieter."""
    words_db = -10.0 + 8.0 * np.sin(np.arange(900) / 3)
    own_db = np.concatenate([words_db, np.full(300, pause_db)])
    after_db = np.concatenate([words_db, np.full(300, pause_db + change_db)])
    made = replace(data(), short_db={"before": own_db, "after": after_db})
    assert noticed(made) == told


def way(text: str) -> int:
    """The direction of the dynamics that a sentence tells, 0 for none."""
    return int("livelier" in text.lower()) - int("more even" in text.lower())


@given(st.floats(0.2, 4.0), st.floats(-25, 15), st.floats(-15, 15))
def test_the_words_never_contradict_the_measured_spread(
    spread: float, pauses_db: float, words_db: float
) -> None:
    made = data(spread=spread, pauses_db=pauses_db, words_db=words_db)
    before, after = (spread_db(made.short_db[r]) for r in ("before", "after"))
    text = noticed(made)
    assert way(text) in (0, np.sign(after - before)), text
    if abs(after - before) >= 1 and "auses" not in text:
        assert f"by {max(1, round(abs(after - before)))} dB" in text


@pytest.mark.parametrize(
    ("own", "other", "told"),
    [
        ("dull_voice.flac", "bright_voice.flac", r"more even by (\d+) dB"),
        ("bright_voice.flac", "dull_voice.flac", r"pauses quieter by (\d+) dB"),
    ],
)
def test_the_words_of_a_match_agree_with_the_files(
    tmp_path: Path, own: str, other: str, told: str
) -> None:
    made = retone.match(EXAMPLES / own, EXAMPLES / other, output=tmp_path / "out.flac")
    x = load(EXAMPLES / own)
    change_db = dynamics_db(made.audio, x.sample_rate) - dynamics_db(x.samples, x.sample_rate)
    assert abs(change_db) >= 1, "a pair whose dynamics change is needed here"
    assert way(made.summary) in (0, np.sign(change_db))
    said = re.search(told, made.summary)
    assert said and abs(int(said[1]) - abs(change_db)) <= 1.5, (made.summary, change_db)


@pytest.mark.parametrize("rate", [8000, 44100, 192000])
@pytest.mark.parametrize("channels", [1, 2, 6])
@pytest.mark.parametrize("seconds", [0.0, 0.03, 0.05, 1.234])
def test_short_levels_of_a_stream_are_those_of_the_whole(
    rate: int, channels: int, seconds: float
) -> None:
    x = np.random.default_rng(1).standard_normal((channels, round(seconds * rate)))
    x[:, : x.shape[1] // 3] = 0.0
    for size in (1, 1000, 1 << 20) if rate == 8000 else (4096,):
        meter = ShortLevelMeter(rate, channels)
        for start in range(0, x.shape[1], size):
            meter.update(x[:, start : start + size])
        np.testing.assert_allclose(meter.result(), short_levels_db(x, rate), atol=1e-9)


@pytest.mark.parametrize("seconds", [0.01, 0.3])
@pytest.mark.parametrize("gain", [0.0, 0.5])
def test_hardly_any_sound_has_no_dynamics_to_tell(seconds: float, gain: float) -> None:
    x = np.full((2, round(seconds * RATE)), gain, np.float32)
    values = {p.name: p.default for p in Compressor().params}
    values |= {"threshold_db": -40.0, "ratio": 4.0}
    settings = SettingsFile(Compressor(), values, RATE, "test")
    assert way(retone.apply(x, settings, sample_rate=RATE, loudness="off").summary) == 0


def test_everything_at_once_reads_as_one_sentence() -> None:
    text = sentence(shelf(3000, 6.0), louder_db=4.0, spread=0.6)
    assert re.fullmatch(
        r"Brighter above [\d.]+ kHz by [567] dB, more even by \d+ dB, 4 dB louder\.", text
    ), text


def test_what_was_not_measured_is_not_said() -> None:
    bare = SettingsFile(MATCH_CHAIN, {p.name: p.default for p in MATCH_CHAIN.params}, RATE, "test")
    assert noticed(ReportData(bare, F)) == ""
    silent = np.full(F.size, np.nan)
    assert sentence(before=silent) == "No audible change."


def test_heard_is_weighted() -> None:
    assert a_weighting_db(np.array([1000.0]))[0] == pytest.approx(0, abs=0.01)
    assert a_weighting_db(np.array([100.0]))[0] == pytest.approx(-19.1, abs=0.1)
    assert not audible(F, np.full(F.size, np.nan)).any()
    assert audible(F, PINK)[(F > 200) & (F < 10000)].all()


def phrases() -> np.ndarray:
    """Ten seconds of phrases and pauses with little above 5 kHz."""
    rng = np.random.default_rng(0)
    spectrum = np.fft.rfft(rng.standard_normal(10 * RATE))
    f = np.fft.rfftfreq(10 * RATE, 1 / RATE)
    x = np.fft.irfft(spectrum / np.maximum(f, 200) * (f > 80) / (1 + (f / 5000) ** 6), 10 * RATE)
    x *= 0.02 + (np.sin(2 * np.pi * np.arange(x.size) / RATE) > -0.4)
    return 0.1 * x / x.std()


def brighter(x: np.ndarray) -> Any:
    """What 6 dB more above 2.5 kHz makes of it, at -23 LUFS."""
    values = {p.name: p.default for p in Equalizer().params}
    values |= {"high_shelf_gain_db": 6.0, "high_shelf_frequency_hz": 2500.0}
    settings = SettingsFile(Equalizer(), values, RATE, "test")
    return retone.apply(x.astype(np.float32), settings, sample_rate=RATE, loudness=-23.0)


@pytest.mark.parametrize("lufs", [-40.0, -60.0, -66.0, -69.0, -74.0, -90.0])
def test_a_quiet_recording_reads_like_a_loud_one(lufs: float) -> None:
    x = phrases()
    x *= 10 ** ((-30.0 - loudness_lufs(x[None], RATE)) / 20)
    usual, quiet = brighter(x), brighter(x * 10 ** ((lufs + 30) / 20))
    assert "7 dB louder" in usual.summary and "Brighter above" in usual.summary
    said = usual.summary.replace("7 dB louder", f"{-23 - lufs:.0f} dB louder")
    assert quiet.summary == said
    assert quiet.report.count("dB quieter") == usual.report.count("dB quieter")


def test_a_click_hardly_changes_what_is_said_of_the_tone() -> None:
    """One sample near full scale has more treble than a dull voice, and the limiter takes it."""
    voice, bright = (load(EXAMPLES / f"{n}_voice.flac").samples[0] for n in ("dull", "bright"))
    x = (voice * 10 ** ((-40 - loudness_lufs(voice[None], RATE)) / 20)).astype(np.float32)
    clicked = x.copy()
    clicked[200000] = 0.98
    usual, found = (
        tone_changes(measured_of(retone.match(y, bright, sample_rate=RATE))) for y in (x, clicked)
    )
    assert [t.text.split(" by ")[0] for t in found] == [t.text.split(" by ")[0] for t in usual]
    for one, other in zip(usual, found, strict=True):
        assert other.change_db == pytest.approx(one.change_db, abs=1.5)


def test_a_click_in_digital_silence_has_no_dynamics_to_tell() -> None:
    """What rounding and filters leave in the silence around it would be compared."""
    made = data()
    click_db = np.full(80, -300.0)
    click_db[20] = -30.0
    after_db = np.where(np.arange(80) < 25, click_db + 20, -300.0)
    after_db[21:23] = (-30.0, -50.0)
    made = replace(made, short_db={"before": click_db, "after": after_db})
    assert noticed(made) == "No audible change."


@pytest.mark.parametrize("length", [1, 20])
@pytest.mark.parametrize("count", [1, 3])
def test_of_a_click_in_digital_silence_the_tone_is_told(length: int, count: int) -> None:
    """It is all that the recording holds: without it, numbers below rounding would be compared."""
    x = np.zeros(4 * RATE, np.float32)
    for at in np.linspace(20000, 150000, count).astype(int):
        x[at : at + length] = np.hanning(length + 2)[1:-1]
    first, last = retone.match(x, x.copy(), sample_rate=RATE), Equalizer()
    assert "everything" not in first.summary.lower()
    setting = {p.name: p.default for p in last.params} | {"high_shelf_gain_db": -9.0}
    settings = SettingsFile(last, setting, RATE, "test")
    summary = retone.apply(x, settings, sample_rate=RATE, loudness="off").summary
    assert "arker above" in summary or length > 1, summary
    assert "everything" not in summary.lower()
