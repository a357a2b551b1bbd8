"""Plug-ins as effects: good ones behave like any effect, bad ones cost a message and no more."""

from __future__ import annotations

import gc
import importlib.util
from pathlib import Path

import pytest
import torch
from torch import Tensor

from conftest import MakeAudio
from retone.dsp.effect import Effect
from retone.effects.plugin import Plugin, param_of
from retone.effects.spec import effect_from_spec, effect_to_spec
from retone.errors import PluginError, RetoneError, SettingError
from retone.plugins import host, host_of
from retone.training.gradients import Exact, Spsa

ZOO = Path(__file__).resolve().parents[1] / "plugin_zoo.py"
RATE = 24000
ZAM = Path("/usr/lib/vst3")


def zoo(name: str, **options: object) -> Plugin:
    return Plugin.open(f"{ZOO}:{name}", **options)  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def tone() -> Plugin:
    return zoo("tone")


def zam(name: str) -> Plugin:
    if importlib.util.find_spec("pedalboard") is None:
        pytest.skip("pedalboard is not installed: pip install 'retone[plugins]'")
    if not (ZAM / f"{name}.vst3").exists():
        pytest.skip(f"{name} is not installed: apt-get install zam-plugins")
    return Plugin.open(str(ZAM / f"{name}.vst3"))


def middle(effect: Effect, batch: int = 1, at: float = 0.6) -> dict[str, Tensor]:
    return effect.params.to_physical(torch.full((batch, len(effect.params)), at).double())


def audio(make_audio: MakeAudio, length: int = 2000, **more: int) -> Tensor:
    return 0.3 * make_audio(length, RATE, dtype=torch.float32, **more)


# --- a good one ------------------------------------------------------------------------------


def test_the_table_is_read_from_the_function(tone: Plugin) -> None:
    assert tone.params.names == ("tilt_gain_db", "output_gain_db")
    p = tone.params["tilt_gain_db"]
    assert (p.low, p.high, p.default, p.unit, p.neutral) == (-24, 24, 0, "dB", 0)
    held = zoo("tone", fixed={"output_gain_db": 6})
    assert held.params.names == ("tilt_gain_db",)


@pytest.mark.parametrize(
    ("name", "low", "high", "unit", "scale", "neutral"),
    [
        ("ratio", 1, 20, ":1", "slope", 1.0),
        ("attack_ms", 0.1, 100, "ms", "log", None),
        ("frequency_hz", 20, 14000, "Hz", "log", None),
        ("delay_ms", 0, 100, "ms", "linear", None),
        ("threshold_db", -80, 0, "dB", "linear", None),
        ("boost_cut_1_db", -50, 20, "dB", "linear", 0.0),
        ("width", 1, 5, "", "linear", None),
    ],
)
def test_units_and_scales_follow_from_names(
    name: str, low: float, high: float, unit: str, scale: str, neutral: float | None
) -> None:
    p = param_of({"name": name, "low": low, "high": high, "default": high, "unit": ""})
    assert (p.unit, p.scale, p.neutral) == (unit, scale, neutral)


def test_it_renders_like_any_effect(tone: Plugin, make_audio: MakeAudio) -> None:
    x = audio(make_audio, batch=2, channels=2)
    neutral = tone.params.neutral(2)
    torch.testing.assert_close(tone.render(x, RATE, neutral).audio, x, rtol=0, atol=1e-6)
    setting = middle(tone, 2)
    setting["output_gain_db"] = torch.tensor([0.0, 6.0]).double()
    out = tone.render(x, RATE, setting).audio
    alone = tone.render(x[1:], RATE, {n: v[1:] for n, v in setting.items()}).audio
    assert torch.equal(out[1:], alone)
    assert tone.render(x.double(), RATE, setting).audio.dtype == torch.float64
    assert tone.render(x[..., :0], RATE, setting).audio.shape == (2, 2, 0)


def test_gradients_are_refused_and_spsa_has_them(tone: Plugin, make_audio: MakeAudio) -> None:
    x = audio(make_audio, batch=2)
    unit = torch.full((2, 2), 0.5).requires_grad_()
    with pytest.raises(SettingError, match="Train with gradient Spsa"):
        Exact().train(tone, x, RATE, unit)
    torch.manual_seed(0)
    Spsa(epsilon=1e-3, directions=2).train(tone, x, RATE, unit).square().mean().backward()
    assert unit.grad is not None
    louder = unit.grad[:, 1]  # output gain raises the level: d/du 10^(24 u / 10) = 5.53 of it
    torch.testing.assert_close(louder, 5.526 * x.square().mean((1, 2)) / 2, rtol=0.05, atol=0)


def test_settings_files_hold_it_but_do_not_run_it(
    tone: Plugin, make_audio: MakeAudio, monkeypatch: pytest.MonkeyPatch
) -> None:
    spec = effect_to_spec(tone, RATE)
    again = effect_from_spec(spec, RATE)
    assert again.params.names == tone.params.names and again == tone
    monkeypatch.setattr(host, "_ALLOWED", {})
    with pytest.raises(PluginError, match="Name its path on this machine"):
        again.render(audio(make_audio), RATE, middle(again))
    moved = effect_from_spec({**spec, "source": "/elsewhere/plugin_zoo.py:tone"}, RATE)
    host.allow(f"{ZOO}:tone")
    x = audio(make_audio)
    wanted = tone.render(x, RATE, middle(tone)).audio
    assert torch.equal(moved.render(x, RATE, middle(moved)).audio, wanted)


# --- bad ones --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("crashes", r"crashed \(SIGSEGV\), and again after a restart \(settings: gain"),
        ("leaves", r"ended by itself \(exit code 3\), and again"),
        ("exits", "failed: the licence has expired"),
        ("nan", "returned 1 samples that are NaN"),
        ("longer", r"changed the audio's length: .* \[1, 2000\] and came out as \[1, 2010\]"),
        ("other_rate", r"came out as \[1, 1000\]. Effects that change length or sample rate"),
        ("with_rate", "it returned 2 values; expected the audio alone"),
        ("nothing", "expected float audio"),
    ],
)
def test_bad_plugins_say_what_they_did(name: str, message: str, make_audio: MakeAudio) -> None:
    effect = zoo(name)
    before = host_of(effect.source).restarts
    with pytest.raises(PluginError, match=message):
        effect.render(audio(make_audio), RATE, middle(effect))
    restarts = host_of(effect.source).restarts - before
    assert restarts == (2 if name in ("crashes", "leaves") else 0)
    effect.problems()


def test_one_that_sleeps_is_woken_by_its_end(make_audio: MakeAudio) -> None:
    effect = zoo("hangs", limit_s=0.5)
    with pytest.raises(PluginError, match="did not answer within 1 s, and again"):
        effect.render(audio(make_audio), RATE, middle(effect))


def test_a_crash_costs_one_retry(
    make_audio: MakeAudio, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RETONE_TEST_MARK", str(tmp_path / "mark"))
    effect = zoo("crashes_once")
    host_of(effect.source).close()  # a worker that knows the mark
    x = audio(make_audio)
    out = effect.render(x, RATE, {"gain": torch.tensor([0.5])}).audio
    assert torch.equal(out, 0.5 * x)
    assert [p for p in effect.problems() if "SIGSEGV" in p and "restarted" in p]
    assert effect.problems() == []


def test_an_item_that_crashes_is_skipped_in_training(make_audio: MakeAudio) -> None:
    effect = zoo("crashes_when_loud", on_failure="skip")
    x = audio(make_audio, batch=3)
    x[1, 0, 100] = 0.95
    unit = torch.full((3, 1), 0.5).requires_grad_()
    out = Spsa(epsilon=1e-2, directions=1).train(effect, x, RATE, unit)
    out.square().sum().backward()
    assert torch.equal(out[1], x[1])
    assert unit.grad is not None
    assert float(unit.grad[1]) == 0 and bool((unit.grad[[0, 2]] > 0).all())
    assert (
        len([p for p in effect.problems() if "and again" in p]) == 1
    )  # once, not for each direction
    for _ in range(host.MOST_FAILURES - 1):
        host_of(effect.source).note("lost")
    with pytest.raises(PluginError, match="20th time in a row"):
        host_of(effect.source).note("lost")


@pytest.mark.parametrize(
    ("source", "message"),
    [
        (f"{ZOO}:no_parameters", "no numeric parameters to set; a Python function"),
        (f"{ZOO}:odd_parameters", "expected name -> \\(low, high, default\\)"),
        (f"{ZOO}:absent", "has no function 'absent'"),
        (f"{ZOO.parent}/none.py:f", "there is no plug-in at"),
        ("none.vst3", "there is no plug-in at"),
        (str(ZOO), "expected a plug-in PATH.vst3 or a function"),
    ],
)
def test_what_cannot_be_opened_is_refused(source: str, message: str) -> None:
    with pytest.raises(RetoneError, match=message):
        Plugin.open(source)


def test_a_file_that_is_no_plugin(tmp_path: Path) -> None:
    pytest.importorskip("pedalboard", reason="pedalboard is not installed")
    (tmp_path / "fake.vst3").write_bytes(b"nothing")
    with pytest.raises(PluginError, match="cannot be loaded as a plug-in"):
        Plugin.open(str(tmp_path / "fake.vst3"))


def test_unknown_fixed_names_are_refused() -> None:
    with pytest.raises(SettingError, match="It has: tilt_gain_db, output_gain_db"):
        zoo("tone", fixed={"tilt": 3})


# --- real ones -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "has", "lacks"),
    [
        ("ZamEQ2", "boost_cut_1_db", "peaks_on"),
        ("ZamComp", "threshold_db", "gain_reduction_db"),
        ("ZamDynamicEQ", "detect_frequency_hz", "buffer_size_frames"),
    ],
)
def test_vst3_plugins(name: str, has: str, lacks: str, make_audio: MakeAudio) -> None:
    effect = zam(name)
    assert has in effect.params.names and lacks not in effect.params.names
    if name == "ZamEQ2":
        p = effect.params[has]
        assert (p.low, p.high, p.unit, p.neutral) == (-50, 20, "dB", 0)
    x = audio(make_audio, 9000, channels=2)  # these have one channel
    setting = middle(effect, at=0.7)
    if "slew" in setting:
        setting["slew"] = torch.tensor([1.0]).double()  # else it follows the host's buffers
    whole = effect.render(x, RATE, setting).audio
    assert not torch.equal(whole, x)
    assert torch.equal(effect.render(x, RATE, setting).audio, whole)
    state, parts = None, []
    for start in range(0, 9000, 4000):
        if start == 8000:  # the process is lost in the middle of a recording
            assert state is not None
            stream = state["streams"][0]
            stream._child.process.kill()
        part = effect.render(x[..., start : start + 4000], RATE, setting, state)
        state = part.state
        parts.append(part.audio)
    assert torch.equal(torch.cat(parts, -1), whole)
    del state, part
    gc.collect()


def test_interleaved_recordings_do_not_hear_each_other(make_audio: MakeAudio) -> None:
    effect = zam("ZamComp")
    setting = middle(effect, at=0.7) | {"slew": torch.tensor([1.0]).double()}
    signals = [audio(make_audio, 6000, seed=s) for s in (1, 2)]
    wholes = [effect.render(x, RATE, setting).audio for x in signals]
    states: list = [None, None]
    parts: list[list[Tensor]] = [[], []]
    for start in (0, 3000):
        for i, x in enumerate(signals):
            out = effect.render(x[..., start : start + 3000], RATE, setting, states[i])
            states[i] = out.state
            parts[i].append(out.audio)
    for got, wanted in zip(parts, wholes, strict=True):
        assert torch.equal(torch.cat(got, -1), wanted)


def test_held_values_reach_it(make_audio: MakeAudio) -> None:
    x = audio(make_audio)
    effect = zoo("tone", fixed={"output_gain_db": 6.0})
    out = effect.render(x, RATE, effect.params.neutral(1)).audio
    torch.testing.assert_close(out, x * 10 ** (6 / 20), rtol=0, atol=1e-6)
