"""Where live audio comes from and goes to: JACK (also PipeWire's) or PortAudio.

Both are optional packages. An engine is a context manager: inside
it, audio runs.
"""

from __future__ import annotations

import math
import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from retone.errors import AudioError, MissingExtraError, SettingError
from retone.process.live import Latency, LiveChain

CLIENT = "retone"


class Engine(Protocol):
    """A connection to an audio system."""

    chain: LiveChain
    title: str
    ended: threading.Event

    def latency(self) -> Latency:
        """From input to output, while audio runs."""

    def __enter__(self) -> Engine: ...
    def __exit__(self, *error: object) -> None: ...


class JackEngine:
    """A JACK client with as many ports as channels.

    Args:
        settings: the settings file.
        source, to: port names, or the start of port names; empty connects nothing; None takes the
            hardware's.
        channels: number of ports per direction.
        block: frames per block, for the whole JACK graph; None leaves it.

    Raises:
        AudioError: the package, the library or the server is missing, or no port has that name.
        DataError, SettingError: the settings cannot run.
    """

    def __init__(
        self,
        settings: Path,
        source: str | None = None,
        to: str | None = None,
        *,
        channels: int = 2,
        block: int | None = None,
    ) -> None:
        self._client = _jack_client()
        self._ends = source, to
        self.ended = threading.Event()
        try:
            if block:
                self._client.blocksize = block
            self.chain = LiveChain(settings, self._client.samplerate, channels)
        except BaseException:
            self._client.close()
            raise
        self._ins = [self._client.inports.register(f"in_{i + 1}") for i in range(channels)]
        self._outs = [self._client.outports.register(f"out_{i + 1}") for i in range(channels)]
        self.title = (
            f"JACK: client '{self._client.name}', {self._client.samplerate} Hz, "
            f"{self._client.blocksize} frames"
        )
        self._client.set_process_callback(self._process)
        self._client.set_xrun_callback(self._dropout)
        self._client.set_shutdown_callback(lambda status, reason: self.ended.set())

    def _process(self, frames: int) -> None:
        self.chain.process([p.get_array() for p in self._ins], [p.get_array() for p in self._outs])

    def _dropout(self, delayed_us: float) -> None:
        self.chain.statistics.dropouts += 1

    def __enter__(self) -> JackEngine:
        self._client.activate()
        try:
            source, to = self._ends
            for port, other in zip(self._ins, self._ports(source, is_output=True), strict=False):
                self._client.connect(other, port)
            for port, other in zip(self._outs, self._ports(to, is_output=False), strict=False):
                self._client.connect(port, other)
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *error: object) -> None:
        self._client.deactivate(ignore_errors=True)
        self._client.close(ignore_errors=True)

    def _ports(self, name: str | None, *, is_output: bool) -> Sequence[Any]:
        if name == "":
            return []
        kind = {"is_audio": True, "is_output": is_output, "is_input": not is_output}
        if name is None:
            return list(self._client.get_ports(is_physical=True, **kind))
        known = self._client.get_ports(**kind)
        wanted = [n.strip() for n in name.split(",")]
        found = [p for n in wanted for p in known if p.name == n or p.name.startswith(n)]
        if not found:
            raise AudioError(
                f"JACK has no port whose name starts with '{name}'. "
                f"Known: {', '.join(p.name for p in known) or 'none'}."
            )
        return found

    def latency(self) -> Latency:
        """From input to output, while audio runs."""
        frames = sum(_jack_latency(p, i) for i, p in enumerate((self._ins[0], self._outs[0])))
        rate = self._client.samplerate
        return Latency(frames / rate, self.chain.latency_samples / rate)


def _jack_latency(port: Any, mode: int) -> float:
    """Largest latency of a port in frames (mode 0: since capture, 1: until playback).

    The package JACK-Client does not wrap this function of libjack. NaN if it cannot be called.
    """
    import ctypes
    import ctypes.util

    class Range(ctypes.Structure):
        _fields_ = [("least", ctypes.c_uint32), ("most", ctypes.c_uint32)]

    try:
        import jack

        library = ctypes.CDLL(ctypes.util.find_library("jack"))
        pointer = int(jack._ffi.cast("uintptr_t", port._ptr))
        found = Range()
        library.jack_port_get_latency_range(
            ctypes.c_void_p(pointer), ctypes.c_int(mode), ctypes.byref(found)
        )
    except (AttributeError, OSError, TypeError):
        return math.nan
    return float(found.most)


def _jack_client() -> Any:
    jack = _package("jack", "JACK-Client", "libjack")
    for quiet in (jack.set_error_function, jack.set_info_function):
        quiet(lambda message: None)
    try:
        return jack.Client(CLIENT, no_start_server=True)
    except jack.JackOpenError:
        raise AudioError(
            "no JACK server is running. Start one (such as jackd or PipeWire), or use PortAudio."
        ) from None


class PortAudioEngine:
    """A PortAudio stream.

    Args:
        settings: the settings file.
        source, to: device names, parts of them, or numbers; None takes the system's default.
        channels: 1 or more.
        block: frames per block; None lets PortAudio choose.

    Raises:
        AudioError: the package, the library or a device is missing.
        DataError, SettingError: the settings cannot run.
    """

    def __init__(
        self,
        settings: Path,
        source: str | None = None,
        to: str | None = None,
        *,
        channels: int = 2,
        block: int | None = None,
    ) -> None:
        sounddevice = _package("sounddevice", "sounddevice", "PortAudio")
        self.ended = threading.Event()
        devices = _device(source), _device(to)
        try:
            rate = round(sounddevice.query_devices(devices[1], "output")["default_samplerate"])
            self.chain = LiveChain(settings, rate, channels)
            self._rows = np.zeros((channels, 0), np.float32)
            self._stream = sounddevice.Stream(
                samplerate=rate, blocksize=block or 0, device=devices, channels=channels,
                dtype="float32", latency="low", callback=self._process,
                finished_callback=self.ended.set,
            )  # fmt: skip
        except (sounddevice.PortAudioError, ValueError) as error:
            raise AudioError(f"PortAudio: {error}. Name other devices.") from None
        self.title = f"PortAudio: {rate} Hz, {block or 'its own number of'} frames"

    def _process(self, indata: Any, outdata: Any, frames: int, moment: Any, status: Any) -> None:
        if status:
            self.chain.statistics.dropouts += 1
        if self._rows.shape[1] < frames:
            self._rows = np.zeros((self._rows.shape[0], frames), np.float32)
        rows = [row[:frames] for row in self._rows]
        for i, row in enumerate(rows):
            row[:] = indata[:, i]
        self.chain.process(rows, rows)
        for i, row in enumerate(rows):
            outdata[:, i] = row

    def __enter__(self) -> PortAudioEngine:
        self._stream.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._stream.stop()
        self._stream.close()

    def latency(self) -> Latency:
        """From input to output, while audio runs."""
        rate = self.chain.sample_rate
        return Latency(sum(self._stream.latency), self.chain.latency_samples / rate)


def _device(name: str | None) -> str | int | None:
    return int(name) if name is not None and name.isdigit() else name


def _package(module: str, package: str, library: str) -> Any:
    """An optional package.

    Raises:
        AudioError: it, or the system library that it needs, is not installed.
    """
    import importlib

    try:
        return importlib.import_module(module)
    except ImportError:
        raise MissingExtraError("live processing", package, "live") from None
    except OSError:
        raise AudioError(
            f"the library {library} is not installed. Install it with the system's packages "
            "(Debian: libportaudio2 or libjack-jackd2-0)."
        ) from None


ENGINES: dict[str, Callable[..., Engine]] = {"jack": JackEngine, "portaudio": PortAudioEngine}


def open_engine(name: str, settings: Path, **options: Any) -> Engine:
    """An engine by its name; ``auto`` takes JACK if a server runs, else PortAudio.

    Raises:
        AudioError: no engine can be opened.
        DataError, SettingError: the settings cannot run.
    """
    if name != "auto":
        if name not in ENGINES:
            raise SettingError(f"engine '{name}': expected auto, {' or '.join(ENGINES)}.")
        return ENGINES[name](settings, **options)
    try:
        return JackEngine(settings, **options)
    except (AudioError, MissingExtraError) as first:
        try:
            return PortAudioEngine(settings, **options)
        except (AudioError, MissingExtraError) as second:
            raise AudioError(f"no audio system can be used: {first} {second}") from None


def listed() -> list[str]:
    """What can be connected, one line each, as text for users."""
    lines = []
    try:
        client = _jack_client()
        for port in client.get_ports(is_audio=True):
            way = "source" if port.is_output else "destination"
            lines.append(f"jack       {way:12} {port.name}")
        client.close()
    except (AudioError, MissingExtraError) as error:
        lines.append(f"jack       {error}")
    try:
        devices = _package("sounddevice", "sounddevice", "PortAudio").query_devices()
        for number, d in enumerate(devices):
            ways = [w for w in ("input", "output") if d[f"max_{w}_channels"]]
            lines.append(f"portaudio  {'/'.join(ways):12} {number}: {d['name']}")
        if not len(devices):
            lines.append("portaudio  no devices")
    except (AudioError, MissingExtraError) as error:
        lines.append(f"portaudio  {error}")
    return lines
