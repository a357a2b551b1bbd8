"""Every export, run where it can run, sounds like retone's own render."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import numpy as np
import pytest

from conftest import MakeAudio
from retone.dsp.param import ParamTable
from retone.effects import COMPRESSOR_TABLE, EXPANDER_TABLE, Compressor, CurveEqualizer
from retone.exports import TARGETS, target_named
from retone.exports.curves import curves_csv
from retone.exports.verify import compare, own_render
from retone.lab.bench.exports import SAME_DB, cases, excerpt
from retone.process.settings_file import SettingsFile

RATE = 24000
MATCH, ENHANCE, CURVE, EXPAND = (c.settings for c in cases(RATE))
KINDS = {"match": MATCH, "enhance": ENHANCE, "curve": CURVE, "expand": EXPAND}
LEVEL_P95_DB = {
    "match": {"equalizer-apo": None, "reaper": 1e-3, "camilladsp": 5.0, "lv2": 1e-4, "clap": 1e-4},
    "enhance": {
        "equalizer-apo": None,
        "reaper": 1e-3,
        "lv2": 1e-4,
        "clap": 1e-4,
        "camilladsp": 5.0,
        "sox": 8.0,
        "easyeffects": 10.0,
    },
    "expand": {
        "equalizer-apo": None,
        "easyeffects": None,
        "reaper": 1e-3,
        "camilladsp": None,
        "pedalboard": 8.0,
        "lv2": 1e-4,
        "clap": 1e-4,
    },
    "curve": {"equalizer-apo": None, "reaper": None, "camilladsp": 5.0, "lv2": None, "clap": None},
}
"""How far the level may be off where not 3 dB: no dynamics, expander or curve (None), no knee,
bands."""


@pytest.fixture(scope="module")
def voice(make_audio) -> np.ndarray:  # type: ignore[no-untyped-def]
    return (0.5 * make_audio(RATE, RATE, seed=3)[0]).float().numpy()


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", TARGETS)
def test_render(name: str, kind: str, voice: np.ndarray) -> None:
    found = compare(name, KINDS[kind], voice, RATE)
    if found.missing:
        pytest.skip(found.missing)
    assert found.eq_db is not None and found.level_p95_db is not None
    if kind == "curve":
        assert name in WITHOUT_CURVES or found.eq_db < CURVE_DB
    elif target_named(name).same_biquads:
        assert found.eq_db < SAME_DB
    most = LEVEL_P95_DB[kind].get(name, 3.0)
    assert most is None or found.level_p95_db < most


WITHOUT_CURVES = {"reaper": "ReaVerb", "lv2": "convolver", "clap": "convolver"}
"""Targets that leave a curve to another program, and what their note calls it."""
CURVE_DB = 0.3
"""How far a curve's response may be off: graphic equalisers draw it through other points."""


@pytest.mark.parametrize("rate", [16000, 44100, 96000])
@pytest.mark.parametrize("phase", ["minimum", "linear"])
@pytest.mark.parametrize("name", TARGETS)
def test_a_curve_is_the_same_at_every_rate_and_phase(
    name: str, phase: Literal["minimum", "linear"], rate: int, make_audio: MakeAudio
) -> None:
    """Response and time: what comes out late is aligned before it is compared."""
    effect = CurveEqualizer(phase=phase)
    values = {
        n.partition(".")[2]: v for n, v in CURVE.setting.items() if n.startswith("curve_equalizer.")
    }
    settings = SettingsFile(effect, values, rate, "test")
    audio = make_audio(rate // 2, rate, seed=4)[0].float().numpy() * 0.5
    found = compare(name, settings, audio, rate)
    if found.missing:
        pytest.skip(found.missing)
    if name in WITHOUT_CURVES:
        assert any(WITHOUT_CURVES[name] in n for n in found.notes)
        return
    assert found.eq_db is not None and found.residual_db is not None
    assert found.eq_db < CURVE_DB
    assert found.residual_db < -30


@pytest.mark.parametrize("smooth", ["db", "gain"])
@pytest.mark.parametrize("table", [COMPRESSOR_TABLE, EXPANDER_TABLE], ids=["plain", "expander"])
def test_reaper_smooths_what_the_compressor_smooths(
    smooth: str, table: ParamTable, voice: np.ndarray
) -> None:
    """The script was once written for decibels whatever was set: 21 dB below the render."""
    effect = Compressor(table=table, rms_ms=10.0, smooth=smooth)  # type: ignore[arg-type]
    values = {"threshold_db": -35.0, "ratio": 6.0, "makeup_db": 3.0}
    values |= {"expander_threshold_db": -30.0, "expander_ratio": 3.0}
    full = {p.name: values.get(p.name, p.default) for p in table}
    found = compare("reaper", SettingsFile(effect, full, RATE, "test"), voice, RATE)
    assert found.residual_db is not None and found.residual_db < -120
    assert not found.notes


def test_a_wrong_export_is_seen(voice: np.ndarray, monkeypatch: pytest.MonkeyPatch) -> None:
    """A guard on the guard: one decibel off in one band."""
    from retone.exports import equalizer_apo

    right = equalizer_apo.TARGET.write

    def wrong(plan):  # type: ignore[no-untyped-def]
        done = right(plan)
        return type(done)(done.text.replace("Gain 6 dB", "Gain 7 dB"), done.notes)

    target = type(equalizer_apo.TARGET)(**{**vars(equalizer_apo.TARGET), "write": wrong})
    monkeypatch.setitem(TARGETS._members, "equalizer-apo", target)
    found = compare("equalizer-apo", MATCH, voice, RATE)
    assert found.eq_db is not None and found.eq_db > 0.9


def test_curves_say_what_the_compressor_did(tmp_path: Path, voice: np.ndarray) -> None:
    """The equaliser alone, turned by the CSV's gains, is the whole render."""
    import soundfile

    from retone.process.stream import Renderer

    path = tmp_path / "voice.wav"
    soundfile.write(path, voice.T, RATE, "FLOAT")
    rows = np.genfromtxt(curves_csv(MATCH, path).splitlines(), delimiter=",", names=True)
    assert rows.dtype.names == ("time_s", "compressorgain_reduction_db", "gain_db")
    assert rows["gain_db"][0] == 3.0
    assert rows["compressorgain_reduction_db"].min() < -3
    step = round(0.01 * RATE)
    at = (rows["time_s"] * RATE + step / 2, rows["compressorgain_reduction_db"])
    gain_db = np.interp(np.arange(voice.shape[1]), *at) + rows["gain_db"][0] + 4.0  # makeup
    equalizer = MATCH.effect.members[0]  # type: ignore[attr-defined]
    own = {
        n.split(".")[1]: v
        for n, v in MATCH.effective_setting().items()
        if n.startswith("equalizer.")
    }
    y = Renderer(equalizer, own, RATE).process(voice) * 10 ** (gain_db / 20)
    want = own_render(MATCH, voice, RATE)
    assert np.sqrt(np.mean((y - want) ** 2)) < 0.1 * np.sqrt(np.mean(want**2))


@pytest.mark.parametrize(
    "values",
    [
        {"ratio": 1.0, "expander_threshold_db": -30.0, "expander_ratio": 2.1},
        {"threshold_db": -25.0, "ratio": 3.0, "expander_threshold_db": -40.0, "expander_ratio": 2},
        {"threshold_db": -32.0, "ratio": 2.0, "expander_threshold_db": -30.0, "expander_ratio": 2},
    ],
    ids=["alone", "below the compressor", "overlapping"],
)
@pytest.mark.parametrize("name", ["ffmpeg", "sox"])
def test_an_expander_closes_as_ours_does(
    name: str, values: dict[str, float], repository: Path
) -> None:
    """A follower of the level that falls too slowly leaves pauses too loud."""
    effect = Compressor(table=EXPANDER_TABLE)
    full = {p.name: p.default for p in effect.params} | values
    audio, rate = excerpt(repository / "examples" / "dull_voice.flac")
    found = compare(name, SettingsFile(effect, full, rate, "test"), audio, rate)
    if found.missing:
        pytest.skip(found.missing)
    assert found.level_median_db is not None and found.level_p95_db is not None
    assert found.level_median_db < 0.8 and found.level_p95_db < 4.0
    assert any("short pauses differ most" in note for note in found.notes)
