"""A buffer pool for kernel results: memory is reused once its last array is garbage.

A freshly allocated result of several megabytes may consist of untouched pages, and the first write
to each page faults: up to 25 % more time for a fast kernel. Training steps and block rendering
allocate the same few sizes repeatedly, so a limited number of released buffers is kept.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]

MIN_BYTES = 1 << 20
"""Smaller arrays are not pooled: the allocator is fast for them."""
MAX_KEPT_BYTES = 64 << 20
"""Maximum total size of the free buffers."""
_MAX_OVERSIZE = 1.25  # maximum ratio of buffer size to requested size

_free: dict[int, Array] = {}  # single dict operations only: any thread may release at any time


def _release(buffer: Array) -> None:
    try:
        if sum(r.size for r in list(_free.values())) + buffer.size <= MAX_KEPT_BYTES:
            _free[id(buffer)] = buffer
    except (AttributeError, NameError, TypeError):  # interpreter shutdown: globals are gone
        pass


class _PooledBuffer:
    """Owner of the memory of one array, which releases it after the array and all its views."""

    def __init__(self, buffer: Array, shape: tuple[int, ...], dtype: np.dtype[Any]) -> None:
        self._buffer = buffer
        self.__array_interface__ = {
            "version": 3,
            "data": (buffer.ctypes.data, False),
            "shape": shape,
            "typestr": dtype.str,
        }

    def __del__(self, release: Callable[[Array], None] = _release) -> None:
        release(self._buffer)  # a default, because at shutdown the module's globals are gone


def _acquire(size: int) -> Array:
    for key, buffer in list(_free.items()):
        if size <= buffer.size <= _MAX_OVERSIZE * size and _free.pop(key, None) is not None:
            return buffer
    if _free:  # no buffer fits: the sizes in use have changed, so drop one
        _free.pop(next(iter(list(_free)), 0), None)
    return np.empty(size, np.uint8)


def clear() -> None:
    """Free all pooled buffers, for instance before a memory measurement."""
    _free.clear()


def empty(shape: tuple[int, ...], dtype: Any) -> Array:
    """Uninitialised array, like ``numpy.empty``, from the pool if it is large."""
    dtype = np.dtype(dtype)
    size = math.prod(shape) * dtype.itemsize
    if size < MIN_BYTES:
        return np.empty(shape, dtype)
    return np.asarray(_PooledBuffer(_acquire(size), shape, dtype))


def empty_like(x: Array) -> Array:
    """``empty`` with the shape and type of ``x``."""
    return empty(x.shape, x.dtype)
