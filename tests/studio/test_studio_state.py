"""What a page is told: complete for every effect, true to the render, and free of names of ours."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
from studio_client import Page

from retone.dsp.effect import Effect
from retone.effects import EFFECTS, MATCH_CURVE_CHAIN
from retone.lab.bench.exports import cases
from retone.process.result import Decision
from retone.process.settings_file import SettingsFile
from retone.process.stream import render_whole
from retone.studio import preview, work
from retone.studio.intake import take
from retone.studio.limits import Limits, Refused
from retone.studio.scratch import ScratchFolder
from retone.studio.session import Session, Sessions
from retone.studio.state import State, describe, read_state, stages

RATE = 16000
STATIC = Path(work.__file__).parent / "static"


@pytest.fixture
def session(tmp_path: Path, voice: bytes) -> Iterator[Session]:
    place = ScratchFolder(tmp_path)
    made = Sessions(place, Limits()).start(None)
    upload = made.new_file(".upload")
    upload.write_bytes(voice)
    made.input = take(upload, "voice.wav", made, Limits())
    yield made
    place.close()


def state_of(session: Session, effect: Effect, **more: Any) -> State:
    number = session.remember(
        Decision(
            effect,
            effect.params.defaults(1),
            estimator="test",
            target_lufs=more.pop("target_lufs", None),
        )
    )
    values = {p.name: p.low + 0.55 * (p.high - p.low) for p in effect.params}
    return read_state(session, {"effect": number, "setting": values, **more})


NEVER = math.inf


def rendered(session: Session, state: State, turn: int | None = None) -> tuple[Any, np.ndarray]:
    """The whole recording as the page hears it."""
    turn = session.newest_render if turn is None else turn
    path = session.new_file(".f32")
    return preview.whole(session, session.need_input(), state, turn, path)


def test_a_window_that_takes_too_long_ends(session: Session) -> None:
    with pytest.raises(Refused, match="takes too long"):
        preview.window(session, session.need_input(), state_of(session, EFFECTS[0]), 0, 1, 0.0)


@pytest.mark.parametrize("effect", EFFECTS, ids=lambda e: e.name)
def test_every_effect_can_be_shown_and_heard(effect: Effect, session: Session) -> None:
    state = state_of(session, effect)
    rows = [p for s in stages(effect) for p in s["params"]]
    assert [p["name"] for p in rows] == list(effect.params.names)
    assert all(p["label"] for p in rows)
    shown = describe(state, RATE)
    known = set(effect.params.names)
    for response in shown["responses"]:
        assert len(response["total_db"]) == len(shown["frequency_hz"])
        for band in response["bands"]:
            assert {band[k] for k in ("x", "y", "q")} - {None} <= known
            assert 0 < band["low_hz"] < band["high_hz"] <= RATE / 2
    source = session.need_input()
    _, window = preview.window(session, source, state, 0.2, 0.5, NEVER)
    _, whole = rendered(session, state)
    assert whole.shape == (1, source.frames) and window.shape == (1, round(0.3 * RATE))
    assert np.isfinite(whole).all() and np.isfinite(window).all()


def test_the_gains_of_a_curve_are_handles_in_three_groups(session: Session) -> None:
    """One handle for each gain that the sample rate leaves audible, at its frequency."""
    state = state_of(session, MATCH_CURVE_CHAIN)
    rows = stages(MATCH_CURVE_CHAIN)[0]["params"]
    groups = [p["group"] for p in rows]
    assert list(dict.fromkeys(groups)) == ["Lows", "Mids", "Highs"]
    assert max(groups.count(g) for g in groups) <= 11
    shown = describe(state, RATE)
    curve, frequency = shown["responses"][0], np.array(shown["frequency_hz"])
    bands = curve["bands"]
    assert [b["y"] for b in bands] == [p["name"] for p in rows][: len(bands)]
    assert len(bands) == 26  # 20 Hz to 6.3 kHz
    for band in bands[1:-1]:
        at = int(np.argmin(np.abs(frequency - band["frequency_hz"])))
        assert curve["total_db"][at] == pytest.approx(band["full_gain_db"], abs=0.5)


def test_a_window_is_a_piece_of_the_whole(session: Session) -> None:
    effect = cases(RATE)[0].settings.effect
    state = state_of(session, effect)
    source = session.need_input()
    want = render_whole(effect, np.array(source.samples()), RATE, state.effective_setting())
    _, audio = preview.window(session, source, state, 0.5, 1.0, NEVER)
    got = audio[0]
    piece = want[0, RATE // 2 : RATE]
    assert np.abs(got - piece).max() < 1e-3 * np.abs(piece).max()


def test_a_newer_change_ends_a_render(session: Session) -> None:
    state = state_of(session, EFFECTS[0])
    with pytest.raises(Refused, match="newer change"):
        rendered(session, state, turn=session.newest_render - 1)


@pytest.mark.parametrize("amount", [1.0, 0.4])
@pytest.mark.parametrize("loudness", ["match", "off", -20.0])
def test_the_preview_is_as_loud_as_the_result(
    session: Session, amount: float, loudness: str | float
) -> None:
    """The gain that the page applies is the gain that the written file gets."""
    effect = cases(RATE)[0].settings.effect
    state = state_of(session, effect, target_lufs=-26.0, amount=amount, loudness=loudness)
    head, audio = rendered(session, state)
    heard = audio[0] * 10 ** (head["gain_db"] / 20)
    source, others = session.need_input(), session.references
    found = work.write_result(session, source, others, state, lambda phase, done, total: None)
    path = session.downloads[found["downloads"]["audio"]][0]
    written, _ = soundfile.read(path, dtype="float32")
    assert np.abs(written - heard).max() < 2e-3 * np.abs(written).max() + 2**-14
    text = session.downloads[found["downloads"]["settings"]][0].read_text()
    assert SettingsFile.from_json(text).level_plan.gain_db == pytest.approx(
        head["gain_db"], abs=0.02
    )  # type: ignore[union-attr]


def test_settings_go_out_and_come_back(page: Page, voice: bytes) -> None:
    manual = page.upload(voice, "voice.wav").json["manual"]
    setting = {**manual["setting"], "equalizer.peak_1_gain_db": 4.5}
    state = {
        "effect": manual["effect"], "setting": setting, "amount": 0.5, "loudness": -16,
        "locks": ["compressor.ratio"], "ceiling_dbtp": None, "gain_db": 2.5,
    }  # fmt: skip
    out = page.post("export", state, "settings").json
    assert out["name"] == "voice.retone.json"
    back = page.post("settings", out["text"].encode()).json
    assert back["setting"] == setting and back["amount"] == 0.5
    assert back["locks"] == ["compressor.ratio"] and back["target_lufs"] == -16
    assert page.post("settings", b"{}").status == 422
    assert "not valid JSON" in page.post("settings", b"{,}").error
    line = page.post("export", state, "ffmpeg").json
    assert "equalizer=f=300" in line["text"] and "ffmpeg -i in.wav" in line["usage"]
    assert page.post("export", state, "cubase").status == 422


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"setting": {"equalizer.peak_1_gain_db": 99}}, "outside its range"),
        ({"setting": {"equaliser": 1}}, "no parameter is called"),
        ({"setting": []}, "no setting"),
        ({"locks": ["nothing"]}, "no parameter is called"),
        ({"amount": 2}, "amount: expected a number from 0 to 1"),
        ({"amount": True}, "amount"),
        ({"loudness": "loud"}, "loudness"),
        ({"ceiling_dbtp": 3}, "true peak"),
    ],
)
def test_wrong_states_are_named(page: Page, voice: bytes, change: Any, words: str) -> None:
    manual = page.upload(voice).json["manual"]
    got = page.post("describe", {"effect": manual["effect"], "setting": {}, **change})
    assert got.status in (400, 422) and words in got.error


def test_the_page_knows_no_effect_by_name() -> None:
    """Sliders and curves come from tables: no effect or parameter stands in the page's code."""
    names = {m.name for e in EFFECTS for m in getattr(e, "members", (e,))}
    params = {p.name.rpartition(".")[2] for e in EFFECTS for p in e.params}
    words = (names | params) - {"gain"}
    for file in STATIC.glob("*.js"):
        code = re.sub(r"//[^\n]*", "", file.read_text())
        strings = set(re.findall(r"[\"'`]([a-z_0-9.]+)[\"'`]", code))
        assert not strings & words, (file.name, strings & words)


def test_nothing_in_the_page_comes_from_elsewhere() -> None:
    for file in STATIC.iterdir():
        outside = re.findall(r"(?:https?:)?//[a-z][\w.-]+\.[a-z]{2,}", file.read_text())
        assert [u for u in outside if "www.w3.org" not in u] == [], file.name
