"""A small CLAP host: it runs a plug-in on arrays, with events, state and reset."""

from __future__ import annotations

import ctypes as c
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np

from retone.errors import DataError

_CALL = c.CFUNCTYPE


class _Version(c.Structure):
    _fields_ = [("major", c.c_uint32), ("minor", c.c_uint32), ("revision", c.c_uint32)]


class _Host(c.Structure):
    _fields_ = [
        ("version", _Version), ("data", c.c_void_p), ("name", c.c_char_p), ("vendor", c.c_char_p),
        ("url", c.c_char_p), ("product_version", c.c_char_p),
        ("get_extension", _CALL(c.c_void_p, c.c_void_p, c.c_char_p)),
        ("request_restart", _CALL(None, c.c_void_p)),
        ("request_process", _CALL(None, c.c_void_p)),
        ("request_callback", _CALL(None, c.c_void_p)),
    ]  # fmt: skip


class _Descriptor(c.Structure):
    _fields_ = [
        ("version", _Version),
        *((n, c.c_char_p) for n in ("id", "name", "vendor", "url", "manual_url", "support_url",
                                    "product_version", "description")),
        ("features", c.POINTER(c.c_char_p)),
    ]  # fmt: skip


class _Buffer(c.Structure):
    _fields_ = [
        ("data32", c.POINTER(c.c_void_p)), ("data64", c.c_void_p), ("channel_count", c.c_uint32),
        ("latency", c.c_uint32), ("constant_mask", c.c_uint64),
    ]  # fmt: skip


class _Event(c.Structure):
    _fields_ = [
        ("size", c.c_uint32), ("time", c.c_uint32), ("space_id", c.c_uint16),
        ("type", c.c_uint16), ("flags", c.c_uint32), ("param_id", c.c_uint32),
        ("cookie", c.c_void_p), ("note_id", c.c_int32), ("port_index", c.c_int16),
        ("channel", c.c_int16), ("key", c.c_int16), ("value", c.c_double),
    ]  # fmt: skip


class _Events(c.Structure):
    _fields_ = [
        ("ctx", c.c_void_p),
        ("size", _CALL(c.c_uint32, c.c_void_p)),
        ("get", _CALL(c.c_void_p, c.c_void_p, c.c_uint32)),
    ]


class _Process(c.Structure):
    _fields_ = [
        ("steady_time", c.c_int64), ("frames_count", c.c_uint32), ("transport", c.c_void_p),
        ("audio_inputs", c.POINTER(_Buffer)), ("audio_outputs", c.POINTER(_Buffer)),
        ("audio_inputs_count", c.c_uint32), ("audio_outputs_count", c.c_uint32),
        ("in_events", c.POINTER(_Events)), ("out_events", c.c_void_p),
    ]  # fmt: skip


class _Plugin(c.Structure):
    _fields_ = [
        ("desc", c.POINTER(_Descriptor)),
        ("data", c.c_void_p),
        ("init", _CALL(c.c_bool, c.c_void_p)),
        ("destroy", _CALL(None, c.c_void_p)),
        ("activate", _CALL(c.c_bool, c.c_void_p, c.c_double, c.c_uint32, c.c_uint32)),
        ("deactivate", _CALL(None, c.c_void_p)),
        ("start_processing", _CALL(c.c_bool, c.c_void_p)),
        ("stop_processing", _CALL(None, c.c_void_p)),
        ("reset", _CALL(None, c.c_void_p)),
        ("process", _CALL(c.c_int32, c.c_void_p, c.POINTER(_Process))),
        ("get_extension", _CALL(c.c_void_p, c.c_void_p, c.c_char_p)),
        ("on_main_thread", _CALL(None, c.c_void_p)),
    ]


class _Factory(c.Structure):
    _fields_ = [
        ("count", _CALL(c.c_uint32, c.c_void_p)),
        ("descriptor", _CALL(c.POINTER(_Descriptor), c.c_void_p, c.c_uint32)),
        ("create", _CALL(c.POINTER(_Plugin), c.c_void_p, c.POINTER(_Host), c.c_char_p)),
    ]


class _Entry(c.Structure):
    _fields_ = [
        ("version", _Version),
        ("init", _CALL(c.c_bool, c.c_char_p)),
        ("deinit", _CALL(None)),
        ("get_factory", _CALL(c.c_void_p, c.c_char_p)),
    ]


class ParamInfo(c.Structure):
    """A parameter as the plug-in describes it."""

    _fields_ = [
        ("id", c.c_uint32), ("flags", c.c_uint32), ("cookie", c.c_void_p), ("name", c.c_char * 256),
        ("module", c.c_char * 1024), ("low", c.c_double), ("high", c.c_double),
        ("default", c.c_double),
    ]  # fmt: skip


class _Params(c.Structure):
    _fields_ = [
        ("count", _CALL(c.c_uint32, c.c_void_p)),
        ("get_info", _CALL(c.c_bool, c.c_void_p, c.c_uint32, c.POINTER(ParamInfo))),
        ("get_value", _CALL(c.c_bool, c.c_void_p, c.c_uint32, c.POINTER(c.c_double))),
        ("to_text", _CALL(c.c_bool, c.c_void_p, c.c_uint32, c.c_double, c.c_void_p, c.c_uint32)),
        ("from_text", _CALL(c.c_bool, c.c_void_p, c.c_uint32, c.c_char_p, c.POINTER(c.c_double))),
        ("flush", _CALL(None, c.c_void_p, c.POINTER(_Events), c.c_void_p)),
    ]


class _Stream(c.Structure):
    _fields_ = [
        ("ctx", c.c_void_p),
        ("move", _CALL(c.c_int64, c.c_void_p, c.c_void_p, c.c_uint64)),
    ]


class _State(c.Structure):
    _fields_ = [
        ("save", _CALL(c.c_bool, c.c_void_p, c.POINTER(_Stream))),
        ("load", _CALL(c.c_bool, c.c_void_p, c.POINTER(_Stream))),
    ]


class _Configs(c.Structure):
    _fields_ = [
        ("count", _CALL(c.c_uint32, c.c_void_p)),
        ("get", c.c_void_p),
        ("select", _CALL(c.c_bool, c.c_void_p, c.c_uint32)),
    ]


class _PresetLoad(c.Structure):
    _fields_ = [("load", _CALL(c.c_bool, c.c_void_p, c.c_uint32, c.c_char_p, c.c_char_p))]


class _Latency(c.Structure):
    _fields_ = [("get", _CALL(c.c_uint32, c.c_void_p))]


def _field(structure: Any, name: str) -> Any:
    """The type of a structure's field."""
    return dict(structure._fields_)[name]


Change = tuple[int, int, float]
"""A sample, a parameter's id, its new value."""


class ClapPlugin:
    """One instance of a plug-in; a context manager.

    Args:
        library: the plug-in's file.
        name: its name, or its identifier.
        channels: 1 or 2.

    Raises:
        DataError: the file holds no plug-in of that name, or it does not start.
    """

    def __init__(self, library: Path, name: str, channels: int = 2) -> None:
        self._library = c.CDLL(str(library))
        self._entry = _Entry.in_dll(self._library, "clap_entry")
        self._entry.init(str(library).encode())
        factory = c.cast(self._entry.get_factory(b"clap.plugin-factory"), c.POINTER(_Factory))[0]
        known = [factory.descriptor(c.byref(factory), i)[0] for i in range(factory.count(None))]
        wanted = name.replace("-", " ").encode()
        found = next((d for d in known if wanted in (d.name, d.id)), None)
        if found is None:
            raise DataError(f"{library.name} holds no plug-in '{name}'.")
        self.descriptor, self.channels = found, channels
        self._host = _Host(
            _Version(1, 2, 2), None, b"retone", b"retone", b"", b"",
            _field(_Host, "get_extension")(lambda host, name: None),
            *(_field(_Host, n)(lambda host: None) for n in ("request_restart", "request_process",
                                                    "request_callback")),
        )  # fmt: skip
        self._plugin = factory.create(c.byref(factory), c.byref(self._host), found.id)
        if not self._plugin or not self._plugin[0].init(self._plugin):
            raise DataError(f"{library.name}: the plug-in '{name}' does not start.")
        self._call = self._plugin[0]
        self._params: _Params = self._extension(b"clap.params", _Params)
        self._state: _State = self._extension(b"clap.state", _State)
        self._active = False
        configs: _Configs = self._extension(b"clap.audio-ports-config", _Configs)
        if not configs.select(self._plugin, 1 if channels == 1 else 0):
            raise DataError(f"The plug-in '{name}' does not run with {channels} channels.")
        self.infos = [ParamInfo() for _ in range(self._params.count(self._plugin))]
        for i, info in enumerate(self.infos):
            self._params.get_info(self._plugin, i, c.byref(info))

    def _extension(self, name: bytes, kind: Any) -> Any:
        return c.cast(self._call.get_extension(self._plugin, name), c.POINTER(kind))[0]

    def __enter__(self) -> ClapPlugin:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:  # fmt: skip
        self.deactivate()
        self._call.destroy(self._plugin)

    def activate(self, sample_rate: float, most: int = 8192) -> None:
        """Get ready to process at a sample rate in Hz."""
        self.deactivate()
        self._active = self._call.activate(self._plugin, sample_rate, 1, most)
        self._call.start_processing(self._plugin)

    def deactivate(self) -> None:
        """Stop processing, if it was active."""
        if self._active:
            self._call.stop_processing(self._plugin)
            self._call.deactivate(self._plugin)
            self._active = False

    def reset(self) -> None:
        """Forget the signal."""
        self._call.reset(self._plugin)

    def latency(self) -> int:
        """Samples by which the output is late."""
        return int(self._extension(b"clap.latency", _Latency).get(self._plugin))

    def value(self, param_id: int) -> float:
        """A parameter's value."""
        found = c.c_double()
        self._params.get_value(self._plugin, param_id, c.byref(found))
        return found.value

    def text(self, param_id: int, value: float) -> str:
        """A value as the plug-in shows it."""
        text = c.create_string_buffer(64)
        self._params.to_text(self._plugin, param_id, value, c.addressof(text), 64)
        return text.value.decode()

    def from_text(self, param_id: int, text: str) -> float | None:
        """The value that a text means, None if it is none."""
        found = c.c_double()
        known = self._params.from_text(self._plugin, param_id, text.encode(), c.byref(found))
        return found.value if known else None

    def flush(self, changes: Sequence[Change]) -> None:
        """Set parameters without processing."""
        events, _kept = _events(changes)
        self._params.flush(self._plugin, c.byref(events), None)

    def save_state(self) -> bytes:
        """The state as the plug-in writes it."""
        parts: list[bytes] = []

        def write(stream: int, data: int, size: int) -> int:
            parts.append(c.string_at(data, min(size, 100)))  # hosts may take less than is offered
            return len(parts[-1])

        stream = _Stream(None, _field(_Stream, "move")(write))
        self._state.save(self._plugin, c.byref(stream))
        return b"".join(parts)

    def load_state(self, state: bytes) -> bool:
        """Load a state; whether the plug-in accepts it."""
        left = [state]

        def read(stream: int, to: int, size: int) -> int:
            part, left[0] = left[0][: min(size, 100)], left[0][min(size, 100) :]
            c.memmove(to, part, len(part))
            return len(part)

        stream = _Stream(None, _field(_Stream, "move")(read))
        return bool(self._state.load(self._plugin, c.byref(stream)))

    def load_preset(self, path: Path) -> bool:
        """Open a preset's file; whether the plug-in accepts it."""
        extension: _PresetLoad = self._extension(b"clap.preset-load/2", _PresetLoad)
        return bool(extension.load(self._plugin, 0, str(path).encode(), None))

    def process(
        self, audio: np.ndarray, block: int = 512, changes: Sequence[Change] = (), *,
        in_place: bool = False,
    ) -> np.ndarray:  # fmt: skip
        """Process a recording.

        Args:
            audio: [C, T] float32.
            block: samples per call of the plug-in.
            changes: in the order of their samples.
            in_place: give the same buffers as input and output.

        Returns:
            [C, T] float32.
        """
        out = np.array(audio, np.float32, order="C") if in_place else np.empty_like(audio)
        source = out if in_place else np.ascontiguousarray(audio, np.float32)
        length = audio.shape[1]
        for at in range(0, length, block):
            count = min(block, length - at)
            own = [(n - at, i, v) for n, i, v in changes if at <= n < at + count]
            events, _kept = _events(own)
            ins, outs = _buffer(source, at), _buffer(out, at)
            call = _Process(
                at, count, None, c.pointer(ins), c.pointer(outs), 1, 1, c.pointer(events), None
            )
            if self._call.process(self._plugin, c.byref(call)) == 0:
                raise DataError("the plug-in failed to process a block")
        return out


def _buffer(audio: np.ndarray, at: int) -> _Buffer:
    rows = [audio[k].ctypes.data + at * audio.itemsize for k in range(audio.shape[0])]
    return _Buffer((c.c_void_p * len(rows))(*rows), None, len(rows), 0, 0)


def _events(changes: Sequence[Change]) -> tuple[_Events, Any]:
    """Events as a list of the host's, and what must live as long as it."""
    made = (_Event * max(len(changes), 1))()
    for event, (time, param_id, value) in zip(made, changes, strict=False):
        event.size, event.time, event.type = c.sizeof(_Event), time, 5
        event.param_id, event.value = param_id, value
        event.note_id = event.port_index = event.channel = event.key = -1
    size, start = len(changes), c.addressof(made)
    return _Events(
        None,
        _field(_Events, "size")(lambda events: size),
        _field(_Events, "get")(lambda events, i: start + i * c.sizeof(_Event)),
    ), made
