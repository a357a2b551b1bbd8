"""The plug-ins' processing, called on numpy arrays block by block, with little work in Python.

The C code allocates nothing and moves changed values within 20 ms; see ``core/plugin/chain.h``.
"""

from __future__ import annotations

import ctypes
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from retone import core
from retone.errors import SettingError

MOST_CHANNELS = 2


class NativeProcessor:
    """One chain with its state.

    Args:
        kind: number of the chain.
        sample_rate: in Hz.
        channels: 1 or 2.

    Raises:
        SettingError: there is no such chain, or it does not run that many channels.
    """

    def __init__(self, kind: int, sample_rate: float, channels: int) -> None:
        self._library = _library()
        self.count = int(self._library.retone_chain_parameters(kind))
        if not self.count or not 1 <= channels <= MOST_CHANNELS:
            raise SettingError(
                f"NativeProcessor: expected a chain's number and 1 or {MOST_CHANNELS} channels, "
                f"got {kind} and {channels}."
            )
        self.channels = channels
        self._memory = ctypes.create_string_buffer(self._library.retone_chain_bytes())
        self._chain = self._library.retone_chain_make(self._memory, kind, sample_rate, channels)
        self._in = (ctypes.c_void_p * channels)()
        self._out = (ctypes.c_void_p * channels)()

    def set(self, values: Sequence[float]) -> None:
        """Set every parameter, in the table's order; values beyond their range are held there."""
        for i, value in enumerate(values):
            self._library.retone_chain_set(self._chain, i, value)

    def reset(self) -> None:
        """Forget the signal; values jump to where they were moving."""
        self._library.retone_chain_reset(self._chain)

    def process(
        self, source: Sequence[NDArray[np.float32]], to: Sequence[NDArray[np.float32]]
    ) -> None:
        """Process one contiguous float32 array [n] per channel into another, or in place."""
        for i in range(self.channels):
            self._in[i] = source[i].__array_interface__["data"][0]
            self._out[i] = to[i].__array_interface__["data"][0]
        self._library.retone_chain_process(self._chain, self._in, self._out, source[0].shape[0])


_loaded: list[Any] = []


def _library() -> Any:
    if not _loaded:
        found = ctypes.CDLL(str(core.plugin_library()))
        number, pointer = ctypes.c_int32, ctypes.c_void_p
        for name, result, arguments in (
            ("bytes", ctypes.c_int64, []),
            ("parameters", number, [number]),
            ("make", pointer, [pointer, number, ctypes.c_double, number]),
            ("reset", None, [pointer]),
            ("set", None, [pointer, number, ctypes.c_double]),
            ("process", None, [pointer, pointer, pointer, ctypes.c_int64]),
        ):
            function = getattr(found, f"retone_chain_{name}")
            function.restype, function.argtypes = result, arguments
        _loaded.append(found)
    return _loaded[0]
