"""The settings file and the meters behind the report's pictures."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import signal

from retone.audio.meters.envelope import EnvelopeMeter, LevelHistogram
from retone.audio.meters.spectrum import SpectrumMeter
from retone.dsp import scan
from retone.dsp.effect import Effect
from retone.dsp.param import tidy_setting
from retone.effects import EFFECTS, Compressor, Equalizer, Fir, Gain, chain
from retone.effects.spec import effect_from_spec, effect_to_spec
from retone.errors import DataError, SettingError
from retone.process.settings_file import LevelPlan, SettingsFile, Source

VOICE = chain("voice", Gain("input"), Equalizer(), Compressor())

EVERY = (
    *EFFECTS,
    Fir("match", (0.25, -0.333333333, 1e-7)),
    chain("nested", chain("inner", Gain(), Fir("fir", (1.0,))), Compressor()),
)


def draw(effect: Effect, seed: int) -> dict[str, float]:
    sample = effect.params.sample(1, torch.Generator().manual_seed(seed))
    return {n: float(v[0]) for n, v in sample.items()}


def record(effect: Effect = VOICE, seed: int = 0, **more: object) -> SettingsFile:
    given_: dict[str, object] = {
        "amount": 0.75,
        "levels": {"before": {"loudness_lufs": -23.456, "rms_db": -math.inf}},
        "level_plan": LevelPlan(-1.25, -16.0, -1.0, 2.5, 0.75),
        "sources": (Source("input", "/home/someone/voice é.wav", 44100, 2, 12.3456),),
        "notes": ('Above 12 kHz the reference is "empty".',),
    }
    return SettingsFile(effect, draw(effect, seed), 44100, "test", **(given_ | more))  # type: ignore[arg-type]


@pytest.mark.parametrize("effect", EVERY, ids=lambda e: e.name)
@settings(max_examples=8, deadline=None)
@given(seed=st.integers(0, 2**31))
def test_settings_file_round_trip(effect: Effect, seed: int) -> None:
    first = record(effect, seed)
    text = first.to_json()
    second = SettingsFile.from_json(text)
    assert second == first
    assert second.to_json() == text
    for name, value in draw(effect, seed).items():
        assert second.setting[name] == pytest.approx(value, rel=5e-9)
    one_a_line = [ln for ln in text.splitlines() if '"range"' in ln]
    assert len(one_a_line) == len(effect.params)


def test_replay_is_exact() -> None:
    audio = 0.2 * torch.randn(1, 2, 2000, generator=torch.Generator().manual_seed(1)).double()
    for seed in range(3):
        values = draw(VOICE, seed)
        again = SettingsFile.from_json(record(VOICE, seed, amount=1.0).to_json())
        with scan.forced():
            wanted = VOICE.render(audio, 44100, VOICE.params.setting(values)).audio
            got = again.effect_at(44100).render(audio, 44100, again.effective_setting()).audio
        error_db = 20 * math.log10(float((got - wanted).norm() / wanted.norm()) + 1e-20)
        assert error_db < -137  # 1e-6 dB


def test_effective_setting_applies_amount_but_not_to_locks() -> None:
    values = {n: p.default for n, p in ((p.name, p) for p in VOICE.params)}
    values |= {"equalizer.peak_1_gain_db": 8.0, "equalizer.peak_2_gain_db": 6.0}
    heard = SettingsFile(
        VOICE, values, 44100, "test", amount=0.5, locks={"equalizer.peak_2_gain_db": 6.0}
    ).effective_setting()
    assert float(heard["equalizer.peak_1_gain_db"]) == 4.0
    assert float(heard["equalizer.peak_2_gain_db"]) == 6.0


def test_folders_are_dropped_and_levels_rounded() -> None:
    made = record()
    assert made.sources[0].file == "voice é.wav"
    assert made.levels["before"] == {"loudness_lufs": -23.46, "rms_db": None}
    assert "home" not in made.to_json()
    assert Source("input", r"C:\Users\me\a.wav", 8000, 1, 1).file == "a.wav"


def test_bare_numbers_may_be_written() -> None:
    data = json.loads(record().to_json())
    data["setting"] = {n: entry["value"] for n, entry in data["setting"].items()}
    assert SettingsFile.from_json(json.dumps(data)) == record()


def broken(**changes: object) -> str:
    """The record's text after changing fields by dotted path; None removes, '+x' adds."""
    data = json.loads(record().to_json())
    for path, value in changes.items():
        *folders, last = path.split("__")
        at = data
        for step in folders:
            at = at[int(step)] if step.isdigit() else at[step.replace("@", ".")]
        last = last.replace("@", ".")
        if value is None:
            del at[last]
        else:
            at[last] = value
    return json.dumps(data)


@pytest.mark.parametrize(
    ("text", "error", "says"),
    [
        ("{", DataError, r"line 1, column 2"),
        ('{"a": 1,\n "b" 2}', DataError, r"line 2, column 6"),
        ("[]", DataError, r"expected an object"),
        ("{}", DataError, r"not a retone settings file"),
        ('{"a": 1, "a": 2}', DataError, r"'a' appears twice"),
        ('{"a": NaN}', DataError, r"NaN"),
        ("[" * 100000, DataError, r"nested too deeply"),
        (broken(retone_settings=2), DataError, r"version 2 is unknown.*reads version 1"),
        (broken(effect__type="chian"), DataError, r"'chian' is unknown.*chain"),
        (broken(effect__members__1__table="papr"), DataError, r"members\[1\].table.*paper"),
        (broken(effect__members__2__rms_sm=3), DataError, r"'rms_sm' is not.*rms_ms"),
        (broken(effect__members__2__rms_ms=None), DataError, r"'rms_ms' is missing"),
        (broken(effect__members__2__rms_ms=-1), DataError, r"outside its range"),
        (broken(effect__members__1__name="compressor"), DataError, r"different names"),
        (broken(**{"setting__equalizer@peak_1_q": None}), SettingError, r"peak_1_q' is missing"),
        (broken(**{"setting__equalizer@peek_1_q": 1}), SettingError, r"mean equalizer.peak_1_q"),
        (broken(**{"setting__equalizer@peak_1_q": 11}), SettingError, r"range 0.1..10"),
        (broken(**{"setting__equalizer@peak_1_q": "1"}), DataError, r"expected a number"),
        (broken(**{"setting__equalizer@peak_1_q": True}), DataError, r"expected a number"),
        (broken(**{"setting__compressor@attack_ms__unit": "s"}), SettingError, r"unit is 'ms'"),
        (broken(**{"locks__equalizer@peak_1_qq": 1}), SettingError, r"mean equalizer.peak_1_q"),
        (broken(amount=1.5), DataError, r"amount = 1.5 is outside"),
        (broken(amuont=1), DataError, r"'amuont' is not a known field.*amount"),
        (broken(levels__befor={}), SettingError, r"'befor' is unknown.*before"),
        (broken(sources__0__channels=1.5), DataError, r"sources\[0\].channels.*whole"),
        (broken(notes=[1]), DataError, r"notes\[0\]"),
        (broken().replace("0.75", "1e999"), DataError, r"finite"),
    ],
)
def test_mistakes_in_hand_edited_files(text: str, error: type[Exception], says: str) -> None:
    with pytest.raises((DataError, SettingError), match=says) as caught:
        SettingsFile.from_json(text, "my.json")
    assert type(caught.value) is error
    assert "my.json" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_files_that_cannot_be_read(tmp_path) -> None:  # type: ignore[no-untyped-def]
    with pytest.raises(DataError, match="cannot be read"):
        SettingsFile.read(tmp_path / "absent.json")
    (tmp_path / "binary.json").write_bytes(b"RIFF\xff\xfe")
    with pytest.raises(DataError, match="is not UTF-8 text"):
        SettingsFile.read(tmp_path / "binary.json")
    record().write(tmp_path / "good.json")
    (tmp_path / "marked.json").write_bytes(b"\xef\xbb\xbf" + (tmp_path / "good.json").read_bytes())
    assert SettingsFile.read(tmp_path / "marked.json") == record()


WRITTEN_BEFORE = {
    "type": "chain",
    "name": "all",
    "members": [
        {"type": "gain", "name": "input"},
        {"type": "equalizer", "name": "paper", "table": "paper"},
        {"type": "compressor", "name": "c", "table": "expander", "rms_ms": 5.0, "smooth": "gain"},
        {"type": "dynamic_equalizer", "name": "d", "detector": {"rms_ms": 3.0, "smooth": "db"}},
        {"type": "multiband_equalizer", "name": "m", "rms_ms": 25.0},
        {"type": "fir", "name": "f", "sample_rate_hz": 44100, "taps": [1.0, -0.5]},
        {
            "type": "plugin",
            "name": "p",
            "source": "/plugins/tone.vst3",
            "fixed": {"bypass": 0.0},
            "parameters": [
                {
                    "name": "threshold_db", "unit": "dB", "low": -60.0, "high": 0.0,
                    "default": -20.0, "scale": "linear", "neutral": None,
                },
            ],
        },
    ],
}  # fmt: skip
"""What the version before this one wrote, by hand-written functions for each type."""


def test_settings_files_of_before_read_and_write_the_same() -> None:
    effect = effect_from_spec(WRITTEN_BEFORE, 44100)
    assert json.dumps(effect_to_spec(effect, 44100)) == json.dumps(WRITTEN_BEFORE)
    assert effect.params["p.threshold_db"].level_relative


def test_what_cannot_be_written_is_refused() -> None:
    with pytest.raises(SettingError, match="table"):
        effect_to_spec(Equalizer(table=Gain().params), 44100)
    with pytest.raises(SettingError, match="finite"):
        record(amount=math.nan)
    fir = effect_to_spec(Fir("match", (1.0, 0.5)), 44100)
    assert effect_from_spec(fir, 44100) == Fir("match", (1.0, 0.5))
    with pytest.raises(SettingError, match="44100 Hz and cannot run at 48000 Hz"):
        effect_from_spec(fir, 48000)


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 2**31))
def test_tidy_numbers_are_short_and_hardly_change_the_response(seed: int) -> None:
    table = Equalizer().params
    setting = table.sample(1, torch.Generator().manual_seed(seed))
    tidy = tidy_setting(table, setting)
    table.setting({n: float(v[0]) for n, v in tidy.items()})  # in range
    assert all(len(f"{float(v[0]):g}") <= 7 for v in tidy.values())
    f = torch.logspace(math.log10(20), math.log10(20000), 200, dtype=torch.float64)
    ratio = Equalizer().response(f, 48000, tidy) / Equalizer().response(f, 48000, setting)
    assert float((20 * torch.log10(ratio.abs())).abs().max()) < 0.25


# --- meters -----------------------------------------------------------------------------------


def in_blocks(meter: object, audio: np.ndarray, sizes: list[int]) -> object:
    start = 0
    for size in sizes:
        meter.update(audio[:, start : start + size])  # type: ignore[attr-defined]
        start += size
    meter.update(audio[:, start:])  # type: ignore[attr-defined]
    return meter


def test_spectrum_meter_equals_scipy_welch() -> None:
    audio = np.random.default_rng(0).standard_normal((2, 44100)) * 0.1 + 0.05
    meter = SpectrumMeter(44100)
    meter.update(audio)
    f, density = meter.density()
    f2, wanted = signal.welch(audio, 44100, "hann", meter.segment, noverlap=0, axis=-1)
    np.testing.assert_allclose(f, f2)
    np.testing.assert_allclose(density, wanted.mean(axis=0), rtol=1e-4, atol=1e-12)


@pytest.mark.parametrize("sample_rate", [16000, 44100, 96000])
def test_spectrum_meter_physics(sample_rate: int) -> None:
    assert 4 <= sample_rate / SpectrumMeter(sample_rate).segment <= 8
    t = np.arange(2 * sample_rate) / sample_rate
    sine = SpectrumMeter(sample_rate)
    sine.update(np.sin(2 * np.pi * 1000 * t)[None])
    np.testing.assert_allclose(sine.result(np.array([1000.0])), -3.01, atol=0.02)
    assert sine.result(np.array([2000.0]))[0] < -100
    noise = SpectrumMeter(sample_rate)
    noise.update(np.random.default_rng(1).standard_normal((1, 20 * sample_rate)))
    octaves = noise.result(np.array([500.0, 1000.0, 2000.0, 4000.0]))
    np.testing.assert_allclose(np.diff(octaves), 3.01, atol=0.4)


def test_spectrum_meter_bands_add_up_to_the_power() -> None:
    audio = np.random.default_rng(2).standard_normal((1, 48000))
    meter = SpectrumMeter(48000)
    meter.update(audio)
    f, density = meter.density()
    bands = meter.result(200 * 2 ** (np.arange(36) / 6))
    low, high = 200 * 2 ** (-1 / 12), 200 * 2 ** (35 / 6 + 1 / 12)
    inside = density[(f >= low) & (f < high)].sum() * f[1]
    assert 10 * np.log10(inside) == pytest.approx(
        10 * np.log10((10 ** (bands / 10)).sum()), abs=0.02
    )


def test_spectrum_meter_short_silent_and_empty() -> None:
    empty = SpectrumMeter(48000)
    assert empty.result(np.array([100.0, 30000.0])).tolist() == [-200.0, -200.0]
    short = SpectrumMeter(48000)
    short.update(np.sin(2 * np.pi * 3000 * np.arange(2000) / 48000)[None])
    assert short.result(np.array([3000.0]))[0] == pytest.approx(-3.01, abs=0.05)


blocks = st.lists(st.integers(0, 3000), max_size=12)


@settings(max_examples=25, deadline=None)
@given(sizes=blocks)
def test_meters_do_not_depend_on_blocks(sizes: list[int]) -> None:
    audio = np.random.default_rng(3).standard_normal((2, 12000))
    for make, read in (
        (lambda: SpectrumMeter(16000), lambda m: m.density()),
        (lambda: EnvelopeMeter(16000, points=100), lambda m: m.result()),
        (lambda: LevelHistogram(16000), lambda m: (m.share(),)),
    ):
        whole = in_blocks(make(), audio, [])
        parts = in_blocks(make(), audio, sizes)
        for a, b in zip(read(whole), read(parts), strict=True):
            np.testing.assert_array_equal(a, b)


@settings(max_examples=30, deadline=None)
@given(length=st.integers(1, 5000))
def test_envelope_meter_is_min_and_max(length: int) -> None:
    audio = np.random.default_rng(length).standard_normal((3, length))
    meter = EnvelopeMeter(1000, points=64)
    meter.update(audio)
    time_s, low, high = meter.result()
    stretch = 1
    while stretch * 64 < length:
        stretch *= 2
    assert time_s.size == -(-length // stretch) <= 64
    for k in range(time_s.size):
        part = audio[:, k * stretch : (k + 1) * stretch]
        np.testing.assert_array_equal(low[:, k], part.min(axis=1))
        np.testing.assert_array_equal(high[:, k], part.max(axis=1))


def test_level_histogram_counts_levels() -> None:
    meter = LevelHistogram(1000)
    loud, soft = np.full((2, 300), 0.5), np.full((2, 700), 0.0101)
    soft[1] = 0
    meter.update(np.concatenate([loud, soft, np.zeros((2, 500))], axis=1))
    found = {float(e): s for e, s in zip(meter.edges_db, meter.share(), strict=False) if s > 0}
    assert found == {-7.0: pytest.approx(0.3), -40.0: pytest.approx(0.7)}
