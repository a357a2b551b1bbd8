"""Compiler options shared by the kernels."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from retone.compiled import njit

_INNER: Any = dict(nogil=True, error_model="numpy", no_cpython_wrapper=True, no_cfunc_wrapper=True)
inner_njit: Any = njit(**_INNER)
"""For kernels that only other kernels call: cached with their caller, no Python entry point."""

fastmath_njit: Callable[..., Any] = njit(
    nogil=True, cache=True, fastmath={"contract", "nsz", "arcp", "reassoc"},
    error_model="numpy", boundscheck=False,
)  # fmt: skip
"""For float32 loops that may add in any order; NaN and infinity keep their meaning."""
