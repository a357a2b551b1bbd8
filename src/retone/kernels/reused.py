"""Memory for a kernel's results, used again once nobody holds the last result it was lent to.

A result of megabytes that is allocated anew may come as untouched pages, and the first write to
each costs a fault: up to a quarter more time for a fast kernel. Training steps and files rendered
in blocks ask for the same few sizes over and over, so a little of what was given back is kept.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]

SMALLEST = 1 << 20
"""Bytes from which memory is kept; less comes fast from the allocator."""
MOST_KEPT = 64 << 20
"""Bytes kept at most, all together."""
_SLACK = 1.25  # a room may be so many times larger than what is asked for

_kept: dict[int, Array] = {}  # single dict operations only: any thread may give back at any time


class _Lease:
    """Lends one room to one array; when the array and all its views are gone, so is this."""

    def __init__(self, room: Array, shape: tuple[int, ...], dtype: np.dtype[Any]) -> None:
        self._room = room
        self.__array_interface__ = {
            "version": 3,
            "data": (room.ctypes.data, False),
            "shape": shape,
            "typestr": dtype.str,
        }

    def __del__(self) -> None:
        _give_back(self._room)


def _give_back(room: Array) -> None:
    try:
        if sum(r.size for r in list(_kept.values())) + room.size <= MOST_KEPT:
            _kept[id(room)] = room
    except (AttributeError, NameError, TypeError):  # the interpreter is going down, names are gone
        pass


def _take(size: int) -> Array:
    for key, room in list(_kept.items()):
        if size <= room.size <= _SLACK * size and _kept.pop(key, None) is not None:
            return room
    if _kept:  # sizes have changed: what is kept is of no use any more
        _kept.pop(next(iter(list(_kept)), 0), None)
    return np.empty(size, np.uint8)


def forget() -> None:
    """Give back what is kept, so that what a call takes can be counted."""
    _kept.clear()


def empty(shape: tuple[int, ...], dtype: Any) -> Array:
    """An array of that shape and type whose content is undefined, like ``numpy.empty``."""
    dtype = np.dtype(dtype)
    size = math.prod(shape) * dtype.itemsize
    if size < SMALLEST:
        return np.empty(shape, dtype)
    return np.asarray(_Lease(_take(size), shape, dtype))


def empty_like(x: Array) -> Array:
    """``empty`` with the shape and type of another array."""
    return empty(x.shape, x.dtype)
