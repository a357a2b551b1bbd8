"""``retone live`` on a JACK server with the dummy driver: audio, reloading, the end."""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from plugin_cases import SAME_DB, music, residual_db, settings_of

from retone import core
from retone.cli.main import main
from retone.exports.verify import own_render
from retone.process.settings_file import LevelPlan, SettingsFile

RATE, PERIOD = 48000, 4096
SERVER = f"retone-test-{os.getpid()}"


@pytest.fixture(scope="module")
def server() -> Iterator[subprocess.Popen[bytes]]:
    """A JACK server without hardware, with what ``retone live`` would compile and say so."""
    core.plugin_library()
    pytest.importorskip("jack", exc_type=OSError)
    if shutil.which("jackd") is None:
        pytest.skip("jackd is not installed")
    process = subprocess.Popen(
        ["jackd", "-r", "-S", "-n", SERVER, "-d", "dummy", "-r", str(RATE), "-p", str(PERIOD)],
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    import jack

    deadline = time.monotonic() + 30
    while process.poll() is None and time.monotonic() < deadline:
        with contextlib.suppress(jack.JackOpenError):
            jack.Client("probe", servername=SERVER, no_start_server=True).close()
            break
        time.sleep(0.1)
    else:
        process.kill()
        process.wait()
        pytest.skip("jackd does not start on this machine")
    yield process
    process.kill()
    process.wait()


class Take:
    """A recording to play and what came back: JACK's thread alone writes to it."""

    def __init__(self, audio: np.ndarray) -> None:
        self.audio = audio
        self.at = 0
        self.recorded: list[np.ndarray] = []


class Player:
    """A JACK client that plays a recording into retone and records what comes back."""

    def __init__(self, channels: int) -> None:
        import jack

        for quiet in (jack.set_error_function, jack.set_info_function):
            quiet(lambda message: None)
        self.client = jack.Client("player", servername=SERVER, no_start_server=True)
        self.outs = [self.client.outports.register(f"out_{i}") for i in range(channels)]
        self.ins = [self.client.inports.register(f"in_{i}") for i in range(channels)]
        self.take = Take(np.zeros((channels, 0), np.float32))
        self.client.set_process_callback(self.process)

    def process(self, frames: int) -> None:
        take = self.take
        part = take.audio[:, take.at : take.at + frames]
        for channel, out in enumerate(self.outs):
            buffer = out.get_array()
            buffer[: part.shape[1]], buffer[part.shape[1] :] = part[channel], 0
        take.recorded.append(np.stack([back.get_array() for back in self.ins]))
        take.at += frames

    def __enter__(self) -> Player:
        self.client.activate()
        for i in range(len(self.outs)):
            self.client.connect(self.outs[i].name, f"retone:in_{i + 1}")
            self.client.connect(f"retone:out_{i + 1}", self.ins[i].name)
        return self

    def __exit__(self, *error: object) -> None:
        self.client.deactivate()
        self.client.close()

    def play(self, audio: np.ndarray) -> np.ndarray:
        """Play from silence and return what came back, aligned; faster than real time."""
        self.client.set_freewheel(True)
        self.take = take = Take(audio)
        deadline = time.monotonic() + 60
        while take.at < audio.shape[1] + 8 * PERIOD and time.monotonic() < deadline:
            time.sleep(0.02)
        self.client.set_freewheel(False)
        recorded = np.concatenate(take.recorded, axis=1)
        start = int(np.argmax(np.abs(recorded[0]) > 0))
        return recorded[:, start : start + audio.shape[1]]


@contextlib.contextmanager
def live(path: Path, *words: str) -> Iterator[subprocess.Popen[str]]:
    """``retone live`` as a process, once its ports are there; it never outlives the test."""
    process = subprocess.Popen(
        [sys.executable, "-m", "retone", "live", str(path), "--engine", "jack", *words],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        env={**os.environ, "JACK_DEFAULT_SERVER": SERVER, "PYTHONUNBUFFERED": "1"},
    )  # fmt: skip
    with process:  # closes its pipes and waits for it
        try:
            assert process.stdout
            for line in process.stdout:
                if line.startswith("Running."):
                    break
            else:
                raise AssertionError(process.communicate()[1])
            yield process
        finally:
            process.kill()


def ended(process: subprocess.Popen[str]) -> str:
    """What it prints after Ctrl-C."""
    process.send_signal(signal.SIGINT)
    out, errors = process.communicate(timeout=30)
    assert process.returncode == 0, errors
    assert not errors
    return out


@pytest.mark.parametrize(
    ("name", "channels"), [("retone-match", 2), ("retone-enhance", 2), ("retone-match", 1)]
)
def test_jack_plays_what_apply_renders(
    server: Any, name: str, channels: int, tmp_path: Path
) -> None:
    settings = settings_of(name, 30)
    settings.write(tmp_path / "s.json")
    audio = music(2.0, RATE, channels)
    audio[:, :1] = 0.3  # the beginning is found by it
    wanted = own_render(settings, audio, RATE)
    residuals = []
    words = ("--input", "", "--output", "", "--channels", str(channels))
    with live(tmp_path / "s.json", *words) as process:
        with Player(channels) as player:
            while len(residuals) < 10 and not (residuals and residuals[-1] < SAME_DB):
                found = player.play(audio)  # a busy machine's JACK may drop periods
                # other sound ran before: after a second the states have settled
                residuals.append(residual_db(found[:, RATE:], wanted[:, RATE:]))
        out = ended(process)
    assert residuals[-1] < SAME_DB, residuals
    assert re.search(r"[\d.]+ s processed, \d+ dropouts?, settings reloaded 0 times\.", out)


def test_reload_while_running(server: Any, tmp_path: Path) -> None:
    settings = settings_of("retone-match", 31)
    neutral = {n: float(v[0]) for n, v in settings.effect.params.neutral(1).items()}

    def write(gain_db: float) -> None:
        plan = LevelPlan(gain_db=gain_db)
        SettingsFile(settings.effect, neutral, RATE, "test", level_plan=plan).write(
            tmp_path / "s.json"
        )

    write(-20.0)
    tone = np.full((2, RATE), 0.1, np.float32)
    with live(tmp_path / "s.json", "--input", "", "--output", "") as process:
        with Player(2) as player:
            assert np.abs(player.play(tone)).max() == pytest.approx(0.01, rel=1e-4)
            write(0.0)
            assert process.stdout
            assert process.stdout.readline() == "Settings reloaded.\n"
            player.play(tone)
            assert np.abs(player.play(tone)).max() == pytest.approx(0.1, rel=1e-4)
        assert "reloaded 1 time." in ended(process)


def test_hardware_is_connected_and_time_ends_it(
    server: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: Any
) -> None:
    monkeypatch.setenv("JACK_DEFAULT_SERVER", SERVER)
    settings_of("retone-match", 32).write(tmp_path / "s.json")
    assert main(["live", str(tmp_path / "s.json"), "--seconds", "0.5"]) == 0
    out = capsys.readouterr().out
    assert f"{RATE} Hz, {PERIOD} frames" in out and "Latency from input to output" in out
    # PortAudio ends a process in which it has seen a server that is gone: a process of its own
    listed = subprocess.run(
        [sys.executable, "-m", "retone", "live", "--list"],
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    assert "source       system:capture_1" in listed
    assert main(["live", str(tmp_path / "s.json"), "--engine", "jack", "--input", "nobody"]) == 2
    assert "no port whose name starts with 'nobody'" in capsys.readouterr().err


def test_no_server(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("jack", exc_type=OSError)
    monkeypatch.setenv("JACK_DEFAULT_SERVER", "no-such-server")
    settings_of("retone-match", 0).write(tmp_path / "s.json")
    assert main(["live", str(tmp_path / "s.json"), "--engine", "jack"]) == 2
    assert capsys.readouterr().err.count("\n") == 1


def test_settings_are_needed(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    assert main(["live"]) == 2
    assert main(["live", "s.json", "--channels", "0"]) == 2
    assert "--channels 0" in capsys.readouterr().err


def test_settings_that_cannot_be_read_are_said_before_any_audio_system(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    assert main(["live", str(tmp_path / "none.json"), "--engine", "jack"]) == 2
    assert "none.json" in capsys.readouterr().err


def test_the_end_of_the_server_is_said(server: Any, tmp_path: Path) -> None:
    """Last in this file: it stops the server."""
    settings_of("retone-match", 33).write(tmp_path / "s.json")
    with live(tmp_path / "s.json") as process:
        server.kill()
        _, errors = process.communicate(timeout=30)
    assert process.returncode == 2
    assert "ended the connection" in errors
