"""What a plug-in's process answers is not trusted: each answer is used or refused in a sentence."""

from __future__ import annotations

import io
import json
import struct
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from retone.effects.plugin import Plugin
from retone.errors import PluginError
from retone.plugins import host

READY = {"ready": True}
GAIN = {"name": "gain", "low": 0.0, "high": 2.0, "default": 1.0, "unit": ""}
TOLD = {"name": "thing", "parameters": [GAIN], "switches": {}}
AUDIO = np.full((1, 2, 8), 0.5, np.float32)


def message(header: Any, payload: bytes = b"", sizes: tuple[int, int] | None = None) -> bytes:
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return struct.pack("<IQ", *(sizes or (len(text), len(payload)))) + text + payload


class Process:
    def __init__(self, answers: bytes) -> None:
        self.stdin, self.stdout = io.BytesIO(), io.BytesIO(answers)
        self.killed = False

    def kill(self) -> None:
        self.killed = True

    def wait(self, timeout: float | None = None) -> int:
        return -11 if self.killed else 1


@pytest.fixture
def answers(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[bytes], None]]:
    """Make every plug-in's process answer these bytes."""

    def give(data: bytes) -> None:
        monkeypatch.setattr(host.subprocess, "Popen", lambda *_, **__: Process(data))

    host._HOSTS.clear()
    yield give
    host._HOSTS.clear()


@pytest.fixture
def source(tmp_path: Path) -> str:
    (tmp_path / "thing.py").write_text("")
    return f"{tmp_path / 'thing.py'}:thing"


@pytest.mark.parametrize(
    "told",
    [
        [], 1, None, "x", {}, {"name": 1, "parameters": [], "switches": {}},
        {**TOLD, "parameters": {}}, {**TOLD, "parameters": ["x"]}, {**TOLD, "parameters": [{}]},
        {**TOLD, "parameters": [{**GAIN, "low": None}]},
        {**TOLD, "parameters": [{**GAIN, "high": "2"}]},
        {**TOLD, "parameters": [{**GAIN, "high": float("inf")}]},
        {**TOLD, "parameters": [{**GAIN, "default": float("nan")}]},
        {**TOLD, "parameters": [{**GAIN, "unit": 3}]}, {**TOLD, "switches": None},
        {**TOLD, "switches": {"x": "on"}}, {**TOLD, "parameters": [GAIN] * 5000},
        {**TOLD, "name": "a\nb"}, {**TOLD, "parameters": [{**GAIN, "name": "\ud800"}]},
        {**TOLD, "parameters": [{**GAIN, "high": 10**400}]}, {**TOLD, "parameters": []},
        b"[" * 100000, b"\xff", b"", {"error": 3}, {"error": ""},
    ],  # fmt: skip
)  # fmt: skip
def test_a_description_that_is_none_is_refused(
    answers: Callable[[bytes], None], source: str, told: Any
) -> None:
    answers(message(READY) + message(told))
    with pytest.raises(PluginError) as said:
        Plugin.open(source)
    assert str(said.value).strip() and "\n" not in str(said.value)
    assert len(str(said.value)) < 1000


@pytest.mark.parametrize(
    ("header", "payload", "sizes"),
    [
        ({}, b"", None), ([], b"", None), ({"shape": None}, b"", None),
        ({"shape": "28"}, b"", None),
        ({"shape": [2, 8]}, b"abc", None), ({"shape": [2, -8]}, b"", None),
        ({"shape": [2.0, 8]}, AUDIO.tobytes(), None), ({"shape": [2**62, 4]}, b"", None),
        ({"shape": [2, 8]}, AUDIO.tobytes(), (16, 2**63)),
        ({"shape": [2, 8]}, AUDIO.tobytes(), (2**32 - 1, 64)),
        ({"shape": [2, 8]}, AUDIO.tobytes(), (5, 64)), ({"error": None}, b"", None),
    ],
)  # fmt: skip
def test_audio_that_is_none_is_refused(
    answers: Callable[[bytes], None], source: str, header: Any, payload: bytes,
    sizes: tuple[int, int] | None,
) -> None:  # fmt: skip
    import torch

    answers(message(READY) + message(TOLD) + message(header, payload, sizes))
    plugin = Plugin.open(source)
    with torch.no_grad(), pytest.raises(PluginError) as said:
        plugin.render(torch.from_numpy(AUDIO), 16000, plugin.params.defaults(1))
    assert "\n" not in str(said.value)


def test_a_right_answer_is_used(answers: Callable[[bytes], None], source: str) -> None:
    import torch

    answers(message(READY) + message(TOLD) + message({"shape": [2, 8]}, AUDIO.tobytes()))
    plugin = Plugin.open(source)
    with torch.no_grad():
        out = plugin.render(torch.from_numpy(AUDIO), 16000, plugin.params.defaults(1)).audio
    assert np.array_equal(out.numpy(), AUDIO)


@pytest.mark.parametrize("first", [b"", b"\0" * 12, b"x" * 12, message([]), message(b"{")])
def test_a_process_that_does_not_start_rightly_is_said(
    answers: Callable[[bytes], None], source: str, first: bytes
) -> None:
    answers(first)
    with pytest.raises(PluginError, match="thing.*again after a restart"):
        Plugin.open(source)
