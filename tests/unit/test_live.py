"""Live processing without an audio system: blocks, reloading, engines on a stand-in."""

from __future__ import annotations

import sys
import types
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from plugin_cases import SAME_DB, music, residual_db, settings_of

from retone.errors import AudioError, MissingExtraError, SettingError
from retone.exports.verify import own_render
from retone.lab.bench.exports import cases
from retone.process import live_engines
from retone.process.live import CROSSFADE_S, LiveChain, watch
from retone.process.settings_file import SettingsFile

RATE = 48000
NAMES = ("retone-match", "retone-enhance")
CURVE = cases(RATE)[2].settings


def run(chain: LiveChain, audio: np.ndarray, block: int = 256) -> np.ndarray:
    """Every block through the chain, as an audio system would."""
    out = np.empty_like(audio)
    for at in range(0, audio.shape[1], block):
        rows = [np.ascontiguousarray(row[at : at + block]) for row in audio]
        made = [np.empty_like(row) for row in rows]
        chain.process(rows, made)
        out[:, at : at + block] = made
    return out


def written(folder: Path, settings: SettingsFile) -> Path:
    path = folder / "live.json"
    settings.write(path)
    return path


@pytest.mark.parametrize("block", [1, 64, 1000, 40000])
@pytest.mark.parametrize("name", NAMES)
def test_blocks_equal_apply(name: str, block: int, tmp_path: Path) -> None:
    settings = settings_of(name, 20)
    audio = music(0.1 if block == 1 else 1.0, RATE, 2)
    chain = LiveChain(written(tmp_path, settings), RATE, 2)
    assert residual_db(run(chain, audio, block), own_render(settings, audio, RATE)) < SAME_DB
    s = chain.statistics
    assert s.frames == audio.shape[1] and s.blocks == -(-s.frames // block)
    assert s.peak > 0 and s.busiest > 0
    assert not chain.notes


@pytest.mark.parametrize(("settings", "channels"), [(CURVE, 2), (settings_of(NAMES[0], 21), 3)])
def test_what_is_not_native_runs_in_python(
    settings: SettingsFile, channels: int, tmp_path: Path
) -> None:
    audio = music(0.5, RATE, channels)
    chain = LiveChain(written(tmp_path, settings), RATE, channels)
    assert chain.notes
    late = chain.latency_samples
    found = run(chain, np.pad(audio, ((0, 0), (0, late))), 512)[:, late:]
    assert residual_db(found, own_render(settings, audio, RATE)) < -100


def sine(seconds: float) -> np.ndarray:
    t = np.arange(round(seconds * RATE)) / RATE
    return (0.25 * np.sin(2 * np.pi * 500 * t)).astype(np.float32)[None].repeat(2, 0)


def gained(name: str, gain_db: float) -> SettingsFile:
    """Neutral settings with a gain."""
    base = settings_of(name, 0, gain_db=gain_db)
    neutral = {n: float(v[0]) for n, v in base.effect.params.neutral(1).items()}
    return SettingsFile(base.effect, neutral, RATE, "test", level_plan=base.level_plan)


@pytest.mark.parametrize(("first", "second"), [(NAMES[0], NAMES[0]), NAMES, NAMES[::-1]])
def test_reloading_does_not_click(first: str, second: str, tmp_path: Path) -> None:
    """Within a chain values move; between chains both run during a crossfade."""
    path = written(tmp_path, gained(first, -12.0))
    chain = LiveChain(path, RATE, 2)
    before = run(chain, sine(0.2))
    assert chain.reload() is None
    written(tmp_path, gained(second, 0.0))
    assert chain.reload() == "Settings reloaded."
    after = run(chain, sine(0.5))
    assert chain.statistics.reloads == 1
    whole = np.concatenate([before, after], axis=1).astype(np.float64)
    settled = whole[:, before.shape[1] + round(2 * CROSSFADE_S * RATE) :]
    assert np.abs(settled).max() == pytest.approx(0.25, rel=1e-3)
    assert np.abs(np.diff(whole, 2)).max() < 1.05 * np.abs(np.diff(settled, 2)).max()
    chain.reload()
    assert np.array_equal(run(chain, sine(0.2)), run(LiveChain(path, RATE, 2), sine(0.2)))


@pytest.mark.parametrize("damage", ["{", "{}", None])
def test_settings_that_cannot_be_read_change_nothing(damage: str | None, tmp_path: Path) -> None:
    settings = settings_of(NAMES[0], 22)
    path = written(tmp_path, settings)
    chain = LiveChain(path, RATE, 2)
    path.unlink()
    if damage is not None:
        path.write_text(damage)
    assert str(chain.reload()).startswith("The settings stay as they were: ")
    assert chain.reload() is None  # said once
    audio = music(0.2, RATE, 2)
    assert residual_db(run(chain, audio), own_render(settings, audio, RATE)) < SAME_DB
    written(tmp_path, settings_of(NAMES[1], 23))
    assert chain.reload() == "Settings reloaded."


def test_watch_reports_dropouts_and_reloads(tmp_path: Path) -> None:
    path = written(tmp_path, gained(NAMES[0], 0.0))
    chain = LiveChain(path, RATE, 2)
    said: list[str] = []
    rounds = iter(range(4))

    def wait(seconds: float) -> bool:
        number = next(rounds)
        if number == 1:
            chain.statistics.dropouts += 2
            written(tmp_path, gained(NAMES[0], -3.0))
        return number == 3

    watch(chain, said.append, wait)
    assert said == ["Settings reloaded.", "2 dropouts."]
    run(chain, sine(0.1))
    text = " ".join(chain.statistics.sentences(RATE))
    assert "2 dropouts" in text and "reloaded 1 time." in text and "-15.0 dBFS" in text


def test_output_over_full_scale_is_said(tmp_path: Path) -> None:
    chain = LiveChain(written(tmp_path, gained(NAMES[0], 20.0)), RATE, 2)
    run(chain, sine(0.1))
    assert "no limiter" in chain.statistics.sentences(RATE)[-1]


# -- engines ----------------------------------------------------------------------------------


class Stream:
    """PortAudio's stream, called by hand."""

    made: list[Stream] = []
    latency = (0.01, 0.02)

    def __init__(self, **options: Any) -> None:
        self.options = options
        self.running = False
        Stream.made.append(self)

    def start(self) -> None:
        self.running = True

    def stop(self) -> None:
        self.running = False

    def close(self) -> None:
        pass


@pytest.fixture
def portaudio(monkeypatch: pytest.MonkeyPatch) -> types.SimpleNamespace:
    """A stand-in for the package sounddevice."""

    class PortAudioError(Exception):
        pass

    def query_devices(name: Any = None, kind: str = "") -> Any:
        if name == "missing":
            raise ValueError("No device matching 'missing'")
        one = {"name": "card", "default_samplerate": 44100.0, "max_input_channels": 2,
               "max_output_channels": 0}  # fmt: skip
        return one if kind else [one]

    fake = types.SimpleNamespace(
        Stream=Stream, query_devices=query_devices, PortAudioError=PortAudioError
    )
    Stream.made.clear()
    monkeypatch.setitem(sys.modules, "sounddevice", fake)  # type: ignore[arg-type]
    return fake


def test_portaudio(portaudio: types.SimpleNamespace, tmp_path: Path) -> None:
    settings = settings_of(NAMES[1], 24)
    engine = live_engines.open_engine(
        "portaudio", written(tmp_path, settings), source="3", to="card", block=128
    )
    with engine:
        stream = Stream.made[0]
        assert stream.running
        assert stream.options["device"] == (3, "card") and stream.options["blocksize"] == 128
        audio = music(0.3, 44100, 2)
        out = np.empty_like(audio)
        for at in range(0, audio.shape[1], 128):
            made = np.empty((audio[:, at : at + 128].shape[1], 2), np.float32)
            stream.options["callback"](
                audio[:, at : at + 128].T, made, len(made), None, "underflow" if at == 256 else ""
            )
            out[:, at : at + 128] = made.T
        assert engine.latency().sentence() == "Latency from input to output: 30.0 ms."
    assert not stream.running
    assert engine.chain.statistics.dropouts == 1
    assert residual_db(out, own_render(settings, audio, 44100)) < SAME_DB


def test_missing_device(portaudio: types.SimpleNamespace, tmp_path: Path) -> None:
    path = written(tmp_path, settings_of(NAMES[0], 0))
    with pytest.raises(AudioError, match="missing"):
        live_engines.open_engine("portaudio", path, to="missing")


def test_missing_package_or_library(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    path = written(tmp_path, settings_of(NAMES[0], 0))
    for module in ("jack", "sounddevice"):
        monkeypatch.setitem(sys.modules, module, None)  # type: ignore[arg-type]
    for engine, package in (("jack", "JACK-Client"), ("portaudio", "sounddevice")):
        with pytest.raises(MissingExtraError, match=rf"{package}.*retone\[live\]"):
            live_engines.open_engine(engine, path)
    with pytest.raises(AudioError, match="no audio system can be used"):
        live_engines.open_engine("auto", path)
    assert len(live_engines.listed()) == 2
    with pytest.raises(SettingError, match="jack or portaudio"):
        live_engines.open_engine("asio", path)

    def broken(name: str) -> Any:
        raise OSError("no such library")

    monkeypatch.setattr("importlib.import_module", broken)
    with pytest.raises(AudioError, match="PortAudio is not installed"):
        live_engines.open_engine("portaudio", path)
